//! Operators that become one of ours, and integers that are known before a run. `KERNELS.md` says which, and what then is computed.
//!
//! A value between operators vanishes, which it may if nothing else uses it. All is a function of the file's bytes alone.

use super::graph::Scope;
use super::proto::{Attribute, Model, Node};
use super::reproducible::Place;
use super::shape::{Constant, Dim, Value, elements};
use super::types::DataType;
use super::wire::{write, write_float, write_int};
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
const PATTERNS: [Pattern; 4] = [gelu, gate, normalization, attention];

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

/// x × ½ × (1 + erf(x / √2)), or x × ½ × (1 + tanh(√(2/π) × (x + 0.044715 x³))), its factors in any order.
fn gelu<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last).filter(|step| step.operator == "Mul")?;
    let (mut gone, mut factors) = (Vec::new(), Vec::new());
    for &factor in &step.inputs {
        match graph.made_for_one(factor, "Mul") {
            Some((index, product)) => {
                gone.push(index);
                factors.extend(&product.inputs);
            }
            None => factors.push(factor),
        }
    }
    let sum = *factors.iter().find(|factor| graph.made_for_one(factor, "Add").is_some())?;
    let others: Vec<_> = factors.iter().copied().filter(|factor| *factor != sum).collect();
    let x = match others[..] {
        [half, x] | [x, half] if graph.is_number(half, 0.5) && !graph.is_number(x, 0.5) => x,
        _ => return None,
    };
    let (index, sum) = graph.made_for_one(sum, "Add")?;
    gone.push(index);
    let function = graph.beside(sum, 1.0)?;
    let mut further = Vec::new();
    if let Some((index, erf)) = graph.made_for_one(function, "Erf") {
        gone.push(index);
        let quotient = graph.made_for_one(erf.input(0), "Div");
        let quotient = quotient.filter(|(_, step)| graph.is_number(step.input(1), std::f32::consts::SQRT_2));
        let product = graph.made_for_one(erf.input(0), "Mul");
        let product = product.filter(|(_, step)| graph.beside(step, std::f32::consts::FRAC_1_SQRT_2).is_some());
        let (index, scaled) = quotient.or(product)?;
        gone.push(index);
        scaled.inputs.contains(&x).then_some(())?;
    } else {
        let (index, tanh) = graph.made_for_one(function, "Tanh")?;
        let (scaled_at, scaled) = graph.made_for_one(tanh.input(0), "Mul")?;
        let (sum_at, sum) = graph.made_for_one(graph.beside(scaled, 0.797_884_6)?, "Add")?;
        let (cubic_at, cubic) = graph.made_for_one(graph.other(sum, x)?, "Mul")?;
        let cube = graph.beside(cubic, 0.044_715)?;
        let is_cube = |power: &Step<'_>| power.input(0) == x && graph.is_number(power.input(1), 3.0);
        let (cube_at, _) = graph.made_for_one(cube, "Pow").filter(|(_, power)| is_cube(power))?;
        gone.extend([index, scaled_at, sum_at, cubic_at, cube_at]);
        write_text(&mut further, "approximate", "tanh");
    }
    Some(Fusion { operator: "Gelu", inputs: vec![x], further, gone })
}

/// x × sigmoid(x), and x × tanh(softplus(x)).
fn gate<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last).filter(|step| step.operator == "Mul")?;
    let &[a, b] = &step.inputs[..] else { return None };
    [[a, b], [b, a]].into_iter().find_map(|[x, gate]| {
        if let Some((index, _)) = graph.made_for_one(gate, "Sigmoid").filter(|(_, step)| step.input(0) == x) {
            return Some(Fusion { operator: "Silu", inputs: vec![x], further: Vec::new(), gone: vec![index] });
        }
        let (tanh_at, tanh) = graph.made_for_one(gate, "Tanh")?;
        let (index, _) = graph.made_for_one(tanh.input(0), "Softplus").filter(|(_, step)| step.input(0) == x)?;
        Some(Fusion { operator: "Mish", inputs: vec![x], further: Vec::new(), gone: vec![tanh_at, index] })
    })
}

/// (x - mean) / √(variance + epsilon) × scale + bias, or x / √(mean of squares + epsilon) × scale, of rows, spelled out.
fn normalization<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last)?;
    let mut gone = Vec::new();
    // What is added and multiplied last, each a row.
    let factors = |operator: &str, step: &Step<'a>| {
        let &[a, b] = &step.inputs[..] else { return None };
        let width = graph.width(step.output())?;
        let is_row = |name| graph.is_row(name, width);
        match (step.operator == operator, is_row(a), is_row(b)) {
            (true, false, true) => Some((a, b)),
            (true, true, false) => Some((b, a)),
            _ => None,
        }
    };
    let (product, bias) = match factors("Add", step) {
        Some((product, bias)) => {
            let (index, product) = graph.made_for_one(product, "Mul")?;
            gone.push(index);
            (product, Some(bias))
        }
        None => (step, None),
    };
    let (normal, scale) = factors("Mul", product)?;
    let quotient = graph.made_for_one(normal, "Div").or_else(|| graph.made_for_one(normal, "Mul"))?;
    gone.push(quotient.0);
    // The divisor, or one over it.
    let &[a, b] = &quotient.1.inputs[..] else { return None };
    let (centred, root) = match quotient.1.operator {
        "Div" => (a, b),
        _ => [[a, b], [b, a]].into_iter().find_map(|[x, inverse]| {
            let (index, step) = graph.made_for_one(inverse, "Reciprocal").or_else(|| {
                graph.made_for_one(inverse, "Div").filter(|(_, step)| graph.is_number(step.input(0), 1.0))
            })?;
            gone.push(index);
            Some((x, *step.inputs.last()?))
        })?,
    };
    let (index, root) = graph.made_for_one(root, "Sqrt")?;
    gone.push(index);
    let (index, sum) = graph.made_for_one(root.input(0), "Add")?;
    gone.push(index);
    let &[a, b] = &sum.inputs[..] else { return None };
    let (mean, epsilon) = match (graph.number(a), graph.number(b)) {
        (None, Some(epsilon)) => (a, epsilon),
        (Some(epsilon), None) => (b, epsilon),
        _ => return None,
    };
    let (index, squares) = mean_of_rows(graph, mean)?;
    gone.push(index);
    let (index, squares) = graph.made_for_one(squares, "Pow").or_else(|| {
        // A value that is multiplied by itself.
        graph.made_for_one(squares, "Mul")
    })?;
    gone.push(index);
    let is_square = match squares.operator {
        "Pow" => squares.input(0) == centred && graph.is_number(squares.input(1), 2.0),
        _ => squares.inputs[..] == [centred; 2],
    };
    is_square.then_some(())?;

    let mut further = Vec::new();
    write_attribute(&mut further, "epsilon", |attribute| {
        write_float(attribute, 2, epsilon);
        write_int(attribute, 20, 1);
    });
    let inner = gone.clone();
    let centre = graph.made(centred, "Sub").filter(|_| graph.uses(centred).iter().all(|user| inner.contains(user)));
    if let Some((index, difference)) = centre
        && let Some((mean_at, of)) = mean_of_rows(graph, difference.input(1))
        && of == difference.input(0)
    {
        // One with a bias is found when that comes.
        if bias.is_none() && graph.only_user(step.output()).is_some_and(|(_, user)| factors("Add", user).is_some()) {
            return None;
        }
        gone.extend([index, mean_at]);
        let inputs = [of, scale].into_iter().chain(bias).collect();
        return Some(Fusion { operator: "LayerNormalization", inputs, further, gone });
    }
    match bias {
        None => Some(Fusion { operator: "RMSNormalization", inputs: vec![centred, scale], further, gone }),
        Some(_) => None,
    }
}

/// What a value is the mean of, along the last axis, if it is used once.
fn mean_of_rows<'a>(graph: &Graph<'_, 'a>, name: &'a str) -> Option<(usize, &'a str)> {
    let (index, step) = graph.made_for_one(name, "ReduceMean")?;
    let rank = graph.value(step.input(0))?.shape.len() as i64;
    let known = step.inputs.get(1).and_then(|axes| graph.value(axes)?.known_ints());
    let axis = match (graph.ints(step, "axes"), known) {
        (Some(&[axis]), None) => axis,
        (None, Some(&[Some(axis)])) => axis,
        _ => return None,
    };
    let last = axis == -1 || axis == rank - 1;
    (last && graph.int(step, "keepdims", 1) == 1).then_some((index, step.input(0)))
}

/// softmax(q × k × scale + mask) × v, of which each may be transposed before, and the result after.
fn attention<'a>(graph: &Graph<'_, 'a>, last: usize) -> Option<Fusion<'a>> {
    let step = graph.step(last)?;
    let mut gone = Vec::new();
    let (product, turned) = match step.operator {
        "MatMul" => (step, [0, 1, 2, 3]),
        "Transpose" => {
            let order = <[i64; 4]>::try_from(graph.ints(step, "perm")?).ok().filter(|order| order[3] == 3)?;
            let (index, product) = graph.made_for_one(step.input(0), "MatMul")?;
            gone.push(index);
            (product, order)
        }
        _ => return None,
    };
    // One that is transposed is found when that comes.
    if step.operator == "MatMul"
        && let Some((_, user)) = graph.only_user(step.output())
        && user.operator == "Transpose"
        && graph.ints(user, "perm").is_some_and(|order| order.len() == 4 && order[3] == 3)
    {
        return None;
    }
    let &[shares, v] = &product.inputs[..] else { return None };
    let (index, softmax) = graph.made_for_one(shares, "Softmax")?;
    let scores = softmax.input(0);
    let shape = &graph.value(scores)?.shape;
    (shape.len() == 4 && matches!(graph.int(softmax, "axis", -1), -1 | 3)).then_some(())?;
    gone.push(index);

    let scaled = |name| {
        let (operator, step) = ["Div", "Mul"].iter().find_map(|name_of| {
            let (index, step) = graph.made_for_one(name, name_of)?;
            Some((index, step))
        })?;
        let &[a, b] = &step.inputs[..] else { return None };
        match (step.operator, graph.number(a), graph.number(b)) {
            ("Div", None, Some(divisor)) => Some((operator, a, 1.0 / divisor)),
            ("Mul", None, Some(factor)) => Some((operator, a, factor)),
            ("Mul", Some(factor), None) => Some((operator, b, factor)),
            _ => None,
        }
    };
    let products = |name: &'a str, gone: &mut Vec<usize>| {
        let (name, scale) = match scaled(name) {
            Some((index, name, scale)) => {
                gone.push(index);
                (name, scale)
            }
            None => (name, 1.0),
        };
        let (index, product) = graph.made_for_one(name, "MatMul")?;
        gone.push(index);
        Some((product, scale))
    };
    let masked = graph.made_for_one(scores, "Add").and_then(|(index, sum)| {
        let &[a, b] = &sum.inputs[..] else { return None };
        [[a, b], [b, a]].into_iter().find_map(|[of, mask]| {
            let mut inner = vec![index];
            let found = products(of, &mut inner)?;
            let fits = |(dim, whole): (&Dim, &Dim)| *dim == Dim::ONE || dim == whole && !dim.open;
            let mask_shape = &graph.value(mask)?.shape;
            let fits = mask_shape.len() <= 4 && mask_shape.iter().rev().zip(shape.iter().rev()).all(fits);
            fits.then_some((found, Some(mask), inner))
        })
    });
    let ((product, scale), mask, inner) = match masked {
        Some(found) => found,
        None => {
            let mut inner = Vec::new();
            (products(scores, &mut inner)?, None, inner)
        }
    };
    gone.extend(inner);
    let &[q, k] = &product.inputs[..] else { return None };
    let is_heads = |name| graph.value(name).is_some_and(|value| value.shape.len() == 4);
    (is_heads(q) && is_heads(k) && is_heads(v)).then_some(())?;
    let [(q, of_q), (k, of_k), (v, of_v)] = [q, k, v].map(|name| graph.untransposed(name, &mut gone));
    let mut further = Vec::new();
    write_attribute(&mut further, "scale", |attribute| {
        write_float(attribute, 2, scale);
        write_int(attribute, 20, 1);
    });
    for (name, order) in [("perm_q", of_q), ("perm_k", of_k), ("perm_v", of_v), ("perm_y", turned)] {
        write_attribute(&mut further, name, |attribute| {
            order.iter().for_each(|&axis| write_int(attribute, 8, axis));
            write_int(attribute, 20, 7);
        });
    }
    let inputs = [q, k, v].into_iter().chain(mask).collect();
    Some(Fusion { operator: "ScaledDotProductAttention", inputs, further, gone })
}

/// Inputs of a product that it has in our domain.
const BIAS: usize = 2;
const ADDEND: usize = 3;
const NORMALIZATION: usize = 4;

impl<'a> Graph<'_, 'a> {
    /// Gives a product what is done to its result: a bias, an addend of its size, and a function of each element.
    fn finish_product(&mut self, first: usize) {
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
                    let with_tanh = !user.further.is_empty()
                        || matches!(self.attribute(user, "approximate"), Some(Attribute::Text(b"tanh")));
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
