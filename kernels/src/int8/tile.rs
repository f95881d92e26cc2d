//! Tiles of a product of integers whose sums stay in registers.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use super::lanes::{PairKernel, PairLanes};

/// Rows of a tile: 6 × 2 sums fit 16 registers.
pub(crate) const ROWS: usize = 6;

/// Vectors of a row.
const VECTORS: usize = 2;

/// The columns of a tile.
pub(crate) fn columns(lanes: usize) -> usize {
    VECTORS * lanes
}

/// Adds a product of packed pairs to sums.
pub(crate) struct IntegerTiles<'a> {
    /// Pairs of products of a sum.
    pub(crate) pairs: usize,
    /// Panels of [`ROWS`] rows, the last of which may have fewer; in a panel, one column of pairs after another.
    pub(crate) left: &'a [i32],
    pub(crate) rows: usize,
    /// Panels of [`columns`], all whole; in a panel, one row of pairs after another.
    pub(crate) right: &'a [i32],
    pub(crate) columns: usize,
    /// Where the first sum goes; every row is valid for all columns, and nobody else uses them.
    pub(crate) output: *mut i32,
    pub(crate) row_stride: usize,
    /// Whether the product is added to what is there.
    pub(crate) accumulate: bool,
}

impl PairKernel for IntegerTiles<'_> {
    #[inline(always)]
    fn run<L: PairLanes>(self) {
        let width = VECTORS * L::LANES;
        assert!(self.rows * self.pairs <= self.left.len());
        assert!(self.columns.next_multiple_of(width) * self.pairs <= self.right.len());
        for column in (0..self.columns).step_by(width) {
            for row in (0..self.rows).step_by(ROWS) {
                // SAFETY: the panels are as long as was checked, and the maker promised the output.
                unsafe {
                    match self.rows - row {
                        1 => self.tile::<L, 1>(row, column),
                        2 => self.tile::<L, 2>(row, column),
                        3 => self.tile::<L, 3>(row, column),
                        4 => self.tile::<L, 4>(row, column),
                        5 => self.tile::<L, 5>(row, column),
                        _ => self.tile::<L, ROWS>(row, column),
                    }
                }
            }
        }
    }
}

impl IntegerTiles<'_> {
    #[inline(always)]
    unsafe fn tile<L: PairLanes, const R: usize>(&self, row: usize, column: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut left = self.left.as_ptr().add(row * self.pairs);
            let mut right = self.right.as_ptr().add(column * self.pairs);
            let mut sums = [[L::splat(0); VECTORS]; R];
            for _ in 0..self.pairs {
                let pairs = [L::load(right), L::load(right.add(L::LANES))];
                for r in 0..R {
                    let element = L::splat(*left.add(r));
                    for v in 0..VECTORS {
                        sums[r][v] = element.multiply_add(pairs[v], sums[r][v]);
                    }
                }
                left = left.add(R);
                right = right.add(VECTORS * L::LANES);
            }
            let columns = self.columns - column;
            for r in 0..R {
                let to = self.output.add((row + r) * self.row_stride + column);
                if columns >= VECTORS * L::LANES {
                    for v in 0..VECTORS {
                        let to = to.add(v * L::LANES);
                        let sum = if self.accumulate { L::load(to).add(sums[r][v]) } else { sums[r][v] };
                        sum.store(to);
                    }
                } else {
                    let mut edge = [0; VECTORS * 16];
                    for v in 0..VECTORS {
                        sums[r][v].store(edge.as_mut_ptr().add(v * L::LANES));
                    }
                    for (index, sum) in edge[..columns].iter().enumerate() {
                        let to = to.add(index);
                        to.write(if self.accumulate { to.read().wrapping_add(*sum) } else { *sum });
                    }
                }
            }
        }
    }
}
