//! Dishonesty on request, to show that it is caught.

use depx_protocol::{ItemOutput, ResultCore};
use depx_runtime::JobResult;

/// How a node misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InjectedFault {
    /// Executes honestly, then signs a result with other output.
    WrongOutput,
}

impl InjectedFault {
    /// The result as the dishonest node tells it: consistent in itself, and wrong.
    pub(crate) fn apply(self, mut honest: JobResult) -> JobResult {
        match self {
            Self::WrongOutput => {
                for item in &mut honest.output.items {
                    let mut stdout = item.stdout.to_vec();
                    match stdout.first_mut() {
                        // In a text of digits, another digit.
                        Some(first) => *first ^= 1,
                        None => stdout.push(b'?'),
                    }
                    item.leaf.output = ItemOutput::output_hash(&stdout, &item.files);
                    item.leaf.output_len = ItemOutput::output_len(&stdout, &item.files);
                    item.stdout = stdout.into();
                }
                let ResultCore { job, class, profile, input_root, snapshot, snapshot_fuel, .. } = honest.core;
                let core = honest.output.result(job, class, profile, input_root);
                honest.core = core.starting_from(snapshot, snapshot_fuel);
                honest
            }
        }
    }
}
