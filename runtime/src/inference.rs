//! One call of a model with nothing around it: an item of a job whose program is a model.

use crate::execute::NamedModel;
use crate::host::{Failure, Meter, Stop};
use crate::nn::tensors_hash;
use crate::outcome::{Ending, Inference, Outcome};
use crate::watch::Watch;
use crate::{HostFault, ITEM_MALFORMED, ITEM_UNFIT};
use depx_host_abi::fuel::HostWork;
use depx_host_abi::limit::LimitCode;
use depx_models::{ElementType, RunError, Tensor, check_inputs};
use depx_protocol::{Canonical, Limits, RawTensor, TensorPack, TensorType};

/// Runs `model` on the tensors that `item` encodes. Its price is the model's own, and what a guest pays for as many bytes.
pub(crate) fn infer(model: &NamedModel, limits: &Limits, item: &[u8], watch: &Watch) -> Result<Outcome, HostFault> {
    watch.check()?;
    let mut meter = Meter::new(limits.fuel);
    let called = call(model, limits, item, &mut meter);
    // A model can take longer than everything else together.
    watch.check()?;
    let (ending, stdout, inferences) = match called {
        Ok((output, inference)) => (Ending::Returned, output, vec![inference]),
        Err(Failure::Code(code)) => (Ending::Unfit(code), Vec::new(), Vec::new()),
        Err(Failure::Stop(stop)) => (Ending::of_stop(stop)?, Vec::new(), Vec::new()),
    };
    Ok(Outcome { fuel_used: meter.used(), stdout, inferences, ..Outcome::without_run(ending) })
}

fn call(
    model: &NamedModel,
    limits: &Limits,
    item: &[u8],
    meter: &mut Meter,
) -> Result<(Vec<u8>, Inference), Failure<u32>> {
    let NamedModel { hash, model, .. } = model;
    meter.charge_for(HostWork::CopiedByte, item.len() as u64)?;
    let inputs = decode(item).ok_or(Failure::Code(ITEM_MALFORMED))?;
    check_inputs(model.inputs(), &inputs).map_err(|_| Failure::Code(ITEM_UNFIT))?;
    let fuel = model.fuel();
    meter.charge(fuel)?;
    let outputs = model.run(&inputs).map_err(|error| match error {
        RunError::Inputs { .. } => Failure::Code(ITEM_UNFIT),
        RunError::Backend { reason } => Failure::Stop(HostFault::inference(reason).into()),
    })?;
    let inference = Inference { model: *hash, input: tensors_hash(&inputs), output: tensors_hash(&outputs), fuel };
    let output = TensorPack(outputs.into_iter().map(encode).collect()).to_bytes();
    meter.charge_for(HostWork::CopiedByte, output.len() as u64)?;
    if output.len() as u64 > limits.output_bytes {
        return Err(Stop::Limit(LimitCode::OutputBytes).into());
    }
    Ok((output, inference))
}

fn decode(item: &[u8]) -> Option<Vec<Tensor>> {
    let TensorPack(tensors) = TensorPack::from_bytes(item).ok()?;
    let tensor = |RawTensor { element_type, shape, data }: RawTensor| {
        let element_type = ElementType::ALL[element_type as usize];
        Tensor::new(element_type, shape, data.into()).ok()
    };
    tensors.into_iter().map(tensor).collect()
}

fn encode(tensor: Tensor) -> RawTensor {
    let element_type = TensorType::ALL[tensor.element_type() as usize];
    RawTensor { element_type, shape: tensor.shape().to_vec(), data: tensor.into_data().into() }
}
