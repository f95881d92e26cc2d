//! QUIC endpoints with the project's limits.

use crate::tls::SelfSigned;
use depx_protocol::{Hash, SecretKey, sha256};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// SHA-256 of the certificate that an endpoint shows: the `session_key` of the receipts signed over its connections.
pub type Certificate = Hash;

/// A connection over which nothing arrives for so long is dead; half of it at the longest passes between keep-alives.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Streams that a peer may have open at once: as many leases or blobs as one node could sensibly work on.
const MAX_STREAMS: u32 = 1024;
/// Bytes that a peer may send ahead of the reader, per stream and per connection: a few frames, and blobs at full speed.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// An endpoint that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The socket.
    #[error("cannot open UDP address {address}; is it this machine's, and used by no other program?")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate.
    #[error("cannot make a TLS certificate")]
    Certificate(#[from] rcgen::Error),
    /// The TLS configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// A cipher suite that QUIC needs is missing.
    #[error("cannot set up TLS for QUIC")]
    Suite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// An endpoint that accepts connections speaking one of `protocols` at `address`. Peers whose connection it does not know, because it was
/// started anew with the same `key`, are told so at once (stateless reset, RFC 9000 section 10.3).
pub fn server_endpoint(
    address: SocketAddr,
    protocols: &[&[u8]],
    key: &SecretKey,
) -> Result<(Endpoint, Certificate), EndpointError> {
    let identity = SelfSigned::generate()?;
    let certificate = sha256(&identity.certificate);
    let tls = QuicServerConfig::try_from(identity.server(protocols)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    let endpoint = UdpSocket::bind(address)
        .and_then(|socket| Endpoint::new(recognisable(key), Some(config), socket, Arc::new(TokioRuntime)))
        .map_err(|source| EndpointError::Bind { address, source })?;
    Ok((endpoint, certificate))
}

/// An endpoint that dials and speaks `protocol`.
pub fn client_endpoint(protocol: &[u8]) -> Result<(Endpoint, Certificate), EndpointError> {
    let identity = SelfSigned::generate()?;
    let certificate = sha256(&identity.certificate);
    let tls = QuicClientConfig::try_from(identity.client(protocol)?)?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(transport());
    // A socket of IPv6 reaches both; where the system has none, IPv4 it is.
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        .or_else(|_| Endpoint::client(address))
        .map_err(|source| EndpointError::Bind { address, source })?;
    endpoint.set_default_client_config(config);
    Ok((endpoint, certificate))
}

/// Connection identifiers and reset tokens that another endpoint with this key knows for its own.
fn recognisable(key: &SecretKey) -> EndpointConfig {
    let reset = key.derive("depx 2026-11-22 QUIC stateless reset");
    let [a, b, c, d, e, f, g, h, ..] = key.derive("depx 2026-11-22 QUIC connection identifiers");
    let identifiers = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(identifiers)));
    config
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(IdleTimeout::try_from(IDLE_TIMEOUT).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(MAX_STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into());
    Arc::new(config)
}
