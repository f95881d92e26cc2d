//! How a peer finds out that a connection may be dead, sooner than QUIC does.

use quinn::Connection;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A connection over which nothing has come for so long may be cut off: keep-alives alone come more often.
pub const SILENCE: Duration = Duration::from_secs(3);
/// After so much silence the peer may have been started anew, and not know this connection.
pub const REDIAL: Duration = Duration::from_secs(6);
/// How often to look, while all is well and in silence.
const SETTLED: Duration = Duration::from_secs(1);
const SILENT: Duration = Duration::from_millis(250);

/// For how long nothing has come over a connection.
pub struct Quiet<'a> {
    connection: &'a Connection,
    datagrams: u64,
    since: Instant,
}

impl<'a> Quiet<'a> {
    /// From now on.
    pub fn watch(connection: &'a Connection) -> Self {
        Self { connection, datagrams: connection.stats().udp_rx.datagrams, since: Instant::now() }
    }

    /// After a while, how long the silence is.
    pub async fn look(&mut self) -> Duration {
        let left = SILENCE.saturating_sub(self.since.elapsed());
        sleep(left.clamp(SILENT, SETTLED)).await;
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if datagrams != self.datagrams {
            (self.datagrams, self.since) = (datagrams, Instant::now());
        }
        self.since.elapsed()
    }
}
