//! Reductions of rows to numbers.

use super::fold::{
    Difference, Fold, Largest, LargestNumber, Nothing, Product, Smallest, Sum, SumOfMagnitudes, SumOfSquares, fold,
    fold_columns,
};
use super::softmax::{sum_of_exponentials, zero_unless_finite};
use crate::Isa;
use crate::elementwise::{Exp, Function, Log};
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::two::Two;

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
    match reduction {
        Reduction::Sum => isa.run(Reduce { fold: Sum, last: Same, input, axis, inner, output }),
        Reduction::Mean => isa.run(Reduce { fold: Sum, last: Over(count), input, axis, inner, output }),
        Reduction::Max => isa.run(Reduce { fold: Largest, last: Same, input, axis, inner, output }),
        Reduction::Min => isa.run(Reduce { fold: Smallest, last: Same, input, axis, inner, output }),
        Reduction::Prod => isa.run(Reduce { fold: Product, last: Same, input, axis, inner, output }),
        Reduction::L1 => isa.run(Reduce { fold: SumOfMagnitudes, last: Same, input, axis, inner, output }),
        Reduction::L2 => isa.run(Reduce { fold: SumOfSquares, last: Root, input, axis, inner, output }),
        Reduction::SumSquare => isa.run(Reduce { fold: SumOfSquares, last: Same, input, axis, inner, output }),
        Reduction::LogSum => isa.run(Reduce { fold: Sum, last: Log, input, axis, inner, output }),
        Reduction::LogSumExp => isa.run(LogSumExp { input, axis, inner, output }),
    }
}

struct Reduce<'a, F, G> {
    fold: F,
    /// What is done to what was folded.
    last: G,
    input: &'a [f32],
    axis: usize,
    inner: usize,
    output: &'a mut [f32],
}

impl<F: Fold, G: Function> Kernel for Reduce<'_, F, G> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Reduce { fold: how, last, input, axis, inner, output } = self;
        for (index, results) in output.chunks_exact_mut(inner).enumerate() {
            let rows = input[index * axis * inner..][..axis * inner].as_ptr();
            // SAFETY: a kernel runs where its instructions are; columns and their lanes are less than `inner`.
            unsafe {
                if inner == 1 {
                    results[0] = last.of::<f32>(fold::<L, F>(how, rows, axis));
                    continue;
                }
                let width = 2 * L::LANES;
                let (twice, once) = (inner - inner % width, inner - inner % L::LANES);
                let to = results.as_mut_ptr();
                for column in (0..twice).step_by(width) {
                    let folded = fold_columns::<Two<L>, F>(how, Nothing, rows.add(column), axis, inner);
                    last.of(folded).store(to.add(column));
                }
                if twice < once {
                    let folded = fold_columns::<L, F>(how, Nothing, rows.add(twice), axis, inner);
                    last.of(folded).store(to.add(twice));
                }
                for (column, result) in results.iter_mut().enumerate().skip(once) {
                    *result = last.of(fold_columns::<f32, F>(how, Nothing, rows.add(column), axis, inner));
                }
            }
        }
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

struct LogSumExp<'a> {
    input: &'a [f32],
    axis: usize,
    inner: usize,
    output: &'a mut [f32],
}

impl Kernel for LogSumExp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let LogSumExp { input, axis, inner, output } = self;
        for (index, results) in output.chunks_exact_mut(inner).enumerate() {
            let rows = input[index * axis * inner..][..axis * inner].as_ptr();
            // SAFETY: a kernel runs where its instructions are; columns and their lanes are less than `inner`.
            unsafe {
                if inner == 1 {
                    let largest = zero_unless_finite(fold::<L, _>(LargestNumber, rows, axis));
                    results[0] = Log.of::<f32>(sum_of_exponentials::<L, _>(Exp, rows, axis, largest)) + largest;
                    continue;
                }
                let whole = inner - inner % L::LANES;
                for column in (0..whole).step_by(L::LANES) {
                    let result = log_sum_exp_of_columns::<L>(rows.add(column), axis, inner);
                    result.store(results.as_mut_ptr().add(column));
                }
                for (column, result) in results.iter_mut().enumerate().skip(whole) {
                    *result = log_sum_exp_of_columns::<f32>(rows.add(column), axis, inner);
                }
            }
        }
    }
}

/// # Safety
///
/// As for [`fold_columns`].
#[inline(always)]
unsafe fn log_sum_exp_of_columns<L: Lanes>(first: *const f32, length: usize, stride: usize) -> L {
    // SAFETY: the caller's.
    unsafe {
        let largest = zero_unless_finite(fold_columns::<L, _>(LargestNumber, Nothing, first, length, stride));
        let before = Difference(largest, Exp);
        Log.of(fold_columns::<L, _>(Sum, before, first, length, stride)).add(largest)
    }
}
