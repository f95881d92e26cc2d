//! Pooling.

use crate::{Axes, Window};

/// The largest element under each window, see [`max_pool`](crate::max_pool()).
pub fn max_pool(input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    each_window(input, spatial, window, output, |_, elements| {
        elements.fold(f32::NEG_INFINITY, |largest, x| if x > largest { x } else { largest })
    });
}

/// The mean of the elements under each window, see [`average_pool`](crate::average_pool()).
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
