//! The first exchange on every connection: it proves identities.

use crate::bounded;
use crate::frame::{FrameError, read_frame, write_frame};
use crate::tls::SERVER_NAME;
use depx_protocol::wire::{ALPN_CLIENT, ALPN_NODE, Capabilities, EXPORTER_LABEL, Hello, Welcome};
use depx_protocol::{Address, ChannelProof, IdentityError, Role, SecretKey, VERSION};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use std::net::SocketAddr;
use std::time::Duration;

/// A handshake that takes longer is given up: several lost packets are repeated by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that has not greeted after so long is turned away.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a coordinator that has proven to be the expected one.
pub struct Dialled {
    /// The connection.
    pub connection: Connection,
    /// The control stream, to the coordinator.
    pub control: SendStream,
    /// The control stream, from the coordinator. Kept open: its end is the connection's.
    pub replies: RecvStream,
    /// How often the coordinator wants a heartbeat.
    pub heartbeat: Duration,
}

/// A peer that has proven who it is to a coordinator.
pub struct Guest {
    /// The connection.
    pub connection: Connection,
    /// Who dialled.
    pub address: Address,
    /// What a node can do; `None` for a client.
    pub capabilities: Option<Capabilities>,
    /// The control stream, from the peer.
    pub control: RecvStream,
    /// The control stream, to the peer.
    pub replies: SendStream,
}

/// A connection that did not get as far as two proven identities.
#[derive(Debug, thiserror::Error)]
pub enum GreetingError {
    /// The endpoint is closed or the address unusable.
    #[error("cannot dial")]
    Dial(#[from] quinn::ConnectError),
    /// Nothing there, or something that does not speak this protocol.
    #[error("{}", explain(.0))]
    Connect(#[from] quinn::ConnectionError),
    /// The exchange broke off.
    #[error("the greeting failed")]
    Frame(#[from] FrameError),
    /// The peer took too long.
    #[error("the peer did not greet within {} seconds", GREETING_TIMEOUT.as_secs())]
    Timeout,
    /// The connection cannot be bound to identities.
    #[error("TLS gave no keying material to sign")]
    Exporter,
    /// The peer could not prove its identity.
    #[error("the peer's identity is not bound to this connection")]
    Proof(#[from] IdentityError),
    /// Somebody else answers at the coordinator's address.
    #[error(
        "{answered} answers instead of coordinator {expected}; check the coordinator's address, or who is in between"
    )]
    Stranger {
        /// Who answered.
        answered: Address,
        /// Who should have.
        expected: Address,
    },
    /// The coordinator does not want this peer.
    #[error("the coordinator refused the connection: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The peer speaks another version.
    #[error("the peer speaks version {version} of the protocol, this program version {VERSION}; update the older one")]
    Version {
        /// The peer's.
        version: u16,
    },
    /// A node's greeting on a client's protocol, or the reverse.
    #[error("the peer's greeting does not fit the protocol that it chose")]
    Protocol,
}

fn explain(error: &quinn::ConnectionError) -> String {
    /// TLS alert 120, `no_application_protocol`, as a QUIC transport error code.
    const NO_APPLICATION_PROTOCOL: u64 = 0x178;
    let code = match error {
        quinn::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        quinn::ConnectionError::TransportError(error) => u64::from(error.code),
        quinn::ConnectionError::TimedOut => {
            return "nobody answers at this address; is the coordinator running, and UDP let through?".into();
        }
        _ => 0,
    };
    if code == NO_APPLICATION_PROTOCOL {
        return "the peer does not speak the DePX protocol (or another version of it)".into();
    }
    bounded(&format!("the connection was lost: {error}"))
}

/// Connects to a coordinator at `remote` that must prove to be `expected`.
pub async fn dial(
    endpoint: &Endpoint,
    remote: SocketAddr,
    expected: Address,
    key: &SecretKey,
    capabilities: Option<Capabilities>,
) -> Result<Dialled, GreetingError> {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, endpoint.connect(remote, SERVER_NAME)?).await;
    let connection = handshake.unwrap_or(Err(quinn::ConnectionError::TimedOut))?;
    let greeting = async {
        let role = if capabilities.is_some() { Role::Node } else { Role::Client };
        let exporter = exporter(&connection)?;
        let (mut control, mut replies) = connection.open_bi().await?;
        let proof = ChannelProof::sign(key, role, &exporter);
        write_frame(&mut control, &Hello { version: VERSION, proof, capabilities }).await?;
        match read_frame(&mut replies).await? {
            Welcome::Refused { reason } => Err(GreetingError::Refused { reason: bounded(&reason) }),
            Welcome::Accepted { proof, heartbeat_ms } => {
                let answered = proof.verify(Role::Coordinator, &exporter)?;
                if answered != expected {
                    return Err(GreetingError::Stranger { answered, expected });
                }
                let heartbeat = Duration::from_millis(heartbeat_ms.clamp(100, 60_000));
                Ok(Dialled { connection: connection.clone(), control, replies, heartbeat })
            }
        }
    };
    within_time(greeting).await
}

/// Greets whoever dialled: the coordinator's side of [`dial`].
pub async fn greet(connection: Connection, key: &SecretKey, heartbeat: Duration) -> Result<Guest, GreetingError> {
    within_time(async move {
        let exporter = exporter(&connection)?;
        let (mut replies, mut control) = connection.accept_bi().await?;
        let hello: Hello = read_frame(&mut control).await?;
        if hello.version != VERSION {
            let reason = format!("this coordinator speaks version {VERSION} of the protocol, not {}", hello.version);
            write_frame(&mut replies, &Welcome::Refused { reason }).await?;
            return Err(GreetingError::Version { version: hello.version });
        }
        let role = match protocol(&connection).as_deref() {
            Some(ALPN_NODE) if hello.capabilities.is_some() => Role::Node,
            Some(ALPN_CLIENT) if hello.capabilities.is_none() => Role::Client,
            _ => return Err(GreetingError::Protocol),
        };
        let address = hello.proof.verify(role, &exporter)?;
        let proof = ChannelProof::sign(key, Role::Coordinator, &exporter);
        let heartbeat_ms = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
        write_frame(&mut replies, &Welcome::Accepted { proof, heartbeat_ms }).await?;
        Ok(Guest { connection, address, capabilities: hello.capabilities, control, replies })
    })
    .await
}

async fn within_time<T>(greeting: impl Future<Output = Result<T, GreetingError>>) -> Result<T, GreetingError> {
    tokio::time::timeout(GREETING_TIMEOUT, greeting).await.map_err(|_| GreetingError::Timeout)?
}

fn exporter(connection: &Connection) -> Result<[u8; 32], GreetingError> {
    let mut exporter = [0; 32];
    connection.export_keying_material(&mut exporter, EXPORTER_LABEL, &[]).map_err(|_| GreetingError::Exporter)?;
    Ok(exporter)
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}
