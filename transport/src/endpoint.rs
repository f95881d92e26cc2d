//! QUIC endpoints with the project's limits.

use crate::tls::SelfSigned;
use depx_protocol::{Hash, sha256};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
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

/// An endpoint that accepts connections speaking one of `protocols` at `address`.
pub fn server_endpoint(address: SocketAddr, protocols: &[&[u8]]) -> Result<(Endpoint, Certificate), EndpointError> {
    let identity = SelfSigned::generate()?;
    let certificate = sha256(&identity.certificate);
    let tls = QuicServerConfig::try_from(identity.server(protocols)?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, address).map_err(|source| EndpointError::Bind { address, source })?;
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
