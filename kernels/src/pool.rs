//! Pooling: one number for all elements under a window.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use crate::aligned::with_scratch;
use crate::conv::depthwise::{Positions, store};
use crate::conv::image::Layout;
use crate::conv::{Axes, Window};
use crate::gemm::tile::TileShape;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use crate::rows::{Fold, LargestNumber, Reduction, Sum, reduce};
use crate::{Isa, Unary};

/// Vectors that are computed side by side.
const CHAINS: usize = 4;

/// Writes the largest element under each window to `output`, of shape `[planes, window.output(spatial)…]`; `input` is
/// `[planes, spatial…]`.
///
/// In the order of memory, beginning with -∞, `s = x > s ? x : s`. So of zeros the first one stays, and NaNs are passed by. Padding is not
/// looked at.
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn max_pool(isa: Isa, input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    each_plane(isa, LargestNumber, input, spatial, window, output);
}

/// Writes where in `input` the element is that [`max_pool`] gives: the first under the window if no other is more than -∞, and -1 if there
/// is none.
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn max_pool_positions(input: &[f32], spatial: Axes, window: Window, output: &mut [i64]) {
    each_window(input.len(), spatial, window, output, |_, elements| {
        let mut largest = f32::NEG_INFINITY;
        let mut position = None;
        for at in elements {
            if input[at] > largest || position.is_none() {
                largest = if input[at] > largest { input[at] } else { largest };
                position = Some(at);
            }
        }
        position.map_or(-1, |at| at as i64)
    });
}

/// Writes the norm with this `p` of the elements under each window to `output`; shapes are those of [`max_pool`].
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn lp_pool(isa: Isa, p: u32, input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    let powers = powers(isa, p, input);
    each_window(input.len(), spatial, window, output, |_, elements| elements.fold(0.0, |sum, at| sum + powers[at]));
    root(isa, p, output);
}

/// Writes the norm with this `p` of each plane of `size` elements to `output`.
///
/// # Panics
///
/// If the size is zero, or lengths are not those of the shapes.
pub fn global_lp_pool(isa: Isa, p: u32, input: &[f32], size: usize, output: &mut [f32]) {
    reduce(isa, Reduction::Sum, &powers(isa, p, input), size, 1, output);
    root(isa, p, output);
}

/// |x|ᵖ.
fn powers(isa: Isa, p: u32, input: &[f32]) -> Vec<f32> {
    let mut powers: Vec<f32> = input.iter().map(|x| x.abs()).collect();
    match p {
        1 => {}
        2 => powers.iter_mut().for_each(|x| *x *= *x),
        _ => Unary::Pow { exponent: p as f32 }.apply_in_place(isa, &mut powers),
    }
    powers
}

/// x to the power of 1 / p.
fn root(isa: Isa, p: u32, sums: &mut [f32]) {
    match p {
        1 => {}
        2 => Unary::Sqrt.apply_in_place(isa, sums),
        _ => Unary::Pow { exponent: 1.0 / p as f32 }.apply_in_place(isa, sums),
    }
}

/// Writes the mean of the elements under each window to `output`; shapes are those of [`max_pool`].
///
/// Elements are added in the order of memory, beginning with +0.0; the sum is divided by their number, to which positions in the padding
/// add if it is `counted`: so many of them at the end of each axis, and all at its beginning. A window that lies in what is not counted
/// gives a NaN.
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn average_pool(isa: Isa, input: &[f32], spatial: Axes, window: Window, counted: Option<Axes>, output: &mut [f32]) {
    each_plane(isa, Sum, input, spatial, window, output);
    let outputs = window.output(spatial);
    let counts = [0, 1, 2].map(|axis| -> Vec<usize> {
        let begin = window.pads_begin[axis];
        let range = match counted {
            None => begin..begin + spatial[axis],
            Some(ends) => 0..begin + spatial[axis] + ends[axis],
        };
        let position = |output: usize, tap: usize| output * window.strides[axis] + tap * window.dilations[axis];
        let count = |output| (0..window.kernel[axis]).filter(|tap| range.contains(&position(output, *tap))).count();
        (0..outputs[axis]).map(count).collect()
    });
    let [z, y, x] = &counts;
    let rows = z.iter().flat_map(|z| y.iter().map(move |y| z * y));
    let counts: Vec<f32> = rows.flat_map(|row| x.iter().map(move |x| (row * x) as f32)).collect();
    for plane in output.chunks_exact_mut(counts.len().max(1)) {
        plane.iter_mut().zip(&counts).for_each(|(sum, count)| *sum /= count);
    }
}

/// Gives `pool` the place of each output, and where of so many elements those under its window are.
pub(crate) fn each_window<T>(
    input: usize,
    spatial: Axes,
    window: Window,
    output: &mut [T],
    pool: impl Fn(Axes, &mut dyn Iterator<Item = usize>) -> T,
) {
    let outputs = window.output(spatial);
    let (plane, plane_out) = (spatial.iter().product::<usize>(), outputs.iter().product::<usize>());
    if output.is_empty() {
        return;
    }
    assert!(output.len().is_multiple_of(plane_out), "planes of {plane_out} outputs");
    assert_eq!(input, output.len() / plane_out * plane, "the input's shape");
    // The positions under the window along an axis, for one output.
    let under = |axis: usize, output: usize| {
        let first = output * window.strides[axis];
        (0..window.kernel[axis])
            .filter_map(move |tap| (first + tap * window.dilations[axis]).checked_sub(window.pads_begin[axis]))
            .filter(move |&position| position < spatial[axis])
    };
    for (index, output) in output.iter_mut().enumerate() {
        let (number, place) = (index / plane_out, index % plane_out);
        let at = [place / (outputs[1] * outputs[2]), place / outputs[2] % outputs[1], place % outputs[2]];
        let first = number * plane;
        let mut elements = under(0, at[0]).flat_map(|a| {
            under(1, at[1])
                .flat_map(move |b| under(2, at[2]).map(move |c| first + (a * spatial[1] + b) * spatial[2] + c))
        });
        *output = pool(at, &mut elements);
    }
}

/// Folds the elements under each window. Padding is what a fold starts with, which changes no result.
fn each_plane<F: Fold>(isa: Isa, fold: F, input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    let layout = Layout::new(window, spatial);
    let (plane, outputs) = (spatial.iter().product::<usize>(), layout.outputs());
    if output.is_empty() {
        return;
    }
    assert!(output.len().is_multiple_of(outputs), "planes of {outputs} outputs");
    assert_eq!(input.len(), output.len() / outputs * plane, "the input's shape");
    let lanes = TileShape::of(isa).lanes;
    let (taps, positions) = (layout.taps(), Positions::new(&layout, lanes));
    // Vectors may end after the last row.
    with_scratch(layout.channel() + lanes, |laid_out| {
        laid_out.fill(F::START);
        isa.run(Pool { fold, layout: &layout, input, laid_out, taps: &taps, positions: &positions, output });
    });
}

struct Pool<'a, F> {
    fold: F,
    layout: &'a Layout,
    input: &'a [f32],
    /// Room for one plane, with its padding.
    laid_out: &'a mut [f32],
    taps: &'a [usize],
    positions: &'a Positions,
    output: &'a mut [f32],
}

impl<F: Fold> Kernel for Pool<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { fold, layout, input, laid_out, taps, positions, output } = self;
        let len = input.len() / (output.len() / layout.outputs());
        for (index, output) in output.chunks_exact_mut(layout.outputs()).enumerate() {
            let plane = &input[index * len..][..len];
            // SAFETY: a kernel runs where its instructions are.
            unsafe { layout.fill_lanes::<L>(F::START, plane, laid_out) };
            positions.check(taps, laid_out, output);
            for vectors in positions.vectors.chunks(CHAINS) {
                let group: [[usize; 2]; CHAINS] = std::array::from_fn(|chain| vectors[chain.min(vectors.len() - 1)]);
                // SAFETY: every position and tap was compared with what is laid out, and every position is in the output.
                unsafe {
                    let mut folded = [L::splat(F::START); CHAINS];
                    for tap in taps {
                        for chain in 0..CHAINS {
                            let element = L::load(laid_out.as_ptr().add(group[chain][0] + tap));
                            folded[chain] = fold.accumulate(folded[chain], element);
                        }
                    }
                    for chain in 0..CHAINS {
                        if chain < vectors.len() {
                            store(folded[chain], group[chain][1], output);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::samples::{Random, bits, isas};

    #[test]
    fn windows_lie_where_they_should() {
        let image: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let window =
            Window { strides: [1, 2, 2], pads_begin: [0, 1, 0], pads_end: [0, 0, 1], ..Window::new([1, 2, 2]) };
        let mut output = [0.0; 4];
        for isa in isas() {
            max_pool(isa, &image, [1, 3, 4], window, &mut output);
            assert_eq!(output, [1.0, 3.0, 9.0, 11.0]);
            average_pool(isa, &image, [1, 3, 4], window, None, &mut output);
            assert_eq!(output, [0.5, 2.5, 6.5, 8.5]);
            average_pool(isa, &image, [1, 3, 4], window, Some([0, 0, 1]), &mut output);
            assert_eq!(output, [0.25, 1.25, 6.5, 8.5]);
        }
    }

    #[test]
    fn positions_are_those_of_the_whole_input() {
        let (infinity, nan) = (f32::INFINITY, f32::NAN);
        let rows = [0.0, -0.0, 1.0, nan, -infinity, -infinity, nan, nan];
        let mut positions = [0; 4];
        max_pool_positions(&rows, [1, 1, 4], Window { strides: [1, 1, 2], ..Window::new([1, 1, 2]) }, &mut positions);
        assert_eq!(positions, [0, 2, 4, 6]);
        let mut output = [0];
        let apart =
            Window { dilations: [1, 1, 2], pads_begin: [0, 0, 1], pads_end: [0, 0, 1], ..Window::new([1, 1, 2]) };
        max_pool_positions(&[1.0], [1, 1, 1], apart, &mut output);
        assert_eq!(output, [-1], "a window that lies in the padding");
    }

    #[test]
    fn norms_are_those_of_windows_and_planes() {
        let input = [3.0, -4.0, 0.0, -0.0];
        for (p, expected) in [(1, [7.0, 0.0]), (2, [5.0, 0.0]), (3, [91f32.cbrt(), 0.0])] {
            for isa in crate::samples::isas() {
                let [mut windows, mut planes] = [[1.0f32; 2]; 2];
                let window = Window { strides: [1, 1, 2], ..Window::new([1, 1, 2]) };
                lp_pool(isa, p, &input, [1, 1, 4], window, &mut windows);
                global_lp_pool(isa, p, &input, 2, &mut planes);
                assert_eq!(windows, planes);
                assert!(planes.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{p}: {planes:?}");
            }
        }
    }

    #[test]
    fn the_first_zero_stays_and_nans_are_passed_by() {
        let mut output = [0.0];
        for (elements, largest) in
            [([-0.0, 0.0], -0.0f32), ([0.0, -0.0], 0.0), ([f32::NAN, -3.0], -3.0), ([f32::NAN; 2], f32::NEG_INFINITY)]
        {
            for isa in isas() {
                max_pool(isa, &elements, [1, 1, 2], Window::new([1, 1, 2]), &mut output);
                assert_eq!(output[0].to_bits(), largest.to_bits());
            }
        }
    }

    #[test]
    fn all_instruction_sets_pool_as_the_reference_does() {
        let mut random = Random::new(8);
        for turn in 0..200 {
            let mut size = |end| -> Axes { std::array::from_fn(|_| 1 + random.below(end)) };
            let (spatial, kernel, strides, dilations) = (size(20), size(4), size(3), size(2));
            let [pads_begin, pads_end] = [kernel, kernel].map(|kernel| kernel.map(|size| random.below(size + 1)));
            let window = Window { kernel, strides, dilations, pads_begin, pads_end };
            let outputs = window.output(spatial).iter().product::<usize>();
            let input = random.extremes(3 * spatial.iter().product::<usize>(), if turn % 2 == 0 { 7 } else { 1000 });
            let mut expected = [(); 3].map(|()| vec![0.0; 3 * outputs]);
            let counted = pads_end.map(|pad| pad / 2);
            reference::max_pool(&input, spatial, window, &mut expected[0]);
            reference::average_pool(&input, spatial, window, None, &mut expected[1]);
            reference::average_pool(&input, spatial, window, Some(counted), &mut expected[2]);
            for isa in isas() {
                let mut output = [(); 3].map(|()| vec![0.0; 3 * outputs]);
                max_pool(isa, &input, spatial, window, &mut output[0]);
                average_pool(isa, &input, spatial, window, None, &mut output[1]);
                average_pool(isa, &input, spatial, window, Some(counted), &mut output[2]);
                for (output, expected) in output.iter().zip(&expected) {
                    assert!(bits(output) == bits(expected), "{isa:?} {spatial:?} {window:?}");
                }
            }
        }
    }
}
