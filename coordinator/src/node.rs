//! A node's connection: heartbeats, and the blobs it asks for.

use crate::{CoordinatorEvent, Shared};
use depx_protocol::wire::{BlobReply, Capabilities, ControlMessage, GetBlob};
use depx_transport::{FrameError, Guest, bounded, chain, read_frame, write_bytes, write_frame};
use quinn::{RecvStream, SendStream};
use std::sync::Arc;
use tokio::time::timeout;

/// A node that misses so many heartbeats in a row is let go.
const MISSED_HEARTBEATS: u32 = 3;
/// Entries that a node may list.
const MAX_PROFILES: usize = 64;

/// Serves a node for as long as it is there.
pub(crate) async fn serve(shared: &Arc<Shared>, guest: Guest, capabilities: Capabilities) {
    let Guest { connection, address, mut control, replies: _replies, .. } = guest;
    let mut profiles = capabilities.profiles;
    profiles.truncate(MAX_PROFILES);
    let capabilities = Capabilities { software: bounded(&capabilities.software), profiles, ..capabilities };
    let node = shared.nodes.join(address, connection.clone(), capabilities);
    (shared.events)(CoordinatorEvent::NodeJoined { node: address });

    let heartbeats = async {
        loop {
            match timeout(shared.config.heartbeat * MISSED_HEARTBEATS, read_frame(&mut control)).await {
                Ok(Ok(ControlMessage::Heartbeat { .. })) => {}
                Ok(Ok(ControlMessage::Drain)) => node.drain(),
                Ok(Err(error)) => return chain(&error),
                Err(_) => return format!("{MISSED_HEARTBEATS} heartbeats were missed"),
            }
        }
    };
    let blobs = async {
        loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        if let Err(error) = give_blob(&shared, send, receive).await {
                            tracing::debug!(node = %address, error = chain(&error), "a blob was not delivered");
                        }
                    });
                }
                Err(error) => return chain(&error),
            }
        }
    };
    let reason = tokio::select! {
        reason = heartbeats => reason,
        reason = blobs => reason,
    };
    shared.nodes.leave(&node);
    connection.close(0u32.into(), b"the session is over");
    (shared.events)(CoordinatorEvent::NodeLeft { node: address, reason: bounded(&reason) });
}

async fn give_blob(shared: &Shared, mut send: SendStream, mut receive: RecvStream) -> Result<(), FrameError> {
    let GetBlob { hash } = read_frame(&mut receive).await?;
    let content = match shared.blobs.cached(&hash) {
        Some(content) => Some(content),
        None => {
            let store = shared.blobs.clone();
            let read = tokio::task::spawn_blocking(move || store.get(&hash)).await;
            read.ok()
                .and_then(|read| {
                    read.inspect_err(|error| tracing::error!(error = chain(error), "cannot read a blob")).ok()
                })
                .flatten()
        }
    };
    match content {
        None => write_frame(&mut send, &BlobReply::Missing).await,
        Some(content) => {
            write_frame(&mut send, &BlobReply::Found { len: content.len() as u64 }).await?;
            write_bytes(&mut send, content).await
        }
    }
}
