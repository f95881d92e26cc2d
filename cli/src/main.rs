//! The `depx` command.
//!
//! Results go to standard output, everything about them to standard error. With `--json` standard output carries one JSON object
//! per line. Exit codes: 0 success; 1 the command failed; 2 wrong usage; of `run` and `replay` also the guest's own exit code,
//! 120 out of fuel, 121 a limit was exceeded, 122 the job cannot be executed, 134 the guest trapped.

mod coordinator;
mod demo;
mod devnet;
mod identity;
mod input;
mod local;
mod network;
mod node;
mod receipts;
mod run;
mod show;
mod submit;

use clap::{Parser, Subcommand};
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
    /// Print one JSON object per line on standard output instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Where keys, compiled modules and libraries are kept
    #[arg(long, global = true, env = "DEPX_HOME", value_name = "DIR", default_value_os_t = default_home())]
    home: PathBuf,
    /// What to log on standard error: off, error, warn, info, debug, or a filter such as depx_node=debug
    #[arg(long, global = true, env = "DEPX_LOG", value_name = "FILTER", default_value = "warn")]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run a WASI command exactly as a node would
    Run(run::RunArgs),
    /// Check a receipt offline
    Verify(receipts::VerifyArgs),
    /// Execute again what a receipt speaks of, and compare the result
    Replay(receipts::ReplayArgs),
    /// Offer this machine to a coordinator
    Node(node::NodeArgs),
    /// Lease jobs to nodes
    Coordinator(coordinator::CoordinatorArgs),
    /// Have a job executed by a coordinator's nodes
    Submit(submit::SubmitArgs),
    /// Start a coordinator and some nodes on this machine
    Devnet(devnet::DevnetArgs),
    /// See a batch of images classified on a local network in which one node lies
    Demo(demo::DemoArgs),
    /// Make a key, or show the address of one
    Keygen(identity::KeygenArgs),
}

fn default_home() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from).join("depx")
}

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let filter = match tracing_subscriber::EnvFilter::try_new(&global.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: --log {:?} is not a filter: {error}", global.log);
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let done = match command {
        Command::Run(args) => run::run(&global, args),
        Command::Verify(args) => receipts::verify(&global, &args),
        Command::Replay(args) => receipts::replay(&global, &args),
        Command::Node(args) => node::node(&global, args),
        Command::Coordinator(args) => coordinator::coordinator(&global, args),
        Command::Submit(args) => submit::submit(&global, args),
        Command::Devnet(args) => devnet::devnet(&global, &args),
        Command::Demo(args) => demo::demo(&global, &args),
        Command::Keygen(args) => identity::keygen(&global, &args),
    };
    done.unwrap_or_else(|error| {
        show::error(&global, &error);
        ExitCode::FAILURE
    })
}
