//! A path between two UDP peers that can be slow, lossy, out of order, or cut.

use depx_transport::random;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How the path is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// Nothing passes.
    pub cut: bool,
    /// Of a thousand datagrams, so many are lost.
    pub lost: u16,
    /// Each datagram takes so many milliseconds,
    pub delay_ms: u64,
    /// give or take so many, so that some overtake others.
    pub jitter_ms: u64,
}

/// Passes on what comes to it, and the answers back.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    conditions: Arc<Mutex<Conditions>>,
    _relaying: JoinSet<()>,
}

impl Relay {
    /// A path to `target` without faults.
    pub async fn start(target: SocketAddr) -> Self {
        let socket = Arc::new(bind().await);
        let address = socket.local_addr().expect("it is bound");
        let conditions = Arc::new(Mutex::default());
        let mut relaying = JoinSet::new();
        relaying.spawn(relay(socket, target, conditions.clone()));
        Self { address, conditions, _relaying: relaying }
    }

    /// From now on the path is like that.
    pub fn set(&self, conditions: Conditions) {
        *self.conditions.lock().unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    /// Nothing passes for so long.
    pub async fn cut(&self, duration: Duration) {
        self.set(Conditions { cut: true, ..Conditions::default() });
        sleep(duration).await;
        self.set(Conditions::default());
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

async fn relay(socket: Arc<UdpSocket>, target: SocketAddr, conditions: Arc<Mutex<Conditions>>) {
    let mut peers = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let mut answering = JoinSet::new();
    let mut datagram = vec![0; 65536];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut datagram).await else { continue };
        let ours = match peers.get(&from) {
            Some(ours) => ours.clone(),
            None => {
                let ours = Arc::new(bind().await);
                peers.insert(from, ours.clone());
                answering.spawn(answer(ours.clone(), socket.clone(), from, conditions.clone()));
                ours
            }
        };
        pass(&conditions, &ours, target, &datagram[..len]);
    }
}

async fn answer(ours: Arc<UdpSocket>, socket: Arc<UdpSocket>, from: SocketAddr, conditions: Arc<Mutex<Conditions>>) {
    let mut datagram = vec![0; 65536];
    loop {
        if let Ok((len, _)) = ours.recv_from(&mut datagram).await {
            pass(&conditions, &socket, from, &datagram[..len]);
        }
    }
}

/// Sends a datagram on, in its time, or not at all.
fn pass(conditions: &Mutex<Conditions>, socket: &Arc<UdpSocket>, to: SocketAddr, datagram: &[u8]) {
    let Conditions { cut, lost, delay_ms, jitter_ms } = *conditions.lock().unwrap_or_else(PoisonError::into_inner);
    let dice = u64::from(u32::from_ne_bytes(random()));
    if cut || dice % 1000 < u64::from(lost) {
        return;
    }
    let delay_ms = (delay_ms + dice / 1000 % (2 * jitter_ms + 1)).saturating_sub(jitter_ms);
    let (socket, datagram) = (socket.clone(), datagram.to_vec());
    tokio::spawn(async move {
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
        // What the system does not take is lost as on any path.
        let _ = socket.send_to(&datagram, to).await;
    });
}
