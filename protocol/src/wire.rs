//! Messages between nodes, coordinators and clients, over QUIC streams.
//!
//! Every message is one frame: its length in bytes as a big-endian `u32`, at most [`MAX_FRAME`], then its canonical
//! encoding. Blobs and outputs follow a frame as raw bytes of the length which that frame states.
//!
//! Between a node and its coordinator (ALPN [`ALPN_NODE`]):
//! - the node opens the control stream: [`Hello`] →, ← [`Welcome`], then [`ControlMessage`] → for as long as it lasts;
//! - the coordinator opens a stream per lease: [`Offer`] →, then the conversation of [`LeaseMessage`] and
//!   [`LeaseReply`]; resetting the stream cancels;
//! - the node opens a stream per blob: [`GetBlob`] →, ← [`BlobReply`] and the bytes.
//!
//! Between a client and a coordinator (ALPN [`ALPN_CLIENT`]) the client opens the control stream with [`Hello`], then a stream per job:
//! [`SignedJobSpec`] →, ← [`ClientEvent`]s; it answers [`ClientEvent::Need`] with the named blobs' bytes in that order.

use crate::assignment::SignedAssignment;
use crate::bundle::ReceiptBundle;
use crate::cbor::Canonical;
use crate::hash::Hash;
use crate::identity::{Address, ChannelProof};
use crate::job::{Blob, DeterminismClass, SignedJobSpec};
use crate::receipt::SignedReceipt;
use crate::result::ResultCore;
use minicbor::{Decode, Encode};

/// Application protocol between nodes and coordinators.
pub const ALPN_NODE: &[u8] = b"depx/1";
/// Application protocol between clients and coordinators.
pub const ALPN_CLIENT: &[u8] = b"depx-client/1";
/// The longest frame in bytes: a job spec with all its lists full, and room to spare.
pub const MAX_FRAME: usize = 1 << 20;
/// The longest text that a peer may send for people to read, in bytes.
pub const MAX_REASON: usize = 1024;
/// The label under which TLS keying material is exported for a [`ChannelProof`].
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-depx-channel-v1";

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
    #[n(2)]
    pub capabilities: Option<Capabilities>,
}

impl Canonical for Hello {}

/// What a node can do.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Capabilities {
    /// The program's version, for people to read.
    #[n(0)]
    pub software: String,
    /// Jobs that it executes at a time.
    #[n(1)]
    pub slots: u32,
    /// The profile that it offers in each class.
    #[n(2)]
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
        #[n(0)]
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
    },
    /// No further offers, please: the node is about to stop.
    #[n(1)]
    Drain,
}

impl Canonical for ControlMessage {}

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
/// of the encoded [`crate::JobOutput`]; or `Refuse`, or at any time `Failed`.
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
        #[n(1)]
        detail: String,
    },
    /// The node itself failed; this says nothing about the job.
    #[n(2)]
    Failed {
        /// What happened, for people to read.
        #[n(0)]
        detail: String,
    },
    /// The commitment to a result.
    #[n(3)]
    Commit {
        /// [`crate::receipt::commitment`].
        #[n(0)]
        commit: Hash,
    },
    /// The result.
    #[n(4)]
    Reveal {
        /// What was executed.
        #[n(0)]
        result: ResultCore,
        /// Opens the commitment.
        #[cbor(n(1), with = "minicbor::bytes")]
        salt: [u8; 32],
        /// The node's statement.
        #[n(2)]
        receipt: SignedReceipt,
        /// How many bytes of output follow this frame.
        #[n(3)]
        output_len: u64,
    },
}

impl Canonical for LeaseMessage {}

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

/// A node asks for a blob.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GetBlob {
    /// Which.
    #[n(0)]
    pub hash: Hash,
}

impl Canonical for GetBlob {}

/// The answer to [`GetBlob`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum BlobReply {
    /// So many bytes follow.
    #[n(0)]
    Found {
        /// Bytes.
        #[n(0)]
        len: u64,
    },
    /// The coordinator does not have it.
    #[n(1)]
    Missing,
}

impl Canonical for BlobReply {}

/// What a client hears about its job.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ClientEvent {
    /// These blobs are missing: send their bytes, in this order, without frames.
    #[n(0)]
    Need {
        /// Empty if nothing is missing.
        #[n(0)]
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
        #[n(1)]
        detail: String,
    },
    /// A node has revealed.
    #[n(4)]
    Vote {
        /// Everything about it.
        #[n(0)]
        bundle: ReceiptBundle,
    },
    /// The job is over: so many bytes of output follow this frame.
    #[n(5)]
    Agreed {
        /// The hash that won.
        #[n(0)]
        result: Hash,
        /// Who voted otherwise.
        #[n(1)]
        dissenters: Vec<Address>,
        /// Length of the encoded [`crate::JobOutput`].
        #[n(2)]
        output_len: u64,
    },
    /// The job is over without a result.
    #[n(6)]
    Failed {
        /// Why, for people to read.
        #[n(0)]
        reason: String,
    },
}

impl Canonical for ClientEvent {}
