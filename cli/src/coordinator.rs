//! `depx coordinator`.

use crate::data::Claim;
use crate::network::{CoordinatorName, block_on, until_stopped};
use crate::{Global, identity, show};
use anyhow::Result;
use depx_coordinator::{Coordinator, CoordinatorConfig, CoordinatorEvent};
use depx_protocol::Settlement;
use depx_transport::BlobStore;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Lease jobs to nodes.
#[derive(clap::Args)]
pub(crate) struct CoordinatorArgs {
    /// Where to listen, UDP; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// Where its key, blobs and journal are kept [default: HOME/coordinator]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// GiB that blobs may take on the disk; what was used the longest ago goes first
    #[arg(long, value_name = "N", default_value_t = BlobStore::QUOTA >> 30, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    blob_quota: u64,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    follow_stdin: bool,
}

pub(crate) fn coordinator(global: &Global, args: CoordinatorArgs) -> Result<ExitCode> {
    let data = args.data.unwrap_or_else(|| global.home.join("coordinator"));
    let _claim = Claim::on(&data, "coordinator")?;
    let key = identity::load_or_make(&data.join("key"))?;
    let address = key.address();
    let config = CoordinatorConfig {
        data,
        blob_quota: args.blob_quota << 30,
        listen: args.listen,
        heartbeat: CoordinatorConfig::HEARTBEAT,
        queue_timeout: CoordinatorConfig::QUEUE_TIMEOUT,
        resume: CoordinatorConfig::RESUME,
        settlement: Settlement::default(),
    };
    let events = global.clone();
    block_on(async {
        let stopped = until_stopped(args.follow_stdin)?;
        let coordinator = Coordinator::bind(config, key, move |event| tell(&events, &event))?;
        let name = CoordinatorName::new(address, coordinator.local_address());
        show::line(global, &json!({"event": "listening", "coordinator": name.to_string()}), || {
            format!("listening; nodes and clients reach this coordinator with\n  --coordinator {name}")
        });
        coordinator.run(stopped).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn tell(global: &Global, event: &CoordinatorEvent) {
    match event {
        CoordinatorEvent::NodeJoined { node } => {
            show::line(global, &json!({"event": "node-joined", "node": node.to_string()}), || {
                format!("node {node} joined")
            });
        }
        CoordinatorEvent::NodeLeft { node, reason } => {
            let value = json!({"event": "node-left", "node": node.to_string(), "reason": reason});
            show::line(global, &value, || format!("node {node} left: {reason}"));
        }
        CoordinatorEvent::Stranger { remote, reason } => {
            let value = json!({"event": "stranger", "remote": remote.to_string(), "reason": reason});
            show::line(global, &value, || format!("{remote} was turned away: {reason}"));
        }
        CoordinatorEvent::Agreed { job, result, dissenters } => {
            let dissenting: Vec<String> = dissenters.iter().map(ToString::to_string).collect();
            let value = json!({"event": "agreed", "job": job.to_string(), "result": result.to_string(), "dissenters": dissenting});
            show::line(global, &value, || {
                let against =
                    if dissenting.is_empty() { String::new() } else { format!(", against {}", dissenting.join(", ")) };
                format!("job {} agreed on result {}{against}", job.short(), result.short())
            });
        }
        CoordinatorEvent::Failed { job, reason } => {
            let value = json!({"event": "failed", "job": job.to_string(), "reason": reason});
            show::line(global, &value, || format!("job {} failed: {reason}", job.short()));
        }
    }
}
