//! What executing a job gives: the same on every honest node, bit for bit.

use crate::cbor::{self, Canonical, DecodeError};
use crate::hash::{Hash, Tag};
use crate::job::{DeterminismClass, JobSpec};
use crate::{HostCallLog, ResultBuilder, merkle};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// How an execution ended, as far as the guest is concerned. A node's own failures are never a status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// Returned from `_start`, or exited with code 0.
    #[n(0)]
    Success,
    /// Exited with the code in `code`.
    #[n(1)]
    ExitCode,
    /// Trapped; `code` is a trap code of `depx-host-abi`.
    #[n(2)]
    Trap,
    /// Used all its fuel.
    #[n(3)]
    OutOfFuel,
    /// Exceeded the limit that `code` names, a limit code of `depx-host-abi`.
    #[n(4)]
    LimitExceeded,
    /// The module cannot be executed; `code` says why, a refusal code of `depx-host-abi`.
    #[n(5)]
    InvalidModule,
    /// A declared model cannot be loaded; `code` says why.
    #[n(6)]
    InvalidModel,
    /// The input blob is not what the spec says it is.
    #[n(7)]
    InvalidInput,
    /// The item is not what the job's model takes; `code` says why.
    #[n(8)]
    InvalidItem,
}

impl Status {
    /// Whether the job could not be executed at all, so that there are no items.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::InvalidModule | Self::InvalidModel | Self::InvalidInput => true,
            Self::Success | Self::ExitCode | Self::Trap | Self::OutOfFuel | Self::LimitExceeded | Self::InvalidItem => {
                false
            }
        }
    }
}

/// The vote: what all honest executors of one job within one profile agree on. No time, no machine.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ResultCore {
    /// [`crate::VERSION`].
    #[n(0)]
    pub version: u16,
    /// The job's identity.
    #[n(1)]
    pub job: Hash,
    /// The class within which this result is compared.
    #[n(2)]
    pub class: DeterminismClass,
    /// The execution profile.
    #[n(3)]
    pub profile: Hash,
    /// Of the first item that did not succeed, or `Success`.
    #[n(4)]
    pub status: Status,
    /// Exit, trap, limit or refusal code that belongs to `status`; 0 on success.
    #[n(5)]
    pub code: u32,
    /// By all items together and by the initialisation, in units of the fuel schedule.
    #[n(6)]
    pub fuel_used: u64,
    /// The largest linear memory of any item, in pages of 64 KiB.
    #[n(7)]
    pub peak_memory_pages: u32,
    /// Number of items; 1 for a compute job; 0 if nothing could be executed.
    #[n(8)]
    pub item_count: u64,
    /// Tree over the items' inputs.
    #[n(9)]
    pub input_root: Hash,
    /// Tree over the items' output hashes.
    #[n(10)]
    pub output_root: Hash,
    /// Bytes of output of all items together.
    #[n(11)]
    pub output_len: u64,
    /// Tree over the canonical [`ItemLeaf`]s.
    #[n(12)]
    pub items_root: Hash,
    /// Tree over the roots of the items' host-call logs.
    #[n(13)]
    pub host_calls_root: Hash,
    /// Tree over the canonical [`InferenceLeaf`]s of all items.
    #[n(14)]
    pub inference_root: Hash,
    /// Of the [`crate::Snapshot`] that items start from; [`Hash::ZERO`] where they start from the module itself.
    #[n(15)]
    pub snapshot: Hash,
    /// What the initialisation that left the snapshot used, once for the job; 0 where there is none.
    #[n(16)]
    pub snapshot_fuel: u64,
}

impl Canonical for ResultCore {}

impl ResultCore {
    /// The hash that is voted on.
    pub fn hash(&self) -> Hash {
        Tag::Result.hash(&[&self.to_bytes()])
    }

    /// The same result of items that started from a snapshot, whose fuel is paid for once.
    pub fn starting_from(self, snapshot: Hash, fuel: u64) -> Self {
        Self { snapshot, snapshot_fuel: fuel, fuel_used: self.fuel_used.saturating_add(fuel), ..self }
    }
}

/// What one item's execution came to.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ItemLeaf {
    /// Position in the batch, from 0.
    #[n(0)]
    pub index: u64,
    /// How it ended.
    #[n(1)]
    pub status: Status,
    /// The code that belongs to `status`.
    #[n(2)]
    pub code: u32,
    /// Units of the fuel schedule.
    #[n(3)]
    pub fuel_used: u64,
    /// Pages of 64 KiB.
    #[n(4)]
    pub peak_memory_pages: u32,
    /// [`ItemOutput::output_hash`].
    #[n(5)]
    pub output: Hash,
    /// Bytes of standard output and output files together.
    #[n(6)]
    pub output_len: u64,
    /// Bytes written to standard error, those that were dropped included.
    #[n(7)]
    pub log_len: u64,
    /// What it called of its host.
    #[n(8)]
    pub host_calls: HostCallLog,
}

impl Canonical for ItemLeaf {}

/// One call of a model.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct InferenceLeaf {
    /// The item that called.
    #[n(0)]
    pub item: u64,
    /// The model's blob hash.
    #[n(1)]
    pub model: Hash,
    /// Hash over the input tensors.
    #[n(2)]
    pub input: Hash,
    /// Hash over the output tensors.
    #[n(3)]
    pub output: Hash,
    /// Fuel charged for the call.
    #[n(4)]
    pub fuel: u64,
}

impl Canonical for InferenceLeaf {}

/// A file that a guest wrote under its output directory.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OutputFile {
    /// Path below the output directory.
    #[n(0)]
    pub path: String,
    /// Its content.
    #[n(1)]
    pub content: ByteVec,
}

/// Everything that one item produced.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ItemOutput {
    /// The item's leaf.
    #[n(0)]
    pub leaf: ItemLeaf,
    /// Standard output.
    #[n(1)]
    pub stdout: ByteVec,
    /// Output files, sorted by path.
    #[n(2)]
    pub files: Vec<OutputFile>,
}

impl ItemOutput {
    /// The root of a tree over standard output, then each file's path and content. A tree even where there are no files: a
    /// plain hash of standard output could be made to equal the root over some files.
    pub fn output_hash(stdout: &[u8], files: &[OutputFile]) -> Hash {
        let mut tree = merkle::TreeBuilder::new();
        tree.push(stdout);
        for file in files {
            tree.push(file.path.as_bytes());
            tree.push(&file.content);
        }
        tree.root()
    }

    /// Bytes of standard output and files together.
    pub fn output_len(stdout: &[u8], files: &[OutputFile]) -> u64 {
        stdout.len() as u64 + files.iter().map(|file| file.content.len() as u64).sum::<u64>()
    }
}

/// The output of a whole job, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct JobOutput {
    /// In order of index.
    #[cbor(n(0), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ITEMS as usize }>")]
    pub items: Vec<ItemOutput>,
    /// In the order in which each item called.
    #[n(1)]
    pub inferences: Vec<InferenceLeaf>,
}

impl Canonical for JobOutput {}

impl JobOutput {
    /// Derives the result of a job from what its items produced, as of items that start from the module itself.
    pub fn result(&self, job: Hash, class: DeterminismClass, profile: Hash, input_root: Hash) -> ResultCore {
        let mut result = ResultBuilder::default();
        self.items.iter().for_each(|item| result.push(&item.leaf));
        self.inferences.iter().for_each(|inference| result.push_inference(inference));
        result.finish(job, class, profile, input_root)
    }

    /// Decodes an output and checks that it is the one that `result` speaks of, byte for byte.
    pub fn verified(bytes: &[u8], result: &ResultCore) -> Result<Self, OutputError> {
        let output = Self::from_bytes(bytes)?;
        for (index, item) in (0u64..).zip(&output.items) {
            let consistent = item.leaf.index == index
                && item.leaf.output == ItemOutput::output_hash(&item.stdout, &item.files)
                && item.leaf.output_len == ItemOutput::output_len(&item.stdout, &item.files);
            if !consistent {
                return Err(OutputError::Item { index });
            }
        }
        let derived = output.result(result.job, result.class, result.profile, result.input_root);
        // A job that could not be executed has no items to derive its status from.
        let refused = output.items.is_empty() && result.status.is_refusal();
        let expected = if refused {
            ResultCore { status: result.status, code: result.code, ..derived }
        } else {
            derived.starting_from(result.snapshot, result.snapshot_fuel)
        };
        if expected == *result { Ok(output) } else { Err(OutputError::Mismatch) }
    }
}

/// An output that is not the one its result speaks of.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Not an encoded output.
    #[error("the output is not encoded as it should be")]
    Encoding(#[from] DecodeError),
    /// One item contradicts its own leaf.
    #[error("the output of item {index} does not match its leaf")]
    Item {
        /// Which.
        index: u64,
    },
    /// The whole contradicts the result.
    #[error("the output does not match the signed result")]
    Mismatch,
}
