//! The figures of a running node over HTTP, for Prometheus: `GET /metrics` and `GET /health`, one request per connection.

use anyhow::{Context, Result};
use depx_node::Observer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Bytes of a request with its headers; Prometheus sends some 300.
const MAX_REQUEST: usize = 8 << 10;
/// From the first byte of a request to the last of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than these at a time are closed at once. Prometheus needs one.
const CONNECTIONS: usize = 32;
/// After the system could not give a connection, for instance for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where somebody can ask.
pub(super) struct Scrape(TcpListener);

impl Scrape {
    pub(super) async fn bind(address: SocketAddr) -> Result<Self> {
        if !address.ip().is_loopback() {
            tracing::warn!("{address} can be reached from other machines: whoever reaches it sees this node's figures");
        }
        let listener = TcpListener::bind(address).await;
        Ok(Self(
            listener
                .with_context(|| format!("cannot listen on {address} for --metrics; give another address or port"))?,
        ))
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        self.0.local_addr().context("cannot find out the address for --metrics")
    }

    pub(super) async fn serve(self, node: Observer) -> Infallible {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        // All end with this future.
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = self.0.accept().await else {
                sleep(PAUSE).await;
                continue;
            };
            while connections.try_join_next().is_some() {}
            let Ok(place) = room.clone().try_acquire_owned() else { continue };
            let node = node.clone();
            connections.spawn(async move {
                let _place = place;
                // Whoever is too slow, or gone, loses its own answer.
                let _ = timeout(PATIENCE, answer(stream, &node)).await;
            });
        }
    }
}

async fn answer(mut stream: TcpStream, node: &Observer) -> std::io::Result<()> {
    let mut request = Vec::with_capacity(1024);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST {
            return respond(&mut stream, "431 Request Header Fields Too Large", TEXT, "the request is too long\n")
                .await;
        }
        let room = (MAX_REQUEST - request.len()) as u64;
        if (&mut stream).take(room.min(1024)).read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match asked(line) {
        Asked::Metrics => {
            let format = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
            respond(&mut stream, "200 OK", format, &node.metrics()).await
        }
        Asked::Health => match unwell(node) {
            None => respond(&mut stream, "200 OK", TEXT, "ok\n").await,
            Some(reason) => respond(&mut stream, "503 Service Unavailable", TEXT, reason).await,
        },
        Asked::Nothing => respond(&mut stream, "404 Not Found", TEXT, "there are /metrics and /health\n").await,
        Asked::OtherMethod => {
            let headers = "Allow: GET\r\nContent-Type: text/plain; charset=utf-8\r\n";
            respond(&mut stream, "405 Method Not Allowed", headers, "only GET is understood\n").await
        }
        Asked::Garbage => respond(&mut stream, "400 Bad Request", TEXT, "this is not HTTP/1.1\n").await,
    }
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

/// Why jobs cannot come, if so.
fn unwell(node: &Observer) -> Option<&'static str> {
    let status = node.status();
    match () {
        () if status.draining => Some("the node takes no new leases and is about to stop\n"),
        () if status.connected() == 0 => Some("the node is not connected to any coordinator\n"),
        () => None,
    }
}

#[derive(PartialEq, Debug)]
enum Asked {
    Metrics,
    Health,
    Nothing,
    OtherMethod,
    Garbage,
}

/// What the first line of a request asks for.
fn asked(line: &[u8]) -> Asked {
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split(' ').collect();
    match words[..] {
        ["GET", target, "HTTP/1.1" | "HTTP/1.0"] => match target.split('?').next() {
            Some("/metrics") => Asked::Metrics,
            Some("/health") => Asked::Health,
            _ => Asked::Nothing,
        },
        [method, _, "HTTP/1.1" | "HTTP/1.0"] if !method.is_empty() => Asked::OtherMethod,
        _ => Asked::Garbage,
    }
}

async fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    stream.shutdown().await?;
    // What it still sends is read, since closing before that would take the answer back.
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_their_first_line() {
        let cases: [(&[u8], Asked); 9] = [
            (b"GET /metrics HTTP/1.1", Asked::Metrics),
            (b"GET /metrics?name=x HTTP/1.0", Asked::Metrics),
            (b"GET /health HTTP/1.1", Asked::Health),
            (b"GET /metrics/ HTTP/1.1", Asked::Nothing),
            (b"GET  HTTP/1.1", Asked::Nothing),
            (b"POST /metrics HTTP/1.1", Asked::OtherMethod),
            (b"GET /metrics HTTP/2", Asked::Garbage),
            (b"GET /metrics", Asked::Garbage),
            (b"\xff\xfe /metrics HTTP/1.1", Asked::Garbage),
        ];
        for (line, expected) in cases {
            assert_eq!(asked(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }
}
