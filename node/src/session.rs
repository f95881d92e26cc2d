//! One connection to a coordinator after another.

use crate::vitals::Vital;
use crate::{Coordinator, NodeError, NodeEvent, QUEUE, Shared, Stop, lease};
use depx_protocol::wire::{CLOSE_MOVED, CLOSE_REPLACED, ControlMessage, ControlReply};
use depx_transport::{
    Certificate, Dialled, FrameError, GreetingError, Quiet, REDIAL, SILENCE, chain, dial, random, read_frame,
    write_frame,
};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream};
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Pauses before dialling again: doubled after every failure, and each drawn from the upper half of its span so that nodes that lost
/// the same coordinator do not all come back at once.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Accepted leases may take so long to finish when the node is to stop soon.
const DRAIN: Duration = Duration::from_secs(30);
/// A coordinator offers again, so soon after a node has connected, what it still wants.
const OFFERED_AGAIN: Duration = Duration::from_secs(10);

/// What the leases of one connection share.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) connection: Connection,
    pub(crate) certificate: Certificate,
}

/// Keeps a session with a coordinator until `stopped`, and the leases that it has are over.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    coordinator: &Arc<Coordinator>,
    (endpoint, certificate): (&Endpoint, Certificate),
    mut stopped: watch::Receiver<Stop>,
) -> Result<(), NodeError> {
    let mut retry = FIRST_RETRY;
    let mut dialled = None;
    loop {
        let connecting = async {
            match dialled.take() {
                Some(dialled) => Ok(dialled),
                None => connect(shared, coordinator, endpoint).await,
            }
        };
        let reason = tokio::select! {
            biased;
            connected = connecting => match connected {
                Ok(connected) => {
                    retry = FIRST_RETRY;
                    if coordinator.link.connected() {
                        shared.metrics.reconnects.inc();
                    }
                    (shared.events)(NodeEvent::Connected { coordinator: coordinator.address });
                    match hold(shared, coordinator, connected, (endpoint, certificate), &mut stopped).await {
                        Ended::Moved(anew) => {
                            dialled = Some(anew);
                            continue;
                        }
                        Ended::Lost(reason) => reason,
                        Ended::Replaced => {
                            let error = NodeError::Replaced { address: shared.key.address() };
                            coordinator.link.lost(&chain(&error));
                            return Err(error);
                        }
                        Ended::Stopped => return Ok(()),
                    }
                }
                Err(error) if is_final(&error) => {
                    coordinator.link.lost(&chain(&error));
                    return Err(NodeError::Rejected(error));
                }
                Err(error) => chain(&error),
            },
            () = until(&mut stopped) => {
                finish(shared, coordinator, stopped).await;
                return Ok(());
            }
        };
        coordinator.link.lost(&reason);
        let pause = retry / 2 + retry.mul_f64(f64::from(u16::from_ne_bytes(random())) / f64::from(u16::MAX) / 2.0);
        let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        (shared.events)(NodeEvent::Disconnected { coordinator: coordinator.address, reason, retry_ms });
        tokio::select! {
            () = until(&mut stopped) => {
                finish(shared, coordinator, stopped).await;
                return Ok(());
            }
            () = sleep(pause) => retry = (retry * 2).min(LAST_RETRY),
        }
    }
}

/// Also the end of whoever could say so.
async fn until(stopped: &mut watch::Receiver<Stop>) {
    let _ = stopped.wait_for(|stop| *stop != Stop::No).await;
}

/// Waits until the accepted leases are over, but not for long if the node is to stop soon.
async fn finish(shared: &Shared, coordinator: &Coordinator, mut stopped: watch::Receiver<Stop>) {
    let deadline = async {
        let _ = stopped.wait_for(|stop| *stop == Stop::Soon).await;
        sleep(DRAIN).await;
    };
    tokio::select! {
        _ = coordinator.admitted.acquire_many(shared.config.slots + QUEUE) => {}
        () = deadline => tracing::warn!(
            "leases were still running after {} s; they are taken up at the next start",
            DRAIN.as_secs()
        ),
    }
}

async fn connect(shared: &Shared, coordinator: &Coordinator, endpoint: &Endpoint) -> Result<Dialled, GreetingError> {
    dial(endpoint, coordinator.remote, coordinator.address, &shared.key, Some(shared.capabilities())).await
}

/// Trying again would only repeat these.
fn is_final(error: &GreetingError) -> bool {
    matches!(error, GreetingError::Stranger { .. } | GreetingError::Refused { .. })
}

/// How a connection ended.
enum Ended {
    /// When the node stopped.
    Stopped,
    /// For this reason; a new one may last longer.
    Lost(String),
    /// The coordinator answers on a new one, and not on this one.
    Moved(Dialled),
    /// Somebody else connected with this node's key.
    Replaced,
}

/// Serves one connection.
async fn hold(
    shared: &Arc<Shared>,
    coordinator: &Arc<Coordinator>,
    dialled: Dialled,
    (endpoint, certificate): (&Endpoint, Certificate),
    stopped: &mut watch::Receiver<Stop>,
) -> Ended {
    let Dialled { connection, mut control, replies, heartbeat } = dialled;
    let session = Arc::new(Session {
        shared: shared.clone(),
        coordinator: coordinator.clone(),
        connection: connection.clone(),
        certificate,
    });
    let mut beats = interval(heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = pin!(listen(replies));
    let mut offered = pin!(sleep(OFFERED_AGAIN));
    let mut asked_for_all = false;
    let mut quiet = Quiet::watch(&connection);
    let mut redial = None;
    let mut finishing = None;
    let lost = loop {
        let beat = tokio::select! {
            () = until(stopped), if finishing.is_none() => {
                // No further leases; those accepted are finished, over this connection or the next.
                if let Err(error) = write_frame(&mut control, &ControlMessage::Drain).await {
                    break Some(chain(&error));
                }
                finishing = Some(Box::pin(finish(shared, coordinator, stopped.clone())));
                false
            }
            () = maybe(&mut finishing) => break None,
            _ = beats.tick() => true,
            silence = quiet.look() => {
                if silence < REDIAL {
                    redial = None;
                } else if redial.is_none() {
                    redial = Some(Box::pin(connect(shared, coordinator, endpoint)));
                }
                // Finds out as soon as the path is back, when QUIC itself would wait for twice as long after each attempt.
                silence >= SILENCE
            }
            dialled = maybe(&mut redial) => {
                redial = None;
                if let Ok(dialled) = dialled {
                    connection.close(CLOSE_MOVED.into(), b"the node has connected again");
                    return Ended::Moved(dialled);
                }
                false
            }
            stream = connection.accept_bi() => match stream {
                Ok((send, receive)) => {
                    tokio::spawn(lease::handle(session.clone(), send, receive));
                    false
                }
                Err(error) => break Some(error.to_string()),
            },
            error = &mut heard => break Some(chain(&error)),
            () = &mut offered, if !asked_for_all => {
                asked_for_all = true;
                give_up(shared, coordinator);
                false
            }
        };
        if beat && let Err(error) = write_frame(&mut control, &beat_of(shared)).await {
            break Some(chain(&error));
        }
    };
    if let Some(reason) = lost {
        // A coordinator that takes the new connection closes this one.
        return match redial {
            Some(redial) => redial.await.map_or(Ended::Lost(reason), Ended::Moved),
            None => ended(&connection, reason),
        };
    }
    Ended::Stopped
}

fn beat_of(shared: &Shared) -> ControlMessage {
    let Vital { load, memory } = shared.vitals.look();
    ControlMessage::Heartbeat { active: shared.executing.busy(), queued: shared.executing.queued(), load, memory }
}

fn ended(connection: &Connection, reason: String) -> Ended {
    match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CLOSE_REPLACED.into() => Ended::Replaced,
        _ => Ended::Lost(reason),
    }
}

/// Reads the coordinator's replies, for as long as it sends any.
async fn listen(mut replies: RecvStream) -> FrameError {
    loop {
        match read_frame(&mut replies).await {
            Ok(ControlReply::Alive { .. }) => {}
            Err(error) => return error,
        }
    }
}

/// What comes of `work` if there is any.
async fn maybe<T>(work: &mut Option<Pin<Box<impl Future<Output = T>>>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

/// What the coordinator has not offered again by now, it does not want any more.
fn give_up(shared: &Shared, coordinator: &Coordinator) {
    shared.leases.cancel_detached(coordinator.address);
    if let Err(error) = shared.journal.give_up(coordinator.address, |lease| shared.leases.is_attached(lease)) {
        tracing::warn!(error = chain(&error), "leases that nobody wants any more stay in the journal");
    }
}
