//! Everything that the tests need, and the tests.

use anyhow::Result;

use crate::cache::Cache;
use crate::process::{cargo, run, step};
use crate::workspace::Workspace;
use crate::{c_guests, fuzz, guests, ort, pure};

/// How long each fuzz target tries new inputs here; see `fuzz/README.md` for longer runs.
const FUZZ_SECONDS: u32 = 5;

/// Sets up what tests need, proves the pure crates pure, compares committed guests with their source, runs all tests, and fuzzes
/// for a moment.
///
/// `arguments` go to `cargo test`.
pub(crate) fn test(workspace: &Workspace, cache: &Cache, arguments: &[String]) -> Result<()> {
    let onnx_runtime = ort::find_or_fetch(cache)?;
    let guests = guests::build(workspace, cache)?;
    guests.compare(workspace)?;
    pure::prove(workspace, cache)?;
    let c_guests = c_guests::build(workspace, cache)?;

    step("Running the tests");
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--locked"]).args(arguments).current_dir(workspace.root());
    // Here nothing may be skipped for want of the library or the tasks: they are there.
    tests.env(ort::VARIABLE, onnx_runtime).env(ort::NO_TELEMETRY, "1").env("DEPX_REQUIRE_ORT", "1");
    tests.env(guests::VARIABLE, guests.directory());
    match c_guests {
        Some(directory) => tests.env(c_guests::VARIABLE, directory),
        None => tests.env_remove(c_guests::VARIABLE),
    };
    run(&mut tests)?;
    fuzz::fuzz(workspace, None, FUZZ_SECONDS)
}
