//! Whether results are the same on another architecture: `depx` and the runtime's tests are built for aarch64 and run by an
//! emulator, and what jobs come to is compared with what they come to here.
//!
//! Jobs that call models are left out: vendors' kernels promise the same bits only on the same processor.

mod build;
mod outcome;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::build::Build;
use self::outcome::Outcome;
use crate::c_guests;
use crate::cache::Cache;
use crate::process::{read_any, run, step};
use crate::toolchain::{Platform, Target, Toolchain};
use crate::workspace::Workspace;

/// The runtime's tests write what jobs came to into the folder that this names.
const FOLDER: &str = "DEPX_CORPUS";
/// The tests that do.
const RECORDING: [&str; 3] = ["corpus::", "instrument::tests::floats::", "instrument::tests::generated::"];

/// Fuel for a benchmark's program: enough to get going, little enough for an emulator.
const KERNEL_FUEL: &str = "20000000";

/// Compares, prints a line for each job, and fails if one came to something else.
pub(crate) fn compare(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let platform = Platform::find_or_fetch(cache)?;
    let programs = programs(workspace, cache)?;
    step("Building depx and the runtime's tests for this machine");
    let here = Build::here(workspace)?;
    step("Building depx and the runtime's tests for aarch64, the first time for many minutes");
    let there = Build::on(&platform, workspace)?;

    step("Running the corpus here");
    let here = Machine { build: &here, folder: workspace.target("corpus/here"), run: &|program| Command::new(program) };
    let expected = here.corpus(workspace, &RECORDING, &programs)?;
    step("Running the runtime's tests and the corpus on aarch64, emulated");
    let run = |program: &Path| platform.program(program);
    let there = Machine { build: &there, folder: workspace.target("corpus/aarch64"), run: &run };
    let found = there.corpus(workspace, &[], &programs)?;

    let (table, different) = outcome::compare(&expected, &found);
    print!("{table}");
    if different > 0 {
        bail!("{different} of {} jobs come to something else on aarch64", expected.len());
    }
    step(format!("All {} jobs come to the same on aarch64", expected.len()));
    Ok(())
}

/// A job for `depx run`: its options and the module's file, and the module's arguments.
struct Program {
    name: String,
    options: Vec<String>,
    arguments: &'static [&'static str],
}

/// The committed task, the benchmarks' programs, and the C programs of the tests.
fn programs(workspace: &Workspace, cache: &Cache) -> Result<Vec<Program>> {
    let text = |path: PathBuf| path.display().to_string();
    let digits = text(workspace.path("guest-sdk/examples/digits/digits.wasm"));
    let images = text(workspace.path("models/zoo/digits/heldout.images"));
    let mut programs = vec![
        Program { name: "digits-without-image".into(), options: vec![digits.clone()], arguments: &[] },
        Program {
            name: "digits-without-model".into(),
            options: ["--batch", &images, "--record-bytes", "64", &digits].map(str::to_owned).into(),
            arguments: &[],
        },
    ];
    let words = format!("in={}", text(workspace.path("models/zoo/digits/README.md")));
    for module in modules(&c_guests::build(workspace, cache)?.context("C programs are part of the corpus")?)? {
        let options = ["--env", "GREETING=hello", "--file", &words, &text(module.clone())].map(str::to_owned).into();
        programs.push(Program { name: format!("c-{}", stem(&module)), options, arguments: &["in", "out/copy"] });
    }
    for module in modules(&kernels(workspace, cache)?)? {
        let options = ["--fuel", KERNEL_FUEL, &text(module.clone())].map(str::to_owned).into();
        programs.push(Program { name: format!("kernel-{}", stem(&module)), options, arguments: &[] });
    }
    Ok(programs)
}

/// Builds the benchmarks' programs and gives their folder.
fn kernels(workspace: &Workspace, cache: &Cache) -> Result<PathBuf> {
    step("Building the benchmarks' programs");
    let toolchain = Toolchain::find_or_make(Target::Guest, cache)?;
    let target = workspace.target("corpus/kernels");
    let mut build = toolchain.cargo(workspace, "build", &target);
    run(build.args(["--quiet", "--release", "--manifest-path"]).arg(workspace.path("bench/kernels/Cargo.toml")))?;
    Ok(target.join(Target::Guest.triple()).join("release"))
}

/// The modules in a folder, by name.
fn modules(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Something that executes what was built for it.
struct Machine<'a> {
    build: &'a Build,
    /// For what it writes.
    folder: PathBuf,
    /// How it runs a program.
    run: &'a dyn Fn(&Path) -> Command,
}

impl Machine<'_> {
    /// Runs the runtime's `tests`, all if none is named, then the programs, and gives what all jobs came to.
    fn corpus(&self, workspace: &Workspace, tests: &[&str], programs: &[Program]) -> Result<Vec<Outcome>> {
        let records = self.folder.join("records");
        fs::create_dir_all(&records)?;
        for file in fs::read_dir(&records)? {
            fs::remove_file(file?.path())?;
        }
        for test in &self.build.tests {
            run((self.run)(test).args(tests).env(FOLDER, &records).current_dir(workspace.path("runtime")))?;
        }
        let mut outcomes = Vec::new();
        for file in fs::read_dir(&records)? {
            outcomes.extend(Outcome::parse(&fs::read_to_string(file?.path())?)?);
        }
        outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        for Program { name, options, arguments } in programs {
            let mut depx = (self.run)(&self.build.depx);
            depx.args(["run", "--json"]).args(options).arg("--").args(*arguments);
            let told = read_any(depx.env("DEPX_HOME", self.folder.join("home")))?;
            outcomes.push(Outcome::of_depx(name, &told).with_context(|| format!("{name}: depx told {told}"))?);
        }
        Ok(outcomes)
    }
}
