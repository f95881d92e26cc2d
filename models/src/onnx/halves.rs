//! Models with 16-bit floats, computed in 32 bits: what an operator computes is rounded once, when it is done.

use super::proto::{self, Attribute, Graph};
use super::reproducible::fields;
use super::shape::{Call, Value};
use super::types::DataType;
use super::wire::{write, write_varint};
use super::{graph, invalid, weights};
use crate::LoadError;
use crate::text::quoted;
use depx_kernels::{widen_bf16, widen_f16};
use std::collections::HashSet;

/// With what names of values begin that are none of the model's: those in 32 bits, and results that are not rounded yet.
const WIDE: &str = "depx.wide.";
const RESULT: &str = "depx.result.";

/// The inputs of a node that are widened, and the types to which its outputs are rounded.
struct Step {
    wide: Vec<bool>,
    narrow: Vec<Option<DataType>>,
}

impl Step {
    fn of(call: &Call<'_>, outputs: &[Value]) -> Self {
        if moves(call) {
            return Self { wide: Vec::new(), narrow: Vec::new() };
        }
        let is_half = |value: &Option<&Value>| value.is_some_and(|value| value.ty.is_half());
        let narrow = |value: &Value| value.ty.is_half().then_some(value.ty);
        Self { wide: call.inputs.iter().map(is_half).collect(), narrow: outputs.iter().map(narrow).collect() }
    }

    fn converts(&self) -> bool {
        self.wide.contains(&true) || self.narrow.iter().any(Option::is_some)
    }
}

/// Operators that the library has for elements of any type, and conversions.
fn moves(call: &Call<'_>) -> bool {
    match call.node.operator {
        "Concat" | "Constant" | "ConstantOfShape" | "Flatten" | "Gather" | "GatherElements" | "GatherND"
        | "Identity" | "Reshape" | "Shape" | "Size" | "Slice" | "Split" | "Squeeze" | "Transpose" | "Unsqueeze"
        | "CastLike" => true,
        "Cast" => match call.attribute("to") {
            Some(Attribute::Int(to)) => DataType(*to).is_float() || DataType(*to) == DataType::BOOL,
            _ => true,
        },
        _ => false,
    }
}

/// The names of values that are used in 32 bits, and of those that are used as they are.
struct Names<'a> {
    wide: HashSet<&'a str>,
    kept: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(graph: &Graph<'a>, steps: &[Step]) -> Self {
        let mut names = Self { wide: HashSet::new(), kept: graph.outputs.iter().map(|port| port.name).collect() };
        for (node, step) in graph.nodes.iter().zip(steps) {
            for (position, name) in node.inputs.iter().enumerate() {
                let wide = step.wide.get(position) == Some(&true);
                if wide { &mut names.wide } else { &mut names.kept }.insert(name);
            }
        }
        names
    }
}

/// The model with conversions around what computes with 16-bit floats; nothing if nothing does.
pub(super) fn widened(onnx: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
    let model = proto::model(onnx)?;
    let mut steps = Vec::with_capacity(model.graph.nodes.len());
    graph::inspect(&model, &mut |call, outputs| {
        steps.push(Step::of(call, outputs));
        Ok(())
    })?;
    if !steps.iter().any(Step::converts) {
        return Ok(None);
    }
    let graph = &model.graph;
    let all = graph.initializers.iter().map(|tensor| tensor.name);
    let all = all.chain(graph.inputs.iter().map(|port| port.name));
    let mut all = all.chain(graph.nodes.iter().flat_map(|node| node.outputs.iter().copied()));
    if let Some(name) = all.find(|name| name.starts_with(WIDE) || name.starts_with(RESULT)) {
        return Err(invalid(format_args!("{} begins as names of conversions do; rename it", quoted(name))));
    }
    let names = Names::of(graph, &steps);
    let halves = graph.initializers.iter().filter(|tensor| tensor.ty.is_half());
    let mut done = halves.map(|tensor| tensor.name).collect::<HashSet<_>>();

    let (mut nodes, mut weights) = (graph.nodes.iter().zip(&steps), graph.initializers.iter());
    let rewritten = fields(onnx, |number, value, written| {
        if number != 7 {
            return Ok(false);
        }
        let graph = fields(value?, |number, value, written| match number {
            1 => {
                let Some((node, step)) = nodes.next() else { return Ok(false) };
                for (name, _) in node.inputs.iter().zip(&step.wide).filter(|(_, wide)| **wide) {
                    if done.insert(name) {
                        write(written, 1, &cast(name, &format!("{WIDE}{name}"), DataType::F32));
                    }
                }
                write(written, 1, &renamed(value?, step)?);
                for (name, ty) in node.outputs.iter().zip(&step.narrow) {
                    if let (Some(ty), false) = (ty, name.is_empty()) {
                        write(written, 1, &cast(&format!("{RESULT}{name}"), name, *ty));
                    }
                }
                Ok(true)
            }
            5 => {
                let weight = weights.next().filter(|weight| weight.ty.is_half() && names.wide.contains(weight.name));
                let Some(weight) = weight else { return Ok(false) };
                let name = format!("{WIDE}{}", weight.name);
                write(written, 5, &weights::tensor(&name, &weight.shape, &wide(value?, weight.ty)?));
                Ok(!names.kept.contains(weight.name))
            }
            _ => Ok(false),
        })?;
        write(written, 7, &graph);
        Ok(true)
    })?;
    Ok(Some(rewritten))
}

/// A node with the names of widened inputs, and of outputs that are not rounded yet.
fn renamed(node: &[u8], step: &Step) -> Result<Vec<u8>, LoadError> {
    let (mut inputs, mut outputs) = (step.wide.iter(), step.narrow.iter());
    fields(node, |number, value, written| {
        let prefix = match number {
            1 if inputs.next() == Some(&true) => WIDE,
            2 if outputs.next().is_some_and(Option::is_some) => RESULT,
            _ => return Ok(false),
        };
        let name = value?;
        if !name.is_empty() {
            write(written, number, &[prefix.as_bytes(), name].concat());
        }
        Ok(!name.is_empty())
    })
}

/// A node that converts a value.
fn cast(from: &str, to: &str, ty: DataType) -> Vec<u8> {
    let mut attribute = Vec::new();
    write(&mut attribute, 1, b"to");
    // `i`, and `type`, which is INT.
    for number in [3 << 3, ty.0.cast_unsigned(), 20 << 3, 2] {
        write_varint(&mut attribute, number);
    }
    let mut node = Vec::new();
    write(&mut node, 1, from.as_bytes());
    write(&mut node, 2, to.as_bytes());
    write(&mut node, 4, b"Cast");
    write(&mut node, 5, &attribute);
    node
}

/// The elements of a weight in 32 bits.
fn wide(tensor: &[u8], ty: DataType) -> Result<Vec<f32>, LoadError> {
    let halves = weights::halves(tensor)?;
    let mut floats = vec![0.0; halves.len()];
    if ty == DataType::F16 {
        widen_f16(&halves, &mut floats)
    } else {
        widen_bf16(&halves, &mut floats)
    }
    Ok(floats)
}
