//! The project's own chores: check, test, demo, bench, toolchains, other architectures.

mod aarch64;
mod c_guests;
mod cache;
mod check;
mod debian;
mod demo;
mod fuzz;
mod guests;
mod ort;
mod process;
mod pure;
mod stable_crates;
mod test;
mod tidy;
mod toolchain;
mod tour;
mod wasmtime;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use cache::Cache;
use clap::{Parser, Subcommand};
use toolchain::{Target, Toolchain};
use workspace::Workspace;

/// The project's own chores. What is fetched or built once is kept in DEPX_CACHE, or ~/.cache/depx.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the demonstration: a local network, a job, a liar caught, a receipt verified and replayed
    Demo {
        /// Arguments for `depx demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set up what tests need and run them all
    Test {
        /// Arguments for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the whole gate: formatting, tidiness, lints, documentation, dependencies, tests
    Check,
    /// Run the benchmarks, optimised
    Bench {
        /// Arguments for the benchmarks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run arbitrary input through the targets of `fuzz/`: the committed inputs, then new ones
    Fuzz {
        /// One of bytes, instrument, modules, protocol, wasi; all of them unless given
        target: Option<String>,
        /// How long to try new inputs, for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Fetch the pinned ONNX Runtime and print the path of its library
    Ort,
    /// Build the wasmtime command that benchmarks compare `depx run` with, and print its path
    Wasmtime,
    /// Find or make the compiler for guests and print its path
    Toolchain,
    /// Build the example tasks, compare the committed one with its source, and print the folder of the modules
    Guests {
        /// Replace the committed module by what was built
        #[arg(long)]
        update: bool,
    },
    /// Compare results of this machine with those of the aarch64 build, run by an emulator
    Aarch64,
    /// Compile the C programs of the tests and print their folder
    CGuests,
    /// Prove that depx-protocol and depx-host-abi need no system
    Pure,
    /// Run the commands of the README's tour and write down what they print
    Tour,
    /// Look for overlong files, stubs, paths of this machine and large files
    Tidy,
}

fn main() -> ExitCode {
    if let Some(code) = stable_crates::stand_in().or_else(fuzz::stand_in) {
        return code;
    }
    match Arguments::parse().chore.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Chore {
    fn run(self) -> Result<ExitCode> {
        let (workspace, cache) = (Workspace::find(), Cache::open()?);
        match self {
            Chore::Demo { arguments } => return demo::demo(&workspace, &cache, &arguments),
            Chore::Test { arguments } => test::test(&workspace, &cache, &arguments)?,
            Chore::Check => check::check(&workspace, &cache)?,
            Chore::Bench { arguments } => return demo::bench(&workspace, &cache, &arguments),
            Chore::Fuzz { target, seconds } => fuzz::fuzz(&workspace, target.as_deref(), seconds)?,
            Chore::Ort => println!("{}", ort::fetch(&cache)?.display()),
            Chore::Wasmtime => println!("{}", wasmtime::find_or_install(&workspace, &cache)?.display()),
            Chore::Toolchain => println!("{}", Toolchain::find_or_make(Target::Guest, &cache)?.rustc().display()),
            Chore::Guests { update } => {
                let guests = guests::build(&workspace, &cache)?;
                if update {
                    guests.update(&workspace)?
                } else {
                    guests.compare(&workspace)?
                }
                println!("{}", guests.directory().display());
            }
            Chore::Aarch64 => aarch64::compare(&workspace, &cache)?,
            Chore::CGuests => {
                if let Some(directory) = c_guests::build(&workspace, &cache)? {
                    println!("{}", directory.display());
                }
            }
            Chore::Pure => pure::prove(&workspace, &cache)?,
            Chore::Tidy => tidy::tidy(&workspace)?,
            Chore::Tour => tour::tour(&workspace, &cache)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
