//! The `depx` command.
//!
//! What was asked for goes to standard output, errors and logs to standard error; with `--json` both carry one JSON object per
//! line. Exit codes:
//!
//! - 0: success; of `replay`, the results are the same
//! - 1: the command failed; of `replay`, also that the results differ; of `doctor`, that this machine cannot be a node
//! - 2: wrong usage
//! - of `run` and `submit` also the guest's own exit code (its low eight bits, or 1 if those are 0), 120: out of fuel, 121: a limit
//!   was exceeded, 122: the job or an item of it cannot be executed, 134: the guest trapped
//! - of `devnet -- COMMAND` that command's; 128 and the signal's number if a signal ended it

mod calls;
mod coordinator;
mod data;
mod demo;
mod devnet;
#[cfg(target_os = "linux")]
mod doctor;
mod identity;
mod input;
mod items;
mod local;
mod models;
mod network;
#[cfg(target_os = "linux")]
mod node;
mod receipts;
mod registry;
mod run;
mod sealed;
mod show;
mod submit;
mod tensors;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Deterministic, metered, verifiable computing on machines of strangers.
#[derive(Parser)]
#[command(name = "depx", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(clap::Args, Clone)]
struct Global {
    /// Print one JSON object per line instead of text, errors and logs included
    #[arg(long, global = true, help_heading = "Every command")]
    json: bool,
    /// Where keys, compiled modules and libraries are kept
    #[arg(long, global = true, help_heading = "Every command", env = "DEPX_HOME", value_name = "DIR")]
    #[arg(default_value_os_t = default_home())]
    home: PathBuf,
    /// What to log on standard error: off, error, warn, info, debug, or a filter such as depx_node=debug
    #[arg(long, global = true, help_heading = "Every command", env = "DEPX_LOG", value_name = "FILTER")]
    #[arg(default_value = "warn")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run a WASI command, or a model alone, exactly as a node would
    ///
    /// Nothing of this machine or moment goes into the job: the same module and input give the same result hash every time, and on
    /// every machine with the same execution profile.
    Run(run::RunArgs),
    /// Check a receipt offline
    Verify(receipts::VerifyArgs),
    /// Execute again what a receipt speaks of, and compare the result
    Replay(receipts::ReplayArgs),
    /// Offer this machine to coordinators
    #[cfg(target_os = "linux")]
    Node(node::NodeArgs),
    /// Find out what this machine lacks to be a node, and how to mend it
    ///
    /// Exits with 1 if a node could not work here.
    #[cfg(target_os = "linux")]
    Doctor(doctor::DoctorArgs),
    /// Execute the jobs that a node hands over on standard input
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Worker,
    /// Lease jobs to nodes
    Coordinator(coordinator::CoordinatorArgs),
    /// Have a job executed by a coordinator's nodes
    Submit(submit::SubmitArgs),
    /// Start a coordinator and some nodes on this machine
    Devnet(devnet::DevnetArgs),
    /// See a batch of images classified on a local network in which one node lies
    Demo(demo::DemoArgs),
    /// Keep models on this machine, and know what they are and do
    Models(models::ModelsArgs),
    /// Make a key, or show the address of one
    Keygen(identity::KeygenArgs),
}

fn default_home() -> PathBuf {
    let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let shared = || directory("HOME").unwrap_or_else(|| PathBuf::from(".")).join(".local/share");
    directory("XDG_DATA_HOME").unwrap_or_else(shared).join("depx")
}

/// ONNX Runtime would start a thread that reports to its maker. Nothing that a node executes is anybody else's business.
#[allow(unsafe_code, reason = "environment variables can only be set while there is one thread")]
fn forbid_telemetry() {
    // SAFETY: called first thing in `main`, before any other thread is started.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") }
}

fn main() -> ExitCode {
    forbid_telemetry();
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return show::usage(&error),
    };
    // A worker logs nothing: it is shut in, and what it has to say it says to its node.
    #[cfg(target_os = "linux")]
    if let Command::Worker = command {
        return depx_worker::serve();
    }
    if let Err(error) = start_log(&global) {
        show::error(&global, &error);
        return ExitCode::from(2);
    }
    let done = match command {
        Command::Run(args) => run::run(&global, args),
        Command::Verify(args) => receipts::verify(&global, &args),
        Command::Replay(args) => receipts::replay(&global, &args),
        #[cfg(target_os = "linux")]
        Command::Node(args) => node::node(&global, args),
        #[cfg(target_os = "linux")]
        Command::Doctor(args) => doctor::doctor(&global, &args),
        #[cfg(target_os = "linux")]
        Command::Worker => unreachable!("a worker was served before the log started"),
        Command::Coordinator(args) => coordinator::coordinator(&global, args),
        Command::Submit(args) => submit::submit(&global, args),
        Command::Devnet(args) => devnet::devnet(&global, &args),
        Command::Demo(args) => demo::demo(&global, &args),
        Command::Models(args) => models::models(&global, args),
        Command::Keygen(args) => identity::keygen(&global, &args),
    };
    done.unwrap_or_else(|error| {
        show::error(&global, &error);
        ExitCode::FAILURE
    })
}

fn start_log(global: &Global) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&global.log).with_context(|| {
        format!("--log {:?} is not a filter; write for instance info, or depx_node=debug", global.log)
    })?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let log = log.with_target(false);
    if global.json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_are_consistent() {
        Cli::command().debug_assert();
    }
}
