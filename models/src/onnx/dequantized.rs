//! Weights that a model stores as integers and makes floats of: they are made floats of once, when the model is loaded.

use super::limits::MAX_MODEL_BYTES;
use super::proto::{self, Attribute, Graph, Node, Tensor};
use super::reproducible::fields;
use super::types::DataType;
use super::weights;
use super::wire::{Message, write};
use crate::LoadError;
use depx_kernels::dequantize;
use std::collections::HashMap;

/// The model with floats in place of the operators that give them; nothing if there are none.
pub(super) fn dequantized(onnx: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
    let graph = proto::model(onnx)?.graph;
    let weights = graph.initializers.iter().map(|tensor| (tensor.name, tensor)).collect::<HashMap<_, _>>();
    let mut room = MAX_MODEL_BYTES - onnx.len();
    let constants = graph.nodes.iter().map(|node| {
        let constant = Constant::of(node, &weights).filter(|_| !is_output(&graph, node))?;
        room = room.checked_sub(constant.bytes())?;
        Some(constant)
    });
    let constants = constants.collect::<Vec<_>>();
    if constants.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut messages = HashMap::new();
    for field in Message(onnx) {
        let field = field?;
        if field.number == 7 {
            let tensors = graph.initializers.iter().map(|tensor| tensor.name);
            let found = field.message()?.filter(|field| field.as_ref().is_ok_and(|field| field.number == 5));
            for (name, field) in tensors.zip(found) {
                messages.insert(name, field?.bytes()?);
            }
        }
    }
    let mut constants = constants.iter();
    let rewritten = fields(onnx, |number, value, written| {
        if number != 7 {
            return Ok(false);
        }
        let graph = fields(value?, |number, _, written| {
            let next = if number == 1 { constants.next() } else { None };
            let Some(Some(constant)) = next else { return Ok(false) };
            match constant.floats(&messages)? {
                None => Ok(false),
                Some(floats) => {
                    write(written, 5, &weights::tensor(constant.name, &constant.integers.shape, &floats));
                    Ok(true)
                }
            }
        })?;
        write(written, 7, &graph);
        Ok(true)
    })?;
    Ok(Some(rewritten))
}

fn is_output(graph: &Graph<'_>, node: &Node<'_>) -> bool {
    graph.outputs.iter().any(|port| node.outputs.contains(&port.name))
}

/// An operator on nothing but weights.
struct Constant<'a> {
    name: &'a str,
    integers: &'a Tensor<'a>,
    scales: &'a Tensor<'a>,
    zero_points: Option<&'a Tensor<'a>>,
    /// Elements side by side that have the same scale.
    inner: usize,
}

impl<'a> Constant<'a> {
    /// If the operator is one, as plain as [`quantized::check`](super::quantized::check) wants it.
    fn of(node: &Node<'a>, weights: &HashMap<&str, &'a Tensor<'a>>) -> Option<Self> {
        let (Node { operator: "DequantizeLinear", domain: "" | "ai.onnx", outputs, .. }, [x, scale, rest @ ..]) =
            (node, &node.inputs[..])
        else {
            return None;
        };
        let axis = match node.attributes[..] {
            [] => 1,
            [("axis", Attribute::Int(axis))] => axis,
            _ => return None,
        };
        let (integers, scales) = (*weights.get(x)?, *weights.get(scale)?);
        let zero_points = match rest {
            [] | [""] => None,
            [name] => Some(*weights.get(name)?),
            _ => return None,
        };
        let rank = integers.shape.len();
        let count = scales.shape.iter().product::<u64>();
        let inner = match count {
            1 => integers.shape.iter().product::<u64>(),
            _ => {
                let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?;
                let inner = integers.shape.get(axis + 1..)?.iter().product::<u64>();
                Some(inner).filter(|_| integers.shape[axis] == count)?
            }
        };
        let typed = matches!(integers.ty, DataType::U8 | DataType::I8 | DataType::I32) && scales.ty == DataType::F32;
        let same =
            zero_points.is_none_or(|points| points.ty == integers.ty && points.shape.iter().product::<u64>() == count);
        let plain = typed && same && scales.shape.len() <= 1 && inner > 0 && count > 0;
        let [output] = outputs[..] else { return None };
        let inner = usize::try_from(inner).ok()?;
        (plain && !output.is_empty()).then_some(Self { name: output, integers, scales, zero_points, inner })
    }

    /// What is written in its place.
    fn bytes(&self) -> usize {
        let elements = self.integers.shape.iter().product::<u64>();
        usize::try_from(elements).unwrap_or(usize::MAX).saturating_mul(4).saturating_add(256 + self.name.len())
    }

    fn floats(&self, messages: &HashMap<&str, &[u8]>) -> Result<Option<Vec<f32>>, LoadError> {
        let message = |tensor: &Tensor<'_>| messages.get(tensor.name).copied().unwrap_or_default();
        let integers = weights::integers(message(self.integers), self.integers.ty)?;
        let scales = weights::floats(message(self.scales))?;
        let zero_points = match self.zero_points {
            None => vec![0; scales.len()],
            Some(zero_points) => weights::integers(message(zero_points), zero_points.ty)?,
        };
        if scales.is_empty() || zero_points.len() != scales.len() || !integers.len().is_multiple_of(self.inner) {
            return Ok(None);
        }
        let mut all = vec![0.0; integers.len()];
        let parts = integers.chunks_exact(self.inner).zip(all.chunks_exact_mut(self.inner));
        for (index, (integers, floats)) in parts.enumerate() {
            let channel = index % scales.len();
            dequantize(integers, scales[channel], zero_points[channel], floats);
        }
        Ok(Some(all))
    }
}
