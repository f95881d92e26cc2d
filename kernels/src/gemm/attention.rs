//! Attention: what each row of a product weighs another by.

use super::epilogue::{Addend, Epilogue};
use super::multiply;
use super::pack::{Matrix, Packed, pack_blocks};
use super::tile::{Output, TileShape};
use crate::aligned::with_scratch;
use crate::parallel::{Parallel, Shared, part};
use crate::{Isa, softmax};
use std::ops::Range;

/// Elements of a part of the scores: with their exponentials they half fill a second-level cache of 512 KiB.
const SCORES: usize = 32_768;

/// A tensor of heads in memory: element (batch, head, row, column) is at the sum of their products with the strides. A stride of 0 repeats
/// what it strides over.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Its elements.
    pub data: &'a [f32],
    /// From one batch, head, row and column to the next.
    pub strides: [usize; 4],
}

impl<'a> Heads<'a> {
    fn at(&self, [batch, head]: [usize; 2]) -> &'a [f32] {
        &self.data[batch * self.strides[0] + head * self.strides[1]..]
    }

    fn matrix(&self, at: [usize; 2], sizes: [usize; 2]) -> Matrix<'a> {
        Matrix::strided(self.at(at), sizes, [self.strides[2], self.strides[3]])
    }
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Batches.
    pub batch: usize,
    /// Heads of each.
    pub heads: usize,
    /// Rows of the queries.
    pub rows: usize,
    /// Columns of the queries, and rows of the keys.
    pub depth: usize,
    /// Columns of the keys, and rows of the values.
    pub keys: usize,
    /// Columns of the values.
    pub columns: usize,
}

/// `output = softmax(scale × (queries × keys) + mask) × values` for each head of each batch: two products as of
/// [`gemm`](crate::gemm()), the first with the epilogue of `scale` and an addend, and [`softmax`](crate::softmax()) of rows. `strides` are
/// those of the output, whose columns follow each other; the mask's do so, too, or are the same.
///
/// # Panics
///
/// If an element is not there, or strides are not what was said.
#[expect(clippy::too_many_arguments, reason = "they are those of the operator")]
pub fn attention(
    parallel: &dyn Parallel,
    isa: Isa,
    shape: AttentionShape,
    [queries, keys, values]: [Heads<'_>; 3],
    scale: f32,
    mask: Option<Heads<'_>>,
    output: &mut [f32],
    strides: [usize; 4],
) {
    let AttentionShape { batch, heads, rows, columns, .. } = shape;
    assert!(strides[3] == 1 && strides[2] >= columns, "rows of the output are contiguous");
    assert!(mask.is_none_or(|mask| mask.strides[3] <= 1), "columns of the mask follow each other or are the same");
    if [batch, heads, rows, columns].contains(&0) {
        return;
    }
    let sizes = [batch, heads, rows, columns];
    let last = sizes.iter().zip(strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>();
    assert!(last < output.len(), "an output of {sizes:?}");
    let output = Shared::new(output);
    let items = batch * heads;
    let parts = if items >= 2 * parallel.threads() { 1 } else { parallel.threads() };
    let unit = TileShape::of(isa).rows;
    parallel.run(items * parts, &|task| {
        let at = [task / parts / heads, task / parts % heads];
        let head = Head {
            isa,
            queries: queries.matrix(at, [rows, shape.depth]),
            keys: keys.matrix(at, [shape.depth, shape.keys]),
            values: values.matrix(at, [shape.keys, columns]),
            epilogue: Epilogue {
                alpha: scale,
                addend: mask.map(|mask| Addend {
                    data: mask.at(at),
                    row_stride: mask.strides[2],
                    column_stride: mask.strides[3],
                    beta: 1.0,
                }),
                ..Epilogue::default()
            },
        };
        head.epilogue.check(rows, shape.keys);
        let start = at[0] * strides[0] + at[1] * strides[1];
        let rows = part(rows, unit, task % parts, parts);
        // SAFETY: heads, and rows of each, are in one task; the last element was just found in the output.
        let output = unsafe { Output::new(output.pointer(start + rows.start * strides[2]), strides[2]) };
        head.run(rows, output);
    });
}

/// One head.
struct Head<'a> {
    isa: Isa,
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    values: Matrix<'a>,
    epilogue: Epilogue<'a>,
}

impl Head<'_> {
    fn run(&self, rows: Range<usize>, output: Output) {
        let Self { isa, queries, keys, values, epilogue } = self;
        packed(*isa, keys, |packed_keys| {
            packed(*isa, values, |packed_values| {
                let step = (SCORES / keys.columns.max(1)).next_multiple_of(TileShape::of(*isa).rows);
                for first in rows.clone().step_by(step) {
                    let now = first..rows.end.min(first + step);
                    let len = now.len() * keys.columns;
                    with_scratch(2 * len, |scratch| {
                        let (scores, shares) = scratch.split_at_mut(len);
                        // SAFETY: it is as large as this product.
                        let to = unsafe { Output::new(scores.as_mut_ptr(), keys.columns) };
                        multiply(queries, packed_keys, now.clone(), 0..keys.columns, to, epilogue);
                        if keys.columns > 0 {
                            softmax(*isa, scores, keys.columns, 1, shares);
                        }
                        let shares = Matrix::new(shares, now.len(), keys.columns);
                        let to = output.row(first - rows.start);
                        multiply(&shares, packed_values, 0..now.len(), 0..values.columns, to, &Epilogue::default());
                    });
                }
            });
        });
    }
}

fn packed(isa: Isa, matrix: &Matrix<'_>, use_it: impl FnOnce(&Packed<'_>)) {
    let shape = TileShape::of(isa);
    with_scratch(shape.padded(matrix.columns) * matrix.rows, |data| {
        pack_blocks(shape, matrix, 0..matrix.columns, data);
        use_it(&Packed { isa, rows: matrix.rows, columns: matrix.columns, data });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::Threads;
    use crate::samples::{Random, isas};
    use crate::{Sequential, reference};

    #[test]
    fn it_is_two_products_and_a_softmax() {
        let [batch, heads, rows, depth, keys, columns] = [2, 3, 37, 20, 45, 17];
        let shape = AttentionShape { batch, heads, rows, depth, keys, columns };
        let mut random = Random::new(5);
        let mut numbers = |count| random.values(count);
        let (q, k) = (numbers(batch * rows * heads * depth), numbers(batch * keys * heads * depth));
        let (v, mask) = (numbers(batch * keys * heads * columns), numbers(batch * keys));
        // Heads side by side in a row; the mask is the same for all heads and rows.
        let queries = Heads { data: &q, strides: [rows * heads * depth, depth, heads * depth, 1] };
        let of_keys = Heads { data: &k, strides: [keys * heads * depth, depth, 1, heads * depth] };
        let values = Heads { data: &v, strides: [keys * heads * columns, columns, heads * columns, 1] };
        let mask = Heads { data: &mask, strides: [keys, 0, 0, 1] };
        let strides = [rows * heads * columns, columns, heads * columns, 1];
        let at = |tensor: Heads<'_>, [a, b, c, d]: [usize; 4]| {
            let [w, x, y, z] = tensor.strides;
            tensor.data[a * w + b * x + c * y + d * z]
        };
        let mut expected = vec![0.0; batch * rows * heads * columns];
        for item in 0..batch * heads {
            let (b, h) = (item / heads, item % heads);
            for row in 0..rows {
                let score = |key| {
                    let product = |i| (at(queries, [b, h, row, i]), at(of_keys, [b, h, i, key]));
                    0.125 * reference::sum_of_products(depth, product) + at(mask, [b, h, row, key])
                };
                let shares = reference::softmax(&(0..keys).map(score).collect::<Vec<_>>());
                for column in 0..columns {
                    let product = |key| (shares[key], at(values, [b, h, key, column]));
                    expected[b * strides[0] + h * strides[1] + row * strides[2] + column] =
                        reference::sum_of_products(keys, product);
                }
            }
        }
        for isa in isas() {
            let run = |parallel: &dyn Parallel| {
                let mut output = vec![f32::NAN; expected.len()];
                attention(parallel, isa, shape, [queries, of_keys, values], 0.125, Some(mask), &mut output, strides);
                output
            };
            assert!(run(&Sequential) == expected, "{isa:?}");
            for threads in [2, 3, 7] {
                assert!(run(&Threads(threads)) == expected, "{isa:?}, {threads} threads");
            }
        }
    }
}
