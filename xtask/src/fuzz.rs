//! Arbitrary input: builds the targets of `fuzz/` with coverage counters, and runs them.
//!
//! No nightly compiler is needed: what `cargo fuzz` asks of it, the stable one does as well, but for the address sanitizer. Counters
//! go into this project's crates alone, so dependencies are those of every other build: cargo calls the compiler through this
//! program, which adds the options, and a profile of their own keeps these crates apart from those without counters.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run, step};
use crate::workspace::Workspace;

/// The targets: `fuzz/fuzz_targets/<name>.rs`.
const TARGETS: [&str; 5] = ["bytes", "instrument", "modules", "protocol", "wasi"];

/// This project's crates that targets use.
const CRATES: [&str; 5] = ["depx-fuzz", "depx-host-abi", "depx-models", "depx-protocol", "depx-runtime"];

/// What makes the compiler count coverage as libFuzzer reads it.
const OPTIONS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];

/// Set where this program stands between cargo and the compiler; its value is the root of the checkout.
const ROOT: &str = "DEPX_COUNT_COVERAGE";

/// Bytes of an input at most: a module of this size can do everything.
const MAX_LEN: usize = 8192;

/// Runs the compiler if cargo called this program as its wrapper: gives what to exit with then.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let root = env::var_os(ROOT)?;
    let mut arguments = env::args_os().skip(1);
    let mut compiler = Command::new(arguments.next()?);
    let arguments: Vec<_> = arguments.collect();
    let ours = env::var_os("CARGO_MANIFEST_DIR").is_some_and(|manifest| Path::new(&manifest).starts_with(&root));
    if ours && !is_build_script(&arguments) {
        compiler.args(OPTIONS);
    }
    Some(match compiler.args(arguments).env_remove(ROOT).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{} could not be started: {error}", compiler.get_program().to_string_lossy());
            ExitCode::FAILURE
        }
    })
}

fn is_build_script(arguments: &[OsString]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--crate-name" && pair[1] == "build_script_build")
}

/// Runs one target or all, each on the committed inputs and then for `seconds` on new ones.
pub(crate) fn fuzz(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let targets: Vec<&str> = TARGETS.into_iter().filter(|name| target.is_none_or(|target| target == *name)).collect();
    if targets.is_empty() {
        bail!("there is no target {:?}; there are {}", target.unwrap_or_default(), TARGETS.join(", "));
    }
    build(workspace)?;
    for name in targets {
        step(format!("Fuzzing {name} for {seconds} s"));
        let (found, failed) = (workspace.target("fuzz").join(name), workspace.target("fuzz-failures"));
        for directory in [&found, &failed] {
            fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        }
        let mut target = Command::new(workspace.target("debug").join(format!("fuzz-{name}")));
        // The first folder is where new inputs go; what is committed is only read.
        target.arg(&found).arg(workspace.path("fuzz/corpus").join(name));
        target.arg(format!("-artifact_prefix={}/{name}-", failed.display()));
        target.args([format!("-max_total_time={seconds}"), format!("-max_len={MAX_LEN}")]);
        target.args(["-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0"]);
        run(&mut target)?;
    }
    Ok(())
}

fn build(workspace: &Workspace) -> Result<()> {
    step("Building the fuzz targets");
    let mut build = cargo();
    // All crates are chosen, though few are built, so that dependencies have the features that they always have.
    build.args(["build", "--workspace", "--locked"]).current_dir(workspace.root());
    for name in TARGETS {
        build.arg("--bin").arg(format!("fuzz-{name}"));
    }
    for name in CRATES {
        build.arg("--config").arg(format!("profile.dev.package.{name}.opt-level=3"));
    }
    build.env("RUSTC_WRAPPER", env::current_exe().context("cannot tell where this program is")?);
    run(build.env(ROOT, workspace.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_inputs() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in TARGETS {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            assert!(fs::read_dir(fuzz.join("corpus").join(name)).unwrap().count() > 0, "{name}");
        }
        assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
    }

    #[test]
    fn build_scripts_are_left_alone() {
        let arguments = |name: &str| ["--crate-name", name, "--edition"].map(OsString::from);
        assert!(is_build_script(&arguments("build_script_build")));
        assert!(!is_build_script(&arguments("depx_runtime")));
    }
}
