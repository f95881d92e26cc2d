//! What a connection does and does not do.

use depx_protocol::SecretKey;
use depx_transport::{client_endpoint, server_endpoint};
use quinn::{Connection, ConnectionError, Endpoint};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROTOCOL: &[u8] = b"depx-sessions-test";

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32]).unwrap()
}

/// An endpoint that gives back what it is sent.
fn echo(address: SocketAddr, key: &SecretKey) -> Endpoint {
    let (server, _) = server_endpoint(address, &[PROTOCOL], key).unwrap();
    let listening = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = listening.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    let content = receive.read_to_end(64).await.unwrap();
                    send.write_all(&content).await.unwrap();
                    send.finish().unwrap();
                }
            });
        }
    });
    server
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn exchange(connection: &Connection) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    send.finish().unwrap();
    assert_eq!(receive.read_to_end(64).await.unwrap(), b"hello");
}

#[tokio::test]
async fn no_session_is_resumed_and_nothing_is_sent_before_the_handshake() {
    let server = echo(anywhere(), &key(1));
    let (client, _) = client_endpoint(PROTOCOL).unwrap();
    for _ in 0..2 {
        let connecting = client.connect(server.local_addr().unwrap(), "depx").unwrap();
        let connecting = connecting.into_0rtt().err().expect("there is no ticket");
        let connection = connecting.await.unwrap();
        exchange(&connection).await;
        connection.close(0u32.into(), b"done");
    }
}

#[tokio::test]
async fn a_connection_survives_a_change_of_address() {
    let server = echo(anywhere(), &key(1));
    let (client, _) = client_endpoint(PROTOCOL).unwrap();
    let connection = client.connect(server.local_addr().unwrap(), "depx").unwrap().await.unwrap();
    exchange(&connection).await;
    let before = client.local_addr().unwrap();
    client.rebind(UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).unwrap()).unwrap();
    assert_ne!(client.local_addr().unwrap(), before);
    exchange(&connection).await;
}

/// Passes datagrams on to the address that it holds at the time.
async fn pass_on(front: tokio::net::UdpSocket, target: Arc<Mutex<SocketAddr>>) {
    let back = tokio::net::UdpSocket::bind(anywhere()).await.unwrap();
    let (mut there, mut here) = ([0; 2048], [0; 2048]);
    let mut peer = None;
    loop {
        tokio::select! {
            Ok((len, from)) = front.recv_from(&mut there) => {
                peer = Some(from);
                let target = *target.lock().unwrap();
                back.send_to(&there[..len], target).await.unwrap();
            }
            Ok((len, _)) = back.recv_from(&mut here) => {
                front.send_to(&here[..len], peer.unwrap()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_was_started_anew_says_that_it_knows_a_connection_no_more() {
    let (before, after) = (echo(anywhere(), &key(1)), echo(anywhere(), &key(1)));
    let target = Arc::new(Mutex::new(before.local_addr().unwrap()));
    let front = tokio::net::UdpSocket::bind(anywhere()).await.unwrap();
    let address = front.local_addr().unwrap();
    tokio::spawn(pass_on(front, target.clone()));
    let (client, _) = client_endpoint(PROTOCOL).unwrap();
    let connection = client.connect(address, "depx").unwrap().await.unwrap();
    exchange(&connection).await;
    *target.lock().unwrap() = after.local_addr().unwrap();
    let started = Instant::now();
    assert!(matches!(connection.closed().await, ConnectionError::Reset));
    assert!(started.elapsed() < Duration::from_secs(10), "with the next keep-alive: {:?}", started.elapsed());
}
