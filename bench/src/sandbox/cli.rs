//! `depx run` beside `wasmtime run`, as people start them: whole processes, with what they compiled earlier on disk.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::kernels::{APPLICATION, COMPUTE, Kernels};
use crate::measure::{Turns, geometric_mean, take_turns, wall_time};
use crate::task::noop;
use anyhow::{Context, Result, ensure};
use depx_protocol::Limits;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "sandbox.cli_vs_wasmtime",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run`, geometric mean over the kernels, ms",
        method: "Wall time from start to end of the process `depx run KERNEL`, which meters and records, over that of `wasmtime run KERNEL`, \
                 which does neither: the command of the same release of the engine, with its own defaults, which `cargo xtask wasmtime` \
                 builds; without it there are no such figures. Both find the compiled module in their caches on disk, and print the \
                 same. Geometric mean over the programs in `bench/kernels`.",
    },
    Entry {
        name: "sandbox.cli_vs_wasmtime_fuel",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run -W fuel=N`, geometric mean over the kernels, ms",
        method: "The same over `wasmtime run -W fuel=N KERNEL`; N is what `depx run` grants unless told otherwise.",
    },
    Entry {
        name: "sandbox.cli_vs_wasmtime_fuel_nan",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run -W fuel=N,nan-canonicalization`, geometric mean over the kernels, ms",
        method: "The same over `wasmtime run -W fuel=N,nan-canonicalization KERNEL`, which makes NaNs canonical too.",
    },
    Entry {
        name: "sandbox.cli_vs_wasmtime.*",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run`, ms",
        method: "`sandbox.cli_vs_wasmtime` of one kernel.",
    },
    Entry {
        name: "sandbox.cli_vs_wasmtime_fuel.*",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run -W fuel=N`, ms",
        method: "`sandbox.cli_vs_wasmtime_fuel` of one kernel.",
    },
    Entry {
        name: "sandbox.cli_vs_wasmtime_fuel_nan.*",
        unit: "ratio",
        goal: Goal::None,
        baseline: "the time of `wasmtime run -W fuel=N,nan-canonicalization`, ms",
        method: "`sandbox.cli_vs_wasmtime_fuel_nan` of one kernel.",
    },
    Entry {
        name: "sandbox.cli_start.*",
        unit: "ms",
        goal: Goal::None,
        baseline: "the time of `wasmtime run`, ms",
        method: "Wall time of the process `depx run` on a program that returns at once: `noop` is nothing else, `application` a module of \
                 about 1.2 MB (`bench/kernels/src/bin/application.rs`). Caches as in `sandbox.cli_vs_wasmtime`.",
    },
];

/// Names the `wasmtime` command; `cargo xtask bench` sets it if the command was built.
const VARIABLE: &str = "DEPX_WASMTIME";
const FUEL: u64 = Limits::DEFAULT.fuel;

/// The contenders, by their places in a turn.
const DEPX: usize = 0;
const PLAIN: usize = 1;
const FUELLED: usize = 2;
const CANONICAL: usize = 3;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let Some(wasmtime) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        eprintln!("Left out: there is no `wasmtime` command to compare with; `cargo xtask wasmtime` builds it");
        return Ok(Vec::new());
    };
    let [total, total_fuel, total_nan, each, each_fuel, each_nan, start] = ENTRIES else {
        unreachable!("seven entries")
    };
    let (kernels, programs) = (Kernels::find_or_build()?, Programs::new(wasmtime.into())?);
    let race = |name: &str, wasm: &[u8], turns| programs.race(wasm, turns).with_context(|| name.to_owned());
    let races = COMPUTE.iter().map(|name| Ok((name, race(name, &kernels.module(name)?, plan.turns(15, 3))?)));
    let races = races.collect::<Result<Vec<_>>>()?;
    let (mut figures, mut members) = (Vec::new(), Vec::new());
    for (total, each, other) in
        [(total, each, PLAIN), (total_fuel, each_fuel, FUELLED), (total_nan, each_nan, CANONICAL)]
    {
        let (mut ratios, mut times) = (Vec::new(), Vec::new());
        for (name, turns) in &races {
            let (ratio, time) = (turns.ratio(DEPX, other), turns.time(other) * 1e3);
            ratios.push(ratio);
            times.push(time);
            members.push(each.member(name, ratio, Some(time)));
        }
        figures.push(total.figure(geometric_mean(&ratios), Some(geometric_mean(&times))));
    }
    figures.append(&mut members);
    for (name, wasm) in [("noop", noop()?.to_vec()), ("application", kernels.module(APPLICATION)?)] {
        let turns = race(name, &wasm, plan.turns(50, 10))?;
        figures.push(start.member(name, turns.time(DEPX) * 1e3, Some(turns.time(PLAIN) * 1e3)));
    }
    Ok(figures)
}

/// Both commands, and a folder of their own for what they keep.
struct Programs {
    depx: PathBuf,
    wasmtime: PathBuf,
    home: TempDir,
}

impl Programs {
    fn new(wasmtime: PathBuf) -> Result<Self> {
        let own = env::current_exe().context("cannot tell where this program is")?;
        let depx = own.with_file_name("depx").with_extension(env::consts::EXE_EXTENSION);
        ensure!(depx.is_file(), "{} is missing; `cargo xtask bench` builds it", depx.display());
        Ok(Self { depx, wasmtime, home: tempfile::tempdir().context("a temporary folder cannot be made")? })
    }

    /// Lets both run a module in turns. Compilation falls into the turn that does not count.
    fn race(&self, wasm: &[u8], turns: usize) -> Result<Turns<4>> {
        let module = self.home.path().join("module.wasm");
        fs::write(&module, wasm).context("a module cannot be written")?;
        let printed = output(self.depx(&module))?;
        let (fuelled, canonical) = (format!("fuel={FUEL}"), format!("fuel={FUEL},nan-canonicalization"));
        let turns = take_turns(
            turns,
            [
                &mut || timed(self.depx(&module), &printed),
                &mut || timed(self.wasmtime(&[], &module), &printed),
                &mut || timed(self.wasmtime(&["-W", &fuelled], &module), &printed),
                &mut || timed(self.wasmtime(&["-W", &canonical], &module), &printed),
            ],
        )?;
        ensure!(self.home.path().join("wasmtime/modules").is_dir(), "`wasmtime run` kept nothing of what it compiled");
        Ok(turns)
    }

    fn depx(&self, module: &Path) -> Command {
        let mut command = Command::new(&self.depx);
        command.arg("run").arg(module).env("DEPX_HOME", self.home.path().join("depx"));
        command
    }

    fn wasmtime(&self, options: &[&str], module: &Path) -> Command {
        let mut command = Command::new(&self.wasmtime);
        command.arg("run").args(options).arg(module);
        // Where it keeps compiled modules, and where a user may have told it not to.
        command.env("XDG_CACHE_HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path());
        command
    }
}

/// Runs a command; gives how long it took, in seconds, and fails if it does not print what is `expected`.
fn timed(command: Command, expected: &[u8]) -> Result<f64> {
    wall_time(|| {
        let program = command.get_program().to_owned();
        ensure!(output(command)? == expected, "{} printed something else", program.display());
        Ok(())
    })
}

/// Runs a command that must succeed, with nothing to read; gives what it printed.
fn output(mut command: Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} could not be started", command.get_program().display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}", complaint.trim_end());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_prints_something_else_or_fails_has_no_time() {
        assert!(timed(shell("sleep 0.02; echo one"), b"one\n").unwrap() >= 0.02);
        let error = |script| timed(shell(script), b"one\n").unwrap_err().to_string();
        assert_eq!(error("echo two"), "sh printed something else");
        let failure = error("echo one; echo why >&2; exit 3");
        assert!(failure.contains("failed: why"), "{failure}");
    }

    #[test]
    fn commands_are_what_a_user_would_type() {
        let programs = Programs { depx: "d".into(), wasmtime: "w".into(), home: tempfile::tempdir().unwrap() };
        let arguments = |command: Command| command.get_args().map(|word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(arguments(programs.depx(Path::new("m"))), ["run", "m"]);
        assert_eq!(arguments(programs.wasmtime(&["-W", "fuel=1"], Path::new("m"))), ["run", "-W", "fuel=1", "m"]);
    }
}
