//! Messages between nodes, coordinators and clients, over QUIC streams.
//!
//! Every message is one frame: its length in bytes as a big-endian `u32`, at most [`MAX_FRAME`], then its canonical
//! encoding. Outputs follow a frame as raw bytes of the length which that frame states.
//!
//! Between a node and its coordinator (ALPN [`ALPN_NODE`]):
//! - the node opens the control stream: [`Hello`] →, ← [`Welcome`], then [`ControlMessage`] → and ← [`ControlReply`] for as long as it
//!   lasts;
//! - the coordinator opens a stream per lease: [`Offer`] →, then the conversation of [`LeaseMessage`] and
//!   [`LeaseReply`]; resetting the stream cancels; a lease whose connection was lost is offered again, with the same name, over the next
//!   one, and goes on from where the node is with it;
//! - the node opens a stream per blob: [`GetBlob`] →, ← [`BlobReply`] and what was asked for.
//!
//! Between a client and a coordinator (ALPN [`ALPN_CLIENT`]) the client opens the control stream with [`Hello`], then a stream per job:
//! [`SignedJobSpec`] →, ← [`ClientEvent`]s; after [`ClientEvent::Need`], which comes first if anything is missing, the coordinator opens
//! a stream per blob: [`GetBlob`] →, ← [`BlobReply`] and what was asked for.

mod blobs;

pub use blobs::{BlobReply, GROUP, GetBlob, GroupRange, MAX_RANGES, WINDOW};

use crate::assignment::SignedAssignment;
use crate::bundle::ReceiptBundle;
use crate::cbor::{self, Canonical};
use crate::consensus::Consistency;
use crate::hash::Hash;
use crate::identity::{Address, ChannelProof};
use crate::job::{Blob, DeterminismClass, JobSpec, SignedJobSpec};
use crate::receipt::SignedReceipt;
use crate::result::ResultCore;
use minicbor::{Decode, Encode};

/// Application protocol between nodes and coordinators.
pub const ALPN_NODE: &[u8] = b"depx/1";
/// Application protocol between clients and coordinators.
pub const ALPN_CLIENT: &[u8] = b"depx-client/1";
/// The longest frame in bytes: a job spec with all its lists full, and room to spare.
pub const MAX_FRAME: usize = 1 << 20;
/// The longest text that a peer may send for people to read, in bytes: enough for an error and its causes, and no harm to
/// a log. Longer text is cut when it is encoded and refused when it is decoded.
pub const MAX_REASON: usize = 1024;
/// The label under which TLS keying material is exported for a [`ChannelProof`].
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-depx-channel-v1";

/// The application error code with which a connection is closed whose identity has connected again.
pub const CLOSE_REPLACED: u32 = 1;
/// The application error code with which a peer closes a connection to go on over another one; what it had submitted, it still wants.
pub const CLOSE_MOVED: u32 = 2;

/// Length of the prefix that announces a frame, in bytes.
pub const FRAME_PREFIX: usize = 4;

/// The length in bytes of the frame that `prefix` announces: 1 to [`MAX_FRAME`]. To be checked before anything is
/// allocated.
pub fn frame_len(prefix: [u8; FRAME_PREFIX]) -> Result<usize, FrameError> {
    match u32::from_be_bytes(prefix) as usize {
        0 => Err(FrameError::Empty),
        len if len > MAX_FRAME => Err(FrameError::TooLong { len }),
        len => Ok(len),
    }
}

/// `message` as one frame, prefix included.
pub fn frame<T: Canonical>(message: &T) -> Result<Vec<u8>, FrameError> {
    let body = message.to_bytes();
    let prefix = u32::try_from(body.len()).map_err(|_| FrameError::TooLong { len: body.len() })?.to_be_bytes();
    frame_len(prefix)?;
    Ok([&prefix[..], &body].concat())
}

/// A length that no frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Every message has at least one byte.
    #[error("a frame of no bytes is not a message; the peer may speak another protocol")]
    Empty,
    /// Over the limit.
    #[error(
        "a frame of {len} bytes is over the limit of {MAX_FRAME}; larger data travels as blobs, or the peer speaks \
         another protocol"
    )]
    TooLong {
        /// Announced, or needed, bytes.
        len: usize,
    },
}

/// The most profiles that a node may offer: a few classes, times a few devices.
pub const MAX_PROFILES: usize = 64;
/// The most blobs that one job can lack: its module, its input, and both its lists of named blobs full.
pub const MAX_NEEDED: usize = 2 + 2 * JobSpec::MAX_ENTRIES;
/// The most voters that can be named: the largest committee.
const MAX_VOTERS: usize = Consistency::Strong.committee();

/// First message of whoever dialled.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// [`crate::VERSION`].
    #[n(0)]
    pub version: u16,
    /// Who dials.
    #[n(1)]
    pub proof: ChannelProof,
    /// What a node can do; `None` for a client.
    #[cbor(n(2), encode_with = "Encode::encode", is_nil = "cbor::never_nil")]
    pub capabilities: Option<Capabilities>,
}

impl Canonical for Hello {}

/// What a node can do.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Capabilities {
    /// The program's version, for people to read.
    #[cbor(n(0), with = "reason")]
    pub software: String,
    /// Jobs that it executes at a time.
    #[n(1)]
    pub slots: u32,
    /// The profile that it offers in each class.
    #[cbor(n(2), decode_with = "cbor::list::<_, _, MAX_PROFILES>")]
    pub profiles: Vec<(DeterminismClass, Hash)>,
}

/// The coordinator's answer to [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Welcome {
    /// Come in.
    #[n(0)]
    Accepted {
        /// Who answers.
        #[n(0)]
        proof: ChannelProof,
        /// How often a node should send a [`ControlMessage::Heartbeat`].
        #[n(1)]
        heartbeat_ms: u64,
    },
    /// Stay out.
    #[n(1)]
    Refused {
        /// Why, for people to read.
        #[cbor(n(0), with = "reason")]
        reason: String,
    },
}

impl Canonical for Welcome {}

/// What a node says on its control stream after [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ControlMessage {
    /// Still here.
    #[n(0)]
    Heartbeat {
        /// Jobs being executed.
        #[n(0)]
        active: u32,
        /// Jobs that wait for a slot.
        #[n(1)]
        queued: u32,
        /// How busy the machine's processors were since the last heartbeat, in thousandths of all of them.
        #[n(2)]
        load: u16,
        /// Bytes of memory that programs can have.
        #[n(3)]
        memory: u64,
    },
    /// No further offers, please: the node is about to stop.
    #[n(1)]
    Drain,
}

impl Canonical for ControlMessage {}

/// What a coordinator says on a node's control stream after [`Welcome`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ControlReply {
    /// The answer to every [`ControlMessage::Heartbeat`]: what was lost on the way back is repeated as soon as this gets through.
    #[n(0)]
    Alive {
        /// The coordinator's clock, Unix milliseconds.
        #[n(0)]
        time_ms: u64,
    },
}

impl Canonical for ControlReply {}

/// The coordinator offers a lease.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Offer {
    /// The job.
    #[n(0)]
    pub job: SignedJobSpec,
    /// The lease.
    #[n(1)]
    pub assignment: SignedAssignment,
}

impl Canonical for Offer {}

/// What a node says on a lease's stream: `Accept`, then `Commit`, and after [`LeaseReply::Open`] `Reveal` and the bytes
/// of the encoded [`crate::JobOutput`]; or `Refuse`, or at any time `Failed`. `Accept` can be left out by a node that goes on at once. Where
/// one executor's word is enough ([`Consistency::commits`]) nobody could copy a result, and `Reveal` comes without the two before it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LeaseMessage {
    /// The node will execute.
    #[n(0)]
    Accept,
    /// The node will not.
    #[n(1)]
    Refuse {
        /// Why.
        #[n(0)]
        reason: RefuseReason,
        /// Why, for people to read.
        #[cbor(n(1), with = "reason")]
        detail: String,
    },
    /// The node itself failed; this says nothing about the job.
    #[n(2)]
    Failed {
        /// What happened, for people to read.
        #[cbor(n(0), with = "reason")]
        detail: String,
    },
    /// The commitment to a result.
    #[n(3)]
    Commit {
        /// [`crate::receipt::commitment`].
        #[n(0)]
        commit: Hash,
    },
    /// The result; its output follows.
    #[n(4)]
    Reveal(#[n(0)] Box<Reveal>),
}

impl Canonical for LeaseMessage {}

/// A node opens its commitment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Reveal {
    /// What was executed.
    #[n(0)]
    pub result: ResultCore,
    /// Opens the commitment.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// The node's statement.
    #[n(2)]
    pub receipt: SignedReceipt,
    /// How many bytes of output follow this frame.
    #[n(3)]
    pub output_len: u64,
}

impl Canonical for Reveal {}

/// Why a node does not take a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum RefuseReason {
    /// All slots are taken.
    #[n(0)]
    Busy,
    /// The assignment or the job spec is not valid: badly signed, expired, for somebody else.
    #[n(1)]
    Invalid,
    /// The lease was seen before.
    #[n(2)]
    Replayed,
    /// The job asks for more than this node allows.
    #[n(3)]
    OverLimit,
    /// The node does not offer this class and profile.
    #[n(4)]
    Unsupported,
    /// The node is about to stop.
    #[n(5)]
    Draining,
}

/// What the coordinator says on a lease's stream after [`Offer`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum LeaseReply {
    /// Every commitment is in: reveal.
    #[n(0)]
    Open,
    /// The receipt is stored; the lease is over.
    #[n(1)]
    Done,
}

impl Canonical for LeaseReply {}

/// What a client hears about its job.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ClientEvent {
    /// These blobs are missing: the coordinator will ask for them.
    #[n(0)]
    Need {
        /// Which.
        #[cbor(n(0), decode_with = "cbor::list::<_, _, MAX_NEEDED>")]
        blobs: Vec<Blob>,
    },
    /// The job is accepted.
    #[n(1)]
    Queued {
        /// Its identity.
        #[n(0)]
        job: Hash,
    },
    /// A node has accepted a lease.
    #[n(2)]
    Dispatched {
        /// Which node.
        #[n(0)]
        executor: Address,
    },
    /// A node did not deliver; another will be asked if there is one.
    #[n(3)]
    NoShow {
        /// Which node.
        #[n(0)]
        executor: Address,
        /// Why, for people to read.
        #[cbor(n(1), with = "reason")]
        detail: String,
    },
    /// A node has revealed.
    #[n(4)]
    Vote {
        /// All that the client does not know yet.
        #[n(0)]
        vote: Box<Vote>,
    },
    /// The job is over: so many bytes of output follow this frame.
    #[n(5)]
    Agreed {
        /// The hash that won.
        #[n(0)]
        result: Hash,
        /// Who voted otherwise.
        #[cbor(n(1), decode_with = "cbor::list::<_, _, MAX_VOTERS>")]
        dissenters: Vec<Address>,
        /// Length of the encoded [`crate::JobOutput`].
        #[n(2)]
        output_len: u64,
    },
    /// The job is over without a result.
    #[n(6)]
    Failed {
        /// Why, for people to read.
        #[cbor(n(0), with = "reason")]
        reason: String,
    },
}

impl Canonical for ClientEvent {}

/// What a node revealed, and its right to.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Vote {
    /// To whom the job was leased.
    #[n(0)]
    pub assignment: SignedAssignment,
    /// What came out.
    #[n(1)]
    pub result: ResultCore,
    /// Opens the commitment.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// Who says so.
    #[n(3)]
    pub receipt: SignedReceipt,
}

impl Vote {
    /// With the job that it is about.
    pub fn into_bundle(self, job: SignedJobSpec) -> ReceiptBundle {
        let Self { assignment, result, salt, receipt } = self;
        ReceiptBundle { job, assignment, result, salt, receipt }
    }
}

/// Text for people to read: at most [`MAX_REASON`] bytes.
mod reason {
    use super::MAX_REASON;
    use minicbor::decode::{self, Decoder};
    use minicbor::encode::{self, Encoder, Write};

    pub(super) fn encode<C, W: Write>(
        text: &str,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&text[..text.floor_char_boundary(MAX_REASON)])?.ok()
    }

    pub(super) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<String, decode::Error> {
        let position = decoder.position();
        let text = decoder.str()?;
        if text.len() > MAX_REASON {
            return Err(decode::Error::message("the text for people to read is too long").at(position));
        }
        Ok(text.to_owned())
    }
}
