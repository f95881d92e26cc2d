//! What systemd is told of a node that it started, by the socket that it named in the environment; else nothing.

use sd_notify::NotifyState;
use std::convert::Infallible;

pub(super) fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told how this node is: {error}");
    }
}

/// Says that the node is alive, twice in each span after which systemd would take it for dead; never ends.
pub(super) async fn keep_alive() -> Infallible {
    let Some(span) = sd_notify::watchdog_enabled().filter(|span| !span.is_zero()) else {
        return std::future::pending().await;
    };
    let mut beats = tokio::time::interval(span / 2);
    loop {
        beats.tick().await;
        // systemd may be slow to read, and jobs do not wait for it.
        let _ = tokio::task::spawn_blocking(|| tell(NotifyState::Watchdog)).await;
    }
}
