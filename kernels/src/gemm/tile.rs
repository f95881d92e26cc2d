//! The innermost loops: tiles of a product whose sums stay in registers.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use super::epilogue::{Bias, Epilogue};
use crate::Isa;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::vector::Vector;

/// How many products one chain of fused multiply-adds sums, starting from +0.0, before the next chain starts. Part of what the
/// result is, unlike all other sizes here.
pub(crate) const BLOCK: usize = 256;

/// How many blocks a sum of so many products has. An empty sum has one, of no products: +0.0.
pub(crate) fn blocks(depth: usize) -> usize {
    depth.div_ceil(BLOCK).max(1)
}

/// The products of a block.
pub(crate) fn block_range(depth: usize, block: usize) -> std::ops::Range<usize> {
    block * BLOCK..((block + 1) * BLOCK).min(depth)
}

/// The size of a tile in elements. Its sums, a row of vectors and a broadcast element fill the registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TileShape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) lanes: usize,
}

/// Vectors side by side in a row of a tile.
const VECTORS: usize = 2;
const MAX_COLUMNS: usize = VECTORS * 16;
const MAX_ROWS: usize = 12;

/// 16 registers hold 6 × 2 sums, 32 registers 12 × 2; one lane stands for no vector at all.
const fn tile_rows(lanes: usize) -> usize {
    match lanes {
        1 => 4,
        8 => 6,
        _ => MAX_ROWS,
    }
}

impl TileShape {
    pub(crate) fn of(isa: Isa) -> Self {
        struct Shape;
        impl Kernel for Shape {
            type Output = TileShape;
            #[inline(always)]
            fn run<L: Lanes>(self) -> TileShape {
                TileShape { rows: tile_rows(L::LANES), columns: VECTORS * L::LANES, lanes: L::LANES }
            }
        }
        isa.run(Shape)
    }

    /// The width in memory of a right panel of so many columns: one vector or two.
    pub(crate) fn padded(&self, columns: usize) -> usize {
        columns.next_multiple_of(self.lanes)
    }
}

/// Which operand's panels are used again and again, and so are small enough for the second-level cache; the panels of the other
/// are each used against all of them before the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resident {
    Left,
    Right,
}

/// Adds the product of two packed blocks to a matrix.
pub(crate) struct Tiles<'a> {
    /// How many products each sum has.
    pub(crate) depth: usize,
    /// Panels of [`TileShape::rows`] rows, the last of which may have fewer; in a panel, one column after another.
    pub(crate) left: &'a [f32],
    pub(crate) rows: usize,
    /// Panels of [`TileShape::columns`] columns, the last of which may be narrower, see [`TileShape::padded`]; in a panel, one row
    /// after another.
    pub(crate) right: &'a [f32],
    pub(crate) columns: usize,
    pub(crate) resident: Resident,
    pub(crate) output: Output,
    /// Whether the product is added to what is there: it is not for the first block.
    pub(crate) accumulate: bool,
    /// For the last block.
    pub(crate) epilogue: Option<Epilogue<'a>>,
}

/// A part of a matrix that one task alone writes.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pointer: *mut f32,
    row_stride: usize,
}

impl Output {
    /// # Safety
    ///
    /// From here every row that is used is valid for the columns that are used, as long as this is used, by nobody else.
    pub(crate) unsafe fn new(pointer: *mut f32, row_stride: usize) -> Self {
        Self { pointer, row_stride }
    }

    /// What begins at this row.
    pub(crate) fn row(self, row: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add(row * self.row_stride), ..self }
    }

    /// What begins at this column.
    pub(crate) fn column(self, column: usize) -> Self {
        Self { pointer: self.pointer.wrapping_add(column), ..self }
    }
}

/// Products with so few rows wait for memory, in which they are faster with several requests under way than processors are by
/// themselves.
const FEW_ROWS: usize = 5;

/// How many elements ahead.
const AHEAD: usize = 512;

/// Asks for memory that will be read, and may be outside of what is allocated: that has no effect.
#[inline(always)]
fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it reads nothing, and every x86-64 has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Elements of a cache line.
const LINE: usize = 16;

/// The same, into the second-level cache.
#[inline(always)]
fn prefetch_farther(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// What is done to a tile in registers.
#[derive(Clone, Copy)]
struct Last {
    row_bias: Option<*const f32>,
    column_bias: Option<*const f32>,
    /// What is added as it is, and from one of its rows to the next.
    addend: Option<(*const f32, usize)>,
    bounds: Option<(f32, f32)>,
}

/// An epilogue that registers do.
struct Ending<'a> {
    row_bias: Option<&'a [f32]>,
    column_bias: Option<&'a [f32]>,
    /// What is added as it is, and from one of its rows to the next; only to whole vectors.
    addend: Option<(&'a [f32], usize)>,
    bounds: Option<(f32, f32)>,
}

impl<'a> Ending<'a> {
    fn of(epilogue: &Epilogue<'a>) -> Option<Self> {
        let addend = epilogue.addend.filter(|addend| addend.is_plain());
        let rest = if addend.is_some() { Epilogue { addend: None, ..*epilogue } } else { *epilogue };
        let bounds = rest.bounds()?;
        Some(Self {
            row_bias: if let Bias::Rows(bias) = epilogue.bias { Some(bias) } else { None },
            column_bias: if let Bias::Columns(bias) = epilogue.bias { Some(bias) } else { None },
            addend: addend.map(|addend| (addend.data, addend.row_stride)),
            bounds: (bounds != (f32::NEG_INFINITY, f32::INFINITY)).then_some(bounds),
        })
    }
}

impl Ending<'_> {
    /// What becomes of one sum.
    #[inline(always)]
    unsafe fn of_sum(&self, row: usize, column: usize, mut sum: f32) -> f32 {
        sum = self.row_bias.map_or(sum, |bias| sum + bias[row]);
        sum = self.column_bias.map_or(sum, |bias| sum + bias[column]);
        sum = self.addend.map_or(sum, |(data, stride)| sum + data[row * stride + column]);
        // SAFETY: every processor has numbers.
        self.bounds.map_or(sum, |(low, high)| unsafe { Vector::min(high, Vector::max(low, sum)) })
    }
}

/// A tile and where it goes.
#[derive(Clone, Copy)]
struct Tile {
    depth: usize,
    left: *const f32,
    right: *const f32,
    /// From a right panel to the next, for tiles wider than one.
    panel: usize,
    output: *mut f32,
    row_stride: usize,
    accumulate: bool,
    last: Option<Last>,
}

impl Tile {
    /// The tile of the next panel of columns.
    #[inline(always)]
    fn next(&self, columns: usize) -> Self {
        let last = self.last.map(|last| Last {
            column_bias: last.column_bias.map(|bias| bias.wrapping_add(columns)),
            addend: last.addend.map(|(addend, row_stride)| (addend.wrapping_add(columns), row_stride)),
            ..last
        });
        let right = self.right.wrapping_add(self.panel);
        Self { right, output: self.output.wrapping_add(columns), last, ..*self }
    }

    /// Computes `R` rows of `V` vectors, of so many panels of columns.
    #[inline(always)]
    unsafe fn run<L: Lanes, const R: usize, const V: usize>(&self, panels: usize) {
        let mut tile = *self;
        for _ in 0..panels {
            // SAFETY: the caller's.
            unsafe { tile.run_one::<L, R, V>() };
            tile = tile.next(V * L::LANES);
        }
    }

    #[inline(always)]
    unsafe fn run_one<L: Lanes, const R: usize, const V: usize>(&self) {
        let step = V.min(VECTORS) * L::LANES;
        // SAFETY: `Tiles` has checked that its panels are this long, and its output is as large as it says.
        unsafe {
            // What will be written is not waited for then.
            for r in 0..R {
                let output = self.output.add(r * self.row_stride);
                prefetch(output);
                prefetch(output.add(V * L::LANES - 1));
            }
            let mut sums = [[L::splat(0.0); V]; R];
            let (mut left, mut right) = (self.left, self.right);
            for _ in 0..self.depth {
                if R <= FEW_ROWS {
                    prefetch(right.wrapping_add(AHEAD));
                }
                let mut row = [L::splat(0.0); V];
                for v in 0..V {
                    row[v] = L::load(right.add(v / VECTORS * self.panel + v % VECTORS * L::LANES));
                }
                for r in 0..R {
                    let element = L::splat(*left.add(r));
                    for v in 0..V {
                        sums[r][v] = element.fma(row[v], sums[r][v]);
                    }
                }
                left = left.add(R);
                right = right.add(step);
            }
            if self.accumulate {
                for r in 0..R {
                    for v in 0..V {
                        let before = L::load(self.output.add(r * self.row_stride + v * L::LANES));
                        sums[r][v] = before.add(sums[r][v]);
                    }
                }
            }
            if let Some(last) = self.last {
                if let Some(bias) = last.row_bias {
                    for r in 0..R {
                        for v in 0..V {
                            sums[r][v] = sums[r][v].add(L::splat(*bias.add(r)));
                        }
                    }
                }
                if let Some(bias) = last.column_bias {
                    for v in 0..V {
                        let bias = L::load(bias.add(v * L::LANES));
                        for r in 0..R {
                            sums[r][v] = sums[r][v].add(bias);
                        }
                    }
                }
                if let Some((addend, row_stride)) = last.addend {
                    for r in 0..R {
                        for v in 0..V {
                            sums[r][v] = sums[r][v].add(L::load(addend.add(r * row_stride + v * L::LANES)));
                        }
                    }
                }
                if let Some((low, high)) = last.bounds {
                    let (low, high) = (L::splat(low), L::splat(high));
                    for r in 0..R {
                        for v in 0..V {
                            sums[r][v] = high.min(low.max(sums[r][v]));
                        }
                    }
                }
            }
            for r in 0..R {
                for v in 0..V {
                    sums[r][v].store(self.output.add(r * self.row_stride + v * L::LANES));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn run_rows<L: Lanes, const V: usize>(&self, rows: usize, panels: usize) {
        // Larger tiles than an instruction set has are not compiled for it.
        macro_rules! rows {
            ($($rows:literal)*) => {
                match rows {
                    // SAFETY: the caller's.
                    $($rows if $rows <= tile_rows(L::LANES) => unsafe { self.run::<L, $rows, V>(panels) },)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        rows!(1 2 3 4 5 6 7 8 9 10 11 12);
    }

    /// # Safety
    ///
    /// Panels and output are as large as so many tiles of so many rows and vectors.
    #[inline(always)]
    unsafe fn dispatch<L: Lanes>(&self, rows: usize, vectors: usize, panels: usize) {
        // SAFETY: the caller's.
        unsafe {
            match (vectors, rows) {
                (1, _) => self.run_rows::<L, 1>(rows, panels),
                (VECTORS, _) => self.run_rows::<L, VECTORS>(rows, panels),
                (4, 2) => self.run::<L, 2, 4>(panels),
                (8, 1) => self.run::<L, 1, 8>(panels),
                _ => unreachable!("a tile of {rows} rows and {vectors} vectors"),
            }
        }
    }
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (height, width) = (tile_rows(L::LANES), VECTORS * L::LANES);
        assert!(self.rows * self.depth <= self.left.len());
        assert!(self.columns.next_multiple_of(L::LANES) * self.depth <= self.right.len());
        let ending = self.epilogue.as_ref().and_then(Ending::of);
        // SAFETY: the panels are as long as was checked, and the output is as large as its maker promised.
        let narrow = unsafe { self.narrow::<L>(&ending) };
        let columns = self.columns - narrow;
        let (row_panels, column_panels) = (self.rows.div_ceil(height), columns.div_ceil(width));
        // Few rows are few chains, each of which waits for itself, so that several panels are computed side by side.
        let together = match self.rows {
            1 => 4,
            2 => 2,
            _ => 1,
        };
        // Those of a row follow each other without much ado in between.
        let all = together == 1 && self.resident == Resident::Right;
        let (outer_count, inner_count) = match self.resident {
            Resident::Left => (column_panels.div_ceil(together), row_panels),
            Resident::Right if all => (row_panels, 1),
            Resident::Right => (row_panels, column_panels.div_ceil(together)),
        };
        // Right panels come from memory, where the next is asked for while one is used.
        let panel = width * together * self.depth;
        let share = match self.resident {
            Resident::Left => panel.div_ceil(inner_count.max(1)).next_multiple_of(LINE),
            Resident::Right => 0,
        };
        for outer in 0..outer_count {
            for inner in 0..inner_count {
                for line in (0..share).step_by(LINE) {
                    let next = (outer + 1) * panel + inner * share + line;
                    prefetch_farther(self.right.as_ptr().wrapping_add(next));
                }
                let (row, column) = match self.resident {
                    Resident::Left => (inner * height, outer * width * together),
                    Resident::Right => (outer * height, inner * width * together),
                };
                let rows = height.min(self.rows - row);
                let end = if all { columns } else { columns.min(column + together * width) };
                // What is not as wide as all of them together is computed panel by panel.
                let step = if end - column == together * width { together * width } else { width };
                let mut column = column;
                while column < end {
                    let panels = ((end - column) / step).max(1);
                    let step = step.min(end - column);
                    // SAFETY: as above.
                    unsafe { self.tile::<L>(&ending, row, rows, column, step, panels) };
                    column += panels * step;
                }
            }
        }
    }
}

impl Tiles<'_> {
    /// Computes the columns of the last panel where they are so few that vectors of rows are faster than vectors of columns; how many they are.
    #[inline(always)]
    unsafe fn narrow<L: Lanes>(&self, ending: &Option<Ending<'_>>) -> usize {
        let height = tile_rows(L::LANES);
        if L::LANES < height || self.epilogue.is_some() && ending.is_none() {
            return 0;
        }
        // Vectors end in the next panel, or after the last.
        let room = self.left.len().saturating_sub(L::LANES - height) / (height * self.depth).max(1);
        let panels = room.min(self.rows / height);
        let columns = self.columns % (VECTORS * L::LANES);
        // SAFETY: the caller's; so many panels are there.
        unsafe {
            let done = match columns {
                1 => self.narrow_panels::<L, 8, 1>(ending, panels),
                2 => self.narrow_panels::<L, 4, 2>(ending, panels),
                4 => self.narrow_panels::<L, 2, 4>(ending, panels),
                _ => return 0,
            };
            for row in (done * height..self.rows).step_by(height) {
                self.tile::<L>(ending, row, height.min(self.rows - row), self.columns - columns, columns, 1);
            }
        }
        columns
    }

    /// Some whole panels of rows, `P` side by side, by the last `C` columns; how many they are.
    #[inline(always)]
    unsafe fn narrow_panels<L: Lanes, const P: usize, const C: usize>(
        &self,
        ending: &Option<Ending<'_>>,
        panels: usize,
    ) -> usize {
        let height = tile_rows(L::LANES);
        let column = self.columns - C;
        let mut done = 0;
        while done + P <= panels {
            // SAFETY: the caller's.
            unsafe {
                let mut left = self.left.as_ptr().add(done * height * self.depth);
                let mut right = self.right.as_ptr().add(column * self.depth);
                let mut sums = [[L::splat(0.0); C]; P];
                for _ in 0..self.depth {
                    let mut elements = [L::splat(0.0); C];
                    for c in 0..C {
                        elements[c] = L::splat(*right.add(c));
                    }
                    for p in 0..P {
                        let rows = L::load(left.add(p * height * self.depth));
                        for c in 0..C {
                            sums[p][c] = rows.fma(elements[c], sums[p][c]);
                        }
                    }
                    left = left.add(height);
                    right = right.add(L::LANES);
                }
                for p in 0..P {
                    for c in 0..C {
                        let mut rows = [0.0f32; MAX_COLUMNS];
                        sums[p][c].store(rows.as_mut_ptr());
                        for r in 0..height {
                            let (row, column) = ((done + p) * height + r, column + c);
                            let output = self.output.pointer.add(row * self.output.row_stride + column);
                            let sum = if self.accumulate { *output + rows[r] } else { rows[r] };
                            *output = ending.as_ref().map_or(sum, |ending| ending.of_sum(row, column, sum));
                        }
                    }
                }
            }
            done += P;
        }
        done
    }

    /// Tiles of so many panels of columns one after the other, and what their registers do not do.
    #[inline(always)]
    unsafe fn tile<L: Lanes>(
        &self,
        ending: &Option<Ending<'_>>,
        row: usize,
        rows: usize,
        column: usize,
        columns: usize,
        panels: usize,
    ) {
        let Output { pointer, row_stride } = self.output;
        let vectors = columns.div_ceil(L::LANES);
        let whole = columns == vectors * L::LANES;
        // SAFETY: the caller's: so many rows and columns are in the output, and the panels are whole. What is not as wide as its
        // vectors is computed in a buffer that is.
        unsafe {
            let output = pointer.add(row * row_stride + column);
            let mut edge_bias;
            let last = match ending {
                Some(ending) if whole || ending.addend.is_none() => Some(Last {
                    row_bias: ending.row_bias.map(|bias| bias.as_ptr().add(row)),
                    column_bias: match ending.column_bias {
                        Some(bias) if !whole => {
                            edge_bias = [0.0f32; MAX_COLUMNS];
                            edge_bias[..columns].copy_from_slice(&bias[column..column + columns]);
                            Some(edge_bias.as_ptr())
                        }
                        bias => bias.map(|bias| bias.as_ptr().add(column)),
                    },
                    addend: ending.addend.map(|(data, stride)| (data.as_ptr().add(row * stride + column), stride)),
                    bounds: ending.bounds,
                }),
                _ => None,
            };
            let mut tile = Tile {
                depth: self.depth,
                left: self.left.as_ptr().add(row * self.depth),
                right: self.right.as_ptr().add(column * self.depth),
                panel: VECTORS * L::LANES * self.depth,
                output,
                row_stride,
                accumulate: self.accumulate,
                last,
            };
            if whole {
                tile.dispatch::<L>(rows, vectors, panels);
            } else {
                let mut edge = [0.0f32; MAX_ROWS * MAX_COLUMNS];
                tile.output = edge.as_mut_ptr();
                tile.row_stride = vectors * L::LANES;
                if self.accumulate {
                    for r in 0..rows {
                        std::ptr::copy_nonoverlapping(
                            output.add(r * row_stride),
                            tile.output.add(r * tile.row_stride),
                            columns,
                        );
                    }
                }
                tile.dispatch::<L>(rows, vectors, panels);
                for r in 0..rows {
                    std::ptr::copy_nonoverlapping(
                        tile.output.add(r * tile.row_stride),
                        output.add(r * row_stride),
                        columns,
                    );
                }
            }
            if let (Some(epilogue), None) = (&self.epilogue, last) {
                let epilogue = epilogue.part(row, column);
                for r in 0..rows {
                    epilogue.apply_to_row::<L>(r, panels * columns, output.add(r * row_stride));
                }
            }
        }
    }
}
