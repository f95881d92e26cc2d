//! One connection to the coordinator after another.

use crate::{NodeError, NodeEvent, QUEUE, Shared, lease};
use depx_protocol::wire::{ALPN_NODE, CLOSE_REPLACED, ControlMessage};
use depx_transport::{Certificate, Dialled, GreetingError, chain, client_endpoint, dial, write_frame};
use quinn::{ConnectionError, Endpoint, VarInt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Pauses before dialling again: doubled after every failure, and each drawn from the upper half of its span so that nodes that lost
/// the same coordinator do not all come back at once.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Accepted leases may take so long to finish when the node stops.
const DRAIN: Duration = Duration::from_secs(30);

/// What the leases of one connection share.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: quinn::Connection,
    pub(crate) certificate: Certificate,
}

/// Keeps a session with the coordinator until `shutdown`.
pub(crate) async fn serve(shared: &Arc<Shared>, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    let (endpoint, certificate) = client_endpoint(ALPN_NODE)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut retry = FIRST_RETRY;
    loop {
        let reason = tokio::select! {
            () = &mut shutdown => break,
            dialled = connect(shared, &endpoint) => match dialled {
                Ok(dialled) => {
                    retry = FIRST_RETRY;
                    (shared.events)(NodeEvent::Connected { coordinator: shared.config.coordinator_address });
                    match hold(shared, dialled, certificate, shutdown.as_mut()).await {
                        Ended::Lost(reason) => reason,
                        Ended::Replaced => return Err(NodeError::Replaced { address: shared.key.address() }),
                        Ended::Stopped => break,
                    }
                }
                Err(error) if is_final(&error) => return Err(NodeError::Rejected(error)),
                Err(error) => chain(&error),
            },
        };
        let pause = retry / 2
            + retry.mul_f64(f64::from(u16::from_ne_bytes(depx_transport::random())) / f64::from(u16::MAX) / 2.0);
        let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        (shared.events)(NodeEvent::Disconnected { reason, retry_ms });
        tokio::select! {
            () = &mut shutdown => break,
            () = sleep(pause) => retry = (retry * 2).min(LAST_RETRY),
        }
    }
    endpoint.close(VarInt::from_u32(0), b"the node stops");
    endpoint.wait_idle().await;
    Ok(())
}

async fn connect(shared: &Shared, endpoint: &Endpoint) -> Result<Dialled, GreetingError> {
    let config = &shared.config;
    dial(endpoint, config.coordinator, config.coordinator_address, &shared.key, Some(shared.capabilities())).await
}

/// Trying again would only repeat these.
fn is_final(error: &GreetingError) -> bool {
    matches!(error, GreetingError::Stranger { .. } | GreetingError::Refused { .. })
}

/// How a connection ended.
enum Ended {
    /// After `shutdown`.
    Stopped,
    /// For this reason; a new one may last longer.
    Lost(String),
    /// Somebody else connected with this node's key.
    Replaced,
}

/// Serves one connection.
async fn hold(
    shared: &Arc<Shared>,
    dialled: Dialled,
    certificate: Certificate,
    shutdown: impl Future<Output = ()>,
) -> Ended {
    let Dialled { connection, mut control, replies: _replies, heartbeat } = dialled;
    let session = Arc::new(Session { shared: shared.clone(), connection: connection.clone(), certificate });
    let mut shutdown = std::pin::pin!(shutdown);
    let mut beats = interval(heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            _ = beats.tick() => {
                let active = shared.executing.busy();
                if let Err(error) = write_frame(&mut control, &ControlMessage::Heartbeat { active }).await {
                    return lost(&connection, chain(&error));
                }
            }
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => { tokio::spawn(lease::handle(session.clone(), send, receive)); }
                Err(error) => return lost(&connection, error.to_string()),
            },
        }
    }
    // No further leases; those accepted are finished.
    if write_frame(&mut control, &ControlMessage::Drain).await.is_ok() {
        let all = shared.admitted.acquire_many(shared.config.slots + QUEUE);
        if timeout(DRAIN, all).await.is_err() {
            tracing::warn!("leases were still running after {} s and are abandoned", DRAIN.as_secs());
        }
    }
    Ended::Stopped
}

fn lost(connection: &quinn::Connection, reason: String) -> Ended {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CLOSE_REPLACED.into() => Ended::Replaced,
        _ => Ended::Lost(reason),
    }
}
