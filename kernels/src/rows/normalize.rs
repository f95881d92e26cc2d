//! Normalisations: what a row, or a group of channels, is scaled by follows from its own elements, or is given.

use super::each::{EachRow, Row, check};
use super::fold::{Fold, Nothing, Sum, SumOfMagnitudes, SumOfSquaredDeviations, SumOfSquares, fold, fold_columns};
use super::reduce::{Reduction, reduce};
use crate::Isa;
use crate::elementwise::{Function, map};
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// Writes (x - mean) / √(variance + epsilon) of rows of `length` elements to `output`, times `scale` and plus `bias`, which have an
/// element for each of a row, where they are given.
///
/// # Panics
///
/// If `length` is zero, or lengths are not multiples of it, or differ.
pub fn layer_norm(
    isa: Isa,
    input: &[f32],
    length: usize,
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f32,
    output: &mut [f32],
) {
    check_rows(input, length, output);
    for factors in [scale, bias].into_iter().flatten() {
        assert_eq!(factors.len(), length, "a factor for each element of a row");
    }
    isa.run(Rows { statistics: MeanAndVariance { epsilon }, input, length, scale, bias, output });
}

/// Writes the mean of each row of `length` elements to `means`, and 1 / √(variance + epsilon) to `factors`: what [`layer_norm`] subtracts
/// and multiplies by.
///
/// # Panics
///
/// If `length` is zero, or lengths are not those of the shapes.
pub fn layer_norm_statistics(
    isa: Isa,
    input: &[f32],
    length: usize,
    epsilon: f32,
    means: &mut [f32],
    factors: &mut [f32],
) {
    assert!(length > 0 && input.len() == length * means.len(), "elements are [rows, {length}]");
    assert_eq!(means.len(), factors.len(), "one of each for every row");
    isa.run(RowStatistics { statistics: MeanAndVariance { epsilon }, input, length, means, factors });
}

struct RowStatistics<'a> {
    statistics: MeanAndVariance,
    input: &'a [f32],
    length: usize,
    means: &'a mut [f32],
    factors: &'a mut [f32],
}

impl Kernel for RowStatistics<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let results = self.means.iter_mut().zip(self.factors);
        for (row, (mean, factor)) in self.input.chunks_exact(self.length).zip(results) {
            // SAFETY: a kernel runs where its instructions are; the row has this length.
            (*mean, *factor) = unsafe { self.statistics.of::<L>(row.as_ptr(), self.length) };
        }
    }
}

/// Writes (x - mean) / (√variance + 1e-9) of rows of `length` elements to `output`.
///
/// # Panics
///
/// If `length` is zero, or lengths are not multiples of it, or differ.
pub fn mean_variance_norm(isa: Isa, input: &[f32], length: usize, output: &mut [f32]) {
    check_rows(input, length, output);
    for (row, results) in input.chunks_exact(length).zip(output.chunks_exact_mut(length)) {
        let (mut mean, mut squares) = (0.0, 0.0);
        reduce(isa, Reduction::Mean, row, length, 1, std::slice::from_mut(&mut mean));
        results.iter_mut().zip(row).for_each(|(y, x)| *y = x - mean);
        reduce(isa, Reduction::SumSquare, results, length, 1, std::slice::from_mut(&mut squares));
        let deviation = (squares / length as f32).sqrt() + 1e-9;
        results.iter_mut().for_each(|y| *y /= deviation);
    }
}

/// Writes x / √(mean of squares + epsilon) of rows of `length` elements to `output`, times `scale`, which has an element for each of a
/// row, where it is given.
///
/// # Panics
///
/// If `length` is zero, or lengths are not multiples of it, or differ.
pub fn rms_norm(isa: Isa, input: &[f32], length: usize, scale: Option<&[f32]>, epsilon: f32, output: &mut [f32]) {
    check_rows(input, length, output);
    assert!(scale.is_none_or(|scale| scale.len() == length), "a factor for each element of a row");
    isa.run(Rows { statistics: MeanOfSquares { epsilon }, input, length, scale, bias: None, output });
}

fn check_rows(input: &[f32], length: usize, output: &[f32]) {
    assert!(length > 0 && input.len().is_multiple_of(length), "elements are [rows, {length}]");
    assert_eq!(input.len(), output.len(), "as many results as elements");
}

/// What is subtracted from the elements of a row, and what they are multiplied by then.
trait Statistics: Copy {
    /// Whether anything is subtracted.
    const CENTRED: bool;

    /// # Safety
    ///
    /// `row` is valid for `length` elements, and the processor has the lanes' instruction set.
    unsafe fn of<L: Lanes>(self, row: *const f32, length: usize) -> (f32, f32);
}

#[derive(Clone, Copy)]
struct MeanAndVariance {
    epsilon: f32,
}

impl Statistics for MeanAndVariance {
    const CENTRED: bool = true;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, row: *const f32, length: usize) -> (f32, f32) {
        let count = length as f32;
        // SAFETY: the caller's.
        unsafe {
            let mean = fold::<L, _>(Sum, row, length) / count;
            let variance = fold::<L, _>(SumOfSquaredDeviations(mean), row, length) / count;
            (mean, 1.0 / (variance + self.epsilon).sqrt())
        }
    }
}

#[derive(Clone, Copy)]
struct MeanOfSquares {
    epsilon: f32,
}

impl Statistics for MeanOfSquares {
    const CENTRED: bool = false;

    #[inline(always)]
    unsafe fn of<L: Lanes>(self, row: *const f32, length: usize) -> (f32, f32) {
        // SAFETY: the caller's.
        let mean = unsafe { fold::<L, _>(SumOfSquares, row, length) } / length as f32;
        (0.0, 1.0 / (mean + self.epsilon).sqrt())
    }
}

struct Rows<'a, S> {
    statistics: S,
    input: &'a [f32],
    length: usize,
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    output: &'a mut [f32],
}

impl<S: Statistics> Kernel for Rows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Rows { statistics, input, length, scale, bias, output } = self;
        let whole = length - length % L::LANES;
        for (row, results) in input.chunks_exact(length).zip(output.chunks_exact_mut(length)) {
            // SAFETY: a kernel runs where its instructions are; the row, the results and the factors have this length.
            unsafe {
                let (centre, factor) = statistics.of::<L>(row.as_ptr(), length);
                match (scale, bias) {
                    (Some(scale), Some(bias)) => {
                        for first in (0..whole).step_by(L::LANES) {
                            let normal = normal::<L, S>(L::load(row.as_ptr().add(first)), centre, factor);
                            let [scale, bias] = [scale, bias].map(|factors| factors.as_ptr().add(first));
                            normal.fma(L::load(scale), L::load(bias)).store(results.as_mut_ptr().add(first));
                        }
                        for index in whole..length {
                            let normal = normal::<f32, S>(row[index], centre, factor);
                            results[index] = normal.mul_add(scale[index], bias[index]);
                        }
                    }
                    (Some(scale), None) => {
                        for first in (0..whole).step_by(L::LANES) {
                            let normal = normal::<L, S>(L::load(row.as_ptr().add(first)), centre, factor);
                            normal.mul(L::load(scale.as_ptr().add(first))).store(results.as_mut_ptr().add(first));
                        }
                        for index in whole..length {
                            results[index] = normal::<f32, S>(row[index], centre, factor) * scale[index];
                        }
                    }
                    (None, Some(bias)) => {
                        for first in (0..whole).step_by(L::LANES) {
                            let normal = normal::<L, S>(L::load(row.as_ptr().add(first)), centre, factor);
                            normal.add(L::load(bias.as_ptr().add(first))).store(results.as_mut_ptr().add(first));
                        }
                        for index in whole..length {
                            results[index] = normal::<f32, S>(row[index], centre, factor) + bias[index];
                        }
                    }
                    (None, None) => {
                        let normal = Normal::<S>(centre, factor, std::marker::PhantomData);
                        map::<L, _>(normal, row.as_ptr(), results.as_mut_ptr(), length);
                    }
                }
            }
        }
    }
}

/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn normal<L: Lanes, S: Statistics>(x: L, centre: f32, factor: f32) -> L {
    // SAFETY: the caller's.
    unsafe {
        let x = if S::CENTRED { x.sub(L::splat(centre)) } else { x };
        x.mul(L::splat(factor))
    }
}

#[derive(Clone, Copy)]
struct Normal<S>(f32, f32, std::marker::PhantomData<S>);

impl<S: Statistics> Function for Normal<S> {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { normal::<L, S>(x, self.0, self.1) }
    }
}

/// Normalises each group of channels of `input`, of shape `[batch, channels, positions]`, as [`layer_norm`] does rows, then multiplies
/// each channel by its `scale` and adds its `bias`, of which there are as many as channels. With as many groups as channels this is
/// instance normalisation.
///
/// # Panics
///
/// If `groups` does not divide the channels, `positions` is zero, or lengths are not those of the shapes.
#[expect(clippy::too_many_arguments, reason = "they are those of the operator")]
pub fn group_norm(
    isa: Isa,
    input: &[f32],
    groups: usize,
    positions: usize,
    scale: &[f32],
    bias: &[f32],
    epsilon: f32,
    output: &mut [f32],
) {
    assert!(groups > 0 && !scale.is_empty() && scale.len().is_multiple_of(groups), "{groups} groups of channels");
    assert_eq!(scale.len(), bias.len(), "as many biases as scales");
    check_rows(input, scale.len() * positions, output);
    isa.run(GroupNorm { input, groups, positions, scale, bias, epsilon, output });
}

struct GroupNorm<'a> {
    input: &'a [f32],
    groups: usize,
    positions: usize,
    scale: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
    output: &'a mut [f32],
}

impl Kernel for GroupNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let GroupNorm { input, groups, positions, scale, bias, epsilon, output } = self;
        let channels = scale.len() / groups;
        let length = channels * positions;
        for (index, (group, results)) in input.chunks_exact(length).zip(output.chunks_exact_mut(length)).enumerate() {
            // SAFETY: a kernel runs where its instructions are, and all of these have their lengths.
            let (centre, factor) = unsafe { MeanAndVariance { epsilon }.of::<L>(group.as_ptr(), length) };
            let channel = index % groups * channels;
            for (index, (from, to)) in
                group.chunks_exact(positions).zip(results.chunks_exact_mut(positions)).enumerate()
            {
                let affine = Affine { centre, factor, scale: scale[channel + index], bias: bias[channel + index] };
                // SAFETY: as above.
                unsafe { map::<L, _>(affine, from.as_ptr(), to.as_mut_ptr(), positions) };
            }
        }
    }
}

/// ((x - centre) × factor) × scale + bias.
#[derive(Clone, Copy)]
struct Affine {
    centre: f32,
    factor: f32,
    scale: f32,
    bias: f32,
}

impl Function for Affine {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let normal = x.sub(L::splat(self.centre)).mul(L::splat(self.factor));
            normal.fma(L::splat(self.scale), L::splat(self.bias))
        }
    }
}

/// The parameters of [`batch_norm`], each with an element for every channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// What channels are multiplied by.
    pub scale: &'a [f32],
    /// What is added to them.
    pub bias: &'a [f32],
    /// The means that were found in training.
    pub mean: &'a [f32],
    /// The variances that were found in training.
    pub variance: &'a [f32],
    /// What is added to variances.
    pub epsilon: f32,
}

/// Writes x × a + b of each channel of `input`, of shape `[batch, channels, positions]`, to `output`, where a = scale / √(variance + epsilon)
/// and b = bias - mean × a.
///
/// # Panics
///
/// If `positions` is zero, or lengths are not those of the shapes.
pub fn batch_norm(isa: Isa, input: &[f32], positions: usize, parameters: BatchNorm<'_>, output: &mut [f32]) {
    let BatchNorm { scale, bias, mean, variance, .. } = parameters;
    assert!([bias, mean, variance].iter().all(|values| values.len() == scale.len()), "one of each for every channel");
    check_rows(input, scale.len() * positions, output);
    isa.run(InferBatchNorm { input, positions, parameters, output });
}

struct InferBatchNorm<'a> {
    input: &'a [f32],
    positions: usize,
    parameters: BatchNorm<'a>,
    output: &'a mut [f32],
}

impl Kernel for InferBatchNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let BatchNorm { scale, bias, mean, variance, epsilon } = self.parameters;
        let (inputs, outputs) = (self.input.chunks_exact(self.positions), self.output.chunks_exact_mut(self.positions));
        for (index, (from, to)) in inputs.zip(outputs).enumerate() {
            let channel = index % scale.len();
            let factor = scale[channel] / (variance[channel] + epsilon).sqrt();
            let line = Line { factor, offset: (-mean[channel]).mul_add(factor, bias[channel]) };
            // SAFETY: a kernel runs where its instructions are, and both have this length.
            unsafe { map::<L, _>(line, from.as_ptr(), to.as_mut_ptr(), self.positions) };
        }
    }
}

#[derive(Clone, Copy)]
struct Line {
    factor: f32,
    offset: f32,
}

impl Function for Line {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { x.fma(L::splat(self.factor), L::splat(self.offset)) }
    }
}

/// Divides the rows of `input`, of shape `[outer, axis, inner]`, by their norm: the sum of magnitudes if `p` is 1, the root of the sum of
/// squares if it is 2. Rows whose norm is zero become zeros.
///
/// # Panics
///
/// If `p` is another number, `axis` or `inner` is zero, or the lengths are not those of the shape.
pub fn lp_normalize(isa: Isa, p: u32, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    check(input, axis, inner, output);
    match p {
        1 => over_norm(isa, OverNorm { fold: SumOfMagnitudes, root: false }, input, axis, inner, output),
        2 => over_norm(isa, OverNorm { fold: SumOfSquares, root: true }, input, axis, inner, output),
        _ => panic!("a norm with p = {p}"),
    }
}

fn over_norm<F: Fold>(isa: Isa, row: OverNorm<F>, input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    isa.run(EachRow { row, input, axis, inner, results: axis, output });
}

#[derive(Clone, Copy)]
struct OverNorm<F> {
    fold: F,
    root: bool,
}

impl<F: Fold> Row for OverNorm<F> {
    #[inline(always)]
    unsafe fn of_row<L: Lanes>(self, row: *const f32, results: *mut f32, length: usize) {
        // SAFETY: the caller's.
        unsafe {
            let norm = fold::<L, F>(self.fold, row, length);
            map::<L, _>(Share(if self.root { norm.sqrt() } else { norm }), row, results, length);
        }
    }

    #[inline(always)]
    unsafe fn of_columns<L: Lanes>(self, first: *const f32, results: *mut f32, length: usize, stride: usize) {
        // SAFETY: the caller's.
        unsafe {
            let norm = fold_columns::<L, F>(self.fold, Nothing, first, length, stride);
            let norm = if self.root { norm.sqrt() } else { norm };
            for index in 0..length {
                share(L::load(first.add(index * stride)), norm).store(results.add(index * stride));
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Share(f32);

impl Function for Share {
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, x: L) -> L {
        // SAFETY: the caller's.
        unsafe { share(x, L::splat(self.0)) }
    }
}

/// x / norm, or zero if the norm is zero.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn share<L: Lanes>(x: L, norm: L) -> L {
    // SAFETY: the caller's.
    unsafe { norm.select_equal(L::splat(0.0), L::splat(0.0), x.div(norm)) }
}
