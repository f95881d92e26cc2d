//! What goes into an execution and what comes out.

use bytes::Bytes;
use depx_protocol::{Hash, HostCallLeaf, JobOutput, JobSpec, ResultCore};
use std::collections::HashMap;
use std::time::Duration;

/// Content by hash. Whoever fills it has verified the hashes.
pub type Blobs = HashMap<Hash, Bytes>;

/// The code that belongs to `Status::InvalidModel`: a declared model is not one that the backend accepts.
pub const MODEL_NOT_LOADABLE: u32 = 1;
/// The code that belongs to `Status::InvalidModel`: the job declares models, but its class offers no inference.
pub const MODEL_NOT_OFFERED: u32 = 2;
/// The code that belongs to `Status::InvalidInput`: the input of a batch is not an encoded item pack.
pub const INPUT_MALFORMED: u32 = 1;
/// The code that belongs to `Status::InvalidInput`: the pack holds another number of items than the spec says.
pub const INPUT_ITEM_COUNT: u32 = 2;

/// The code that belongs to `Status::InvalidItem`: the item is not an encoding of tensors.
pub const ITEM_MALFORMED: u32 = 1;
/// The code that belongs to `Status::InvalidItem`: the model takes other tensors.
pub const ITEM_UNFIT: u32 = 2;

/// A job with everything needed to execute it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The spec's identity.
    pub id: Hash,
    /// What to execute.
    pub spec: JobSpec,
    /// The profile under which to execute it; one of [`crate::Runtime::profiles`].
    pub profile: Hash,
    /// The content of every blob that the spec names.
    pub blobs: Blobs,
}

/// What a job came to.
#[derive(Clone, Debug)]
pub struct JobResult {
    /// The vote.
    pub core: ResultCore,
    /// What the items produced.
    pub output: JobOutput,
    /// What each item wrote to standard error, cut at the job's limit.
    pub logs: Vec<Bytes>,
    /// The first host calls of each item, as many as [`crate::RuntimeOptions::kept_host_calls`] says.
    pub host_calls: Vec<Vec<HostCallLeaf>>,
    /// How long each item took on this machine. Not part of the result.
    pub times: Vec<Duration>,
    /// For people, where the status alone says too little: why a module or model is refused, where a guest trapped. Bounded;
    /// not part of the result.
    pub detail: Option<String>,
}
