//! From what the items came to, one after the other, the result of their job.

use crate::VERSION;
use crate::cbor::Canonical;
use crate::hash::Hash;
use crate::job::DeterminismClass;
use crate::merkle::TreeBuilder;
use crate::result::{InferenceLeaf, ItemLeaf, ResultCore, Status};

/// A result under construction. It keeps a few hashes, however many items there are.
#[derive(Clone, Default, Debug)]
pub struct ResultBuilder {
    first_failure: Option<(Status, u32)>,
    fuel_used: u64,
    peak_memory_pages: u32,
    output_len: u64,
    outputs: TreeBuilder,
    items: TreeBuilder,
    host_calls: TreeBuilder,
    inferences: TreeBuilder,
    /// The encoding of one leaf.
    encoded: Vec<u8>,
}

impl ResultBuilder {
    /// Adds what the next item came to.
    pub fn push(&mut self, leaf: &ItemLeaf) {
        if leaf.status != Status::Success {
            self.first_failure.get_or_insert((leaf.status, leaf.code));
        }
        self.fuel_used = self.fuel_used.saturating_add(leaf.fuel_used);
        self.peak_memory_pages = self.peak_memory_pages.max(leaf.peak_memory_pages);
        self.output_len = self.output_len.saturating_add(leaf.output_len);
        self.outputs.push(&leaf.output.0);
        self.host_calls.push(&leaf.host_calls.root.0);
        self.encoded.clear();
        leaf.append_to(&mut self.encoded);
        self.items.push(&self.encoded);
    }

    /// Adds the next call of a model.
    pub fn push_inference(&mut self, leaf: &InferenceLeaf) {
        self.encoded.clear();
        leaf.append_to(&mut self.encoded);
        self.inferences.push(&self.encoded);
    }

    /// The result, if these were all the items of `job` and start from the module itself.
    pub fn finish(&self, job: Hash, class: DeterminismClass, profile: Hash, input_root: Hash) -> ResultCore {
        let (status, code) = self.first_failure.unwrap_or((Status::Success, 0));
        ResultCore {
            version: VERSION,
            job,
            class,
            profile,
            status,
            code,
            fuel_used: self.fuel_used,
            peak_memory_pages: self.peak_memory_pages,
            item_count: self.items.count(),
            input_root,
            output_root: self.outputs.root(),
            output_len: self.output_len,
            items_root: self.items.root(),
            host_calls_root: self.host_calls.root(),
            inference_root: self.inferences.root(),
            snapshot: Hash::ZERO,
            snapshot_fuel: 0,
        }
    }
}
