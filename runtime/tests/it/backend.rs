//! An inference backend for tests: models of one line, computed exactly.

use depx_models::{Backend, ElementType, LoadError, Model, RunError, Tensor, TensorSpec};
use std::sync::Arc;

/// What its models cost.
pub(crate) const FUEL: u64 = 10_000;

/// Loads models whose content is `add`, `wide`, `fail` or `refuse`; all else is not a model.
pub(crate) struct Arithmetic;

struct Add {
    inputs: [TensorSpec; 2],
    outputs: [TensorSpec; 1],
    behaviour: Vec<u8>,
}

impl Backend for Arithmetic {
    fn profile(&self) -> String {
        "arithmetic 1".into()
    }

    fn load(&self, onnx: &[u8]) -> Result<Arc<dyn Model>, LoadError> {
        match onnx {
            b"add" | b"wide" | b"fail" | b"refuse" => Ok(Arc::new(Add {
                inputs: [spec("a", Some(2)), spec("b", None)],
                outputs: [spec("sum", Some(2))],
                behaviour: onnx.to_vec(),
            })),
            b"broken" => Err(LoadError::Backend { reason: "the library is not well".into() }),
            _ => Err(LoadError::Invalid { reason: "nothing that can be added".into() }),
        }
    }
}

fn spec(name: &str, dimension: Option<u32>) -> TensorSpec {
    TensorSpec { name: name.into(), element_type: ElementType::U8, shape: vec![Some(1), dimension] }
}

impl Model for Add {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn fuel(&self) -> u64 {
        FUEL
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
        match &self.behaviour[..] {
            b"fail" => return Err(RunError::Backend { reason: "the device is\nlost".into() }),
            b"refuse" => return Err(RunError::Inputs { reason: "none will do".into() }),
            b"wide" => return Ok(vec![Tensor::new(ElementType::U8, vec![1 << 28, 2], vec![0; 1 << 29]).unwrap()]),
            _ => {}
        }
        let sum = inputs[0].data().iter().zip(inputs[1].data()).map(|(a, b)| a.wrapping_add(*b)).collect();
        Ok(vec![Tensor::new(ElementType::U8, vec![1, 2], sum).unwrap()])
    }
}
