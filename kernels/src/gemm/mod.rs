//! Products of matrices.

mod attention;
mod epilogue;
mod pack;
pub(crate) mod tile;

pub use attention::{AttentionShape, Heads, attention};
pub use epilogue::{Activation, Addend, Bias, Epilogue};
pub use pack::{Matrix, PackedMatrix};

use crate::Isa;
use crate::aligned::with_scratch;
use crate::parallel::{Parallel, Shared, part};
pub(crate) use pack::pack_left;
use pack::{Packed, pack_blocks};
use std::ops::Range;
use tile::{BLOCK, Output, Resident, TileShape, Tiles, block_range, blocks};

/// Rows of the left operand that are packed at a time: with 256 columns they half fill a second-level cache of 512 KiB.
const LEFT_ROWS: usize = 240;

/// `output = epilogue(a × b)`, with `b` packed. Row i of the output begins at `i × row_stride`.
///
/// Each sum is that of blocks of 256 products. In a block one fused multiply-add follows another in increasing order, starting from
/// +0.0; the sums of blocks are added from the first to the last. See [`Epilogue`] for what follows.
///
/// # Panics
///
/// If the shapes do not fit together, or the output or what the epilogue adds is too short.
pub fn gemm(
    parallel: &dyn Parallel,
    a: Matrix<'_>,
    b: &PackedMatrix,
    output: &mut [f32],
    row_stride: usize,
    epilogue: &Epilogue<'_>,
) {
    assert_eq!(a.columns, b.rows, "columns of the left operand and rows of the right one");
    check_output(output.len(), a.rows, b.columns, row_stride);
    epilogue.check(a.rows, b.columns);
    let shape = TileShape::of(b.isa);
    let output = Shared::new(output);
    let split = Split::of(shape, a.rows, b.columns, parallel.threads());
    parallel.run(split.tasks, &|task| {
        let (rows, columns) = split.part(task);
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        // SAFETY: tasks have different rows or columns, and `check_output` has found all of them in the output.
        let output = unsafe { Output::new(output.pointer(rows.start * row_stride + columns.start), row_stride) };
        multiply(&a, &b.packed(), rows, columns, output, epilogue);
    });
}

fn check_output(len: usize, rows: usize, columns: usize, row_stride: usize) {
    assert!(row_stride >= columns, "rows of {columns} do not fit {row_stride} apart");
    assert!(rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= len, "an output of {rows} × {columns}");
}

/// How a product is divided among threads.
struct Split {
    shape: TileShape,
    rows: usize,
    columns: usize,
    tasks: usize,
    by_rows: bool,
}

impl Split {
    /// By the longer side, because every task reads the whole other operand.
    fn of(shape: TileShape, rows: usize, columns: usize, threads: usize) -> Self {
        let by_rows = rows > columns;
        let units = if by_rows { rows.div_ceil(shape.rows) } else { columns.div_ceil(shape.columns) };
        Self { shape, rows, columns, tasks: threads.min(units).max(1), by_rows }
    }

    fn part(&self, task: usize) -> (Range<usize>, Range<usize>) {
        if self.by_rows {
            (part(self.rows, self.shape.rows, task, self.tasks), 0..self.columns)
        } else {
            (0..self.rows, part(self.columns, self.shape.columns, task, self.tasks))
        }
    }
}

/// Some rows and columns of a product. Columns start at a whole panel of `b`.
fn multiply(
    a: &Matrix<'_>,
    b: &Packed<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    output: Output,
    epilogue: &Epilogue<'_>,
) {
    let shape = TileShape::of(b.isa);
    let blocks = blocks(b.rows);
    with_scratch(LEFT_ROWS.min(rows.len()) * BLOCK.min(b.rows), |left| {
        for block in 0..blocks {
            let depth = block_range(b.rows, block);
            let right = &b.block(&depth)[columns.start * depth.len()..];
            for first in rows.clone().step_by(LEFT_ROWS) {
                let rows_now = first..rows.end.min(first + LEFT_ROWS);
                pack_left(shape, a, rows_now.clone(), depth.clone(), left);
                b.isa.run(Tiles {
                    depth: depth.len(),
                    left,
                    rows: rows_now.len(),
                    right,
                    columns: columns.len(),
                    resident: Resident::Left,
                    output: output.row(first - rows.start),
                    accumulate: block > 0,
                    epilogue: (block + 1 == blocks).then(|| epilogue.part(first, columns.start)),
                });
            }
        }
    });
}

/// `output[i] = epilogue(a[i] × b[i])` for each of a batch, where neither operand is packed: attention, for one. `starts` says where
/// the operands of each product begin in the data of `a` and `b`, which is how a caller broadcasts; `a` and `b` give the shape that
/// all have in common. Outputs are row-major, one after another, and so are the rows of the epilogue's addend; its bias is the
/// same for each.
///
/// The order is that of [`gemm`].
///
/// # Panics
///
/// If the shapes do not fit together, or an operand, the output or what the epilogue adds is too short.
pub fn batched_gemm(
    parallel: &dyn Parallel,
    isa: Isa,
    starts: &[[usize; 2]],
    [a, b]: [Matrix<'_>; 2],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert_eq!(a.columns, b.rows, "columns of the left operand and rows of the right one");
    let (rows, columns) = (a.rows, b.columns);
    assert_eq!(output.len(), starts.len() * rows * columns, "{} outputs of {rows} × {columns}", starts.len());
    Epilogue { bias: Bias::None, ..*epilogue }.check(starts.len() * rows, columns);
    Epilogue { addend: None, ..*epilogue }.check(rows, columns);
    if output.is_empty() {
        return;
    }
    let shape = TileShape::of(isa);
    // By columns, so that every element of the right operand is packed once.
    let parts = if starts.len() >= 2 * parallel.threads() { 1 } else { parallel.threads() };
    let parts = parts.min(columns.div_ceil(shape.columns));
    let output = Shared::new(output);
    parallel.run(starts.len() * parts, &|task| {
        let item = task / parts;
        let part = part(columns, shape.columns, task % parts, parts);
        let [a, b] = [a.starting_at(starts[item][0]), b.starting_at(starts[item][1])];
        let addend = epilogue.addend.map(|addend| addend.starting_at(item * rows));
        let epilogue = Epilogue { addend, ..*epilogue }.part(0, part.start);
        // SAFETY: every task has another output or other columns of it.
        let output = unsafe { Output::new(output.pointer(item * rows * columns + part.start), columns) };
        let len = shape.padded(part.len()) * b.rows;
        with_scratch(len, |packed| {
            pack_blocks(shape, &b, part.clone(), packed);
            let packed = Packed { isa, rows: b.rows, columns: part.len(), data: packed };
            multiply(&a, &packed, 0..rows, 0..part.len(), output, &epilogue);
        });
    });
}

#[cfg(test)]
mod tests;
