//! Sums and the like, in one order that suits every number of lanes.
//!
//! A row is combined in 64 accumulators: element i goes to accumulator i mod 64, the elements of each in increasing order. Then the upper
//! half of the accumulators is merged into the lower, until one is left.

use crate::elementwise::Function;
use crate::halve::{Halve, Merge};
use crate::lanes::Lanes;
use crate::two::Two;
use crate::vector::Vector;

pub(super) const ACCUMULATORS: usize = 64;
/// Accumulators of columns that are computed at a time: as many as there are registers for.
const TOGETHER: usize = 8;

/// How elements are combined.
pub(crate) trait Fold: Merge + Copy {
    /// What accumulators start with. Merging it changes no bit of what an accumulator can be, so that those without elements need no
    /// merging.
    const START: f32;

    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    unsafe fn accumulate<L: Lanes>(self, accumulator: L, element: L) -> L;
}

/// Combines `length` contiguous elements.
///
/// # Safety
///
/// `row` is valid for them, and the processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn fold<L: Lanes, F: Fold>(fold: F, row: *const f32, length: usize) -> f32 {
    let whole = length - length % ACCUMULATORS;
    // SAFETY: the caller's; each index is less than the length.
    unsafe {
        if length <= L::LANES {
            return fold_short::<L, F>(fold, row, length);
        }
        if length <= 2 * L::LANES {
            return fold_short::<Two<L>, F>(fold, row, length);
        }
        let mut block = L::Block::splat(F::START);
        for first in (0..whole).step_by(ACCUMULATORS) {
            block = fold.accumulate(block, L::Block::load(row.add(first)));
        }
        if whole < length {
            let mut accumulators = [0.0; ACCUMULATORS];
            block.store(accumulators.as_mut_ptr());
            accumulate_rest::<L, F>(fold, &mut accumulators, row.add(whole), length - whole);
            block = L::Block::load(accumulators.as_ptr());
        }
        block.halve::<F>()
    }
}

/// Combines no more elements than there are lanes: accumulators without elements need no merging.
///
/// # Safety
///
/// As for [`fold`].
#[inline(always)]
unsafe fn fold_short<L: Lanes, F: Fold>(fold: F, row: *const f32, length: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let start = L::splat(F::START);
        let accumulators = match length == L::LANES {
            true => fold.accumulate(start, L::load(row)),
            false => fold.accumulate(start, L::load_first(row, length)).first_or(length, start),
        };
        accumulators.halve::<F>()
    }
}

/// Combines the last elements of a row, no more than there are accumulators, with the first of them.
///
/// # Safety
///
/// `rest` is valid for `length` elements, and the processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn accumulate_rest<L: Lanes, F: Fold>(
    fold: F,
    accumulators: &mut [f32; ACCUMULATORS],
    rest: *const f32,
    length: usize,
) {
    let whole = length - length % L::LANES;
    let accumulators = accumulators.as_mut_ptr();
    // SAFETY: the caller's; the accumulators are a multiple of the lanes, and not less than the length.
    unsafe {
        for first in (0..whole).step_by(L::LANES) {
            let to = accumulators.add(first);
            fold.accumulate(L::load(to), L::load(rest.add(first))).store(to);
        }
        if whole < length {
            let to = accumulators.add(whole);
            let last = L::load_first(rest.add(whole), length - whole);
            // Not only the first lanes are stored: what is stored in parts is slow to read.
            let accumulator = L::load(to);
            fold.accumulate(accumulator, last).first_or(length - whole, accumulator).store(to);
        }
    }
}

/// What is done to elements of columns before they are combined.
pub(super) trait Before<L: Lanes>: Copy {
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    unsafe fn of(self, element: L) -> L;
}

/// Nothing is.
#[derive(Clone, Copy)]
pub(super) struct Nothing;

impl<L: Lanes> Before<L> for Nothing {
    #[inline(always)]
    unsafe fn of(self, element: L) -> L {
        element
    }
}

/// A function of the difference to a number of each column.
#[derive(Clone, Copy)]
pub(super) struct Difference<L, F>(pub(super) L, pub(super) F);

impl<L: Lanes, F: Function> Before<L> for Difference<L, F> {
    #[inline(always)]
    unsafe fn of(self, element: L) -> L {
        // SAFETY: the caller's.
        unsafe { self.1.of(element.sub(self.0)) }
    }
}

/// Combines `length` elements of as many rows as there are lanes, where `stride` elements lie between one element of a row and the next.
///
/// # Safety
///
/// `first` is valid for all of them, and the processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn fold_columns<L: Lanes, F: Fold>(
    fold: F,
    before: impl Before<L>,
    first: *const f32,
    length: usize,
    stride: usize,
) -> L {
    // Accumulators are computed in the order in which merging needs them, eight at a time, so that few results have to be kept: those
    // whose partner comes later, at most one for each time that the upper half is merged into the lower. Accumulators without elements
    // are left out, except to make eight.
    let used = length.next_power_of_two().clamp(TOGETHER, ACCUMULATORS);
    let turns = used / TOGETHER;
    let times = turns.trailing_zeros();
    let whole = length - length % ACCUMULATORS;
    // SAFETY: the caller's; each element is before the length.
    unsafe {
        let mut kept = [L::splat(F::START); (ACCUMULATORS / TOGETHER).ilog2() as usize + 1];
        for turn in 0..turns {
            let index = if times == 0 { 0 } else { turn.reverse_bits() >> (usize::BITS - times) };
            let mut sums = [L::splat(F::START); TOGETHER];
            for block in (0..whole).step_by(ACCUMULATORS) {
                for (each, sum) in sums.iter_mut().enumerate() {
                    *sum =
                        fold.accumulate(*sum, before.of(L::load(first.add((block + index + each * turns) * stride))));
                }
            }
            for (each, sum) in sums.iter_mut().enumerate() {
                let element = whole + index + each * turns;
                if element < length {
                    *sum = fold.accumulate(*sum, before.of(L::load(first.add(element * stride))));
                }
            }
            let mut half = TOGETHER / 2;
            while half >= 1 {
                for each in 0..half {
                    sums[each] = F::merge(sums[each], sums[each + half]);
                }
                half /= 2;
            }
            let merges = turn.trailing_ones() as usize;
            let mut merged = sums[0];
            for lower in &kept[..merges] {
                merged = F::merge(*lower, merged);
            }
            kept[merges] = merged;
        }
        kept[times as usize]
    }
}

/// Folds that are a formula for the accumulator and one for merging.
macro_rules! folds {
    ($($(#[$doc:meta])* $fold:ident from $start:expr, |$accumulator:ident, $element:ident| $accumulate:expr, merge $merge:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub(crate) struct $fold;

            impl Fold for $fold {
                const START: f32 = $start;

                #[inline(always)]
                unsafe fn accumulate<L: Lanes>(self, $accumulator: L, $element: L) -> L {
                    // SAFETY: the caller's.
                    unsafe { $accumulate }
                }
            }

            impl Merge for $fold {
                #[inline(always)]
                unsafe fn merge<L: Lanes>(lower: L, upper: L) -> L {
                    // SAFETY: the caller's.
                    unsafe { $merge(lower, upper) }
                }
            }
        )*
    };
}

folds! {
    Sum from 0.0, |sum, element| sum.add(element), merge add;
    SumOfMagnitudes from 0.0, |sum, element| sum.add(element.abs()), merge add;
    SumOfSquares from 0.0, |sum, element| element.fma(element, sum), merge add;
    Product from 1.0, |product, element| product.mul(element), merge mul;
    /// The largest element; a NaN if there is one.
    Largest from f32::NEG_INFINITY, |largest, element| larger(largest, element), merge larger;
    /// The smallest element; a NaN if there is one.
    Smallest from f32::INFINITY, |smallest, element| smaller(smallest, element), merge smaller;
    /// The largest element that is not a NaN, and no more than -∞ if there is none.
    LargestNumber from f32::NEG_INFINITY, |largest, element| element.max(largest), merge larger_number;
}

/// The sum of squares of what elements deviate from this.
#[derive(Clone, Copy)]
pub(super) struct SumOfSquaredDeviations(pub(super) f32);

impl Fold for SumOfSquaredDeviations {
    const START: f32 = 0.0;

    #[inline(always)]
    unsafe fn accumulate<L: Lanes>(self, sum: L, element: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let deviation = element.sub(L::splat(self.0));
            deviation.fma(deviation, sum)
        }
    }
}

impl Merge for SumOfSquaredDeviations {
    #[inline(always)]
    unsafe fn merge<L: Lanes>(lower: L, upper: L) -> L {
        // SAFETY: the caller's.
        unsafe { add(lower, upper) }
    }
}

#[inline(always)]
unsafe fn add<L: Lanes>(accumulator: L, other: L) -> L {
    // SAFETY: the caller's.
    unsafe { accumulator.add(other) }
}

#[inline(always)]
unsafe fn mul<L: Lanes>(accumulator: L, other: L) -> L {
    // SAFETY: the caller's.
    unsafe { accumulator.mul(other) }
}

/// `other > accumulator ? other : accumulator`, or the one that is a NaN.
#[inline(always)]
unsafe fn larger<L: Lanes>(accumulator: L, other: L) -> L {
    // SAFETY: the caller's.
    unsafe { other.select_nan(other, other.max(accumulator)) }
}

/// `other < accumulator ? other : accumulator`, or the one that is a NaN.
#[inline(always)]
unsafe fn smaller<L: Lanes>(accumulator: L, other: L) -> L {
    // SAFETY: the caller's.
    unsafe { other.select_nan(other, other.min(accumulator)) }
}

#[inline(always)]
unsafe fn larger_number<L: Lanes>(accumulator: L, other: L) -> L {
    // SAFETY: the caller's.
    unsafe { other.max(accumulator) }
}
