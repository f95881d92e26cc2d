//! A node's connection: heartbeats, and the blobs it asks for.

use crate::{CoordinatorEvent, Shared};
use depx_protocol::wire::{Capabilities, ControlMessage, ControlReply};
use depx_transport::{Guest, TRANSFERS, bounded, chain, read_frame, unix_ms, write_frame};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A node that misses so many heartbeats in a row is let go.
const MISSED_HEARTBEATS: u32 = 3;
/// Entries that a node may list.
const MAX_PROFILES: usize = 64;

/// Serves a node for as long as it is there.
pub(crate) async fn serve(shared: &Arc<Shared>, guest: Guest, capabilities: Capabilities) {
    let Guest { connection, address, mut control, mut replies, .. } = guest;
    let mut profiles = capabilities.profiles;
    profiles.truncate(MAX_PROFILES);
    let capabilities = Capabilities { software: bounded(&capabilities.software), profiles, ..capabilities };
    let node = shared.nodes.join(address, connection.clone(), capabilities);
    (shared.events)(CoordinatorEvent::NodeJoined { node: address });

    let heartbeats = async {
        loop {
            match timeout(shared.config.heartbeat * MISSED_HEARTBEATS, read_frame(&mut control)).await {
                Ok(Ok(ControlMessage::Heartbeat { .. })) => {
                    if let Err(error) = write_frame(&mut replies, &ControlReply::Alive { time_ms: unix_ms() }).await {
                        return chain(&error);
                    }
                }
                Ok(Ok(ControlMessage::Drain)) => node.drain(),
                Ok(Err(error)) => return chain(&error),
                Err(_) => return format!("{MISSED_HEARTBEATS} heartbeats were missed"),
            }
        }
    };
    let giving = Arc::new(Semaphore::new(TRANSFERS));
    let blobs = async {
        loop {
            match connection.accept_bi().await {
                Ok((send, receive)) => {
                    let (store, giving) = (shared.blobs.clone(), giving.clone());
                    tokio::spawn(async move {
                        let _turn = giving.acquire_owned().await;
                        if let Err(error) = depx_transport::serve(&store, send, receive).await {
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
