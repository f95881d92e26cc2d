//! wasi-nn for guests: the models that the job declares, by name.
//!
//! `load` is refused, since a model that is not declared cannot be agreed on. Every call of a model is paid for before it is
//! made, by the model's own cost, and recorded for the result.

use crate::host::{Call, ErrorCode, Failure, Host, import_number};
use crate::memory::OutOfBounds;
use crate::{HostFault, Inference, NamedModel};
use depx_host_abi::fuel::HostWork;
use depx_host_abi::nn::{Errno, MODULE};
use depx_models::{ElementType, Model, RunError, Tensor};
use depx_protocol::Hash;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use wasmtime::{Caller, Linker};

/// Most graphs, and most execution contexts, of one run. There is no way to free one, and no need for many.
const MAX_HANDLES: usize = 64;
/// Most dimensions of a tensor.
const MAX_RANK: u32 = 16;
/// Most bytes of all tensors that a run holds at a time, inputs and outputs.
const MAX_TENSOR_BYTES: usize = 256 << 20;
/// Most calls of models in one run: what is recorded of each takes memory and goes into the result.
const MAX_INFERENCES: usize = 1 << 16;
/// The domain of tensor hashes.
const TENSORS_TAG: &str = "depx/tensors/v1";

type Result<T> = std::result::Result<T, Failure<Errno>>;

impl ErrorCode for Errno {
    fn number(self) -> i32 {
        i32::from(self as u16)
    }
}

impl From<Errno> for Failure<Errno> {
    fn from(errno: Errno) -> Self {
        Self::Code(errno)
    }
}

impl From<OutOfBounds> for Errno {
    fn from(_: OutOfBounds) -> Self {
        Self::MissingMemory
    }
}

/// What a run has loaded and computed.
#[derive(Default)]
pub(crate) struct Nn {
    /// Positions in the setting's models.
    graphs: Vec<usize>,
    contexts: Vec<Context>,
    /// Bytes of all tensors in `contexts`.
    held: usize,
    pub(crate) inferences: Vec<Inference>,
}

struct Context {
    graph: usize,
    inputs: Vec<Option<Tensor>>,
    /// Empty until something was computed.
    outputs: Vec<Tensor>,
}

/// Makes all functions available to guests.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    macro_rules! functions {
        ($($name:ident($($argument:ident),*);)*) => {
            $(let number = import_number(MODULE, stringify!($name))?;
            linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, Host>, $($argument: u32),*| {
                Call::enter(&mut caller, number, &[$(u64::from($argument)),*], |call| call.$name($($argument),*))
            })?;)*
        };
    }
    functions! {
        load(builders, count, encoding, target, graph);
        load_by_name(name, len, graph);
        init_execution_context(graph, context);
        set_input(context, index, tensor);
        compute(context);
        get_output(context, index, buffer, len, written);
    }
    Ok(())
}

impl Call<'_> {
    fn load(&mut self, _builders: u32, _count: u32, _encoding: u32, _target: u32, _graph: u32) -> Result<()> {
        Err(Errno::UnsupportedOperation.into())
    }

    fn load_by_name(&mut self, name: u32, len: u32, graph: u32) -> Result<()> {
        self.memory.check(graph, 4)?;
        self.memory.check(name, len)?;
        self.meter.charge_for(HostWork::CopiedByte, u64::from(len))?;
        let name = self.memory.read(name, len)?;
        let models = self.wasi.models();
        let model = models.iter().position(|model| model.name.as_bytes() == name).ok_or(Errno::NotFound)?;
        let handle = handle(&self.nn.graphs)?;
        self.nn.graphs.push(model);
        self.memory.write_u32(graph, handle)?;
        Ok(())
    }

    fn init_execution_context(&mut self, graph: u32, context: u32) -> Result<()> {
        self.memory.check(context, 4)?;
        let graph = *self.nn.graphs.get(graph as usize).ok_or(Errno::InvalidArgument)?;
        let inputs = self.wasi.models()[graph].model.inputs().len();
        let handle = handle(&self.nn.contexts)?;
        self.nn.contexts.push(Context { graph, inputs: vec![None; inputs], outputs: Vec::new() });
        self.memory.write_u32(context, handle)?;
        Ok(())
    }

    fn set_input(&mut self, context: u32, index: u32, tensor: u32) -> Result<()> {
        let index = index as usize;
        let context = self.nn.contexts.get_mut(context as usize).ok_or(Errno::InvalidArgument)?;
        let replaced = context.inputs.get(index).ok_or(Errno::InvalidArgument)?;
        // The record: dimensions and their number, the type, data and its length.
        let record: [u8; 20] = self.memory.array(tensor)?;
        let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let (dimensions, rank, data, len) = (word(0), word(4), word(12), word(16));
        let element_type = *ElementType::ALL.get(usize::from(record[8])).ok_or(Errno::InvalidArgument)?;
        if rank > MAX_RANK {
            return Err(Errno::TooLarge.into());
        }
        let shape = self.memory.read(dimensions, rank * 4)?.chunks_exact(4);
        let shape = shape.map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
        self.memory.check(data, len)?;
        self.meter.charge_for(HostWork::CopiedByte, u64::from(len))?;
        let data = self.memory.read(data, len)?;
        let held = self.nn.held - replaced.as_ref().map_or(0, |tensor| tensor.data().len()) + data.len();
        if held > MAX_TENSOR_BYTES {
            return Err(Errno::TooLarge.into());
        }
        let tensor = Tensor::new(element_type, shape, data.to_vec()).map_err(|_| Errno::InvalidArgument)?;
        if !fits(&self.wasi.models()[context.graph], index, &tensor) {
            return Err(Errno::InvalidArgument.into());
        }
        context.inputs[index] = Some(tensor);
        self.nn.held = held;
        Ok(())
    }

    fn compute(&mut self, context: u32) -> Result<()> {
        let context = self.nn.contexts.get_mut(context as usize).ok_or(Errno::InvalidArgument)?;
        let NamedModel { hash, model, .. } = &self.wasi.models()[context.graph];
        if context.inputs.iter().any(Option::is_none) {
            return Err(Errno::InvalidArgument.into());
        }
        if self.nn.inferences.len() >= MAX_INFERENCES {
            return Err(Errno::TooLarge.into());
        }
        let fuel = model.fuel();
        self.meter.charge(fuel)?;
        // Inputs stay set: a context can compute again.
        let inputs: Vec<Tensor> = context.inputs.iter().flatten().cloned().collect();
        let outputs = run(model, &inputs)?;
        let held = self.nn.held - bytes(&context.outputs) + bytes(&outputs);
        if held > MAX_TENSOR_BYTES {
            return Err(Errno::TooLarge.into());
        }
        let inference = Inference { model: *hash, input: tensors_hash(&inputs), output: tensors_hash(&outputs), fuel };
        self.nn.held = held;
        self.nn.inferences.push(inference);
        context.outputs = outputs;
        // A model can take longer than everything else together.
        self.watch.check().map_err(|fault| Failure::Stop(fault.into()))
    }

    fn get_output(&mut self, context: u32, index: u32, buffer: u32, len: u32, written: u32) -> Result<()> {
        self.memory.check(written, 4)?;
        let context = self.nn.contexts.get(context as usize).ok_or(Errno::InvalidArgument)?;
        if context.outputs.is_empty() {
            return Err(Errno::RuntimeError.into());
        }
        let data = context.outputs.get(index as usize).ok_or(Errno::InvalidArgument)?.data();
        if data.len() > len as usize {
            return Err(Errno::TooLarge.into());
        }
        self.meter.charge_for(HostWork::CopiedByte, data.len() as u64)?;
        self.memory.write(buffer, data)?;
        self.memory.write_u32(written, data.len() as u32)?;
        Ok(())
    }
}

/// The number of the next handle.
fn handle<T>(handles: &[T]) -> Result<u32> {
    if handles.len() >= MAX_HANDLES { Err(Errno::TooLarge.into()) } else { Ok(handles.len() as u32) }
}

fn run(model: &Arc<dyn Model>, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    model.run(inputs).map_err(|error| match error {
        RunError::Inputs { .. } => Errno::InvalidArgument.into(),
        RunError::Backend { reason } => Failure::Stop(HostFault::inference(reason).into()),
    })
}

/// Whether a tensor has the type and shape that a model expects at `index`.
fn fits(model: &NamedModel, index: usize, tensor: &Tensor) -> bool {
    model.model.inputs().get(index).is_some_and(|spec| {
        spec.element_type == tensor.element_type()
            && spec.shape.len() == tensor.shape().len()
            && spec.shape.iter().zip(tensor.shape()).all(|(spec, actual)| spec.is_none_or(|spec| spec == *actual))
    })
}

fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|tensor| tensor.data().len()).sum()
}

/// What an [`depx_protocol::InferenceLeaf`] says of tensors:
///
/// ```text
/// SHA-256(SHA-256("depx/tensors/v1") ‖ count ‖ { type ‖ rank ‖ dimensions… ‖ length ‖ data }…)
/// ```
///
/// where the type is one byte, numbered as in wasi-nn, the length is that of the data in bytes, in 8 bytes, and all other
/// numbers take 4 bytes; all are big-endian. The data is as the guest sees it, little-endian.
pub(crate) fn tensors_hash(tensors: &[Tensor]) -> Hash {
    let mut hasher = Sha256::new_with_prefix(Sha256::digest(TENSORS_TAG));
    hasher.update((tensors.len() as u32).to_be_bytes());
    for tensor in tensors {
        hasher.update([tensor.element_type() as u8]);
        hasher.update((tensor.shape().len() as u32).to_be_bytes());
        for dimension in tensor.shape() {
            hasher.update(dimension.to_be_bytes());
        }
        hasher.update((tensor.data().len() as u64).to_be_bytes());
        hasher.update(tensor.data());
    }
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_host_abi::nn;
    use depx_protocol::TensorType;

    #[test]
    fn tensor_hashes_are_pinned_and_tell_shapes_apart() {
        let tensor = |shape: &[u32]| Tensor::new(ElementType::U8, shape.to_vec(), vec![1, 2, 3, 4]).unwrap();
        let flat = tensors_hash(&[tensor(&[4])]);
        assert_ne!(flat, tensors_hash(&[tensor(&[2, 2])]));
        assert_ne!(flat, tensors_hash(&[tensor(&[4]), tensor(&[4])]));
        let mut description = Sha256::digest(b"depx/tensors/v1").to_vec();
        description.extend_from_slice(b"\0\0\0\x01\x03\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0\0\x04\x01\x02\x03\x04");
        assert_eq!(flat, depx_protocol::sha256(&description));
    }

    #[test]
    fn element_types_have_the_numbers_of_the_interface() {
        for (number, (element_type, in_packs)) in (0..).zip(ElementType::ALL.into_iter().zip(TensorType::ALL)) {
            assert_eq!((element_type as u8, in_packs as u8), (number, number));
            assert_eq!(format!("{element_type:?}"), format!("{:?}", nn::TensorType::try_from(number).unwrap()));
            assert_eq!(format!("{element_type:?}"), format!("{in_packs:?}"));
        }
    }
}
