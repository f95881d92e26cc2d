//! Operators on rows. A row is a slice here, however it lies in memory.

use super::{fma, single};
use crate::{BatchNorm, CumulativeSum, Reduction};

/// Combines elements in the order that all sums have.
fn fold(row: &[f32], start: f32, accumulate: impl Fn(f32, f32) -> f32, merge: impl Fn(f32, f32) -> f32) -> f32 {
    let mut accumulators = vec![start; 64];
    for (index, element) in row.iter().enumerate() {
        accumulators[index % 64] = accumulate(accumulators[index % 64], *element);
    }
    for half in [32, 16, 8, 4, 2, 1] {
        for index in 0..half {
            accumulators[index] = merge(accumulators[index], accumulators[index + half]);
        }
    }
    accumulators[0]
}

fn sum(row: &[f32]) -> f32 {
    fold(row, 0.0, |sum, x| sum + x, |sum, other| sum + other)
}

fn sum_of_magnitudes(row: &[f32]) -> f32 {
    fold(row, 0.0, |sum, x| sum + x.abs(), |sum, other| sum + other)
}

fn sum_of_squares(row: &[f32]) -> f32 {
    fold(row, 0.0, |sum, x| fma(x, x, sum), |sum, other| sum + other)
}

/// The element that is larger, the later one only if it is; a NaN if there is one.
fn largest(row: &[f32]) -> f32 {
    let larger = |largest: f32, x: f32| if x > largest || x.is_nan() { x } else { largest };
    fold(row, f32::NEG_INFINITY, larger, larger)
}

fn smallest(row: &[f32]) -> f32 {
    let smaller = |smallest: f32, x: f32| if x < smallest || x.is_nan() { x } else { smallest };
    fold(row, f32::INFINITY, smaller, smaller)
}

/// The largest element that is not a NaN.
fn largest_number(row: &[f32]) -> f32 {
    let larger = |largest: f32, x: f32| if x > largest { x } else { largest };
    fold(row, f32::NEG_INFINITY, larger, larger)
}

/// The number that a row is reduced to.
pub fn reduce(reduction: Reduction, row: &[f32]) -> f32 {
    match reduction {
        Reduction::Sum => sum(row),
        Reduction::Mean => sum(row) / row.len() as f32,
        Reduction::Max => largest(row),
        Reduction::Min => smallest(row),
        Reduction::Prod => fold(row, 1.0, |product, x| product * x, |product, other| product * other),
        Reduction::L1 => sum_of_magnitudes(row),
        Reduction::L2 => sum_of_squares(row).sqrt(),
        Reduction::SumSquare => sum_of_squares(row),
        Reduction::LogSum => single::log(sum(row)),
        Reduction::LogSumExp => {
            let largest = largest_number(row);
            let largest = if largest.is_finite() { largest } else { 0.0 };
            let exponentials: Vec<f32> = row.iter().map(|x| single::exp(x - largest)).collect();
            single::log(sum(&exponentials)) + largest
        }
    }
}

/// The softmax of a row.
pub fn softmax(row: &[f32]) -> Vec<f32> {
    let largest = largest_number(row);
    let exponentials: Vec<f32> = row.iter().map(|x| single::exp_of_difference(x - largest)).collect();
    let factor = 1.0 / sum(&exponentials);
    exponentials.iter().map(|exponential| exponential * factor).collect()
}

/// The logarithm of the softmax of a row.
pub fn log_softmax(row: &[f32]) -> Vec<f32> {
    let largest = largest_number(row);
    let exponentials: Vec<f32> = row.iter().map(|x| single::exp_of_difference(x - largest)).collect();
    let log = single::log(sum(&exponentials));
    row.iter().map(|x| (x - largest) - log).collect()
}

/// The mean of a row, and one over the root of its variance and epsilon.
pub fn mean_and_factor(row: &[f32], epsilon: f32) -> (f32, f32) {
    let mean = sum(row) / row.len() as f32;
    let deviate = |sum, x| {
        let deviation: f32 = x - mean;
        fma(deviation, deviation, sum)
    };
    let variance = fold(row, 0.0, deviate, |sum, other| sum + other) / row.len() as f32;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn scaled(normal: f32, scale: Option<f32>, bias: Option<f32>) -> f32 {
    match (scale, bias) {
        (Some(scale), Some(bias)) => fma(normal, scale, bias),
        (Some(scale), None) => normal * scale,
        (None, Some(bias)) => normal + bias,
        (None, None) => normal,
    }
}

/// The layer normalisation of a row.
pub fn layer_norm(row: &[f32], scale: Option<&[f32]>, bias: Option<&[f32]>, epsilon: f32) -> Vec<f32> {
    let (mean, factor) = mean_and_factor(row, epsilon);
    let result = |(index, x): (usize, &f32)| {
        scaled((x - mean) * factor, scale.map(|scale| scale[index]), bias.map(|bias| bias[index]))
    };
    row.iter().enumerate().map(result).collect()
}

/// A row minus its mean, divided by its standard deviation.
pub fn mean_variance_norm(row: &[f32]) -> Vec<f32> {
    let mean = sum(row) / row.len() as f32;
    let deviations: Vec<f32> = row.iter().map(|x| x - mean).collect();
    let deviation = (sum_of_squares(&deviations) / row.len() as f32).sqrt() + 1e-9;
    deviations.iter().map(|x| x / deviation).collect()
}

/// The RMS normalisation of a row.
pub fn rms_norm(row: &[f32], scale: Option<&[f32]>, epsilon: f32) -> Vec<f32> {
    let factor = 1.0 / (sum_of_squares(row) / row.len() as f32 + epsilon).sqrt();
    row.iter().enumerate().map(|(index, x)| scaled(x * factor, scale.map(|scale| scale[index]), None)).collect()
}

/// The normalisation of one group of channels, with the scale and the bias of each.
pub fn group_norm(group: &[f32], scale: &[f32], bias: &[f32], epsilon: f32) -> Vec<f32> {
    let (mean, factor) = mean_and_factor(group, epsilon);
    let positions = group.len() / scale.len();
    let result =
        |(index, x): (usize, &f32)| fma((x - mean) * factor, scale[index / positions], bias[index / positions]);
    group.iter().enumerate().map(result).collect()
}

/// The batch normalisation of an element of a channel.
pub fn batch_norm(x: f32, channel: usize, parameters: &BatchNorm<'_>) -> f32 {
    let factor = parameters.scale[channel] / (parameters.variance[channel] + parameters.epsilon).sqrt();
    fma(x, factor, fma(-parameters.mean[channel], factor, parameters.bias[channel]))
}

/// A row divided by its norm.
pub fn lp_normalize(p: u32, row: &[f32]) -> Vec<f32> {
    let norm = if p == 1 { sum_of_magnitudes(row) } else { sum_of_squares(row).sqrt() };
    row.iter().map(|x| if norm == 0.0 { 0.0 } else { x / norm }).collect()
}

/// The cumulative sum of a row.
pub fn cumulative_sum(which: CumulativeSum, row: &[f32]) -> Vec<f32> {
    let mut results = vec![0.0; row.len()];
    let mut order: Vec<usize> = (0..row.len()).collect();
    if which.reverse {
        order.reverse();
    }
    let mut sum = 0.0;
    for index in order {
        let next = sum + row[index];
        results[index] = if which.exclusive { sum } else { next };
        sum = next;
    }
    results
}
