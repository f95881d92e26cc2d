//! What nodes, coordinators and clients share on the way between them: QUIC endpoints with mutual TLS 1.3, identities bound to
//! connections, bounded frames, and blobs: a content-addressed store and their transfer.
//!
//! TLS certificates are self-signed, made anew by every process, and prove nothing by themselves. After the TLS handshake each end signs the
//! connection's exported keying material with its secp256k1 identity ([`dial`], [`greet`]); from then on the connection
//! speaks for that identity. Session resumption and 0-RTT are off: nothing can be replayed.

mod blobs;
mod endpoint;
mod frame;
mod greeting;
mod quiet;
mod seen;
mod tls;
mod together;

pub use blobs::{
    BlobError, BlobStore, FetchError, GiveError, MAX_BLOB, Partial, Pin, Source, TRANSFERS, fetch, give, serve,
};
pub use endpoint::{Certificate, EndpointError, client_endpoint, server_endpoint};
pub use frame::{FrameError, read_bytes, read_frame, write_bytes, write_frame};
pub use greeting::{Dialled, GreetingError, Guest, dial, greet};
pub use quiet::{Quiet, REDIAL, SILENCE};
pub use seen::Seen;
pub use together::{Together, signer};

use std::time::{SystemTime, UNIX_EPOCH};

/// Fresh randomness from the operating system, for nonces, leases, salts and keys.
///
/// # Panics
///
/// If the operating system has none: nothing sensible can be done without.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the operating system gives no randomness: {error}");
    }
    bytes
}

/// The wall clock in Unix milliseconds.
pub fn unix_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Cuts text that a peer sent to what may be stored and shown: at most [`depx_protocol::wire::MAX_REASON`] bytes, no control characters.
pub fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(depx_protocol::wire::MAX_REASON);
    text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An error with all its causes in one line, for peers and people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
