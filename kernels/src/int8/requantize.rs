//! From 32-bit sums back to 8 bits.

use super::Int8;
use super::quantize::nearest;

/// What sums are multiplied by.
#[derive(Clone, Copy, Debug)]
pub enum Scales<'a> {
    /// All by one.
    One(f32),
    /// One for each row.
    Rows(&'a [f32]),
    /// One for each column.
    Columns(&'a [f32]),
}

/// `(a × b) / y`, rounded after each operation: what a sum of products of integers with the scales `a` and `b` is multiplied by to
/// become an integer with the scale `y`.
pub fn requantization_scale(a: f32, b: f32, y: f32) -> f32 {
    a * b / y
}

/// Makes 8-bit integers of rows of sums. For each:
///
/// 1. `y = f32(sum)`, rounded half to even,
/// 2. `y = y × scale`,
/// 3. `y = min(max(y, MIN − zero point), MAX − zero point)`,
/// 4. `y` is rounded to an integer, half to even; a NaN becomes 0,
/// 5. the zero point is added.
///
/// # Panics
///
/// If the lengths differ, or are not those of rows of `columns` with their scales.
pub fn requantize<T: Int8>(sums: &[i32], columns: usize, scales: Scales<'_>, zero_point: T, output: &mut [T]) {
    assert_eq!(sums.len(), output.len(), "an output for each sum");
    if sums.is_empty() {
        return;
    }
    assert!(sums.len().is_multiple_of(columns), "rows of {columns} of {} sums", sums.len());
    let zero_point: i16 = zero_point.into();
    let bounds = [f32::from(T::MIN - zero_point), f32::from(T::MAX - zero_point)];
    let one = |sum: i32, scale: f32| T::of(nearest(sum as f32 * scale, bounds) + i32::from(zero_point));
    let rows = sums.chunks_exact(columns).zip(output.chunks_exact_mut(columns));
    match scales {
        Scales::One(scale) => {
            output.iter_mut().zip(sums).for_each(|(output, sum)| *output = one(*sum, scale));
        }
        Scales::Rows(scales) => {
            assert_eq!(scales.len() * columns, sums.len(), "a scale for each row");
            for ((sums, output), scale) in rows.zip(scales) {
                output.iter_mut().zip(sums).for_each(|(output, sum)| *output = one(*sum, *scale));
            }
        }
        Scales::Columns(scales) => {
            assert_eq!(scales.len(), columns, "a scale for each column");
            for (sums, output) in rows {
                for ((output, sum), scale) in output.iter_mut().zip(sums).zip(scales) {
                    *output = one(*sum, *scale);
                }
            }
        }
    }
}
