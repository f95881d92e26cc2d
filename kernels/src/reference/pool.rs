//! Pooling.

use crate::pool::each_window;
use crate::{Axes, Window};

/// The largest element under each window, see [`max_pool`](crate::max_pool()).
pub fn max_pool(input: &[f32], spatial: Axes, window: Window, output: &mut [f32]) {
    each_window(input.len(), spatial, window, output, |_, elements| {
        elements.fold(f32::NEG_INFINITY, |largest, at| if input[at] > largest { input[at] } else { largest })
    });
}

/// The mean of the elements under each window, see [`average_pool`](crate::average_pool()).
pub fn average_pool(input: &[f32], spatial: Axes, window: Window, counted: Option<Axes>, output: &mut [f32]) {
    each_window(input.len(), spatial, window, output, |at, elements| {
        let (count, sum) = elements.fold((0, 0.0), |(count, sum), element| (count + 1, sum + input[element]));
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
