//! Pooling: one number for all elements under a window.

use crate::conv::{Axes, Window};
use crate::rows::{Reduction, reduce};
use crate::{Isa, Unary};

/// Writes the largest element under each window to `output`, of shape `[planes, window.output(spatial)…]`; `input` is
/// `[planes, spatial…]`.
///
/// In the order of memory, beginning with -∞, `s = x > s ? x : s`. So of zeros the first one stays, and NaNs are passed by. Padding is not
/// looked at.
///
/// # Panics
///
/// If a length is not what its shape says.
pub fn max_pool(input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    each_window(input.len(), spatial, window, output, |_, elements| {
        elements.fold(f32::NEG_INFINITY, |largest, at| if input[at] > largest { input[at] } else { largest })
    });
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
pub fn average_pool(input: &[f32], spatial: Axes, window: Window, counted: Option<Axes>, output: &mut [f32]) {
    each_window(input.len(), spatial, window, output, |at, elements| {
        let (count, sum) = elements.fold((0, 0.0), |(count, sum), at| (count + 1, sum + input[at]));
        let count = counted.map_or(count, |ends| {
            (0..3)
                .map(|axis| {
                    let end = window.pads_begin[axis] + spatial[axis] + ends[axis];
                    let positions = (0..window.kernel[axis])
                        .map(|tap| at[axis] * window.strides[axis] + tap * window.dilations[axis]);
                    positions.filter(|&position| position < end).count()
                })
                .product()
        });
        sum / count as f32
    });
}

/// Gives `pool` the place of each output, and where of so many elements those under its window are.
fn each_window<T>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_where_they_should() {
        let image: Vec<f32> = (0..12).map(|number| number as f32).collect();
        let window =
            Window { strides: [1, 2, 2], pads_begin: [0, 1, 0], pads_end: [0, 0, 1], ..Window::new([1, 2, 2]) };
        let mut output = [0.0; 4];
        max_pool(&image, [1, 3, 4], window, &mut output);
        assert_eq!(output, [1.0, 3.0, 9.0, 11.0]);
        average_pool(&image, [1, 3, 4], window, None, &mut output);
        assert_eq!(output, [0.5, 2.5, 6.5, 8.5]);
        average_pool(&image, [1, 3, 4], window, Some([0, 0, 1]), &mut output);
        assert_eq!(output, [0.25, 1.25, 6.5, 8.5]);
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
            max_pool(&elements, [1, 1, 2], Window::new([1, 1, 2]), &mut output);
            assert_eq!(output[0].to_bits(), largest.to_bits());
        }
    }
}
