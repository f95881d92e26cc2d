//! Pooling: one number for all elements under a window.

use crate::conv::{Axes, Window};

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
    each_window(input, spatial, window, output, |_, elements| {
        elements.fold(f32::NEG_INFINITY, |largest, x| if x > largest { x } else { largest })
    });
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
    each_window(input, spatial, window, output, |at, elements| {
        let (count, sum) = elements.fold((0, 0.0), |(count, sum), x| (count + 1, sum + x));
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

/// Gives `pool` the place of each output and the elements under its window.
fn each_window(
    input: &[f32],
    spatial: Axes,
    window: Window,
    output: &mut [f32],
    pool: impl Fn(Axes, &mut dyn Iterator<Item = f32>) -> f32,
) {
    let outputs = window.output(spatial);
    let (plane, plane_out) = (spatial.iter().product::<usize>(), outputs.iter().product::<usize>());
    if output.is_empty() {
        return;
    }
    assert!(output.len().is_multiple_of(plane_out), "planes of {plane_out} outputs");
    assert_eq!(input.len(), output.len() / plane_out * plane, "the input's shape");
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
        let plane = &input[number * plane..][..plane];
        let mut elements = under(0, at[0]).flat_map(|a| {
            under(1, at[1])
                .flat_map(move |b| under(2, at[2]).map(move |c| plane[(a * spatial[1] + b) * spatial[2] + c]))
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
