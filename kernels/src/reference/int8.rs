//! Products and convolutions of 8-bit integers.

use crate::{Axes, Int8, Window};

fn zero_point<T: Int8>(zero_points: &[T], index: usize) -> i16 {
    zero_points[if zero_points.len() == 1 { 0 } else { index }].into()
}

/// The sum of `rows × depth` by `depth × columns`, less their zero points.
pub fn integer_gemm<A: Int8, B: Int8>(
    [rows, depth, columns]: [usize; 3],
    a: &[A],
    a_zero_point: A,
    b: &[B],
    b_zero_points: &[B],
) -> Vec<i32> {
    let mut output = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let sum = (0..depth).fold(0i32, |sum, k| {
                let left: i32 = i32::from(a[row * depth + k].into()) - i32::from(a_zero_point.into());
                let right = i32::from(b[k * columns + column].into()) - i32::from(zero_point(b_zero_points, column));
                sum.wrapping_add(left * right)
            });
            output.push(sum);
        }
    }
    output
}

/// A convolution, see [`integer_convolution`](crate::integer_convolution).
#[allow(clippy::too_many_arguments, reason = "its shape")]
pub fn integer_convolution<X: Int8, W: Int8>(
    input: &[X],
    [batch, channels]: [usize; 2],
    spatial: Axes,
    input_zero_point: X,
    weights: &[W],
    zero_points: &[W],
    [filters, groups]: [usize; 2],
    window: &Window,
    bias: &[i32],
) -> Vec<i32> {
    // The same as for floats, whose order is of no matter here: small integers and their sums in 64 bits.
    let output = window.output(spatial);
    let group_channels = channels / groups;
    let [kernel_depth, kernel_height, kernel_width] = window.kernel;
    let mut results = Vec::new();
    for image in 0..batch {
        for filter in 0..filters {
            for position in 0..output.iter().product() {
                let at: Axes =
                    [position / output[2] / output[1], position / output[2] % output[1], position % output[2]];
                let mut sum = i64::from(bias[filter]);
                for channel in 0..group_channels {
                    for tap in 0..window.taps() {
                        let kernel = [
                            tap / kernel_width / kernel_height,
                            tap / kernel_width % kernel_height,
                            tap % kernel_width,
                        ];
                        let source: Option<Vec<usize>> = (0..3)
                            .map(|axis| {
                                let padded = at[axis] * window.strides[axis] + kernel[axis] * window.dilations[axis];
                                padded.checked_sub(window.pads_begin[axis]).filter(|source| *source < spatial[axis])
                            })
                            .collect();
                        let Some(source) = source else { continue };
                        let channel_in = filter / (filters / groups) * group_channels + channel;
                        let index = ((image * channels + channel_in) * spatial[0] + source[0]) * spatial[1] + source[1];
                        let element: i16 = input[index * spatial[2] + source[2]].into();
                        let weight: i16 = weights
                            [(filter * group_channels + channel) * kernel_depth * kernel_height * kernel_width + tap]
                            .into();
                        sum += i64::from(element - input_zero_point.into())
                            * i64::from(weight - zero_point(zero_points, filter));
                    }
                }
                results.push(sum as i32);
            }
        }
    }
    results
}

/// A sum as an 8-bit integer, see [`requantize`](crate::requantize).
pub fn requantize<T: Int8>(sum: i32, scale: f32, zero_point: T) -> T {
    let zero_point: i16 = zero_point.into();
    let y = sum as f32 * scale;
    if y.is_nan() {
        return T::of(zero_point.into());
    }
    let y = y.max(f32::from(T::MIN - zero_point)).min(f32::from(T::MAX - zero_point));
    T::of(y.round_ties_even() as i32 + i32::from(zero_point))
}
