//! Cumulative sums.

use crate::Isa;
use crate::isa::Kernel;
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
    assert!(axis > 0 && inner > 0, "rows have elements");
    assert!(input.len().is_multiple_of(axis * inner), "elements are [outer, {axis}, {inner}]");
    assert_eq!(input.len(), output.len(), "as many results as elements");
    isa.run(Cumulate { which, input, axis, inner, output });
}

struct Cumulate<'a> {
    which: CumulativeSum,
    input: &'a [f32],
    axis: usize,
    inner: usize,
    output: &'a mut [f32],
}

impl Kernel for Cumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Cumulate { which, input, axis, inner, output } = self;
        let whole = inner - inner % L::LANES;
        for (rows, results) in input.chunks_exact(axis * inner).zip(output.chunks_exact_mut(axis * inner)) {
            let (rows, results) = (rows.as_ptr(), results.as_mut_ptr());
            // SAFETY: a kernel runs where its instructions are; columns and their lanes are less than `inner`.
            unsafe {
                for column in (0..whole).step_by(L::LANES) {
                    cumulate::<L>(which, rows.add(column), results.add(column), axis, inner);
                }
                for column in whole..inner {
                    cumulate::<f32>(which, rows.add(column), results.add(column), axis, inner);
                }
            }
        }
    }
}

/// # Safety
///
/// Both are valid for `length` elements of as many rows as there are lanes, `stride` elements apart; the processor has the lanes'
/// instruction set.
#[inline(always)]
unsafe fn cumulate<L: Lanes>(which: CumulativeSum, first: *const f32, results: *mut f32, length: usize, stride: usize) {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::splat(0.0);
        for step in 0..length {
            let at = stride * if which.reverse { length - 1 - step } else { step };
            let next = sum.add(L::load(first.add(at)));
            if which.exclusive { sum } else { next }.store(results.add(at));
            sum = next;
        }
    }
}
