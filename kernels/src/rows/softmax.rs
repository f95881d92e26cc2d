//! Softmax and its logarithm.

use super::each::{EachRow, Row, check};
use super::fold::{ACCUMULATORS, LargestNumber, Nothing, Sum, accumulate_rest, fold, fold_columns};
use crate::Isa;
use crate::elementwise::{ExpOfDifference, Function, Log, map};
use crate::halve::Halve;
use crate::lanes::Lanes;
use crate::two::Two;
use crate::vector::Vector;

/// Writes e^(x - m) over its sum to `output`, both of shape `[outer, axis, inner]`, where m is the largest element of a row. A row with a
/// NaN, with ∞, or of nothing but -∞ becomes NaNs.
///
/// # Panics
///
/// If `axis` or `inner` is zero, or the lengths are not those of the shape.
pub fn softmax(isa: Isa, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    check(input, axis, inner, output);
    isa.run(EachRow { row: Softmax(Share), input, axis, inner, results: axis, output });
}

/// Writes the logarithm of [`softmax`] to `output`: (x - m) - ln(Σ e^(x - m)).
///
/// # Panics
///
/// If `axis` or `inner` is zero, or the lengths are not those of the shape.
pub fn log_softmax(isa: Isa, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    check(input, axis, inner, output);
    isa.run(EachRow { row: Softmax(Logarithm), input, axis, inner, results: axis, output });
}

/// How a result is made of an element, its exponential, and what the row has in common.
trait Last: Copy {
    /// Whether results are made of exponentials, which are written in their place first, or of elements.
    const OF_EXPONENTIALS: bool;

    /// # Safety
    ///
    /// The processor has the lanes' instruction set, here and below.
    unsafe fn common<L: Lanes>(sum: L) -> L;

    unsafe fn result<L: Lanes>(element: L, largest: L, common: L) -> L;
}

#[derive(Clone, Copy)]
struct Share;

impl Last for Share {
    const OF_EXPONENTIALS: bool = true;

    #[inline(always)]
    unsafe fn common<L: Lanes>(sum: L) -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(1.0).div(sum) }
    }
    #[inline(always)]
    unsafe fn result<L: Lanes>(exponential: L, _largest: L, common: L) -> L {
        // SAFETY: the caller's.
        unsafe { exponential.mul(common) }
    }
}

#[derive(Clone, Copy)]
struct Logarithm;

impl Last for Logarithm {
    const OF_EXPONENTIALS: bool = false;

    #[inline(always)]
    unsafe fn common<L: Lanes>(sum: L) -> L {
        // SAFETY: the caller's.
        unsafe { Log.of(sum) }
    }
    #[inline(always)]
    unsafe fn result<L: Lanes>(element: L, largest: L, common: L) -> L {
        // SAFETY: the caller's.
        unsafe { element.sub(largest).sub(common) }
    }
}

#[derive(Clone, Copy)]
struct Softmax<F>(F);

impl<F: Last> Row for Softmax<F> {
    #[inline(always)]
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize) {
        // SAFETY: the caller's.
        unsafe {
            let largest = fold::<L, _>(LargestNumber, row, length);
            let sum = write_exponentials::<L>(row, results, length, largest);
            let from = if F::OF_EXPONENTIALS { results } else { row };
            map::<L, _>(Finish::<F>(largest, F::common(sum), std::marker::PhantomData), from, results, length);
        }
    }

    #[inline(always)]
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize) {
        // SAFETY: the caller's.
        unsafe {
            let largest = fold_columns::<L, _>(LargestNumber, Nothing, first, length, stride);
            for at in (0..length).map(|index| index * stride) {
                ExpOfDifference.of(L::load(first.add(at)).sub(largest)).store(results.add(at));
            }
            let common = F::common(fold_columns::<L, _>(Sum, Nothing, results, length, stride));
            let from = if F::OF_EXPONENTIALS { results } else { first };
            for at in (0..length).map(|index| index * stride) {
                F::result(L::load(from.add(at)), largest, common).store(results.add(at));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Finish<F>(f32, f32, std::marker::PhantomData<F>);

impl<F: Last> Function for Finish<F> {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { F::result(x, L::splat(self.0), L::splat(self.1)) }
    }
}

/// Writes e^(x - largest) of every element, and returns their sum.
///
/// # Safety
///
/// Both are valid for `length` elements, and the processor has the lanes' instruction set.
#[inline(always)]
unsafe fn write_exponentials<L: Lanes>(row: *const f32, results: *mut f32, length: usize, largest: f32) -> f32 {
    if length <= 2 * L::LANES {
        // SAFETY: the caller's.
        return unsafe {
            if length <= L::LANES {
                write_short::<L>(row, results, length, largest)
            } else {
                write_short::<Two<L>>(row, results, length, largest)
            }
        };
    }
    let mut accumulators = [0.0; ACCUMULATORS];
    let sums = accumulators.as_mut_ptr();
    let (fourfold, twice) = (length - length % (4 * L::LANES), length - length % (2 * L::LANES));
    let once = length - length % L::LANES;
    // SAFETY: the caller's; the accumulators are a multiple of the lanes, also of four times as many.
    unsafe {
        for first in (0..fourfold).step_by(4 * L::LANES) {
            let exponential = ExpOfDifference.of(Two::<Two<L>>::load(row.add(first)).sub(Two::splat(largest)));
            exponential.store(results.add(first));
            let sum = sums.add(first % ACCUMULATORS);
            Two::<Two<L>>::load(sum).add(exponential).store(sum);
        }
        for first in (fourfold..twice).step_by(2 * L::LANES) {
            let exponential = ExpOfDifference.of(Two::<L>::load(row.add(first)).sub(Two::splat(largest)));
            exponential.store(results.add(first));
            let sum = sums.add(first % ACCUMULATORS);
            Two::<L>::load(sum).add(exponential).store(sum);
        }
        if twice < once {
            let exponential = ExpOfDifference.of(L::load(row.add(twice)).sub(L::splat(largest)));
            exponential.store(results.add(twice));
            let sum = sums.add(twice % ACCUMULATORS);
            L::load(sum).add(exponential).store(sum);
        }
        if once < length {
            let last = L::load_first(row.add(once), length - once);
            let exponential = ExpOfDifference.of(last.sub(L::splat(largest)));
            exponential.store_first(results.add(once), length - once);
            let sum = sums.add(once % ACCUMULATORS);
            let accumulator = L::load(sum);
            accumulator.add(exponential).first_or(length - once, accumulator).store(sum);
        }
        L::Block::load(accumulators.as_ptr()).halve::<Sum>()
    }
}

/// The same for no more elements than there are lanes.
///
/// # Safety
///
/// As for [`write_exponentials`].
#[inline(always)]
unsafe fn write_short<L: Lanes>(row: *const f32, results: *mut f32, length: usize, largest: f32) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let (start, largest) = (L::splat(0.0), L::splat(largest));
        if length == L::LANES {
            let exponential = ExpOfDifference.of(L::load(row).sub(largest));
            exponential.store(results);
            return start.add(exponential).halve::<Sum>();
        }
        let exponential = ExpOfDifference.of(L::load_first(row, length).sub(largest));
        exponential.store_first(results, length);
        start.add(exponential).first_or(length, start).halve::<Sum>()
    }
}

/// Σ e^(x - largest), where `exp` is the exponential function.
///
/// # Safety
///
/// `row` is valid for `length` elements, and the processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn sum_of_exponentials<L: Lanes, F: Function>(
    exp: F,
    row: *const f32,
    length: usize,
    largest: f32,
) -> f32 {
    let mut accumulators = [0.0; ACCUMULATORS];
    let mut exponentials = [0.0; ACCUMULATORS];
    // SAFETY: the caller's; each block has as many elements as there are accumulators, or is the last.
    unsafe {
        for first in (0..length).step_by(ACCUMULATORS) {
            let count = (length - first).min(ACCUMULATORS);
            map::<L, _>(FromLargest(exp, largest), row.add(first), exponentials.as_mut_ptr(), count);
            accumulate_rest::<L, _>(Sum, &mut accumulators, exponentials.as_ptr(), count);
        }
        L::Block::load(accumulators.as_ptr()).halve::<Sum>()
    }
}

#[derive(Clone, Copy)]
struct FromLargest<F>(F, f32);

impl<F: Function> Function for FromLargest<F> {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { self.0.of(x.sub(L::splat(self.1))) }
    }
}

/// What exponents are relative to: the largest element, but zero if that is infinite, whose difference to itself is a NaN.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn zero_unless_finite<L: Lanes>(largest: L) -> L {
    // SAFETY: the caller's.
    unsafe { L::splat(f32::INFINITY).select_greater(largest.abs(), largest, L::splat(0.0)) }
}
