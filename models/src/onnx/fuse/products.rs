//! What is done to a product where it is written.

use super::{Graph, Step, write_attribute, write_text};
use crate::onnx::proto::Attribute;
use crate::onnx::shape::{Dim, Value};
use crate::onnx::wire::{write_float, write_int};

/// Inputs of a product that it has in our domain.
const BIAS: usize = 2;
const ADDEND: usize = 3;
const NORMALIZATION: usize = 4;

impl<'a> Graph<'_, 'a> {
    /// Gives a product what is done to its result: a bias, an addend of its size, and a function of each element.
    pub(super) fn finish_product(&mut self, first: usize) {
        let Some(step) = self.step(first).filter(|step| step.kernel) else { return };
        let operator = step.operator;
        if !matches!(operator, "Conv" | "Gemm" | "MatMul") || step.attributes != Some(first) {
            return;
        }
        let mut inputs = step.inputs.clone();
        let (mut output, mut last) = (step.output(), first);
        let (mut gone, mut further) = (Vec::new(), Vec::new());
        let Some(Value { shape, .. }) = self.value(output) else { return };
        let shape = shape.clone();
        let matrices = inputs[..2].iter().all(|name| self.value(name).is_some_and(|value| value.shape.len() >= 2));
        if !matrices || shape.iter().any(|dim| dim.size == 0) {
            return;
        }
        if operator == "MatMul"
            && let Some((index, transposed)) = self.made(inputs[1], "Transpose")
            && self.constants.contains(transposed.input(0))
            && self.ints(transposed, "perm").is_none_or(|order| order == [1, 0])
            && self.value(inputs[1]).is_some_and(|value| value.shape.len() == 2)
        {
            if self.uses(inputs[1]).len() == 1 {
                gone.push(index);
            }
            inputs[1] = transposed.input(0);
            write_attribute(&mut further, "transB", |attribute| {
                write_int(attribute, 3, 1);
                write_int(attribute, 20, 2);
            });
        }
        // Gemm multiplies what it adds, and adds one thing.
        let adds = operator != "Gemm"
            || self.attribute(step, "beta").is_none()
                && inputs.get(BIAS).is_none_or(|name| name.is_empty() || self.is_bias(operator, name, &shape));
        while let Some((index, user)) = self.only_user(output) {
            let mut ended = false;
            let has = |position| inputs.get(position).is_some_and(|name: &&str| !name.is_empty());
            match user.operator {
                "BatchNormalization"
                    if operator == "Conv"
                        && !has(ADDEND)
                        && !has(NORMALIZATION)
                        && user.input(0) == output
                        && user.inputs.len() == 5
                        && user.inputs[1..].iter().chain(&inputs[1..]).all(|name| self.constants.contains(name)) =>
                {
                    let epsilon = match self.attribute(user, "epsilon") {
                        Some(Attribute::Float(epsilon)) => *epsilon,
                        _ => 1e-5,
                    };
                    write_attribute(&mut further, "epsilon", |attribute| {
                        write_float(attribute, 2, epsilon);
                        write_int(attribute, 20, 1);
                    });
                    inputs.resize(NORMALIZATION, "");
                    inputs.extend(&user.inputs[1..]);
                }
                "Add" if adds && !has(ADDEND) => {
                    let Some(other) = self.other(user, output).filter(|other| *other != output) else { break };
                    let position = match has(BIAS) || has(NORMALIZATION) || !self.is_bias(operator, other, &shape) {
                        false => BIAS,
                        true if self.value(other).is_some_and(|value| value.shape == shape)
                            && shape.iter().all(|dim| !dim.open) =>
                        {
                            ADDEND
                        }
                        true => break,
                    };
                    inputs.resize(inputs.len().max(position + 1), "");
                    inputs[position] = other;
                }
                "Clip" => {
                    let bound = |position, open| match user.inputs.get(position) {
                        None | Some(&"") => Some(open),
                        Some(name) => self.number(name),
                    };
                    let (Some(low), Some(high)) = (bound(1, f32::NEG_INFINITY), bound(2, f32::INFINITY)) else { break };
                    for (name, value) in [("low", low), ("high", high)] {
                        write_attribute(&mut further, name, |attribute| {
                            write_float(attribute, 2, value);
                            write_int(attribute, 20, 1);
                        });
                    }
                    write_text(&mut further, "activation", "Clip");
                    ended = true;
                }
                "Relu" | "Gelu" | "HardSwish" | "Mish" | "Sigmoid" | "Silu" | "Tanh" => {
                    let with_tanh = user.operator == "Gelu"
                        && (!user.further.is_empty()
                            || matches!(self.attribute(user, "approximate"), Some(Attribute::Text(b"tanh"))));
                    let name = if with_tanh { "GeluTanh" } else { user.operator };
                    write_text(&mut further, "activation", name);
                    ended = true;
                }
                _ => break,
            }
            gone.push(last);
            (output, last) = (user.output(), index);
            if ended {
                break;
            }
        }
        if last == first && further.is_empty() {
            return;
        }
        let step = Step { operator, inputs, outputs: vec![output], kernel: true, attributes: Some(first), further };
        self.replace(&gone, last, step);
    }

    /// Whether a value has an element for each column of a product, or each channel of a convolution, in its place.
    fn is_bias(&self, operator: &str, name: &str, shape: &[Dim]) -> bool {
        let Some(value) = self.value(name) else { return false };
        let from_end = if operator == "Conv" { shape.len() - 1 } else { 1 };
        let Some(dim) = shape.get(shape.len() - from_end) else { return false };
        let at = value.shape.len().checked_sub(from_end).map(|position| value.shape[position]);
        !dim.open && at == Some(*dim) && value.elements() == dim.size && value.shape.len() <= shape.len()
    }
}
