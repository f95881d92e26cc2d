//! `depx node`.

mod ask;
mod config;
mod control;
mod init;
mod jobs;
mod passphrase;
mod run;
mod scrape;
mod service;
mod settings;
mod survey;

use crate::Global;
use anyhow::Result;
use config::Config;
pub(crate) use settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;

/// Offer this machine to coordinators.
#[derive(clap::Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(clap::Subcommand)]
enum NodeCommand {
    /// Make a key and a configuration file, and look at what this machine has
    ///
    /// What is there already is kept as it is.
    Init(init::InitArgs),
    /// Serve coordinators until told to stop
    ///
    /// Each option but --data, --config and --inject-fault is also a key of the configuration file, with `_` for `-`. What is said
    /// on the command line comes before the environment, and that before the file.
    Run(run::RunArgs),
    /// List the leases on record, the last one first
    ///
    /// They are read from the node's journal, whether it runs or not. A lease that the journal has as executing when the node does
    /// not run is taken up at its next start.
    Jobs(jobs::JobsArgs),
    /// Say how the node is that runs here
    Status(ask::StatusArgs),
    /// Have the node take no new leases, finish those that it has, however long they take, and end
    ///
    /// SIGTERM does the same with a deadline of 30 seconds, also after this.
    Drain(ask::DrainArgs),
}

/// Where a node keeps what it has.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Where its key, configuration, blobs and journal are kept [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Its configuration file [default: DATA/config.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    /// The data directory.
    pub(crate) fn data(&self, global: &Global) -> PathBuf {
        self.data.clone().unwrap_or_else(|| global.home.join("node"))
    }

    /// The configuration file, wherever it is or would be.
    pub(crate) fn config_path(&self, global: &Global) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.data(global).join("config.toml"))
    }

    /// What the configuration file says. One that was named must be there.
    pub(crate) fn config(&self, global: &Global) -> Result<Config> {
        let path = self.config_path(global);
        if self.config.is_none() && !path.exists() {
            return Ok(Config::default());
        }
        Config::read(&path)
    }
}

pub(crate) fn node(global: &Global, args: NodeArgs) -> Result<ExitCode> {
    match args.command {
        NodeCommand::Init(args) => init::init(global, &args),
        NodeCommand::Run(args) => run::run(global, args),
        NodeCommand::Jobs(args) => jobs::jobs(global, &args),
        NodeCommand::Status(args) => ask::status(global, &args),
        NodeCommand::Drain(args) => ask::drain(global, &args),
    }
}
