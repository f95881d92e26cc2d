//! Modules and guests made to hurt, and what executing them takes: for tests and benchmarks.
//!
//! [`ROWS`] is the table of bad input: what is done, how it must end, and what it may take of a worker's processor and memory at
//! most. [`STORMS`] are loops of single host calls, to compare what a unit of fuel takes in each. [`Gauge`] measures processes.

mod gauge;
mod guests;
mod modules;
mod rows;
mod storms;

pub use gauge::{Gauge, Used};
pub use guests::{call_everything, wasi};
pub use rows::{Ends, ROWS, Row};
pub use storms::{STORMS, Storm};

use bytes::Bytes;
use depx_protocol::{Address, Blob, Consistency, DeterminismClass, Hash, JobInput, JobSpec, Limits, Program, VERSION};
use depx_runtime::Job;

/// Limits that are soon reached: a tenth of a second of guest code, 4 MiB of memory, 1 MiB of output.
pub const LIMITS: Limits = Limits {
    fuel: 200_000_000,
    memory_pages: 64,
    output_bytes: 1 << 20,
    file_bytes: 8 << 20,
    wall_ms: 120_000,
    ..Limits::DEFAULT
};

/// A job without input that executes `wasm` under a profile that a launcher offers.
pub fn job(wasm: Vec<u8>, limits: Limits, profiles: &[(DeterminismClass, Hash)]) -> Job {
    let (module, nothing) = (Bytes::from(wasm), Bytes::new());
    let spec = JobSpec {
        version: VERSION,
        client: Address([1; 20]),
        nonce: [2; 16],
        created_ms: 1_700_000_000_000,
        program: Program::Command(Blob::of(&module)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input: JobInput::Compute(Blob::of(&nothing)),
        class: DeterminismClass::Exact,
        consistency: Consistency::Eventual,
        limits,
    };
    let profile = profiles.iter().find(|(class, _)| *class == spec.class).map_or(Hash::ZERO, |(_, profile)| *profile);
    let blobs = [module, nothing].map(|content| (Blob::of(&content).hash, content)).into();
    Job { id: spec.id(), spec, profile, blobs }
}
