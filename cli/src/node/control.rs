//! How a running node hears its operator: the socket `control` in its data directory, which only the node's own user and root can use.
//! A request is one line of JSON, and so is the answer.

use anyhow::{Context, Result};
use depx_node::{CoordinatorStatus, NodeStatus, Observer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::fs::{File, Permissions};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(super) const SOCKET: &str = "control.sock";
/// Bytes of a request; the longest has some 20.
const MAX_REQUEST: u64 = 256;
/// Within this time somebody has to ask and take the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// More than these at a time are closed at once.
const CONNECTIONS: usize = 16;
/// After the system could not give a connection, for instance for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What an operator asks.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "lowercase", tag = "request", deny_unknown_fields)]
pub(super) enum Request {
    /// How are you?
    Status,
    /// Take no new leases, and end after those that you have.
    Drain,
}

/// A path of the socket that is short however long that of the directory is: addresses of sockets have at most 107 bytes.
pub(super) fn short_path(directory: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// The socket; removed in the end.
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Takes the place of what a killed node left. The caller has claimed the directory.
    pub(super) fn bind(data: &Path) -> Result<Self> {
        let path = data.join(SOCKET);
        let listener = listen(data, &path).with_context(|| format!("cannot make the socket {}", path.display()))?;
        Ok(Self { listener, path })
    }

    /// Calls `draining` when the node has been asked for the first time to drain.
    pub(super) async fn serve(self, node: Observer, draining: impl Fn() + Clone + Send + Sync + 'static) -> Infallible {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        // All end with this future.
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let Ok(place) = room.clone().try_acquire_owned() else { continue };
            let (node, draining) = (node.clone(), draining.clone());
            connections.spawn(async move {
                let _place = place;
                answer(stream, &node, draining).await;
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn listen(data: &Path, path: &Path) -> std::io::Result<UnixListener> {
    let directory = File::open(data)?;
    let made = data.join("control.sock.new");
    let _ = std::fs::remove_file(&made);
    let listener = UnixListener::bind(short_path(&directory, "control.sock.new"))?;
    // Nobody knows it by its name before only this user can use it.
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(made, path)?;
    Ok(listener)
}

async fn answer(stream: UnixStream, node: &Observer, draining: impl Fn()) {
    let mut stream = BufReader::new(stream);
    let answered = timeout(PATIENCE, async {
        let mut line = Vec::new();
        (&mut stream).take(MAX_REQUEST).read_until(b'\n', &mut line).await?;
        let request = serde_json::from_slice::<Request>(&line).ok().filter(|_| line.ends_with(b"\n"));
        let value = match request {
            Some(Request::Status) => status(&node.status()),
            Some(Request::Drain) => json!({"event": "draining"}),
            None => json!({"error": "a request is one line: {\"request\":\"status\"} or {\"request\":\"drain\"}"}),
        };
        stream.write_all(format!("{value}\n").as_bytes()).await?;
        std::io::Result::Ok(request)
    });
    if let Ok(Ok(Some(Request::Drain))) = answered.await {
        // Open until the other end is closed or this process ends: whoever waits for that learns of it so, and not before.
        let mut stream = ManuallyDrop::new(stream);
        if node.drain() {
            draining();
        }
        let _ = stream.read(&mut [0]).await;
        drop(ManuallyDrop::into_inner(stream));
    }
}

fn status(status: &NodeStatus) -> Value {
    let coordinator = |coordinator: &CoordinatorStatus| {
        json!({"coordinator": format!("{}@{}", coordinator.address, coordinator.remote),
            "connected": coordinator.connected_ms.is_some(), "connected_ms": coordinator.connected_ms,
            "last_error": coordinator.last_error})
    };
    let coordinators: Vec<Value> = status.coordinators.iter().map(coordinator).collect();
    json!({"event": "status", "node": status.address.to_string(), "started_ms": status.started_ms,
        "draining": status.draining, "coordinators": coordinators, "slots": status.slots, "active": status.active,
        "queued": status.queued, "load": f64::from(status.load) / 1000.0, "memory_available_bytes": status.memory,
        "blobs_bytes": status.blobs, "blobs_quota_bytes": status.blob_quota, "receipts_signed": status.receipts})
}
