//! How fast a blob gets from one store to another.

use super::{PATIENCE, loopback};
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{take_turns, wall_time};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_protocol::{Blob, SecretKey};
use depx_transport::{BlobStore, client_endpoint, fetch, serve, server_endpoint};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "net.blob",
        unit: "ratio",
        goal: Goal::AtLeast(0.7),
        baseline: "a bare stream, MB/s",
        method: "Throughput of a blob of 256 MiB from one store to another, read from a file, verified group by group at both ends and \
                 written to a file, over that of as many bytes from memory to nowhere on a bare quinn stream with the same transport \
                 configuration. Both ends in one process over loopback; files in the page cache; in turns.",
    },
    Entry {
        name: "net.blob_rate",
        unit: "MB/s",
        goal: Goal::None,
        baseline: "a bare stream, MB/s",
        method: "The throughput of the blob in `net.blob`.",
    },
];

const PROTOCOL: &[u8] = b"depx-bench-blob";
const LEN: usize = 256 << 20;
/// What the bare stream is given at a time.
const PIECE: usize = 1 << 18;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let threads =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("threads cannot be started")?;
    let folder = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let open = |name| BlobStore::open(folder.path().join(name), BlobStore::QUOTA);
    let (from, to) = (open("from")?, open("to")?);
    let content = Bytes::from(
        (0..LEN as u64 / 8)
            .flat_map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
            .collect::<Vec<u8>>(),
    );
    let blob = Blob::of(&content);
    from.put(&blob, content.clone())?;
    // As large a blob would usually be: not in memory.
    drop(from);
    let from = open("from")?;

    let (verified, bare, close) = threads.block_on(async {
        let (server, _) = server_endpoint(loopback(), &[PROTOCOL], &SecretKey::from_bytes(&[1; 32])?)?;
        let (client, _) = client_endpoint(PROTOCOL)?;
        let address = server.local_addr()?;
        let mut connections = Vec::new();
        for _ in 0..2 {
            let (dialled, accepted) = tokio::join!(client.connect(address, "blob")?, async {
                server.accept().await.context("the server is closed")?.await.context("nobody dials")
            });
            connections.push((dialled.context("nobody answers")?, accepted?));
        }
        let (bare, verified) = (connections.pop(), connections.pop());
        let ((verified, from_store), (bare, from_memory)) = verified.zip(bare).context("there are two")?;
        tokio::spawn(async move {
            while let Ok((send, receive)) = from_store.accept_bi().await {
                let from = from.clone();
                tokio::spawn(async move { serve(&from, send, receive).await });
            }
        });
        tokio::spawn(async move {
            while let Ok((send, receive)) = from_memory.accept_bi().await {
                tokio::spawn(pour(send, receive, content.clone()));
            }
        });
        let close = async move {
            for endpoint in [client, server] {
                endpoint.close(0u32.into(), b"done");
                timeout(PATIENCE, endpoint.wait_idle()).await.context("an endpoint did not stop")?;
            }
            anyhow::Ok(())
        };
        anyhow::Ok((verified, bare, close))
    })?;

    let mut fetched = || {
        to.remove(&blob)?;
        let (to, verified) = (to.clone(), verified.clone());
        wall_time(|| Ok(threads.block_on(threads.spawn(async move { fetch(&to, &blob, &verified).await }))??))
    };
    let mut poured = || wall_time(|| threads.block_on(threads.spawn(drain(bare.clone())))?);
    let turns = take_turns(plan.turns(15, 3), [&mut fetched, &mut poured])?;
    threads.block_on(close)?;
    let rate = |time: f64| LEN as f64 / time / 1e6;
    let stream = rate(turns.time(1));
    // Throughputs are to each other as times are the other way round.
    Ok(vec![ENTRIES[0].figure(turns.ratio(1, 0), Some(stream)), ENTRIES[1].figure(rate(turns.time(0)), Some(stream))])
}

/// Answers a request with all of `content`.
async fn pour(mut send: SendStream, mut receive: RecvStream, content: Bytes) -> Result<()> {
    receive.read_to_end(1).await?;
    for start in (0..content.len()).step_by(PIECE) {
        send.write_chunk(content.slice(start..(start + PIECE).min(content.len()))).await?;
    }
    Ok(send.finish()?)
}

/// Asks for the content, and throws it away.
async fn drain(connection: Connection) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[0]).await?;
    send.finish()?;
    let mut len = 0;
    while let Some(chunk) = receive.read_chunk(PIECE, true).await? {
        len += chunk.bytes.len();
    }
    ensure!(len == LEN, "{len} bytes arrived");
    Ok(())
}
