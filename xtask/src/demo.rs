//! Running the product: the demonstration and the benchmarks.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::process::{cargo, run, step};
use crate::workspace::Workspace;
use crate::{ort, wasmtime};

/// What `depx` is told; `cargo xtask demo` adds its own arguments after these.
const DEMO: [&str; 5] = ["demo", "--home", "target/demo/home", "--out", "target/demo/out"];

/// Builds `depx` and runs the demonstration with it. Gives what it exits with.
pub(crate) fn demo(workspace: &Workspace, cache: &Cache, arguments: &[String]) -> Result<ExitCode> {
    let onnx_runtime = ort::find_or_fetch(cache)?;
    step("Building depx");
    build(workspace, &["--bin", "depx"])?;

    let depx = workspace.target("debug").join("depx");
    step(format!("depx {}", DEMO.map(str::to_owned).iter().chain(arguments).cloned().collect::<Vec<_>>().join(" ")));
    pass_through(
        Command::new(&depx).args(DEMO).args(arguments).env(ort::VARIABLE, onnx_runtime).current_dir(workspace.root()),
    )
}

/// Builds what `options` of `cargo build` name. All crates are chosen, though few are built, so that dependencies have the features
/// that they have in tests, as far as that goes, and hardly any is built twice.
pub(crate) fn build(workspace: &Workspace, options: &[&str]) -> Result<()> {
    run(cargo().args(["build", "--workspace", "--locked"]).args(options).current_dir(workspace.root()))
}

/// Builds the benchmarks, optimised, and `depx`, which some of them start, and runs them. Gives what they exit with.
pub(crate) fn bench(workspace: &Workspace, cache: &Cache, arguments: &[String]) -> Result<ExitCode> {
    let onnx_runtime = ort::find_or_fetch(cache)?;
    step("Building the benchmarks");
    build(workspace, &["--release", "--bin", "depx-bench", "--bin", "depx"])?;

    let mut bench = Command::new(workspace.target("release").join("depx-bench"));
    bench.args(arguments).env(ort::VARIABLE, onnx_runtime).env(ort::NO_TELEMETRY, "1").current_dir(workspace.root());
    // As `cargo run` would set it; this process has that of its own crate.
    bench.env("CARGO_MANIFEST_DIR", workspace.path("bench"));
    if std::env::var_os(wasmtime::VARIABLE).is_none() {
        bench.envs(wasmtime::find(workspace, cache)?.map(|command| (wasmtime::VARIABLE, command)));
    }
    pass_through(&mut bench)
}

fn pass_through(command: &mut Command) -> Result<ExitCode> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} could not be started"))?;
    // A process that a signal ended has no code of its own.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_childs() {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 1)] {
            let given = pass_through(Command::new("sh").args(["-c", script])).unwrap();
            assert_eq!(format!("{given:?}"), format!("{:?}", ExitCode::from(code)), "{script}");
        }
    }
}
