//! What depends on nothing but the order of a row's elements. `KERNELS.md` states it: NaNs come first, and zeros are equal.
//!
//! Tensors are `[outer, axis, inner]`, and rows lie along the axis.

/// Which elements come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The largest.
    Descending,
    /// The smallest.
    Ascending,
}

impl Order {
    /// Numbers in this order: 0 for NaNs, the same for both zeros.
    fn key(self, x: f32) -> u32 {
        let bits = (x + 0.0).to_bits();
        let ascending = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
        match self {
            _ if x.is_nan() => 0,
            Self::Descending => !ascending,
            Self::Ascending => ascending,
        }
    }

    /// The key of an element, and behind it the number of one among equals.
    fn ranked(self, x: f32, number: u32) -> u64 {
        u64::from(self.key(x)) << 32 | u64::from(number)
    }
}

/// Writes where the first element of each row in this order is, the `last` of equal ones or the first, to `positions`.
///
/// # Panics
///
/// If `axis` or `inner` is zero, `axis` is 2³² or more, or lengths are not those of the shapes.
pub fn arg_first(order: Order, last: bool, input: &[f32], axis: usize, inner: usize, positions: &mut [i64]) {
    check(input, axis, inner);
    assert_eq!(input.len(), positions.len() * axis, "a position for each row");
    let ranked = |position: usize, x: f32| order.ranked(x, if last { !(position as u32) } else { position as u32 });
    for (rows, positions) in input.chunks_exact(axis * inner).zip(positions.chunks_exact_mut(inner)) {
        let mut first = vec![u64::MAX; inner];
        for (position, elements) in rows.chunks_exact(inner).enumerate() {
            first.iter_mut().zip(elements).for_each(|(first, x)| *first = ranked(position, *x).min(*first));
        }
        for (position, first) in positions.iter_mut().zip(first) {
            *position = (if last { !(first as u32) } else { first as u32 }).into();
        }
    }
}

/// Writes 1 for the first of the largest elements of each row and 0 for the others to `output`.
///
/// # Panics
///
/// If `axis` or `inner` is zero, `axis` is 2³² or more, or lengths are not those of the shapes.
pub fn hard_max(input: &[f32], axis: usize, inner: usize, output: &mut [f32]) {
    check(input, axis, inner);
    assert_eq!(input.len(), output.len(), "as many results as elements");
    let mut positions = vec![0; input.len() / axis];
    arg_first(Order::Descending, false, input, axis, inner, &mut positions);
    output.fill(0.0);
    for (row, position) in positions.into_iter().enumerate() {
        output[(row / inner * axis + position as usize) * inner + row % inner] = 1.0;
    }
}

/// Writes the first `kept` elements of each row in this order, of equal ones those that come first in it, and where they are.
/// Results are `[outer, kept, inner]`.
///
/// # Panics
///
/// If `axis`, `inner` or `kept` is zero, `kept` is more than `axis`, or lengths are not those of the shapes.
pub fn top_k(order: Order, kept: usize, input: &[f32], axis: usize, inner: usize, values: &mut [f32], at: &mut [i64]) {
    assert!(0 < kept && kept <= axis, "{kept} of {axis} elements");
    assert_eq!(input.len() / axis * kept, values.len(), "so many values of each row");
    assert_eq!(at.len(), values.len(), "as many positions as values");
    check(input, axis, inner);
    let mut ranked = Vec::with_capacity(axis);
    for row in 0..input.len() / axis {
        let elements = input[row / inner * axis * inner + row % inner..].iter().step_by(inner);
        ranked.clear();
        ranked.extend((0..axis as u32).zip(elements).map(|(position, x)| order.ranked(*x, position)));
        ranked.select_nth_unstable(kept - 1);
        ranked[..kept].sort_unstable();
        for (number, &first) in ranked[..kept].iter().enumerate() {
            let (position, result) = (first as u32, (row / inner * kept + number) * inner + row % inner);
            at[result] = position.into();
            values[result] = input[(row / inner * axis + position as usize) * inner + row % inner];
        }
    }
}

fn check(input: &[f32], axis: usize, inner: usize) {
    assert!(u32::try_from(axis).is_ok(), "rows of {axis} elements are too long");
    assert!(axis > 0 && inner > 0 && input.len().is_multiple_of(axis * inner), "elements are [outer, {axis}, {inner}]");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [f32; 8] = [-0.0, 2.0, 0.0, -1.0, 2.0, f32::NAN, -1.0, f32::NAN];

    #[test]
    fn nans_come_first_and_zeros_are_equal() {
        for (order, expected) in
            [(Order::Descending, [5, 7, 1, 4, 0, 2, 3, 6]), (Order::Ascending, [5, 7, 3, 6, 0, 2, 1, 4])]
        {
            for kept in 1..=8 {
                let (mut values, mut at) = (vec![0.0; kept], vec![0; kept]);
                top_k(order, kept, &ROW, 8, 1, &mut values, &mut at);
                assert_eq!(at, expected[..kept]);
                assert!(values.iter().zip(&at).all(|(value, at)| value.to_bits() == ROW[*at as usize].to_bits()));
            }
            for (length, last, position) in [(8, false, 5), (8, true, 7), (1, true, 0)] {
                let mut positions = [9];
                arg_first(order, last, &ROW[..length], length, 1, &mut positions);
                assert_eq!(positions, [position]);
            }
        }
        let mut positions = [9];
        arg_first(Order::Ascending, true, &ROW[..3], 3, 1, &mut positions);
        assert_eq!(positions, [2], "+0 is no more than -0");
    }

    #[test]
    fn rows_lie_along_the_axis() {
        let tensor = [1.0, 6.0, 3.0, 4.0, 5.0, 2.0, 9.0, 0.0, 1.0, 1.0, 2.0, 0.0];
        let mut positions = [9; 4];
        arg_first(Order::Descending, false, &tensor, 3, 2, &mut positions);
        assert_eq!(positions, [2, 0, 0, 1]);
        let (mut values, mut at) = ([0.0; 8], [9; 8]);
        top_k(Order::Ascending, 2, &tensor, 3, 2, &mut values, &mut at);
        assert_eq!((values, at), ([1.0, 2.0, 3.0, 4.0, 1.0, 0.0, 2.0, 0.0], [0, 2, 1, 1, 1, 0, 2, 2]));
        let mut output = [7.0; 12];
        hard_max(&tensor, 3, 2, &mut output);
        assert_eq!(output, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    }
}
