//! `Einsum` of one operand or two, as sums and a product of matrices.

use super::operator::{Compute, Definition, FLOATS, Input, fail, floats, give, input};
use crate::onnx::einsum::Equation;
use depx_kernels::{Epilogue, Isa, Matrix, Parallel, Reduction, batched_gemm, reduce};
use ort::operator::KernelContext;
use std::borrow::Cow;

pub(super) const DEFINITIONS: &[Definition] =
    &[Definition { name: "Einsum", inputs: &[Input::Floats, Input::OptionalFloats], outputs: FLOATS, prepare: einsum }];

/// Elements whose dimensions have labels.
struct Labelled<'a> {
    data: Cow<'a, [f32]>,
    dimensions: Vec<(char, usize)>,
}

impl Labelled<'_> {
    fn has(&self, label: char) -> bool {
        self.dimensions.iter().any(|(other, _)| *other == label)
    }

    fn labels(&self, wanted: impl Fn(char) -> bool) -> Vec<char> {
        self.dimensions.iter().map(|(label, _)| *label).filter(|label| wanted(*label)).collect()
    }

    /// How many elements the dimensions with these labels have.
    fn count(&self, labels: &[char]) -> usize {
        self.dimensions.iter().filter(|(label, _)| labels.contains(label)).map(|(_, size)| size).product()
    }

    fn is_ordered(&self, order: &[char]) -> bool {
        self.dimensions.iter().map(|(label, _)| label).eq(order)
    }

    /// With the dimensions in this order.
    fn ordered(self, order: &[char]) -> Self {
        if self.is_ordered(order) {
            return self;
        }
        let dimensions = order.iter().filter_map(|label| {
            let at = self.dimensions.iter().position(|(other, _)| other == label)?;
            Some((self.dimensions[at], self.dimensions[at + 1..].iter().map(|(_, size)| size).product::<usize>()))
        });
        let (dimensions, strides): (Vec<_>, Vec<usize>) = dimensions.unzip();
        let steps = dimensions.iter().zip(strides).map(|((_, size), stride)| (*size, stride)).collect::<Vec<_>>();
        let mut data = Vec::with_capacity(self.data.len());
        if !self.data.is_empty() {
            copy(&self.data, &steps, &mut data);
        }
        Self { data: data.into(), dimensions }
    }

    /// Summed over all dimensions but those that are `kept`.
    fn summed(self, isa: Isa, kept: impl Fn(char) -> bool) -> Self {
        let inner = self.labels(|label| !kept(label));
        if inner.is_empty() {
            return self;
        }
        let length = self.count(&inner);
        let outer = self.labels(kept);
        let mut ordered = self.ordered(&[&outer[..], &inner].concat());
        ordered.dimensions.truncate(outer.len());
        let mut data = vec![0.0; ordered.count(&outer)];
        reduce(isa, Reduction::Sum, &ordered.data, length, 1, &mut data);
        Self { data: data.into(), ..ordered }
    }
}

/// Appends elements at these steps, each so many times so far apart.
fn copy(from: &[f32], steps: &[(usize, usize)], to: &mut Vec<f32>) {
    match steps {
        [] => to.push(from[0]),
        [(size, 1)] => to.extend_from_slice(&from[..*size]),
        [(size, stride)] => to.extend((0..*size).map(|index| from[index * stride])),
        [(size, stride), inner @ ..] => (0..*size).for_each(|index| copy(&from[index * stride..], inner, to)),
    }
}

fn einsum(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let text: String = context.get("equation").unwrap_or_default();
    Ok(Box::new(move |context| {
        let (a, b) = (input(context, 0)?, context.input(1)?);
        let (a, b) = (floats(&a)?, b.as_ref().map(floats).transpose()?);
        let ranks = [Some(&a), b.as_ref()].into_iter().flatten().map(|(shape, _)| shape.len()).collect::<Vec<_>>();
        let equation = Equation::parse(&text, &ranks).or_else(fail)?;
        let labelled = |position: usize, (shape, data): (Vec<usize>, _)| {
            let dimensions = equation.operands[position].iter().copied().zip(shape).collect();
            Labelled { data: Cow::Borrowed(data), dimensions }
        };
        let (first, second) = (labelled(0, a), b.map(|b| labelled(1, b)));
        let output = &equation.output;
        let result = match second {
            None => first.summed(isa, |label| output.contains(&label)),
            Some(second) => product(context.parallel, isa, [first, second], output)?,
        };
        let result = result.ordered(output);
        let shape = result.dimensions.iter().map(|(_, size)| *size).collect::<Vec<_>>();
        give(context, &shape, |y| y.copy_from_slice(&result.data))
    }))
}

/// Sums each operand over what it alone has, and multiplies them as batches of matrices.
fn product<'a>(
    parallel: &dyn Parallel,
    isa: Isa,
    [mut a, mut b]: [Labelled<'a>; 2],
    output: &[char],
) -> ort::Result<Labelled<'a>> {
    broadcast(&mut a, &mut b)?;
    let a = a.summed(isa, |label| output.contains(&label) || b.has(label));
    let b = b.summed(isa, |label| output.contains(&label) || a.has(label));
    let batch = a.labels(|label| b.has(label) && output.contains(&label));
    let rows = a.labels(|label| !b.has(label));
    let inner = a.labels(|label| !output.contains(&label));
    let columns = b.labels(|label| !a.has(label));
    let sizes = [a.count(&batch), a.count(&rows), a.count(&inner), b.count(&columns)];
    let dimensions = a.dimensions.iter().filter(|(label, _)| batch.contains(label));
    let dimensions = dimensions.chain(a.dimensions.iter().filter(|(label, _)| rows.contains(label)));
    let dimensions = dimensions.chain(b.dimensions.iter().filter(|(label, _)| columns.contains(label)));
    let dimensions = dimensions.copied().collect();

    let [count, height, depth, width] = sizes;
    let mut data = vec![0.0; count * height * width];
    if data.is_empty() {
        return Ok(Labelled { data: data.into(), dimensions });
    }
    if inner.is_empty() {
        let (a, b) = (a.ordered(&[&batch[..], &rows].concat()), b.ordered(&[&batch[..], &columns].concat()));
        let factors = (0..count).flat_map(|index| (0..height).map(move |row| (index, index * height + row)));
        for (data, (index, row)) in data.chunks_exact_mut(width).zip(factors) {
            let factors = &b.data[index * width..][..width];
            data.iter_mut().zip(factors).for_each(|(y, factor)| *y = a.data[row] * factor);
        }
    } else {
        let (a, a_transposed) = arranged(a, [&batch, &rows, &inner]);
        let (b, b_transposed) = arranged(b, [&batch, &inner, &columns]);
        let matrix = |data, [rows, columns]: [usize; 2], transposed| match transposed {
            true => Matrix::new(data, columns, rows).transposed(),
            false => Matrix::new(data, rows, columns),
        };
        let starts = (0..count).map(|index| [index * height * depth, index * depth * width]).collect::<Vec<_>>();
        let operands = [matrix(&a.data, [height, depth], a_transposed), matrix(&b.data, [depth, width], b_transposed)];
        batched_gemm(parallel, isa, &starts, operands, &mut data, &Epilogue::default());
    }
    Ok(Labelled { data: data.into(), dimensions })
}

/// Leaves out dimensions of one element whose label has more in the other operand.
fn broadcast(a: &mut Labelled<'_>, b: &mut Labelled<'_>) -> ort::Result<()> {
    let both = a.dimensions.clone().into_iter().flat_map(|(label, of_a)| {
        b.dimensions.iter().filter(move |(other, _)| *other == label).map(move |(_, of_b)| (label, of_a, *of_b))
    });
    for (label, of_a, of_b) in both.collect::<Vec<_>>() {
        match (of_a, of_b) {
            _ if of_a == of_b => {}
            (1, _) => a.dimensions.retain(|(other, _)| *other != label),
            (_, 1) => b.dimensions.retain(|(other, _)| *other != label),
            _ => return fail(format!("'{label}' is {of_a} and {of_b}")),
        }
    }
    Ok(())
}

/// A batch of matrices, or of transposed ones if that is how they lie.
fn arranged<'a>(operand: Labelled<'a>, [batch, rows, columns]: [&[char]; 3]) -> (Labelled<'a>, bool) {
    if operand.is_ordered(&[batch, columns, rows].concat()) {
        return (operand, true);
    }
    (operand.ordered(&[batch, rows, columns].concat()), false)
}
