//! Operators that become one of ours, and integers that are known before a run. `KERNELS.md` says which, and what then is computed.
//!
//! A value between operators vanishes, which it may if nothing else uses it. All is a function of the file's bytes alone.

mod patterns;
mod products;

use super::graph::Scope;
use super::proto::{Attribute, Model, Node};
use super::reproducible::Place;
use super::shape::{Constant, Value, elements};
use super::types::DataType;
use super::wire::{write, write_int};
use std::collections::{HashMap, HashSet};

/// What a node of the graph became. One with nothing in the place of another's attributes has none of its own.
pub(super) struct Step<'a> {
    pub(super) operator: &'a str,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    /// Whether it is one of our kernels.
    pub(super) kernel: bool,
    /// The node whose attributes it has.
    pub(super) attributes: Option<usize>,
    /// Its further attributes, as fields of a node.
    pub(super) further: Vec<u8>,
}

impl<'a> Step<'a> {
    /// The name of an input; an empty one, as of those that are left out, if there are fewer.
    fn input(&self, position: usize) -> &'a str {
        self.inputs.get(position).copied().unwrap_or("")
    }

    /// The name of the first output, likewise.
    fn output(&self) -> &'a str {
        self.outputs.first().copied().unwrap_or("")
    }
}

struct Graph<'m, 'a> {
    nodes: &'m [Node<'a>],
    values: &'m Scope<'a>,
    steps: Vec<Option<Step<'a>>>,
    producers: HashMap<&'a str, usize>,
    /// Each use by an operator, in no order; none of an operator is `OUTPUT`, one by whoever runs the model.
    uses: HashMap<&'a str, Vec<usize>>,
    constants: HashSet<&'a str>,
}

const OUTPUT: usize = usize::MAX;

/// One operator in the place of several.
struct Fusion<'a> {
    operator: &'a str,
    inputs: Vec<&'a str>,
    further: Vec<u8>,
    /// The operators that are not needed any more, besides the last.
    gone: Vec<usize>,
}

/// A pattern, of which this is the last operator.
type Pattern = for<'m, 'a> fn(&Graph<'m, 'a>, usize) -> Option<Fusion<'a>>;

/// What is looked for, in this order.
const PATTERNS: [Pattern; 4] = [patterns::gelu, patterns::gate, patterns::normalization, patterns::attention];

/// What becomes of each node; nothing of those that are part of a later one.
pub(super) fn fuse<'a>(model: &Model<'a>, values: &Scope<'a>, places: &[Place]) -> Vec<Option<Step<'a>>> {
    let mut graph = Graph::new(model, values, places);
    for pattern in PATTERNS {
        for last in 0..graph.steps.len() {
            if let Some(fusion) = graph.steps[last].is_some().then(|| pattern(&graph, last)).flatten() {
                let outputs = graph.steps[last].as_ref().map_or(Vec::new(), |step| step.outputs.clone());
                let Fusion { operator, inputs, further, gone } = fusion;
                let step = Step { operator, inputs, outputs, kernel: true, attributes: None, further };
                graph.replace(&gone, last, step);
            }
        }
    }
    for first in 0..graph.steps.len() {
        graph.finish_product(first);
    }
    for index in 0..graph.steps.len() {
        graph.fold(index);
    }
    for index in (0..graph.steps.len()).rev() {
        graph.drop_unused(index);
    }
    graph.steps
}

impl<'m, 'a> Graph<'m, 'a> {
    fn new(model: &'m Model<'a>, values: &'m Scope<'a>, places: &[Place]) -> Self {
        let nodes = &model.graph.nodes;
        let mut constants: HashSet<_> = model.graph.initializers.iter().map(|tensor| tensor.name).collect();
        constants.extend(nodes.iter().filter(|node| node.operator == "Constant").flat_map(|node| &node.outputs));
        let mut graph = Self {
            nodes,
            values,
            steps: nodes.iter().map(|_| None).collect(),
            producers: HashMap::new(),
            uses: HashMap::new(),
            constants,
        };
        for (index, (node, place)) in nodes.iter().zip(places).enumerate() {
            let Node { operator, inputs, outputs, .. } = node;
            let (inputs, outputs) = (inputs.clone(), outputs.clone());
            let (operator, kernel) = match *place {
                Place::Library => (*operator, false),
                Place::Kernels => (*operator, true),
                Place::Renamed(name) => (name, true),
            };
            let step = Step { operator, inputs, outputs, kernel, attributes: Some(index), further: Vec::new() };
            graph.set(index, step);
        }
        for output in &model.graph.outputs {
            graph.uses.entry(output.name).or_default().push(OUTPUT);
        }
        graph
    }

    fn set(&mut self, index: usize, step: Step<'a>) {
        for name in step.inputs.iter().filter(|name| !name.is_empty()) {
            self.uses.entry(name).or_default().push(index);
        }
        for name in step.outputs.iter().filter(|name| !name.is_empty()) {
            self.producers.insert(name, index);
        }
        self.steps[index] = Some(step);
    }

    fn replace(&mut self, gone: &[usize], last: usize, step: Step<'a>) {
        gone.iter().chain([&last]).for_each(|index| self.remove(*index));
        self.set(last, step);
    }

    fn remove(&mut self, index: usize) {
        for name in self.steps[index].take().map_or(Vec::new(), |step| step.inputs) {
            if let Some(uses) = self.uses.get_mut(name) {
                uses.retain(|user| *user != index);
            }
        }
    }

    fn step(&self, index: usize) -> Option<&Step<'a>> {
        self.steps.get(index)?.as_ref()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    fn uses(&self, name: &str) -> &[usize] {
        self.uses.get(name).map_or(&[], Vec::as_slice)
    }

    /// The operator that makes a value, if it is of this name and has one output.
    fn made(&self, name: &str, operator: &str) -> Option<(usize, &Step<'a>)> {
        let index = *self.producers.get(name)?;
        let step = self.step(index)?;
        (step.operator == operator && step.outputs.len() == 1).then_some((index, step))
    }

    /// The same if nothing else uses the value.
    fn made_for_one(&self, name: &str, operator: &str) -> Option<(usize, &Step<'a>)> {
        self.made(name, operator).filter(|_| self.uses(name).len() == 1)
    }

    /// The only operator that uses a value, which it uses once.
    fn only_user(&self, name: &str) -> Option<(usize, &Step<'a>)> {
        match self.uses(name) {
            [index] => Some((*index, self.step(*index)?)),
            _ => None,
        }
    }

    /// Attributes of a step that has those of its node.
    fn attribute(&self, step: &Step<'_>, name: &str) -> Option<&'m Attribute<'a>> {
        let attributes = &self.nodes[step.attributes?].attributes;
        attributes.iter().find(|(other, _)| *other == name).map(|(_, attribute)| attribute)
    }

    fn int(&self, step: &Step<'_>, name: &str, default: i64) -> i64 {
        if let Some(Attribute::Int(value)) = self.attribute(step, name) { *value } else { default }
    }

    fn ints(&self, step: &Step<'_>, name: &str) -> Option<&'m [i64]> {
        if let Some(Attribute::Ints(ints)) = self.attribute(step, name) { ints.all() } else { None }
    }

    /// A constant of one element.
    fn number(&self, name: &str) -> Option<f32> {
        match self.value(name)?.constant.as_ref()? {
            Constant::Floats(numbers) if numbers.len() == 1 && self.value(name)?.elements() == 1 => Some(numbers[0]),
            _ => None,
        }
    }

    fn is_number(&self, name: &str, expected: f32) -> bool {
        self.number(name).is_some_and(|number| (number - expected).abs() <= 1e-5 * expected.abs())
    }

    /// The other input of an operator of two, if one is this.
    fn other(&self, step: &Step<'a>, name: &str) -> Option<&'a str> {
        match step.inputs[..] {
            [a, b] if a == name => Some(b),
            [a, b] if b == name => Some(a),
            _ => None,
        }
    }

    /// The other input of an operator of two, if one is a number like this.
    fn beside(&self, step: &Step<'a>, expected: f32) -> Option<&'a str> {
        match step.inputs[..] {
            [a, b] if self.is_number(b, expected) => Some(a),
            [a, b] if self.is_number(a, expected) => Some(b),
            _ => None,
        }
    }

    /// The size of a value's last dimension, if it is fixed.
    fn width(&self, name: &str) -> Option<u64> {
        self.value(name)?.shape.last().filter(|dim| !dim.open).map(|dim| dim.size)
    }

    /// Whether it has as many elements as its last dimension, which is this long.
    fn is_row(&self, name: &str, width: u64) -> bool {
        self.width(name) == Some(width) && self.value(name).is_some_and(|value| value.elements() == width)
    }

    /// What a value is transposed from, and how, if that is all that it is used for.
    fn untransposed(&self, mut name: &'a str, gone: &mut Vec<usize>) -> (&'a str, [i64; 4]) {
        let mut order = [0, 1, 2, 3];
        while let Some((index, step)) = self.made_for_one(name, "Transpose")
            && let Some(Ok(inner)) = self.ints(step, "perm").map(<[i64; 4]>::try_from)
            && inner.iter().all(|axis| (0..4).contains(axis))
        {
            order = order.map(|axis: i64| inner[axis as usize]);
            gone.push(index);
            name = step.input(0);
        }
        (name, order)
    }
}

impl<'a> Graph<'_, 'a> {
    /// Makes integers that are known before a run, from which shapes are made, a constant.
    fn fold(&mut self, index: usize) {
        let Some(step) = self.step(index).filter(|step| !step.kernel && step.operator != "Constant") else { return };
        let &[output] = &step.outputs[..] else { return };
        let Some(Value { shape, constant: Some(Constant::Ints(ints)), ty: DataType::I64 }) = self.value(output) else {
            return;
        };
        let Some(ints) = ints.iter().copied().collect::<Option<Vec<_>>>() else { return };
        let exact = shape.iter().all(|dim| !dim.open) && elements(shape) == ints.len() as u64;
        if !exact || self.uses(output).contains(&OUTPUT) {
            return;
        }
        let mut tensor = Vec::new();
        shape.iter().for_each(|dim| write_int(&mut tensor, 1, dim.size.cast_signed()));
        write_int(&mut tensor, 2, DataType::I64.0);
        write(&mut tensor, 9, &ints.iter().flat_map(|int| int.to_le_bytes()).collect::<Vec<_>>());
        let mut further = Vec::new();
        write_attribute(&mut further, "value", |attribute| {
            write(attribute, 5, &tensor);
            write_int(attribute, 20, 4);
        });
        let (inputs, outputs) = (Vec::new(), vec![output]);
        let step = Step { operator: "Constant", inputs, outputs, kernel: false, attributes: None, further };
        self.replace(&[], index, step);
    }

    fn drop_unused(&mut self, index: usize) {
        if self.step(index).is_some_and(|step| step.outputs.iter().all(|output| self.uses(output).is_empty())) {
            self.remove(index);
        }
    }
}

/// An attribute of a node.
fn write_attribute(node: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    let mut attribute = Vec::new();
    write(&mut attribute, 1, name.as_bytes());
    value(&mut attribute);
    write(node, 5, &attribute);
}

fn write_text(node: &mut Vec<u8>, name: &str, text: &str) {
    write_attribute(node, name, |attribute| {
        write(attribute, 4, text.as_bytes());
        write_int(attribute, 20, 3);
    });
}
