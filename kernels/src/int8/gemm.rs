//! Products of matrices of 8-bit integers.

use super::lanes::{lanes, pair, run};
use super::tile::{IntegerTiles, ROWS, columns};
use super::{Int8, zero_point};
use crate::Isa;
use crate::parallel::{Parallel, Shared, part};
use std::ops::Range;

/// Pairs that are multiplied at a time, and rows that are packed at a time, so that what is packed stays in the second-level cache.
const PAIRS: usize = 256;
const LEFT_ROWS: usize = 240;

/// The right operand of a product, less its zero points and packed.
pub struct PackedIntegers {
    isa: Isa,
    rows: usize,
    columns: usize,
    /// Blocks of pairs; in a block, panels of columns.
    data: Vec<i32>,
}

impl PackedIntegers {
    /// Packs a row-major matrix, with one zero point for all or one for each column.
    ///
    /// # Panics
    ///
    /// If there are fewer or more elements or zero points.
    pub fn new<T: Int8>(isa: Isa, matrix: &[T], [rows, columns]: [usize; 2], zero_points: &[T]) -> Self {
        assert_eq!(matrix.len(), rows * columns, "{rows} × {columns} elements");
        assert!(zero_points.len() == 1 || zero_points.len() == columns, "a zero point for all or for each column");
        let element = |row: usize, column: usize| {
            let inside = row < rows && column < columns;
            if inside { matrix[row * columns + column].into() - zero_point(zero_points, column) } else { 0 }
        };
        let width = super::tile::columns(lanes(isa));
        let mut data = Vec::with_capacity(rows.div_ceil(2) * columns.next_multiple_of(width));
        for block in blocks(rows.div_ceil(2)) {
            for first in (0..columns).step_by(width) {
                for index in block.clone() {
                    for column in first..first + width {
                        data.push(pair(element(2 * index, column), element(2 * index + 1, column)));
                    }
                }
            }
        }
        Self { isa, rows, columns, data }
    }

    /// How many rows the matrix has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns the matrix has.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Ranges of pairs; an empty sum has one, which is empty.
pub(super) fn blocks(pairs: usize) -> impl Iterator<Item = Range<usize>> {
    (0..pairs.div_ceil(PAIRS).max(1)).map(move |block| block * PAIRS..pairs.min((block + 1) * PAIRS))
}

/// `output = (a − zero point) × (b − its zero points)`, row-major, wrapping: MatMulInteger, and the sums of QLinearMatMul.
///
/// # Panics
///
/// If a length is not what the shapes say.
pub fn integer_gemm<T: Int8>(
    parallel: &dyn Parallel,
    a: &[T],
    rows: usize,
    zero_point: T,
    b: &PackedIntegers,
    output: &mut [i32],
) {
    assert_eq!(a.len(), rows * b.rows, "{rows} rows of {}", b.rows);
    assert_eq!(output.len(), rows * b.columns, "{rows} rows of {}", b.columns);
    if output.is_empty() {
        return;
    }
    let width = columns(lanes(b.isa));
    let by_rows = rows > b.columns;
    let units = if by_rows { rows.div_ceil(ROWS) } else { b.columns.div_ceil(width) };
    let tasks = parallel.threads().min(units);
    let output = Shared::new(output);
    parallel.run(tasks, &|task| {
        let (rows, columns) = match by_rows {
            true => (part(rows, ROWS, task, tasks), 0..b.columns),
            false => (0..rows, part(b.columns, width, task, tasks)),
        };
        let mut left = Vec::with_capacity(PAIRS * LEFT_ROWS.min(rows.len()));
        for block in blocks(b.rows.div_ceil(2)) {
            let start = block.start * b.columns.next_multiple_of(width) + columns.start * block.len();
            for first in rows.clone().step_by(LEFT_ROWS) {
                let rows = first..rows.end.min(first + LEFT_ROWS);
                pack_rows(&a[rows.start * b.rows..rows.end * b.rows], b.rows, zero_point.into(), &block, &mut left);
                run(
                    b.isa,
                    IntegerTiles {
                        pairs: block.len(),
                        left: &left,
                        rows: rows.len(),
                        right: &b.data[start..],
                        columns: columns.len(),
                        output: output.pointer(first * b.columns + columns.start),
                        row_stride: b.columns,
                        accumulate: block.start > 0,
                    },
                );
            }
        }
    });
}

/// Packs pairs of rows of so many columns as the left operand.
fn pack_rows<T: Int8>(a: &[T], columns: usize, zero_point: i16, pairs: &Range<usize>, packed: &mut Vec<i32>) {
    packed.clear();
    if columns == 0 {
        return;
    }
    for panel in a.chunks(ROWS * columns) {
        for index in pairs.clone() {
            for row in panel.chunks_exact(columns) {
                let second = row.get(2 * index + 1).map_or(0, |second| (*second).into() - zero_point);
                packed.push(pair(row[2 * index].into() - zero_point, second));
            }
        }
    }
}
