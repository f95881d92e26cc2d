//! From what the items came to, the result that is voted on.

use crate::{Job, JobResult, Outcome, StartsFrom};
use bytes::Bytes;
use depx_host_abi::limit::LimitCode;
use depx_host_abi::trap::TrapCode;
use depx_protocol::{Hash, InferenceLeaf, ItemLeaf, ItemOutput, JobOutput, ResultCore, Status, merkle};
use std::time::Duration;

/// Why a job cannot be executed at all: the same on every node, so it is a result like any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) code: u32,
    /// The root over the items' inputs, or over none where they are not known.
    pub(crate) input_root: Option<Hash>,
    /// For people.
    pub(crate) detail: String,
}

/// The result of a job whose items were executed, in order, each in a time. The initialisation is paid for once, whoever ran it.
pub(crate) fn executed(
    job: &Job,
    input_root: Hash,
    outcomes: Vec<(Outcome, Duration)>,
    starts_from: Option<StartsFrom>,
) -> JobResult {
    let mut output = JobOutput::default();
    let mut logs = Vec::with_capacity(outcomes.len());
    let mut host_calls = Vec::with_capacity(outcomes.len());
    let mut times = Vec::with_capacity(outcomes.len());
    output.items.reserve(outcomes.len());
    for (index, (mut outcome, time)) in (0..).zip(outcomes) {
        host_calls.push(std::mem::take(&mut outcome.kept_calls));
        output.inferences.extend(outcome.inferences.iter().map(|inference| InferenceLeaf {
            item: index,
            model: inference.model,
            input: inference.input,
            output: inference.output,
            fuel: inference.fuel,
        }));
        let (item, log) = item(index, outcome);
        output.items.push(item);
        logs.push(log);
        times.push(time);
    }
    let core = output.result(job.id, job.spec.class, job.profile, input_root);
    let core = match starts_from {
        Some(StartsFrom { snapshot, fuel }) => core.starting_from(snapshot, fuel),
        None => core,
    };
    let failed = output.items.iter().map(|item| &item.leaf).find(|leaf| leaf.status != Status::Success);
    let detail = failed.map(|leaf| format!("item {}: {}", leaf.index, describe(leaf)));
    JobResult { core, output, logs, host_calls, times, detail }
}

fn item(index: u64, outcome: Outcome) -> (ItemOutput, Bytes) {
    let leaf = ItemLeaf {
        index,
        status: outcome.status,
        code: outcome.code,
        fuel_used: outcome.fuel_used,
        peak_memory_pages: outcome.peak_memory_pages,
        output: ItemOutput::output_hash(&outcome.stdout, &outcome.files),
        output_len: ItemOutput::output_len(&outcome.stdout, &outcome.files),
        log_len: outcome.log_len,
        host_calls: outcome.host_calls,
    };
    (ItemOutput { leaf, stdout: outcome.stdout.into(), files: outcome.files }, outcome.log)
}

/// How an item that did not succeed ended, for people.
fn describe(leaf: &ItemLeaf) -> String {
    let trap = || TrapCode::try_from(leaf.code).map_or("the guest trapped", TrapCode::description);
    let limit = || LimitCode::try_from(leaf.code).map_or("a limit was exceeded", LimitCode::description);
    match leaf.status {
        Status::ExitCode => format!("the guest exited with code {}", leaf.code),
        Status::Trap => trap().to_owned(),
        Status::OutOfFuel => format!("the guest used all its fuel, {} units", leaf.fuel_used),
        Status::LimitExceeded => limit().to_owned(),
        // Not statuses of items.
        Status::Success | Status::InvalidModule | Status::InvalidModel | Status::InvalidInput => String::new(),
    }
}

/// The result of a job that cannot be executed: no items, only the reason.
pub(crate) fn refused(job: &Job, refused: Refused) -> JobResult {
    let output = JobOutput::default();
    let input_root = refused.input_root.unwrap_or_else(|| merkle::TreeBuilder::new().root());
    let core = output.result(job.id, job.spec.class, job.profile, input_root);
    let core = ResultCore { status: refused.status, code: refused.code, ..core };
    JobResult {
        core,
        output,
        logs: Vec::new(),
        host_calls: Vec::new(),
        times: Vec::new(),
        detail: Some(refused.detail),
    }
}
