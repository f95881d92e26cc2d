//! Operands rearranged in the order in which tiles read them.

use super::tile::{TileShape, block_range, blocks};
use crate::Isa;
use crate::aligned::Aligned;
use std::ops::Range;

/// A matrix in memory: element (i, j) is at `i × row_stride + j × column_stride`. A stride of 0 repeats what it strides over.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    ///
    /// # Panics
    ///
    /// If there are fewer elements.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, [rows, columns], [columns, 1])
    }

    /// Any strides.
    ///
    /// # Panics
    ///
    /// If the last element is not there.
    pub fn strided(data: &'a [f32], [rows, columns]: [usize; 2], [row_stride, column_stride]: [usize; 2]) -> Self {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * row_stride + (columns - 1) * column_stride;
            assert!(last < data.len(), "{rows} × {columns} elements end at {last} of {}", data.len());
        }
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// One of the same shape that begins later in the same data.
    ///
    /// # Panics
    ///
    /// If its last element is not there.
    pub(crate) fn starting_at(self, start: usize) -> Self {
        Self::strided(&self.data[start..], [self.rows, self.columns], [self.row_stride, self.column_stride])
    }

    /// Rows as columns.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Packs rows as the left operand of `Tiles`: panels of rows, in a panel column after column.
pub(crate) fn pack_left(shape: TileShape, a: &Matrix<'_>, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
    let packed = &mut packed[..rows.len() * depth.len()];
    if packed.is_empty() {
        return;
    }
    for (panel, packed) in packed.chunks_mut(shape.rows * depth.len()).enumerate() {
        let first = (rows.start + panel * shape.rows) * a.row_stride + depth.start * a.column_stride;
        let from = &a.data[first..];
        match packed.len() / depth.len() {
            12 => pack_rows::<12>(from, a, packed),
            6 => pack_rows::<6>(from, a, packed),
            4 => pack_rows::<4>(from, a, packed),
            height => {
                for (column, packed) in packed.chunks_exact_mut(height).enumerate() {
                    for (row, packed) in packed.iter_mut().enumerate() {
                        *packed = from[row * a.row_stride + column * a.column_stride];
                    }
                }
            }
        }
    }
}

/// A panel of a known number of rows.
fn pack_rows<const R: usize>(from: &[f32], a: &Matrix<'_>, packed: &mut [f32]) {
    let (columns, _) = packed.as_chunks_mut::<R>();
    if a.column_stride == 1 {
        let depth = columns.len();
        let rows: [&[f32]; R] = std::array::from_fn(|row| &from[row * a.row_stride..][..depth]);
        for (column, packed) in columns.iter_mut().enumerate() {
            for (packed, row) in packed.iter_mut().zip(rows) {
                *packed = row[column];
            }
        }
    } else {
        for (column, packed) in columns.iter_mut().enumerate() {
            for (row, packed) in packed.iter_mut().enumerate() {
                *packed = from[row * a.row_stride + column * a.column_stride];
            }
        }
    }
}

/// Packs columns as the right operand of `Tiles`: panels of columns, in a panel row after row; what is missing to whole vectors is
/// zeros.
pub(crate) fn pack_right(
    shape: TileShape,
    b: &Matrix<'_>,
    depth: Range<usize>,
    columns: Range<usize>,
    packed: &mut [f32],
) {
    let packed = &mut packed[..shape.padded(columns.len()) * depth.len()];
    if packed.is_empty() {
        return;
    }
    for (panel, packed) in packed.chunks_mut(shape.columns * depth.len()).enumerate() {
        let column = columns.start + panel * shape.columns;
        let width = shape.columns.min(columns.end - column);
        let padded = packed.len() / depth.len();
        let first = depth.start * b.row_stride + column * b.column_stride;
        let from = &b.data[first..];
        if b.column_stride == 1 {
            for (row, packed) in packed.chunks_exact_mut(padded).enumerate() {
                packed[..width].copy_from_slice(&from[row * b.row_stride..][..width]);
                packed[width..].fill(0.0);
            }
        } else {
            // Column by column, because those of a transposed matrix are what follows each other in memory.
            for column in 0..padded {
                let column_start = column * b.column_stride;
                for (row, packed) in packed.iter_mut().skip(column).step_by(padded).enumerate() {
                    *packed = if column < width { from[column_start + row * b.row_stride] } else { 0.0 };
                }
            }
        }
    }
}

/// Packs columns as the right operand of a product, block after block.
pub(crate) fn pack_blocks(shape: TileShape, matrix: &Matrix<'_>, columns: Range<usize>, packed: &mut [f32]) {
    let mut rest = packed;
    for block in 0..blocks(matrix.rows) {
        let depth = block_range(matrix.rows, block);
        let (packed, after) = rest.split_at_mut(shape.padded(columns.len()) * depth.len());
        pack_right(shape, matrix, depth, columns.clone(), packed);
        rest = after;
    }
}

/// A packed right operand, wherever it is.
pub(crate) struct Packed<'a> {
    pub(crate) isa: Isa,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) data: &'a [f32],
}

impl Packed<'_> {
    /// The panels of a block.
    pub(crate) fn block(&self, depth: &Range<usize>) -> &[f32] {
        let padded = TileShape::of(self.isa).padded(self.columns);
        &self.data[depth.start * padded..depth.end * padded]
    }
}

/// The right operand of a product, packed once for many: the weights of a layer.
pub struct PackedMatrix {
    pub(crate) isa: Isa,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) data: Aligned,
}

impl PackedMatrix {
    /// Packs a matrix for the instructions that will multiply by it.
    pub fn new(isa: Isa, matrix: Matrix<'_>) -> Self {
        let shape = TileShape::of(isa);
        let Matrix { rows, columns, .. } = matrix;
        let mut data = Aligned::new(shape.padded(columns) * rows);
        pack_blocks(shape, &matrix, 0..columns, data.as_mut_slice());
        Self { isa, rows, columns, data }
    }

    pub(crate) fn packed(&self) -> Packed<'_> {
        Packed { isa: self.isa, rows: self.rows, columns: self.columns, data: self.data.as_slice() }
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
