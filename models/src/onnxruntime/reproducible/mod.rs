//! Models whose results are the same bits on every processor: ONNX Runtime moves elements and does single operations, and our
//! own kernels do the rest, as operators of a domain of ours.

mod attention;
mod broadcast;
mod casts;
mod channels;
mod einsum;
mod elements;
mod finish;
mod halves;
mod norms;
#[cfg(feature = "cuda")]
pub(super) mod on_gpu;
mod operator;
mod order;
mod products;
mod quantized;
mod recurrent;
mod resize;
mod rows;
mod scatter;
mod transposed;
mod windows;

use super::OnnxRuntime;
use super::gpu::Gpu;
use super::session::{Kind, Sessions};
use crate::onnx::reproducible::{DOMAIN, VERSION, rewrite};
use crate::{Backend, LoadError, Model, onnx};
use depx_kernels::{Isa, Threads};
use operator::{Definition, Registered};
use ort::operator::OperatorDomain;
use std::sync::Arc;

/// The backend of class D1.
#[derive(Clone)]
pub struct Reproducible {
    library: OnnxRuntime,
    isa: Isa,
    threads: Arc<Threads>,
}

impl Reproducible {
    /// Models in this library, on its GPU where it has one, otherwise with the fastest instructions that the processor has.
    pub fn new(library: OnnxRuntime) -> Self {
        Self::with_isa(library, Isa::best())
    }

    /// The same with other instructions, which decides the speed and nothing else.
    pub fn with_isa(library: OnnxRuntime, isa: Isa) -> Self {
        Self { library, isa, threads: Arc::new(Threads::new(1)) }
    }

    /// The same with so many threads for each run, which decides the speed and nothing else. Runs at the same time, of this model or
    /// another, share them: one of them has their help.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: Arc::new(Threads::new(threads)), ..self }
    }
}

impl Backend for Reproducible {
    /// Neither processor nor library: what the library computes is the same in all of them.
    fn profile(&self) -> String {
        format!("models {}, reproducible operators {VERSION}, kernels {}", onnx::VERSION, depx_kernels::VERSION)
    }

    fn load(&self, model: &[u8]) -> Result<Arc<dyn Model>, LoadError> {
        let (info, rewritten) = rewrite(model, |name| {
            definitions().find(|definition| definition.name == name).map(|definition| definition.outputs.len())
        })?;
        let kind = Kind::Reproducible(self.isa, self.threads.clone());
        let sessions = Sessions::new(self.library.clone(), kind, info, &rewritten)
            .map_err(|reason| LoadError::Backend { reason })?;
        Ok(Arc::new(sessions))
    }
}

/// All operators with kernels of ours. Some come several times, for inputs of different types.
fn definitions() -> impl Iterator<Item = &'static Definition> {
    [
        attention::DEFINITIONS,
        broadcast::DEFINITIONS,
        casts::DEFINITIONS,
        channels::DEFINITIONS,
        einsum::DEFINITIONS,
        elements::DEFINITIONS,
        halves::DEFINITIONS,
        norms::DEFINITIONS,
        order::DEFINITIONS,
        products::DEFINITIONS,
        quantized::DEFINITIONS,
        recurrent::DEFINITIONS,
        resize::DEFINITIONS,
        rows::DEFINITIONS,
        scatter::DEFINITIONS,
        transposed::DEFINITIONS,
        windows::DEFINITIONS,
    ]
    .into_iter()
    .flatten()
}

/// All operators, those that a GPU has among them.
pub(super) fn domain(isa: Isa, threads: &Arc<Threads>, gpu: Option<&Gpu>) -> ort::Result<OperatorDomain> {
    let on_processor = definitions().filter(|definition| gpu.is_none_or(|gpu| !gpu.replaces(definition.name)));
    let domain = on_processor.into_iter().try_fold(OperatorDomain::new(DOMAIN)?, |domain, definition| {
        domain.add(Registered { definition, isa, threads: threads.clone() })
    })?;
    match gpu {
        None => Ok(domain),
        Some(gpu) => gpu.add_operators(domain, threads),
    }
}

#[cfg(test)]
mod tests {
    /// With all its optimisations off, the library still takes operators called Cast for its own, whatever their domain, and leaves out
    /// the first of some two in a row.
    #[test]
    fn none_has_the_name_of_a_conversion_of_the_library() {
        assert!(super::definitions().all(|definition| definition.name != "Cast"));
    }
}
