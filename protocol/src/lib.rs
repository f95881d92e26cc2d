//! What the parties of a DePX network say to each other, and how anyone checks it.
//!
//! A client signs a [`JobSpec`]; a coordinator leases it to a node with a signed [`Assignment`]; the node executes it
//! and derives a [`ResultCore`], whose hash is its vote. It first publishes a [commitment](receipt::commitment) to that
//! hash, and only later reveals it together with a [`SignedReceipt`]. A [`ReceiptBundle`] holds all of these, and
//! [`ReceiptBundle::verify`] checks them offline.
//!
//! Everything here is pure: no IO, no clock, no randomness of its own. The crate builds for `wasm32-unknown-unknown`.
//! The encoding is described for other languages in `protocol/cddl/depx.cddl`.

mod assignment;
mod batch;
mod bundle;
mod calls;
mod cbor;
mod consensus;
mod hash;
mod identity;
mod job;
pub mod merkle;
mod outcome;
pub mod receipt;
mod result;
mod snapshot;
mod tensors;
pub mod wire;

pub use assignment::{Assignment, AssignmentError, LeaseId, Settlement, SignedAssignment};
pub use batch::{BatchSignature, Sign};
pub use bundle::{BundleError, ReceiptBundle, Verified};
pub use calls::{HostCallLeaf, HostCallLog};
pub use cbor::{Canonical, DecodeError};
pub use consensus::{Consistency, Decision, Tally};
pub use hash::{Hash, Tag, blob_hash, sha256};
pub use identity::{Address, ChannelProof, IdentityError, Role, SecretKey, Signature};
pub use job::{
    Blob, DeterminismClass, InputFile, InputHasher, ItemPack, JobInput, JobSpec, Limits, ModelRef, Program,
    SignedJobSpec, SpecError,
};
pub use outcome::ResultBuilder;
pub use receipt::{ReceiptBody, SignedReceipt, sign_batch};
pub use result::{InferenceLeaf, ItemLeaf, ItemOutput, JobOutput, OutputError, OutputFile, ResultCore, Status};
pub use snapshot::{Snapshot, SnapshotGlobal};
pub use tensors::{RawTensor, TensorPack, TensorType};

/// The version of every structure in this crate, and of the wire protocol.
pub const VERSION: u16 = 1;
