//! Resource limits of the process.
//!
//! Not among them: address space, since every instance reserves 4 GiB that it does not use (the cgroup counts what is used); and
//! processes, which are counted for a whole user rather than a worker (the cgroup counts tasks, seccomp allows threads only).

use crate::layer::Role;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Descriptors: a job's blobs, at most 2,050, while they are mapped, and the artifact of each module that it knows.
const DESCRIPTORS: u64 = 4096;

pub(super) fn apply(role: Role) -> Result<(), String> {
    // A core dump would hold a client's data, and no file is ever written.
    let limits = [
        ("core dumps", Resource::Core, 0),
        ("descriptors", Resource::Nofile, DESCRIPTORS),
        ("sizes of files", Resource::Fsize, 0),
    ];
    let time = match role {
        Role::Execute => None,
        Role::Compile { seconds } => Some(("processor time", Resource::Cpu, seconds)),
    };
    for (name, resource, limit) in limits.into_iter().chain(time) {
        // A hard limit that is lower already stays.
        let limit = rustix::process::getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        let both = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, both).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
