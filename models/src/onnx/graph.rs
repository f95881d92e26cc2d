//! Walks the graph once: every name defined before it is used, every shape inferred, every operator priced.

use super::cost::Fuel;
use super::limits::{MAX_DEPTH, MAX_NUMBERS, MAX_RANK, MAX_RUN_ELEMENTS, MAX_TENSOR_ELEMENTS, OPEN_DIMENSION};
use super::proto::{Model, Node, Port, Tensor};
use super::shape::{Call, Constant, Dim, Effect, Value};
use super::types::{self, DataType};
use super::{ModelInfo, invalid, operators};
use crate::text::quoted;
use crate::{ElementType, LoadError, TensorSpec};
use std::collections::HashMap;

/// The values defined so far, by name, each with the length of the longest path to it.
pub(super) struct Scope<'a>(HashMap<&'a str, (Value, usize)>);

/// What else is asked of each operator and of what it gives, in order.
pub(super) type Ask<'a> = dyn FnMut(&Call<'_>, &[Value]) -> Result<(), String> + 'a;

/// Checks and prices a graph, and `ask`s of each operator that can be used.
pub(super) fn inspect<'a>(model: &Model<'a>, ask: &mut Ask<'_>) -> Result<(ModelInfo, Scope<'a>), LoadError> {
    let graph = &model.graph;
    if graph.inputs.is_empty() || graph.outputs.is_empty() {
        return Err(invalid("it has no inputs or no outputs"));
    }
    let mut scope = Scope(HashMap::with_capacity(graph.initializers.len() + graph.nodes.len()));
    for tensor in &graph.initializers {
        scope.define(tensor.name, constant(tensor), 0)?;
    }
    for port in &graph.inputs {
        let shape = port.shape.iter().map(|&size| dimension(size)).collect();
        scope.define(port.name, Value { ty: DataType(port.element_type), ..Value::of(shape) }, 0)?;
    }

    let mut fuel = Fuel::new();
    let mut computed = 0u64;
    for node in &graph.nodes {
        let (effect, read, depth) = scope.call(node, model.ml, ask)?;
        let mut written = 0u64;
        for value in &effect.outputs {
            let elements = value.elements();
            if elements > MAX_TENSOR_ELEMENTS || value.shape.len() > MAX_RANK {
                return Err(fault(
                    node,
                    &format!(
                        "its result has {elements} elements; {MAX_TENSOR_ELEMENTS} in {MAX_RANK} dimensions are allowed"
                    ),
                ));
            }
            written = written.saturating_add(elements);
        }
        computed = computed.saturating_add(written);
        if computed > MAX_RUN_ELEMENTS {
            return Err(invalid(format_args!(
                "one run computes more than {MAX_RUN_ELEMENTS} elements; make its inputs smaller"
            )));
        }
        let tensors = (node.inputs.len() + node.outputs.len()) as u64;
        fuel.add(tensors, read.saturating_add(written), effect.steps, effect.products);
        scope.define_outputs(node, effect, depth)?;
    }

    let info = ModelInfo {
        inputs: graph.inputs.iter().map(|port| spec(port, port.shape.clone())).collect::<Result<_, _>>()?,
        outputs: graph.outputs.iter().map(|port| scope.output(port)).collect::<Result<_, _>>()?,
        fuel: fuel.total(),
        opset: model.opset,
        nodes: graph.nodes.len(),
        weight_bytes: graph.initializers.iter().fold(0, |bytes, tensor| bytes.saturating_add(tensor.bytes)),
    };
    Ok((info, scope))
}

impl<'a> Scope<'a> {
    /// What is known of a value.
    #[cfg(feature = "onnxruntime")]
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|(value, _)| value)
    }

    fn define(&mut self, name: &'a str, value: Value, depth: usize) -> Result<(), LoadError> {
        if name.is_empty() {
            return Err(invalid("a value in it has no name"));
        }
        match self.0.insert(name, (value, depth)) {
            None => Ok(()),
            Some(_) => Err(invalid(format_args!("{} is defined twice", quoted(name)))),
        }
    }

    /// What a node gives, the elements that it reads, and the longest path through it.
    fn call(&self, node: &Node<'a>, ml: bool, ask: &mut Ask<'_>) -> Result<(Effect, u64, usize), LoadError> {
        let (mut inputs, mut read, mut depth) = (Vec::with_capacity(node.inputs.len()), 0u64, 0);
        for &name in &node.inputs {
            if name.is_empty() {
                inputs.push(None);
                continue;
            }
            let (value, path) = self.0.get(name).ok_or_else(|| {
                fault(node, &format!("its input {} is not defined before it; sort the graph", quoted(name)))
            })?;
            inputs.push(Some(value));
            read = read.saturating_add(value.elements());
            depth = depth.max(*path);
        }
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(invalid(format_args!("more than {MAX_DEPTH} of its operators depend on each other in a row")));
        }
        for (position, (name, _)) in node.attributes.iter().enumerate() {
            if node.attributes[..position].iter().any(|(other, _)| other == name) {
                return Err(fault(node, &format!("its attribute {} comes twice", quoted(name))));
            }
        }
        let call = Call { node, inputs };
        let mut effect = operators::infer(&call, ml).map_err(|reason| fault(node, &reason))?;
        types::mark(&call, &mut effect.outputs);
        ask(&call, &effect.outputs).map_err(|reason| fault(node, &reason))?;
        Ok((effect, read, depth))
    }

    fn define_outputs(&mut self, node: &Node<'a>, effect: Effect, depth: usize) -> Result<(), LoadError> {
        if node.outputs.len() > effect.outputs.len() {
            return Err(fault(node, &format!("only its first {} outputs are supported", effect.outputs.len())));
        }
        for (&name, mut value) in node.outputs.iter().zip(effect.outputs) {
            if value.elements() > MAX_NUMBERS as u64 {
                value.constant = None;
            }
            if !name.is_empty() {
                self.define(name, value, depth)?;
            }
        }
        Ok(())
    }

    /// An output of the model, with the shape that was inferred; what the file declares may not contradict it.
    fn output(&self, port: &Port<'_>) -> Result<TensorSpec, LoadError> {
        let (value, _) = self
            .0
            .get(port.name)
            .ok_or_else(|| invalid(format_args!("its output {} is not computed", quoted(port.name))))?;
        let agree =
            |(dim, declared): (&Dim, &Option<u32>)| dim.open || declared.is_none_or(|size| u64::from(size) == dim.size);
        if value.shape.len() != port.shape.len() || !value.shape.iter().zip(&port.shape).all(agree) {
            return Err(invalid(format_args!("its output {} has another shape than declared", quoted(port.name))));
        }
        let shape = value.shape.iter().map(|dim| if dim.open { None } else { u32::try_from(dim.size).ok() }).collect();
        spec(port, shape)
    }
}

fn spec(port: &Port<'_>, shape: Vec<Option<u32>>) -> Result<TensorSpec, LoadError> {
    // Numbers of ONNX's TensorProto.DataType.
    let element_type = match port.element_type {
        1 => ElementType::F32,
        2 => ElementType::U8,
        6 => ElementType::I32,
        7 => ElementType::I64,
        10 => ElementType::F16,
        11 => ElementType::F64,
        _ => {
            return Err(invalid(format_args!(
                "{} is an input or output of a type that tasks cannot hold; use f16, f32, f64, u8, i32 or i64",
                quoted(port.name)
            )));
        }
    };
    Ok(TensorSpec { name: port.name.to_owned(), element_type, shape })
}

fn dimension(size: Option<u32>) -> Dim {
    Dim { size: u64::from(size.unwrap_or(OPEN_DIMENSION)), open: size.is_none() }
}

/// What is known of a tensor that the file holds.
pub(super) fn constant(tensor: &Tensor<'_>) -> Value {
    let shape = tensor.shape.iter().map(|&size| Dim::exact(size)).collect();
    let constant = match (&tensor.ints, &tensor.floats) {
        (Some(ints), _) => Some(Constant::Ints(ints.iter().copied().map(Some).collect())),
        (None, Some(floats)) => Some(Constant::Floats(floats.clone())),
        (None, None) => None,
    };
    Value { shape, constant, ty: tensor.ty }
}

fn fault(node: &Node<'_>, reason: &str) -> LoadError {
    let output = node.outputs.first().copied().unwrap_or("");
    invalid(format_args!("operator {} that gives {}: {reason}", quoted(node.operator), quoted(output)))
}
