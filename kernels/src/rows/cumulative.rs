//! Cumulative sums.

use super::each::{EachRow, Row, check};
use crate::Isa;
use crate::lanes::Lanes;

/// Which elements a cumulative sum has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CumulativeSum {
    /// Each result lacks its own element.
    pub exclusive: bool,
    /// From the last element to the first.
    pub reverse: bool,
}

/// Writes the sums of each row of `input`, of shape `[outer, axis, inner]`, up to every element to `output`. Elements are added one after
/// the other, the first to zero.
///
/// # Panics
///
/// If `axis` or `inner` is zero, or the lengths are not those of the shape.
pub fn cumulative_sum(isa: Isa, which: CumulativeSum, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    check(input, axis, inner, output);
    isa.run(EachRow { row: which, input, axis, inner, results: axis, output });
}

impl Row for CumulativeSum {
    #[inline(always)]
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize) {
        // SAFETY: the caller's.
        unsafe { self.of_columns::<f32>(row, results, length, 1) }
    }

    #[inline(always)]
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut sum = L::splat(0.0);
            for step in 0..length {
                let at = stride * if self.reverse { length - 1 - step } else { step };
                let next = sum.add(L::load(first.add(at)));
                if self.exclusive { sum } else { next }.store(results.add(at));
                sum = next;
            }
        }
    }
}
