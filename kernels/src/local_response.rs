//! Normalisation by what neighbouring channels have at the same position.

use crate::{Isa, Unary};

/// The parameters of [`local_response_norm`].
#[derive(Clone, Copy, Debug)]
pub struct LocalResponse {
    /// How many channels are squared and summed.
    pub size: usize,
    /// What the sum is multiplied by, divided by `size`.
    pub alpha: f32,
    /// The power.
    pub beta: f32,
    /// What is added to the sum.
    pub bias: f32,
}

/// Divides each element of `input`, of shape `[batch, channels, positions]`, by (bias + alpha / size × s)^beta, where s is the sum of squares
/// at its position of the channels around its own: (size - 1) / 2 before it, and as many or one more after it. `KERNELS.md` states the
/// operations.
///
/// # Panics
///
/// If `size`, `channels` or `positions` is zero, or lengths are not those of the shapes.
pub fn local_response_norm(
    isa: Isa,
    response: LocalResponse,
    input: &[f32],
    channels: usize,
    positions: usize,
    output: &mut [f32],
) {
    let LocalResponse { size, alpha, beta, bias } = response;
    assert!(size > 0 && channels > 0 && positions > 0, "no element is without channels around it");
    assert!(input.len().is_multiple_of(channels * positions), "elements are [batch, {channels}, {positions}]");
    assert_eq!(input.len(), output.len(), "as many results as elements");
    let factor = alpha / size as f32;
    for (index, (x, y)) in input.chunks_exact(positions).zip(output.chunks_exact_mut(positions)).enumerate() {
        let (first, channel) = (index - index % channels, index % channels);
        let around = channel.saturating_sub((size - 1) / 2)..channels.min(channel + size / 2 + 1);
        y.fill(0.0);
        for channel in around {
            let other = &input[(first + channel) * positions..][..positions];
            y.iter_mut().zip(other).for_each(|(sum, x)| *sum += x * x);
        }
        y.iter_mut().for_each(|sum| *sum = bias + factor * *sum);
        Unary::Pow { exponent: beta }.apply_in_place(isa, y);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x / *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_around_are_summed() {
        let input = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (size, sums) in [(1, [1.0, 4.0, 16.0, 64.0, 256.0]), (4, [21.0, 85.0, 340.0, 336.0, 320.0])] {
            let mut output = [0.0; 5];
            let response = LocalResponse { size, alpha: size as f32, beta: 1.0, bias: 1.0 };
            local_response_norm(Isa::PORTABLE, response, &input, 5, 1, &mut output);
            for ((output, x), sum) in output.iter().zip(input).zip(sums) {
                assert_eq!(*output, x / (1.0 + sum), "{size} channels");
            }
        }
    }
}
