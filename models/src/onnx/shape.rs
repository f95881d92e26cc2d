//! Shapes, and the operators that work element by element.

use super::cost::SINGLE;
use super::proto::{Attribute, Node, Numbers};
use super::types::DataType;

/// The size of a dimension: `size` exactly, or at most that if the model leaves it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dim {
    pub(super) size: u64,
    pub(super) open: bool,
}

impl Dim {
    pub(super) const ONE: Self = Self::exact(1);

    pub(super) const fn exact(size: u64) -> Self {
        Self { size, open: false }
    }

    /// The same openness with another size.
    pub(super) fn with(self, size: u64) -> Self {
        Self { size, ..self }
    }
}

/// What is known of a tensor before anything runs.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) shape: Vec<Dim>,
    pub(super) constant: Option<Constant>,
    /// The type of its elements.
    pub(super) ty: DataType,
}

/// The elements of a small constant: what shapes are made from.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    /// `None` where an element is a dimension that is left open.
    Ints(Vec<Option<i64>>),
    Floats(Vec<f32>),
}

impl Value {
    pub(super) fn of(shape: Vec<Dim>) -> Self {
        Self { shape, constant: None, ty: DataType::UNKNOWN }
    }

    /// Known integers of the given shape.
    pub(super) fn ints(shape: Vec<Dim>, ints: Vec<Option<i64>>) -> Self {
        Self { shape, constant: Some(Constant::Ints(ints)), ty: DataType::I64 }
    }

    pub(super) fn known_ints(&self) -> Option<&[Option<i64>]> {
        match &self.constant {
            Some(Constant::Ints(ints)) => Some(ints),
            _ => None,
        }
    }

    /// At most this many elements.
    pub(super) fn elements(&self) -> u64 {
        elements(&self.shape)
    }
}

/// The product of sizes, saturating.
pub(super) fn elements(shape: &[Dim]) -> u64 {
    if shape.iter().any(|dim| dim.size == 0) {
        return 0;
    }
    shape.iter().fold(1, |product, dim| product.saturating_mul(dim.size))
}

/// The product of dimensions as one dimension.
pub(super) fn merged(shape: &[Dim]) -> Dim {
    Dim { size: elements(shape), open: shape.iter().any(|dim| dim.open) }
}

/// What an operator gives and the work it takes.
pub(super) struct Effect {
    pub(super) outputs: Vec<Value>,
    /// Multiplications and additions of a matrix product or convolution.
    pub(super) products: u64,
    /// Elementary steps beyond reading and writing each element once.
    pub(super) steps: u64,
}

impl Effect {
    /// An operator that only moves elements.
    pub(super) fn moves(output: Value) -> Self {
        Self { outputs: vec![output], products: 0, steps: 0 }
    }

    /// An operator that moves elements one by one, wherever they are.
    pub(super) fn scattered(output: Value) -> Self {
        let steps = output.elements().saturating_mul(SINGLE);
        Self::steps(output, steps)
    }

    pub(super) fn steps(output: Value, steps: u64) -> Self {
        Self { outputs: vec![output], products: 0, steps }
    }

    pub(super) fn products(output: Value, products: u64) -> Self {
        Self { outputs: vec![output], products, steps: 0 }
    }
}

/// Why an operator cannot be used.
pub(super) type Inferred<T = Effect> = Result<T, String>;

/// One operator with what is known of its inputs.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node<'a>,
    /// `None` where an optional input is left out.
    pub(super) inputs: Vec<Option<&'a Value>>,
}

impl<'a> Call<'a> {
    pub(super) fn optional(&self, position: usize) -> Option<&'a Value> {
        self.inputs.get(position).copied().flatten()
    }

    pub(super) fn input(&self, position: usize) -> Inferred<&'a Value> {
        self.optional(position).ok_or_else(|| format!("its input {position} is missing"))
    }

    /// The integers of an input from which a shape is made; each must be known.
    pub(super) fn ints(&self, position: usize) -> Inferred<Vec<i64>> {
        let known = self.input(position)?.known_ints().and_then(|ints| ints.iter().copied().collect());
        known.ok_or_else(|| {
            format!(
                "its input {position} decides a shape and is not a constant; export the model with fixed input shapes"
            )
        })
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a Attribute<'a>> {
        self.node.attributes.iter().find(|(other, _)| *other == name).map(|(_, attribute)| attribute)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Inferred<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(format!("its attribute '{name}' is not an integer")),
        }
    }

    pub(super) fn float(&self, name: &str, default: f32) -> Inferred<f32> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(format!("its attribute '{name}' is not a number")),
        }
    }

    /// A short list of integers.
    pub(super) fn list(&self, name: &str) -> Inferred<Option<&'a [i64]>> {
        match self.attribute(name) {
            None => Ok(None),
            Some(Attribute::Ints(Numbers { count: 0, .. })) => Ok(None),
            Some(Attribute::Ints(ints)) => {
                ints.all().map(Some).ok_or_else(|| format!("its attribute '{name}' is too long"))
            }
            Some(_) => Err(format!("its attribute '{name}' is not a list of integers")),
        }
    }

    pub(super) fn text(&self, name: &str, default: &'static str) -> Inferred<&'a [u8]> {
        match self.attribute(name) {
            None => Ok(default.as_bytes()),
            Some(Attribute::Text(text)) => Ok(text),
            Some(_) => Err(format!("its attribute '{name}' is not a string")),
        }
    }

    /// How long a list attribute is.
    pub(super) fn count(&self, name: &str) -> u64 {
        match self.attribute(name) {
            Some(Attribute::Ints(ints)) => ints.count,
            Some(Attribute::Floats(floats)) => floats.count,
            Some(Attribute::Strings(strings)) => strings.count,
            _ => 0,
        }
    }

    /// An `axis` attribute as a position among `rank` dimensions.
    pub(super) fn axis(&self, default: i64, rank: usize) -> Inferred<usize> {
        axis(self.int("axis", default)?, rank)
    }
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Inferred<usize> {
    let from_end = i64::try_from(rank).ok().and_then(|rank| axis.checked_add(rank));
    let position = if axis < 0 { from_end } else { Some(axis) };
    position
        .and_then(|position| usize::try_from(position).ok())
        .filter(|&position| position < rank)
        .ok_or_else(|| format!("axis {axis} is not one of {rank} dimensions"))
}

/// Several axes, sorted and all different.
pub(super) fn axes(list: &[i64], rank: usize) -> Inferred<Vec<usize>> {
    let mut positions = list.iter().map(|&item| axis(item, rank)).collect::<Inferred<Vec<_>>>()?;
    positions.sort_unstable();
    if positions.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("an axis is named twice".to_owned());
    }
    Ok(positions)
}

/// One output of the first input's shape, `weight` steps for each element.
pub(super) fn elementwise(call: &Call<'_>, weight: u64) -> Inferred {
    let input = call.input(0)?;
    Ok(Effect::steps(Value::of(input.shape.clone()), input.elements().saturating_mul(weight)))
}

/// A row of fewer elements takes about as long as one of so many.
const SHORT: u64 = 16;

/// One output of all inputs' common shape, `weight` steps for each element and input.
pub(super) fn broadcast(call: &Call<'_>, weight: u64) -> Inferred {
    let mut shape = call.input(0)?.shape.clone();
    for position in 1..call.inputs.len() {
        shape = common(&shape, &call.input(position)?.shape)?;
    }
    // Where an input is repeated, each row is started anew, however short it is.
    let repeated = |value: &Value| value.shape != shape && value.shape.iter().any(|dim| *dim != Dim::ONE);
    let short =
        shape.last().is_some_and(|row| row.size < SHORT) && call.inputs.iter().flatten().any(|value| repeated(value));
    let weight = if short { weight + SINGLE } else { weight };
    let steps = elements(&shape).saturating_mul(weight).saturating_mul(call.inputs.len() as u64);
    Ok(Effect::steps(Value::of(shape), steps))
}

/// The shape to which two shapes broadcast.
pub(super) fn common(a: &[Dim], b: &[Dim]) -> Inferred<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Dim], position: usize| {
        (position + shape.len()).checked_sub(rank).map_or(Dim::ONE, |position| shape[position])
    };
    (0..rank).map(|position| common_dimension(at(a, position), at(b, position))).collect()
}

pub(super) fn common_dimension(a: Dim, b: Dim) -> Inferred<Dim> {
    match (a, b) {
        (Dim::ONE, other) | (other, Dim::ONE) => Ok(other),
        // An open dimension is 1 or equal to the other.
        (Dim { open: false, .. }, Dim { open: true, .. }) => Ok(a),
        (Dim { open: true, .. }, Dim { open: false, .. }) => Ok(b),
        (Dim { open: true, .. }, Dim { open: true, .. }) => Ok(a.with(a.size.max(b.size))),
        _ if a.size == b.size => Ok(a),
        _ => Err(format!("sizes {} and {} do not fit together", a.size, b.size)),
    }
}
