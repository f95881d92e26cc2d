//! This node's own failures. Never signed as a result, never voted.

use depx_protocol::{Hash, SpecError};
use std::fmt::Display;

/// Why this node could not say what the job's result is; another node may.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// The job took longer than its wall-clock limit on this machine.
    #[error("the job did not end within {limit_ms} ms on this machine")]
    Timeout {
        /// The job's limit.
        limit_ms: u64,
    },
    /// The coordinator or the operator cancelled the job.
    #[error("the job was cancelled")]
    Cancelled,
    /// A blob that the spec names was not handed over.
    #[error("blob {hash} is missing")]
    MissingBlob {
        /// Which.
        hash: Hash,
    },
    /// The profile is not one that this runtime can execute.
    #[error(
        "this node does not offer execution profile {profile}; `depx node run` prints what it offers when it starts"
    )]
    Profile {
        /// Which.
        profile: Hash,
    },
    /// The machine ran out of memory, disk or another resource.
    #[error("this machine is out of {resource}")]
    Resources {
        /// Of what.
        resource: &'static str,
    },
    /// The inference library failed.
    #[error("inference failed on this machine: {reason}")]
    Inference {
        /// What it says, bounded.
        reason: String,
    },
    /// The WebAssembly engine failed in a way that no guest should be able to cause.
    #[error("the WebAssembly engine failed: {reason}")]
    Engine {
        /// What it says, bounded.
        reason: String,
    },
    /// The artifact cache on disk cannot be used.
    #[error("the artifact cache cannot be used")]
    Cache(#[source] std::io::Error),
    /// The job breaks the rules of job specs; whoever admitted it should have refused it.
    #[error("the job spec is not valid, and should have been refused before it was executed")]
    Spec(#[source] SpecError),
    /// The module was not compiled: its compiler died, or took more than this machine grants.
    #[error("this machine did not compile the module: {reason}")]
    Compile {
        /// What happened, bounded.
        reason: String,
    },
    /// The worker that executed the job died.
    #[error("the worker died: {reason}")]
    WorkerDied {
        /// How.
        reason: String,
    },
}

/// Most characters of another library's message that are kept.
const MAX_REASON: usize = 500;

impl HostFault {
    /// The engine failed, and said why.
    pub(crate) fn engine(reason: impl Display) -> Self {
        Self::Engine { reason: bounded(&reason.to_string()) }
    }

    /// The inference library failed, and said why.
    pub(crate) fn inference(reason: impl Display) -> Self {
        Self::Inference { reason: bounded(&reason.to_string()) }
    }
}

/// Text from elsewhere, made fit for messages and logs.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_and_kept_on_one_line() {
        let fault = HostFault::engine("line\nline\x1b[31m".to_owned() + &"x".repeat(10_000));
        let HostFault::Engine { reason } = fault else { panic!("{fault}") };
        assert_eq!(reason.chars().count(), MAX_REASON);
        assert!(reason.starts_with("line line [31mxxx"), "{reason}");
    }
}
