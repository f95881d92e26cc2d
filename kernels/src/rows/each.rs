//! The way through a tensor, row by row or several rows side by side.

use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::two::Two;

/// What is made of a row.
///
/// # Safety
///
/// Rows and results are valid for all that is said, and the processor has the lanes' instruction set.
pub(super) trait Row: Copy {
    /// Of `length` contiguous elements.
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize);

    /// Of as many rows as there are lanes, where `stride` elements lie between one element of a row and the next, and likewise between
    /// results.
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize);
}

/// Every row of `input`, of shape `[outer, axis, inner]`, which becomes so many `results` each: `output` is `[outer, results, inner]`.
pub(super) struct EachRow<'a, R> {
    pub(super) row: R,
    pub(super) input: &'a [f32],
    pub(super) axis: usize,
    pub(super) inner: usize,
    pub(super) results: usize,
    pub(super) output: &'a mut [f32],
}

impl<R: Row> Kernel for EachRow<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let EachRow { row, input, axis, inner, results, output } = self;
        for (index, results) in output.chunks_exact_mut(results * inner).enumerate() {
            let (rows, results) = (input[index * axis * inner..][..axis * inner].as_ptr(), results.as_mut_ptr());
            // SAFETY: a kernel runs where its instructions are; columns and their lanes are less than `inner`.
            unsafe {
                if inner == 1 {
                    row.of_row::<L>(rows, results, axis);
                    continue;
                }
                let width = 2 * L::LANES;
                let (twice, once) = (inner - inner % width, inner - inner % L::LANES);
                for column in (0..twice).step_by(width) {
                    row.of_columns::<Two<L>>(rows.add(column), results.add(column), axis, inner);
                }
                if twice < once {
                    row.of_columns::<L>(rows.add(twice), results.add(twice), axis, inner);
                }
                for column in once..inner {
                    row.of_columns::<f32>(rows.add(column), results.add(column), axis, inner);
                }
            }
        }
    }
}

/// Checks shapes of operators whose results have that of their input.
pub(super) fn check(input: &[f32], axis: usize, inner: usize, output: &[f32]) {
    assert!(axis > 0 && inner > 0, "rows have elements");
    assert!(input.len().is_multiple_of(axis * inner), "elements are [outer, {axis}, {inner}]");
    assert_eq!(input.len(), output.len(), "as many results as elements");
}
