//! What supervisor and worker say to each other.
//!
//! Frames of canonical CBOR, each after its length as a big-endian `u32`. The supervisor says [`Start`] once, and the worker answers
//! [`Answer::Ready`] when it is shut in, or [`Answer::NotReady`]. Then, for each [`JobMessage`], a worker that executes answers
//! [`Answer::Done`], followed by the output and the logs as raw bytes; or [`Answer::Failed`]. One that compiles gets one
//! [`CompileMessage`], and answers [`Answer::Compiled`], followed by the artifact as raw bytes; or [`Answer::Refused`], or
//! [`Answer::Failed`].

use crate::layer::{Missing, Role, bounded};
use depx_host_abi::refusal::RefusalCode;
use depx_protocol::{Blob, Canonical, DeterminismClass, Hash, JobSpec, ResultCore};
use depx_runtime::{Allocation, EngineOptions, HostFault, Job, Optimize, Refusal};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// The longest [`Start`] and the longest answer before a job: a few paths and sentences.
pub(crate) const MAX_GREETING: usize = 64 << 10;
/// Contents up to this many bytes travel in the frame; making and mapping a descriptor costs more.
pub(crate) const MAX_INLINE: usize = 64 << 10;
/// All contents in one frame together, in bytes; what is over travels in descriptors.
pub(crate) const MAX_INLINE_TOTAL: usize = 512 << 10;
/// The longest [`JobMessage`]: the largest spec, its blobs' names, and [`MAX_INLINE_TOTAL`].
pub(crate) const MAX_JOB: usize = 4 << 20;

/// How the worker is to set itself up.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Start {
    /// Whether to look for ONNX Runtime.
    #[n(0)]
    pub(crate) models: bool,
    /// A folder in which to look for it.
    #[n(1)]
    pub(crate) library_folder: Option<String>,
    #[n(2)]
    pub(crate) optimize: bool,
    #[n(3)]
    pub(crate) pool_slots: Option<u32>,
    #[n(4)]
    pub(crate) interpreter: bool,
    #[n(5)]
    pub(crate) threads: u32,
    #[n(6)]
    pub(crate) max_job_output: u64,
    #[n(7)]
    pub(crate) role: Role,
}

impl Canonical for Start {}

impl Start {
    pub(crate) fn engine(&self) -> EngineOptions {
        EngineOptions {
            optimize: if self.optimize { Optimize::Speed } else { Optimize::None },
            allocation: self.pool_slots.map_or(Allocation::OnDemand, |slots| Allocation::Pooling { slots }),
            interpreter: self.interpreter,
        }
    }
}

/// A job for the worker.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct JobMessage {
    #[n(0)]
    pub(crate) id: Hash,
    #[n(1)]
    pub(crate) spec: JobSpec,
    #[n(2)]
    pub(crate) profile: Hash,
    #[n(3)]
    pub(crate) contents: Vec<Content>,
    #[n(4)]
    pub(crate) module: Module,
    /// A module that will not be asked for any more.
    #[n(5)]
    pub(crate) forget: Option<Hash>,
}

impl Canonical for JobMessage {}

/// What the worker is to execute.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Module {
    /// What it knows already.
    #[n(0)]
    Known,
    /// The artifact in the first descriptor.
    #[n(1)]
    Compiled,
    /// Nothing: no node can.
    #[n(2)]
    Refused(#[n(0)] Refused),
}

/// A [`Refusal`] on its way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Refused {
    #[n(0)]
    code: u32,
    #[n(1)]
    reason: String,
}

impl Refused {
    pub(crate) fn of(refusal: &Refusal) -> Self {
        Self { code: refusal.code.number(), reason: bounded(&refusal.reason) }
    }

    /// As it is told to others; `None` if there is no such code.
    pub(crate) fn into_refusal(self) -> Option<Refusal> {
        Some(Refusal { code: RefusalCode::try_from(self.code).ok()?, reason: bounded(&self.reason) })
    }
}

/// A module to compile.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct CompileMessage {
    #[n(0)]
    pub(crate) module: Content,
}

impl Canonical for CompileMessage {}

/// The content of one blob. The supervisor has verified its hash.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Content {
    /// In the frame.
    #[n(0)]
    Inline {
        #[n(0)]
        hash: Hash,
        #[n(1)]
        bytes: ByteVec,
    },
    /// In the next descriptor, sealed.
    #[n(1)]
    Sealed(#[n(0)] Blob),
}

/// What a worker says.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Answer {
    /// Shut in, as far as possible.
    #[n(0)]
    Ready {
        /// Layers that could not be put on.
        #[n(0)]
        missing: Vec<Missing>,
        /// What it can execute.
        #[n(1)]
        profiles: Vec<(DeterminismClass, Hash)>,
        /// Why it cannot run models, if it was asked to.
        #[n(2)]
        no_models: Option<String>,
        /// What the artifacts that it makes or executes are compatible with.
        #[n(3)]
        compatibility: Hash,
    },
    /// It cannot work at all.
    #[n(1)]
    NotReady(#[n(0)] String),
    /// The module is compiled; so many bytes follow.
    #[n(2)]
    Compiled(#[n(0)] u64),
    /// The result.
    #[n(3)]
    Done(#[n(0)] Box<Done>),
    /// This machine failed.
    #[n(4)]
    Failed(#[n(0)] Failure),
    /// No node can execute the module.
    #[n(5)]
    Refused(#[n(0)] Refused),
}

impl Canonical for Answer {}

/// A result; so many bytes of output and of logs follow.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct Done {
    #[n(0)]
    pub(crate) core: ResultCore,
    #[n(1)]
    pub(crate) output_len: u64,
    #[n(2)]
    pub(crate) log_lens: Vec<u64>,
    #[n(3)]
    pub(crate) times_ns: Vec<u64>,
    #[n(4)]
    pub(crate) detail: Option<String>,
}

impl Done {
    /// Bytes of one item in it: two numbers of at most nine bytes.
    const ITEM: u64 = 18;

    /// The longest frame with the result of `job`, in bytes.
    pub(crate) fn max_frame(job: &Job) -> usize {
        usize::try_from(job.spec.input.items().saturating_mul(Self::ITEM)).unwrap_or(usize::MAX) + MAX_GREETING
    }
}

/// A [`HostFault`] on its way.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) enum Failure {
    #[n(0)]
    Timeout,
    #[n(1)]
    MissingBlob(#[n(0)] Hash),
    #[n(2)]
    Profile(#[n(0)] Hash),
    #[n(3)]
    Resources(#[n(0)] String),
    #[n(4)]
    Inference(#[n(0)] String),
    #[n(5)]
    Engine(#[n(0)] String),
}

impl Failure {
    pub(crate) fn of(fault: &HostFault) -> Self {
        match fault {
            HostFault::Timeout { .. } => Self::Timeout,
            HostFault::MissingBlob { hash } => Self::MissingBlob(*hash),
            HostFault::Profile { profile } => Self::Profile(*profile),
            HostFault::Resources { resource } => Self::Resources((*resource).to_owned()),
            HostFault::Inference { reason } => Self::Inference(bounded(reason)),
            HostFault::Engine { reason } => Self::Engine(bounded(reason)),
            // A worker is not cancelled but killed, has no cache on disk, and its supervisor has checked the spec.
            HostFault::Cancelled
            | HostFault::Cache(_)
            | HostFault::Spec(_)
            | HostFault::Compile { .. }
            | HostFault::WorkerDied { .. } => Self::Engine(bounded(&fault.to_string())),
        }
    }

    /// As it is told to others, of a job that may take `limit_ms`.
    pub(crate) fn into_fault(self, limit_ms: u64) -> HostFault {
        match self {
            Self::Timeout => HostFault::Timeout { limit_ms },
            Self::MissingBlob(hash) => HostFault::MissingBlob { hash },
            Self::Profile(profile) => HostFault::Profile { profile },
            Self::Resources(name) => HostFault::Resources { resource: resource(&name) },
            Self::Inference(reason) => HostFault::Inference { reason: bounded(&reason) },
            Self::Engine(reason) => HostFault::Engine { reason: bounded(&reason) },
        }
    }
}

/// The resources that a runtime can run out of.
fn resource(name: &str) -> &'static str {
    const KNOWN: [&str; 5] =
        ["memory for the output of a job", "threads", "instance slots", "memory", "memory for tables"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("a resource that its worker needs")
}
