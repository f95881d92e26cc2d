//! `depx node run`.

use super::Place;
use super::control::Control;
use super::passphrase;
use super::scrape::Scrape;
use super::service;
use super::settings::Settings;
use crate::data::Claim;
use crate::network::{block_on, until_stopped};
use crate::{Global, identity, local, show};
use anyhow::{Context, Result, ensure};
use depx_node::{InjectedFault, Node, NodeConfig, NodeEvent};
use sd_notify::NotifyState;
use serde_json::json;
use std::future::pending;
use std::process::ExitCode;

/// Serve coordinators until told to stop.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    place: Place,
    /// Misbehave on purpose, to see that it is caught
    #[arg(long, value_enum, value_name = "HOW")]
    inject_fault: Option<FaultName>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    follow_stdin: bool,
    // Last, since the options that follow would come under the heading of its limits.
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::ValueEnum, Clone, Copy)]
enum FaultName {
    /// Sign a result with other output than the honest one
    WrongOutput,
}

pub(super) fn run(global: &Global, args: RunArgs) -> Result<ExitCode> {
    let data = args.place.data(global);
    let config = args.place.config(global)?;
    let settings = if config.is_empty() { args.settings } else { Settings::of_process(&config)? };
    ensure!(
        !settings.coordinators.is_empty(),
        "no coordinator is named; give --coordinator 0xADDRESS@HOST:PORT, or set coordinators in the configuration file"
    );
    let found = settings.coordinators.iter().map(|name| anyhow::Ok((name.resolve()?, name.address)));
    let coordinators = found.collect::<Result<Vec<_>>>()?;
    let _claim = Claim::on(&data, "node")?;
    let key_path = data.join("key");
    if !key_path.exists() {
        identity::make(&key_path, None)?;
    }
    let key = identity::load(&key_path, || passphrase::existing(settings.passphrase_file.as_deref()))?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    let slots = if settings.slots == 0 { cores } else { settings.slots };
    let workers = local::workers(global, &data, settings.compile_limits(), settings.allow_weak_sandbox)?;
    let config = NodeConfig {
        data: data.clone(),
        blob_quota: settings.blob_quota << 30,
        coordinators,
        slots,
        limits: settings.limits.limits(),
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
        let control = Control::bind(&data)?;
        let scrape = match settings.metrics {
            Some(address) => Some(Scrape::bind(address).await?),
            None => None,
        };
        if let Some(scrape) = &scrape {
            let url = format!("http://{}/metrics", scrape.address()?);
            show::line(global, &json!({"event": "metrics", "url": url}), || format!("figures at {url}"));
        }
        let node = Node::new(config, key, workers, profiles, move |event| tell(&events, &event))?;
        let observer = node.observer();
        let draining = {
            let global = global.clone();
            // systemd does not hear of it: a service that says that it stops has a deadline.
            move || {
                show::line(&global, &json!({"event": "draining"}), || {
                    "no new leases; finishing those accepted".to_owned()
                });
            }
        };
        let scraped = async {
            match scrape {
                Some(scrape) => scrape.serve(observer.clone()).await,
                None => pending().await,
            }
        };
        service::tell(NotifyState::Ready);
        let stopping = async {
            stopped.await;
            service::tell(NotifyState::Stopping);
        };
        tokio::select! {
            served = node.run(stopping) => served.context("the node cannot serve this coordinator")?,
            never = service::keep_alive() => match never {},
            never = control.serve(observer.clone(), draining) => match never {},
            never = scraped => match never {},
        }
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
