//! What keeps a worker in.

use minicbor::{Decode, Encode};
use std::fmt;

/// One layer of a worker's isolation. Each holds by itself; together they hold where one has a hole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Layer {
    /// A cgroup of its own: memory, tasks and processor time.
    #[n(0)]
    Cgroup,
    /// Resource limits of the process: core dumps, descriptors, sizes of files.
    #[n(1)]
    Rlimits,
    /// A network namespace in which there is nothing.
    #[n(2)]
    Network,
    /// No privileges, and no way to gain any.
    #[n(3)]
    Privileges,
    /// No path of the file system.
    #[n(4)]
    Landlock,
    /// No system call but those that executing takes.
    #[n(5)]
    Seccomp,
    /// A root directory in which there is nothing but the process's own descriptors.
    #[n(6)]
    Root,
}

impl Layer {
    /// Every layer.
    pub const ALL: [Self; 7] =
        [Self::Cgroup, Self::Rlimits, Self::Network, Self::Root, Self::Privileges, Self::Landlock, Self::Seccomp];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Rlimits => "rlimits",
            Self::Network => "network",
            Self::Root => "root",
            Self::Privileges => "privileges",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
        }
    }

    /// What an operator does where a machine does not give it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Cgroup => {
                "run the node as root, or as a systemd service with Delegate=yes, so that it may make cgroups for \
                 memory, pids and cpu"
            }
            Self::Rlimits => "raise the hard limits under which the node is started",
            Self::Network => "run the node as root, or allow unprivileged user namespaces",
            Self::Root => "run the node as root, or allow unprivileged user namespaces, and mount /proc",
            Self::Privileges => "start the node with a kernel and container that allow giving up privileges",
            Self::Landlock => "use Linux 5.13 or later with Landlock enabled (`lsm=landlock,…`)",
            Self::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "a cgroup",
            Self::Rlimits => "resource limits",
            Self::Network => "an empty network namespace",
            Self::Root => "an empty root directory",
            Self::Privileges => "the loss of all privileges",
            Self::Landlock => "Landlock",
            Self::Seccomp => "a seccomp filter",
        })
    }
}

/// What a worker is for. The layers are the same; what the seccomp filter and the resource limits allow is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub enum Role {
    /// Executes jobs, one after the other, and never compiles.
    #[n(0)]
    Execute,
    /// Compiles one module, and executes nothing.
    #[n(1)]
    Compile {
        /// Seconds of processor time after which the kernel kills it. The supervisor looks more closely.
        #[n(0)]
        seconds: u64,
    },
}

/// A layer that this machine does not give.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Missing {
    /// Which.
    #[n(0)]
    pub layer: Layer,
    /// Why, bounded.
    #[n(1)]
    pub reason: String,
}

impl Missing {
    pub(crate) fn new(layer: Layer, reason: impl fmt::Display) -> Self {
        Self { layer, reason: bounded(&reason.to_string()) }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.layer, self.reason, self.layer.remedy())
    }
}

/// Most characters of a text from elsewhere that are kept.
const MAX_REASON: usize = 500;

/// Text from a worker or a library, made fit for messages and logs.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_layer_says_what_to_do() {
        let missing = Missing::new(Layer::Landlock, "not\nenabled");
        let text = missing.to_string();
        assert!(text.starts_with("Landlock (not enabled): use Linux 5.13"), "{text}");
        assert_eq!(Missing::new(Layer::Seccomp, "x".repeat(10_000)).reason.len(), MAX_REASON);
    }
}
