//! Resource limits of the process.
//!
//! Not among them: address space, since every instance reserves 4 GiB that it does not use (the cgroup counts what is used); and
//! processes, which are counted for a whole user rather than a worker (the cgroup counts tasks, seccomp allows threads only).

use rustix::process::{Resource, Rlimit, setrlimit};

/// Descriptors: a job's blobs, at most 2,050, while they are mapped, and an image of memory for each module in the cache.
const DESCRIPTORS: u64 = 4096;
/// Bytes of a file. There are none but images of modules' memories, whose data is part of the module.
const FILE_BYTES: u64 = 1 << 30;

pub(super) fn apply() -> Result<(), String> {
    // A core dump would hold a client's data.
    let limits = [
        ("core dumps", Resource::Core, 0),
        ("descriptors", Resource::Nofile, DESCRIPTORS),
        ("sizes of files", Resource::Fsize, FILE_BYTES),
    ];
    for (name, resource, limit) in limits {
        // A hard limit that is lower already stays.
        let limit = rustix::process::getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        let both = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, both).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
