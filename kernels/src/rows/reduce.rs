//! Reductions of rows to numbers.

use super::each::{EachRow, Row};
use super::fold::{
    Difference, Fold, Largest, LargestNumber, Nothing, Product, Smallest, Sum, SumOfMagnitudes, SumOfSquares, fold,
    fold_columns,
};
use super::softmax::{sum_of_exponentials, zero_unless_finite};
use crate::Isa;
use crate::elementwise::{Exp, Function, Log};
use crate::lanes::Lanes;

/// What is computed of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduction {
    /// The sum: of nothing zero.
    Sum,
    /// The sum divided by the number of elements.
    Mean,
    /// The largest element: of nothing -∞; a NaN if there is one.
    Max,
    /// The smallest element: of nothing ∞; a NaN if there is one.
    Min,
    /// The product: of nothing one.
    Prod,
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
    /// The sum of squares.
    SumSquare,
    /// The logarithm of the sum.
    LogSum,
    /// The logarithm of the sum of exponentials, which do not overflow.
    LogSumExp,
}

/// Reduces `input`, of shape `[outer, axis, inner]`, to `output`, of shape `[outer, inner]`.
///
/// # Panics
///
/// If `inner` is zero, or the lengths are not those of the shapes.
pub fn reduce(isa: Isa, reduction: Reduction, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    assert!(inner > 0 && output.len().is_multiple_of(inner), "results are [outer, {inner}]");
    assert_eq!(input.len(), output.len() * axis, "elements are [outer, {axis}, {inner}]");
    let count = axis as f32;
    macro_rules! run {
        ($row:expr) => {
            isa.run(EachRow { row: $row, input, axis, inner, results: 1, output })
        };
    }
    match reduction {
        Reduction::Sum => run!(Folded(Sum, Same)),
        Reduction::Mean => run!(Folded(Sum, Over(count))),
        Reduction::Max => run!(Folded(Largest, Same)),
        Reduction::Min => run!(Folded(Smallest, Same)),
        Reduction::Prod => run!(Folded(Product, Same)),
        Reduction::L1 => run!(Folded(SumOfMagnitudes, Same)),
        Reduction::L2 => run!(Folded(SumOfSquares, Root)),
        Reduction::SumSquare => run!(Folded(SumOfSquares, Same)),
        Reduction::LogSum => run!(Folded(Sum, Log)),
        Reduction::LogSumExp => run!(LogSumExp),
    }
}

/// A function of what a row is folded to.
#[derive(Clone, Copy)]
struct Folded<F, G>(F, G);

impl<F: Fold, G: Function> Row for Folded<F, G> {
    #[inline(always)]
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize) {
        // SAFETY: the caller's.
        unsafe { results.write(self.1.of::<f32>(fold::<L, F>(self.0, row, length))) }
    }

    #[inline(always)]
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize) {
        // SAFETY: the caller's.
        unsafe { self.1.of(fold_columns::<L, F>(self.0, Nothing, first, length, stride)).store(results) }
    }
}

#[derive(Clone, Copy)]
struct Same;

impl Function for Same {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        x
    }
}

#[derive(Clone, Copy)]
struct Over(f32);

impl Function for Over {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.div(L::splat(self.0)) }
    }
}

#[derive(Clone, Copy)]
struct Root;

impl Function for Root {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.sqrt() }
    }
}

#[derive(Clone, Copy)]
struct LogSumExp;

impl Row for LogSumExp {
    #[inline(always)]
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize) {
        // SAFETY: the caller's.
        unsafe {
            let largest = zero_unless_finite(fold::<L, _>(LargestNumber, row, length));
            results.write(Log.of::<f32>(sum_of_exponentials::<L, _>(Exp, row, length, largest)) + largest);
        }
    }

    #[inline(always)]
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize) {
        // SAFETY: the caller's.
        unsafe {
            let largest = zero_unless_finite(fold_columns::<L, _>(LargestNumber, Nothing, first, length, stride));
            let before = Difference(largest, Exp);
            Log.of(fold_columns::<L, _>(Sum, before, first, length, stride)).add(largest).store(results);
        }
    }
}
