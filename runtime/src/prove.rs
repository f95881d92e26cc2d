//! From what an item came to, its part of the result; from a refusal, the whole of it.

use crate::stream::{Finished, Streamed};
use crate::{ITEM_MALFORMED, Job, Outcome};
use depx_host_abi::limit::LimitCode;
use depx_host_abi::trap::TrapCode;
use depx_protocol::{Hash, InferenceLeaf, ItemLeaf, ItemOutput, ResultBuilder, ResultCore, Status};
use std::time::Duration;

/// Why a job cannot be executed at all: the same on every node, so it is a result like any other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) code: u32,
    /// For people.
    pub(crate) detail: String,
}

/// What the item at `index` came to, in a time.
pub(crate) fn finished(index: u64, outcome: Outcome, time: Duration) -> Finished {
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
    let inferences = outcome.inferences.into_iter().map(|inference| InferenceLeaf {
        item: index,
        model: inference.model,
        input: inference.input,
        output: inference.output,
        fuel: inference.fuel,
    });
    Finished {
        output: ItemOutput { leaf, stdout: outcome.stdout.into(), files: outcome.files },
        inferences: inferences.collect(),
        log: outcome.log,
        host_calls: outcome.kept_calls,
        time,
    }
}

/// How an item ended that did not succeed, for people.
pub(crate) fn describe(leaf: &ItemLeaf) -> Option<String> {
    let trap = || TrapCode::try_from(leaf.code).map_or("the guest trapped", TrapCode::description);
    let limit = || LimitCode::try_from(leaf.code).map_or("a limit was exceeded", LimitCode::description);
    let what = match leaf.status {
        Status::ExitCode => format!("the guest exited with code {}", leaf.code),
        Status::Trap => trap().to_owned(),
        Status::OutOfFuel => format!("the guest used all its fuel, {} units", leaf.fuel_used),
        Status::LimitExceeded => limit().to_owned(),
        Status::Success => return None,
        Status::InvalidItem if leaf.code == ITEM_MALFORMED => "it is not an encoding of tensors".to_owned(),
        Status::InvalidItem => "the model takes tensors of other types or shapes".to_owned(),
        // Not statuses of items.
        Status::InvalidModule | Status::InvalidModel | Status::InvalidInput => String::new(),
    };
    Some(format!("item {}: {what}", leaf.index))
}

/// The result of a job that cannot be executed: no items, only the reason, and the root over the items' inputs, or over none
/// where they are not known.
pub(crate) fn refused(job: &Job, refused: Refused, input_root: Hash) -> Streamed {
    let core = ResultBuilder::default().finish(job.id, job.spec.class, job.profile, input_root);
    let core = ResultCore { status: refused.status, code: refused.code, ..core };
    Streamed { core, detail: Some(refused.detail) }
}
