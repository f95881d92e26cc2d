//! What an operator decides. The options of `depx node run` and the keys of its configuration file are made of the one struct here:
//! names, explanations, what is allowed, and defaults.

use super::config::Config;
use crate::Cli;
use crate::local::CompileLimits;
use crate::network::CoordinatorName;
use anyhow::{Context, Result};
use clap::{Args, Command, CommandFactory, FromArgMatches};
use depx_protocol::Limits;
use depx_transport::BlobStore;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What an operator decides.
#[derive(clap::Args, Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    /// A coordinator to serve, as it prints itself when it starts
    #[arg(long = "coordinator", env = "DEPX_COORDINATOR", value_name = "0xADDRESS@HOST:PORT", value_delimiter = ',')]
    pub(crate) coordinators: Vec<CoordinatorName>,
    /// Jobs executed at a time; 0 stands for the number of cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>(0..=MAX_SLOTS))]
    pub(crate) slots: u32,
    /// GiB that blobs may take on the disk; what was used the longest ago goes first
    #[arg(long, value_name = "N", default_value_t = BlobStore::QUOTA >> 30, value_parser = whole::<u64>(1..=1 << 20))]
    pub(crate) blob_quota: u64,
    /// A file whose first line is the passphrase of the node's key, if that has one
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Where Prometheus asks for the node's figures over HTTP, at /metrics; nowhere unless set
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Execute jobs also where this machine lacks a layer of isolation, such as cgroups or Landlock
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        hide_default_value = true
    )]
    #[arg(num_args = 0..=1, require_equals = true, hide_possible_values = true, action = clap::ArgAction::Set)]
    pub(crate) allow_weak_sandbox: bool,
    /// Seconds of processor time for compiling one module; what takes longer is given up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<u64>(1..=86_400))]
    pub(crate) compile_seconds: u64,
    /// MiB of memory for compiling one module
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = whole::<u64>(64..=1 << 20))]
    pub(crate) compile_memory: u64,
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
}

/// The most that one job may ask for. Unless told otherwise: an hour of one core, all memory that a module can address.
#[derive(clap::Args, Clone, PartialEq, Debug)]
#[command(next_help_heading = "The most that one job may ask for")]
pub(crate) struct LimitSettings {
    /// Units of fuel; a core executes some 2 to 3 billion in a second
    #[arg(long, value_name = "N", default_value_t = 10_000_000_000_000, value_parser = whole::<u64>(1..=1_000_000_000_000_000_000))]
    max_fuel: u64,
    /// MiB of memory of a module
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = whole::<u32>(1..=4096))]
    max_memory: u32,
    /// Elements of a module's tables
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = whole::<u32>(1..=1_000_000_000))]
    max_table_elements: u32,
    /// MiB of output
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = whole::<u64>(1..=1024))]
    max_output: u64,
    /// MiB of standard error that are kept
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<u64>(1..=1024))]
    max_log: u64,
    /// Files and directories in a guest's file system
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = whole::<u32>(1..=10_000_000))]
    max_files: u32,
    /// MiB that a guest's file system may hold beyond the job's own files
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = whole::<u64>(1..=1 << 20))]
    max_file_space: u64,
    /// Seconds that a job may take
    #[arg(long, value_name = "N", default_value_t = 3600, value_parser = whole::<u64>(1..=604_800))]
    max_seconds: u64,
}

/// More than any machine has cores. Each slot reserves 8 GiB of address space, of which 128 TiB can be had.
const MAX_SLOTS: u64 = 1024;

/// Pages of 64 KiB in a MiB.
const PAGES: u32 = 16;

impl LimitSettings {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            fuel: self.max_fuel,
            memory_pages: self.max_memory * PAGES,
            table_elements: self.max_table_elements,
            output_bytes: self.max_output << 20,
            log_bytes: self.max_log << 20,
            files: self.max_files,
            file_bytes: self.max_file_space << 20,
            wall_ms: self.max_seconds * 1000,
        }
    }
}

impl Settings {
    /// What holds where nobody says anything.
    pub(crate) fn unset() -> Result<Self> {
        Self::of_file(&Config::default())
    }

    /// What compiling a module may take.
    pub(crate) fn compile_limits(&self) -> CompileLimits {
        CompileLimits { time: Duration::from_secs(self.compile_seconds), memory: self.compile_memory << 20 }
    }

    /// These settings as options of a command that is called `name`.
    pub(super) fn command(name: &'static str) -> Command {
        Self::augment_args(Command::new(name))
    }

    /// What a configuration file says, and where it says nothing, the environment and the defaults.
    pub(crate) fn of_file(config: &Config) -> Result<Self> {
        let matches = config.as_defaults(Self::command("config")).try_get_matches_from(["config"])?;
        Ok(Self::from_arg_matches(&matches)?)
    }

    /// What this process was called with, `depx node run`, and where that says nothing, the configuration file.
    pub(super) fn of_process(config: &Config) -> Result<Self> {
        let with_file = |run| config.as_defaults(run);
        let command = Cli::command().mut_subcommand("node", |node| node.mut_subcommand("run", with_file));
        let matches = command.try_get_matches_from(std::env::args_os())?;
        let run = matches.subcommand_matches("node").and_then(|node| node.subcommand_matches("run"));
        Ok(Self::from_arg_matches(run.context("the command is not `depx node run`")?)?)
    }
}

/// Parses a whole number in this range, and says what is allowed to whoever gives something else.
fn whole<T>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + Display,
{
    move |text| {
        let number = text.parse::<u64>().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, for instance 127.0.0.1:9464".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_in_their_range() {
        let parse = whole::<u32>(1..=10);
        assert_eq!((parse("1"), parse("10")), (Ok(1), Ok(10)));
        for bad in ["0", "11", "-1", "1.0", "one", "", "99999999999999999999"] {
            assert_eq!(parse(bad), Err("expected a whole number from 1 to 10".to_owned()), "{bad}");
        }
    }

    #[test]
    fn the_default_limits_are_an_hour_and_4_gibibytes() {
        let limits = Settings::of_file(&Config::default()).unwrap().limits.limits();
        let expected = Limits {
            fuel: 10_000_000_000_000,
            memory_pages: 65536,
            table_elements: 10_000_000,
            output_bytes: 1 << 30,
            log_bytes: 16 << 20,
            files: 100_000,
            file_bytes: 1 << 30,
            wall_ms: 3_600_000,
        };
        assert_eq!(limits, expected);
    }
}
