//! `depx node`.

use crate::data::Claim;
use crate::network::{CoordinatorName, block_on, until_stopped};
use crate::{Global, identity, local, show};
use anyhow::{Context, Result};
use depx_node::{InjectedFault, Node, NodeConfig, NodeEvent};
use depx_protocol::Limits;
use depx_transport::BlobStore;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Offer this machine to a coordinator.
#[derive(clap::Args)]
pub(crate) struct NodeArgs {
    /// The coordinator, as it prints itself when it starts
    #[arg(long, env = "DEPX_COORDINATOR", value_name = "0xADDRESS@HOST:PORT")]
    coordinator: CoordinatorName,
    /// Where its key, blobs and journal are kept [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// GiB that blobs may take on the disk; what was used the longest ago goes first
    #[arg(long, value_name = "N", default_value_t = BlobStore::QUOTA >> 30, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    blob_quota: u64,
    /// Jobs executed at a time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_SLOTS))]
    slots: Option<u32>,
    /// Execute jobs also where this machine lacks a layer of isolation, such as cgroups or Landlock
    #[arg(long)]
    allow_weak_sandbox: bool,
    /// Seconds of processor time for compiling one module; what takes longer is given up
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    compile_seconds: u64,
    /// MiB of memory for compiling one module
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    compile_memory: u64,
    /// Misbehave on purpose, to see that it is caught
    #[arg(long, value_enum, value_name = "HOW")]
    inject_fault: Option<FaultName>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    follow_stdin: bool,
}

#[derive(clap::ValueEnum, Clone, Copy)]
pub(crate) enum FaultName {
    /// Sign a result with other output than the honest one
    WrongOutput,
}

/// More than any machine has cores. Each slot reserves 8 GiB of address space, of which 128 TiB can be had.
const MAX_SLOTS: i64 = 1024;

/// The most that one job may ask of a node: an hour of one core, all memory that a module can address.
const LIMITS: Limits = Limits {
    fuel: 10_000_000_000_000,
    memory_pages: 65536,
    table_elements: 10_000_000,
    output_bytes: 1 << 30,
    log_bytes: 16 << 20,
    files: 100_000,
    file_bytes: 1 << 30,
    wall_ms: 3_600_000,
};

pub(crate) fn node(global: &Global, args: NodeArgs) -> Result<ExitCode> {
    let data = args.data.unwrap_or_else(|| global.home.join("node"));
    let _claim = Claim::on(&data, "node")?;
    let key = identity::load_or_make(&data.join("key"))?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    let slots = args.slots.unwrap_or(cores);
    let limits =
        local::CompileLimits { time: Duration::from_secs(args.compile_seconds), memory: args.compile_memory << 20 };
    let workers = local::workers(global, &data, limits, args.allow_weak_sandbox)?;
    let config = NodeConfig {
        data,
        blob_quota: args.blob_quota << 30,
        coordinators: vec![(args.coordinator.resolve()?, args.coordinator.address)],
        slots,
        limits: LIMITS,
        fault: args.inject_fault.map(|FaultName::WrongOutput| InjectedFault::WrongOutput),
    };
    let (events, node, profiles) = (global.clone(), key.address(), workers.profiles());
    let offered: Vec<String> =
        profiles.iter().map(|(class, profile)| format!("{} {}", class.name(), profile.short())).collect();
    let value = json!({"event": "started", "node": node.to_string(), "slots": slots, "profiles": offered});
    block_on(async {
        let stopped = until_stopped(args.follow_stdin)?;
        show::line(global, &value, || {
            format!("node {node}: {slots} slot(s), execution profiles {}", offered.join(", "))
        });
        let node = Node::new(config, key, workers, profiles, move |event| tell(&events, &event))?;
        node.run(stopped).await.context("the node cannot serve this coordinator")?;
        Ok(ExitCode::SUCCESS)
    })
}

fn tell(global: &Global, event: &NodeEvent) {
    match event {
        NodeEvent::Connected { coordinator } => {
            let value = json!({"event": "connected", "coordinator": coordinator.to_string()});
            show::line(global, &value, || format!("connected to coordinator {coordinator}"));
        }
        NodeEvent::Disconnected { coordinator, reason, retry_ms } => {
            let value = json!({"event": "disconnected", "coordinator": coordinator.to_string(), "reason": reason, "retry_ms": retry_ms});
            show::line(global, &value, || {
                format!("not connected to coordinator {coordinator}: {reason}; trying again in {retry_ms} ms")
            });
        }
        NodeEvent::Rejected { coordinator, reason } => {
            let value = json!({"event": "rejected", "coordinator": coordinator.to_string(), "reason": reason});
            show::line(global, &value, || format!("coordinator {coordinator} does not take this node: {reason}"));
        }
        NodeEvent::Completed { job, result } => {
            let value = json!({"event": "completed", "job": job.to_string(), "result": result.to_string()});
            show::line(global, &value, || format!("job {} done, result {}", job.short(), result.short()));
        }
        NodeEvent::Abandoned { reason } => {
            show::line(global, &json!({"event": "abandoned", "reason": reason}), || {
                format!("a lease ended without a receipt: {reason}")
            });
        }
    }
}
