//! Convolutions.

use super::gemm::{epilogue, sum_of_products};
use crate::{Axes, Epilogue, Window};

/// A convolution, see [`convolution`](crate::convolution): `weights` are `[filters, channels of a group, kernel…]`.
#[allow(clippy::too_many_arguments, reason = "its shape")]
pub fn convolution(
    input: &[f32],
    [batch, channels]: [usize; 2],
    spatial: Axes,
    weights: &[f32],
    filters: usize,
    groups: usize,
    window: &Window,
    end: &Epilogue<'_>,
) -> Vec<f32> {
    let output = window.output(spatial);
    let [kernel_depth, kernel_height, kernel_width] = window.kernel;
    let taps = kernel_depth * kernel_height * kernel_width;
    let group_channels = channels / groups;
    let positions: usize = output.iter().product();
    let mut results = Vec::with_capacity(batch * filters * positions);
    for image in 0..batch {
        for filter in 0..filters {
            let group = filter / (filters / groups);
            for position in 0..positions {
                let [z, y, x] =
                    [position / output[2] / output[1], position / output[2] % output[1], position % output[2]];
                let sum = sum_of_products(group_channels * taps, |k| {
                    let channel = group * group_channels + k / taps;
                    let tap = k % taps;
                    let kernel =
                        [tap / kernel_width / kernel_height, tap / kernel_width % kernel_height, tap % kernel_width];
                    let padded: Axes = std::array::from_fn(|axis| {
                        [z, y, x][axis] * window.strides[axis] + kernel[axis] * window.dilations[axis]
                    });
                    let inside = (0..3).all(|axis| {
                        padded[axis] >= window.pads_begin[axis]
                            && padded[axis] - window.pads_begin[axis] < spatial[axis]
                    });
                    let element = if inside {
                        let [z, y, x]: Axes = std::array::from_fn(|axis| padded[axis] - window.pads_begin[axis]);
                        input[(((image * channels + channel) * spatial[0] + z) * spatial[1] + y) * spatial[2] + x]
                    } else {
                        0.0
                    };
                    (weights[filter * group_channels * taps + k], element)
                });
                // Rows of an addend go on from one image to the next; a bias is the same for each.
                let end = Epilogue { addend: end.addend.map(|addend| addend.starting_at(image * filters)), ..*end };
                results.push(epilogue(sum, &end, filter, position));
            }
        }
    }
    results
}

/// A transposed convolution, see [`transposed_convolution`](crate::transposed_convolution()): `weights` are
/// `[channels, filters of a group, kernel…]`.
#[allow(clippy::too_many_arguments, reason = "its shape")]
pub fn transposed_convolution(
    input: &[f32],
    [batch, channels]: [usize; 2],
    spatial: Axes,
    weights: &[f32],
    [filters, groups]: [usize; 2],
    window: &Window,
    output: Axes,
    end: &Epilogue<'_>,
) -> Vec<f32> {
    let group_channels = channels / groups;
    let [kernel_depth, kernel_height, kernel_width] = window.kernel;
    let mut results = Vec::new();
    for image in 0..batch {
        for filter in 0..groups * filters {
            for position in 0..output.iter().product() {
                let at = [position / output[2] / output[1], position / output[2] % output[1], position % output[2]];
                let mut products = Vec::new();
                for channel in filter / filters * group_channels..(filter / filters + 1) * group_channels {
                    for z in 0..kernel_depth {
                        for y in 0..kernel_height {
                            for x in 0..kernel_width {
                                let element = [z, y, x];
                                let reads: [i64; 3] = std::array::from_fn(|axis| {
                                    (at[axis] + window.pads_begin[axis]) as i64
                                        - (element[axis] * window.dilations[axis]) as i64
                                });
                                let stride = window.strides.map(|stride| stride as i64);
                                if (0..3).any(|axis| reads[axis].rem_euclid(stride[axis]) != 0) {
                                    continue;
                                }
                                let from: [i64; 3] = std::array::from_fn(|axis| reads[axis].div_euclid(stride[axis]));
                                let inside = (0..3).all(|axis| from[axis] >= 0 && from[axis] < spatial[axis] as i64);
                                let value = if inside {
                                    let [z, y, x] = from.map(|from| from as usize);
                                    input[(((image * channels + channel) * spatial[0] + z) * spatial[1] + y)
                                        * spatial[2]
                                        + x]
                                } else {
                                    0.0
                                };
                                let row = (channel * filters + filter % filters) * kernel_depth + z;
                                let weight = weights[(row * kernel_height + y) * kernel_width + x];
                                products.push((weight, value));
                            }
                        }
                    }
                }
                let sum = sum_of_products(products.len(), |index| products[index]);
                results.push(epilogue(sum, end, filter, position));
            }
        }
    }
    results
}
