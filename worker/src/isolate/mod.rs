//! Shuts this process in.
//!
//! The order matters:
//!
//! 1. The supervisor has placed the process in its cgroup before it said a word: all that follows is counted.
//! 2. Descriptors that were inherited are closed before the first is opened ([`descriptors::claim_socket`]).
//! 3. ONNX Runtime is loaded, where models are to run, and the engine made; both need files, and neither has seen anything from
//!    outside yet.
//! 4. [`isolate`]: resource limits, then the network namespace and the root, which need privileges; then privileges go, then
//!    Landlock, which needs it to be impossible to gain any; and last the seccomp filter, under which none of the above could be done.
//! 5. Only then is the first job or module read.
//!
//! The process has one thread until step 5. Landlock and user namespaces are for one thread alone, and threads made later inherit.

pub(crate) mod descriptors;
mod landlock;
mod network;
mod privileges;
mod rlimits;
mod root;
mod seccomp;

use crate::layer::{Layer, Missing, Role};

/// Puts a layer on this process, or says why that is not possible.
type Apply = fn(Role) -> Result<(), String>;

/// Puts on those of `layers` that a process of this role puts on itself, in the order above, and tells which this machine does not
/// give.
///
/// Fails if the process has more than one thread. For a worker, [`crate::serve`] does it; by itself it shows what one layer does.
pub fn isolate(layers: &[Layer], role: Role) -> Result<Vec<Missing>, String> {
    let tasks = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if tasks != 1 {
        return Err(format!("the process has {tasks} threads before it is isolated; it must have one"));
    }
    let all: [(Layer, Apply); 6] = [
        (Layer::Rlimits, rlimits::apply),
        (Layer::Network, |_| network::leave()),
        (Layer::Root, |_| root::leave()),
        (Layer::Privileges, |_| privileges::drop_all()),
        (Layer::Landlock, |_| landlock::restrict()),
        (Layer::Seccomp, seccomp::install),
    ];
    let missing = |(layer, apply): (Layer, Apply)| apply(role).err().map(|reason| Missing::new(layer, reason));
    Ok(all.into_iter().filter(|(layer, _)| layers.contains(layer)).filter_map(missing).collect())
}
