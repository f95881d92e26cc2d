//! A function applied to every element.

use crate::doubles::Doubles;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::two::Two;
use crate::vector::Vector;

/// A function of one number, in each lane.
pub(crate) trait Function: Copy {
    /// Whether four vectors are computed side by side instead of two: faster where few numbers are kept at a time.
    const FOUR: bool = false;

    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    unsafe fn of<L: Lanes>(self, x: L) -> L;
}

/// `function` of `length` elements.
pub(super) struct Map<F> {
    pub(super) function: F,
    pub(super) input: *const f32,
    pub(super) output: *mut f32,
    pub(super) length: usize,
}

impl<F: Function> Kernel for Map<F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // SAFETY: a kernel runs where its instructions are; whoever made this holds the elements.
        unsafe { map::<L, F>(self.function, self.input, self.output, self.length) }
    }
}

/// Writes `function` of `length` elements of `input` to `output`, which may be `input`.
///
/// # Safety
///
/// Both are valid for that many elements, and the processor has the lanes' instruction set.
#[inline(always)]
pub(crate) unsafe fn map<L: Lanes, F: Function>(function: F, input: *const f32, output: *mut f32, length: usize) {
    let whole = length - length % L::LANES;
    // SAFETY: the caller's; each index is less than the length, by as many as are read and written there.
    unsafe {
        let fourfold = if F::FOUR { length - length % (4 * L::LANES) } else { 0 };
        for first in (0..fourfold).step_by(4 * L::LANES) {
            function.of(Two::<Two<L>>::load(input.add(first))).store(output.add(first));
        }
        let twice = length - length % (2 * L::LANES);
        for first in (fourfold..twice).step_by(2 * L::LANES) {
            function.of(Two::<L>::load(input.add(first))).store(output.add(first));
        }
        if twice < whole {
            function.of(L::load(input.add(twice))).store(output.add(twice));
        }
        if whole < length {
            let last = function.of(L::load_first(input.add(whole), length - whole));
            last.store_first(output.add(whole), length - whole);
        }
    }
}

/// Horner's rule with fused operations, from the highest coefficient, which is last.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn polynomial<L: Lanes, const N: usize>(x: L, coefficients: &[f32; N]) -> L {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::splat(coefficients[N - 1]);
        for index in (0..N - 1).rev() {
            sum = sum.fma(x, L::splat(coefficients[index]));
        }
        sum
    }
}

/// The same in double precision.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(super) unsafe fn polynomial_double<D: Doubles, const N: usize>(x: D, coefficients: &[f64; N]) -> D {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = D::splat(coefficients[N - 1]);
        for index in (0..N - 1).rev() {
            sum = sum.fma(x, D::splat(coefficients[index]));
        }
        sum
    }
}
