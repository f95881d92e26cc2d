//! Bare QUIC requests on the endpoints that the project uses.

use super::{PATIENCE, REQUEST, Server, loopback};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_protocol::SecretKey;
use depx_transport::{client_endpoint, server_endpoint};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

const PROTOCOL: &[u8] = b"depx-bench-echo";

/// A server that echoes, and a connection to it. A request has a stream of its own.
pub(super) struct Echo {
    server: Endpoint,
    client: Endpoint,
    connection: Connection,
    request: Bytes,
}

impl Server for Echo {
    async fn start() -> Result<Self> {
        let (server, _) = server_endpoint(loopback(), &[PROTOCOL], &SecretKey::from_bytes(&[1; 32])?)?;
        let (client, _) = client_endpoint(PROTOCOL)?;
        let (address, listening) = (server.local_addr()?, server.clone());
        tokio::spawn(async move {
            while let Some(incoming) = listening.accept().await {
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        tokio::spawn(answer(send, receive));
                    }
                });
            }
        });
        let connection = client.connect(address, "echo")?.await.context("the echo server does not answer")?;
        Ok(Self { server, client, connection, request: Bytes::from(vec![7; REQUEST]) })
    }

    async fn request(&self) -> Result<()> {
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_chunk(self.request.clone()).await?;
        send.finish()?;
        let answer = receive.read_to_end(REQUEST).await?;
        ensure!(answer == self.request, "the echo is another than the request");
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        for endpoint in [&self.client, &self.server] {
            endpoint.close(VarInt::from_u32(0), b"done");
            timeout(PATIENCE, endpoint.wait_idle()).await.context("the echo did not stop")?;
        }
        Ok(())
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream) -> Result<()> {
    let request = receive.read_to_end(REQUEST).await?;
    send.write_all(&request).await?;
    Ok(send.finish()?)
}
