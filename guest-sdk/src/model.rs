//! Models that the job declares.

mod host;

use crate::Tensor;
use depx_host_abi::nn::Errno;

/// Bytes of the first buffer for an output; most outputs are a few scores.
const FIRST_BUFFER: usize = 4096;

/// Bytes of the largest output that is fetched, a quarter of the memory that a task has unless the job gives it more: the buffer
/// and the elements made of it must both fit.
const MAX_OUTPUT: usize = 64 << 20;

/// A model that the job declares, loaded.
#[derive(Debug)]
pub struct Model {
    name: String,
    context: u32,
}

/// What a run of a model gave, to be fetched before the next run.
#[derive(Debug)]
pub struct Outputs<'a> {
    model: &'a Model,
}

impl Model {
    /// Loads the model that the job declares under this name.
    pub fn load(name: &str) -> Result<Self, ModelError> {
        let graph = host::load_by_name(name).map_err(|code| match code {
            Code(code) if code == Errno::NotFound as u16 => ModelError::NotDeclared { name: name.to_owned() },
            code => code.during(name, "loading"),
        })?;
        let context = host::init_execution_context(graph).map_err(|code| code.during(name, "loading"))?;
        Ok(Self { name: name.to_owned(), context })
    }

    /// Runs the model once on all its inputs, in the model's order. The run costs fuel.
    pub fn run(&mut self, inputs: &[Tensor<'_>]) -> Result<Outputs<'_>, ModelError> {
        for (index, tensor) in (0..).zip(inputs) {
            if !tensor.is_whole() {
                return Err(ModelError::Input { model: self.name.clone(), index });
            }
            host::set_input(self.context, index, tensor).map_err(|code| match code {
                Code(code) if code == Errno::InvalidArgument as u16 => {
                    ModelError::Input { model: self.name.clone(), index }
                }
                code => code.during(&self.name, "taking its input"),
            })?;
        }
        host::compute(self.context).map_err(|code| code.during(&self.name, "running"))?;
        Ok(Outputs { model: self })
    }
}

impl Outputs<'_> {
    /// The little-endian bytes of the output at `index`, in the model's order.
    pub fn bytes(&self, index: u32) -> Result<Vec<u8>, ModelError> {
        let mut buffer = vec![0; FIRST_BUFFER];
        loop {
            match host::get_output(self.model.context, index, &mut buffer) {
                Ok(length) => {
                    buffer.truncate(length as usize);
                    return Ok(buffer);
                }
                // The interface has no way to ask how long an output is.
                Err(Code(code)) if code == Errno::TooLarge as u16 && buffer.len() < MAX_OUTPUT => {
                    buffer.resize(buffer.len() * 4, 0);
                }
                Err(Code(code)) if code == Errno::InvalidArgument as u16 => {
                    return Err(ModelError::Output { model: self.model.name.clone(), index });
                }
                Err(code) => return Err(code.during(&self.model.name, "giving its output")),
            }
        }
    }

    /// An output of 32-bit floats.
    pub fn f32(&self, index: u32) -> Result<Vec<f32>, ModelError> {
        self.elements(index, f32::from_le_bytes)
    }

    /// An output of 64-bit floats.
    pub fn f64(&self, index: u32) -> Result<Vec<f64>, ModelError> {
        self.elements(index, f64::from_le_bytes)
    }

    /// An output of signed 32-bit integers.
    pub fn i32(&self, index: u32) -> Result<Vec<i32>, ModelError> {
        self.elements(index, i32::from_le_bytes)
    }

    /// An output of signed 64-bit integers.
    pub fn i64(&self, index: u32) -> Result<Vec<i64>, ModelError> {
        self.elements(index, i64::from_le_bytes)
    }

    fn elements<T, const N: usize>(&self, index: u32, read: fn([u8; N]) -> T) -> Result<Vec<T>, ModelError> {
        let bytes = self.bytes(index)?;
        match bytes.as_chunks() {
            (chunks, []) => Ok(chunks.iter().map(|&chunk| read(chunk)).collect()),
            _ => Err(ModelError::Elements { model: self.model.name.clone(), index, size: N, bytes: bytes.len() }),
        }
    }
}

/// A model that cannot be loaded or run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelError {
    /// The job has no model of this name.
    #[error("the job declares no model named {name:?}; declare it with --model {name}=FILE")]
    NotDeclared {
        /// The name.
        name: String,
    },
    /// An input of another type or shape, or one too many.
    #[error(
        "input {index} is not what model {model:?} expects: check its type, its shape and the number of its elements"
    )]
    Input {
        /// The model's name.
        model: String,
        /// Which input.
        index: u32,
    },
    /// An output that the model does not have.
    #[error("model {model:?} has no output {index}")]
    Output {
        /// The model's name.
        model: String,
        /// Which output.
        index: u32,
    },
    /// An output that is not made of such elements.
    #[error("output {index} of model {model:?} has {bytes} bytes and so is not made of elements of {size} bytes")]
    Elements {
        /// The model's name.
        model: String,
        /// Which output.
        index: u32,
        /// Bytes of an element.
        size: usize,
        /// Bytes of the output.
        bytes: usize,
    },
    /// The node says no for another reason.
    #[error("model {model:?} failed while {doing}: {reason} (wasi-nn error {code})")]
    Node {
        /// The model's name.
        model: String,
        /// What it was doing.
        doing: &'static str,
        /// What the code means.
        reason: &'static str,
        /// The code.
        code: u16,
    },
    /// There is no node: this is an ordinary build of the task.
    #[error("models can be called only inside a DePX node: build for wasm32-wasip1 and use `depx run`")]
    OutsideNode,
}

/// The code that a function of the node returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Code(u16);

impl Code {
    /// What an ordinary build says, where there is no node.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "said in an ordinary build alone"))]
    const OUTSIDE_NODE: Self = Self(u16::MAX);

    fn during(self, model: &str, doing: &'static str) -> ModelError {
        const REASONS: [(Errno, &str); 8] = [
            (Errno::InvalidArgument, "an argument is not valid, or an input is missing or out of range"),
            (Errno::InvalidEncoding, "it is not an ONNX model"),
            (Errno::MissingMemory, "an address is outside the task's memory"),
            (Errno::Busy, "the device is occupied"),
            (Errno::RuntimeError, "inference failed"),
            (Errno::UnsupportedOperation, "the node does not offer this"),
            (Errno::TooLarge, "a tensor is too large, or there are too many"),
            (Errno::NotFound, "there is no such thing"),
        ];
        if self.0 == u16::MAX {
            return ModelError::OutsideNode;
        }
        let known = REASONS.iter().find(|(errno, _)| *errno as u16 == self.0);
        let reason = known.map_or("an unknown error", |(_, reason)| reason);
        ModelError::Node { model: model.to_owned(), doing, reason, code: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_build_says_what_to_do() {
        let error = Model::load("digits").unwrap_err();
        assert_eq!(error, ModelError::OutsideNode);
        assert!(error.to_string().contains("depx run"));
    }

    #[test]
    fn codes_are_told_with_what_was_done() {
        let told = |code| Code(code).during("digits", "running").to_string();
        assert_eq!(told(5), "model \"digits\" failed while running: inference failed (wasi-nn error 5)");
        assert_eq!(told(77), "model \"digits\" failed while running: an unknown error (wasi-nn error 77)");
    }
}
