//! `depx node jobs`.

use crate::{Global, show};
use anyhow::{Context, Result, ensure};
use depx_node::{LeaseRecord, LeaseStage, MOST_LEASES};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond of the year 9999, after which dates have no usual form.
const LAST_MS: u64 = 253_402_300_799_999;

/// List the leases on record, the last one first.
#[derive(clap::Args)]
pub(crate) struct JobsArgs {
    /// Where the node keeps its journal [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many leases to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MOST_LEASES))]
    limit: u64,
}

pub(super) fn jobs(global: &Global, args: &JobsArgs) -> Result<ExitCode> {
    let data = args.data.clone().unwrap_or_else(|| global.home.join("node"));
    let leases = read(&data, args.limit)?;
    if global.json {
        leases.iter().for_each(|lease| show::print(value(lease)));
    } else if leases.is_empty() {
        show::print("No lease is on record: the node has not taken any yet.");
    } else {
        show::print(row(["ACCEPTED (UTC)", "TOOK", "JOB", "LEASE", "COORDINATOR", "RECEIPT", "RESULT", "STATE"]));
        leases.iter().for_each(|lease| show::print(text(lease)));
    }
    Ok(ExitCode::SUCCESS)
}

fn read(data: &Path, limit: u64) -> Result<Vec<LeaseRecord>> {
    ensure!(data.is_dir(), "there is no directory {}; name the node's with --data", data.display());
    depx_node::leases(data, limit).with_context(|| {
        format!(
            "no node's leases can be read in {}; is it a node's data directory, and has the node run?",
            data.display()
        )
    })
}

fn value(lease: &LeaseRecord) -> Value {
    let (state, reason) = words(&lease.stage);
    json!({"event": "lease", "job": lease.job.to_string(), "lease": lease.lease.to_string(),
        "coordinator": lease.coordinator.to_string(), "attempt": lease.attempt, "accepted_ms": lease.accepted_ms,
        "ended_ms": lease.ended_ms, "state": state, "reason": reason, "receipt": lease.receipt,
        "result": lease.result.map(|result| result.to_string())})
}

fn text(lease: &LeaseRecord) -> String {
    let accepted = UNIX_EPOCH + Duration::from_millis(lease.accepted_ms.min(LAST_MS));
    let accepted = humantime::format_rfc3339_seconds(accepted).to_string();
    let took =
        lease.ended_ms.map(|ended| show::duration(Duration::from_millis(ended.saturating_sub(lease.accepted_ms))));
    let state = match &lease.stage {
        LeaseStage::Executing => "executing",
        LeaseStage::Signed => "signed, waiting for the coordinator",
        LeaseStage::Acknowledged => "acknowledged",
        LeaseStage::Ended(reason) => reason,
    };
    let none = || "-".to_owned();
    row([
        &accepted.replace('T', " ").replace('Z', ""),
        &took.unwrap_or_else(none),
        &lease.job.short(),
        &lease.lease.to_string()[..8],
        &lease.coordinator.short(),
        &lease.receipt.map_or_else(none, |number| number.to_string()),
        &lease.result.map_or_else(none, |result| result.short()),
        state,
    ])
}

fn row([accepted, took, job, lease, coordinator, receipt, result, state]: [&str; 8]) -> String {
    format!("{accepted:<19}  {took:>9}  {job:<8}  {lease:<8}  {coordinator:<11}  {receipt:>7}  {result:<8}  {state}")
}

/// How far it is, in a word for programs, and why it ended.
fn words(stage: &LeaseStage) -> (&'static str, Option<&str>) {
    match stage {
        LeaseStage::Executing => ("executing", None),
        LeaseStage::Signed => ("signed", None),
        LeaseStage::Acknowledged => ("acknowledged", None),
        LeaseStage::Ended(reason) => ("ended", Some(reason)),
    }
}
