//! Bits against the reference, in every layout.

use super::*;
use crate::Isa;
use crate::reference;
use crate::samples::{Random, SPECIAL, bits, canonical, isas};

pub(crate) const REDUCTIONS: [Reduction; 10] = [
    Reduction::Sum,
    Reduction::Mean,
    Reduction::Max,
    Reduction::Min,
    Reduction::Prod,
    Reduction::L1,
    Reduction::L2,
    Reduction::SumSquare,
    Reduction::LogSum,
    Reduction::LogSumExp,
];

/// Lengths around those where tails, blocks and accumulators begin and end.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=130).chain([191, 192, 193, 255, 256, 257, 1000, 1024, 1091])
}

/// Rows of ordinary numbers, of special ones, and of ordinary ones with a special one among them.
fn elements(random: &mut Random, count: usize) -> Vec<f32> {
    let kind = random.below(4);
    let at = random.below(count.max(1));
    let special = SPECIAL[random.below(SPECIAL.len())];
    (0..count)
        .map(|index| match kind {
            0 => random.between(-3.0, 3.0),
            1 => SPECIAL[random.below(SPECIAL.len())],
            2 if index == at => special,
            2 => random.between(-90.0, 90.0),
            _ => random.between(0.5, 1.5),
        })
        .collect()
}

/// Element i of row (o, k) of a tensor `[outer, axis, inner]`.
fn rows(tensor: &[f32], axis: usize, inner: usize) -> Vec<Vec<f32>> {
    let row = |first: usize| (0..axis).map(|index| tensor[first + index * inner]).collect();
    (0..tensor.len() / (axis * inner))
        .flat_map(|outer| (0..inner).map(move |column| outer * axis * inner + column))
        .map(row)
        .collect()
}

/// Calls `check` with tensors of many shapes and an instruction set.
fn for_shapes(inners: &[usize], check: impl Fn(Isa, &[f32], usize, usize)) {
    let mut random = Random::new(3);
    for axis in lengths() {
        for inner in inners {
            // Long rows with many columns show nothing that short ones do not.
            if axis > 260 && *inner > 9 {
                continue;
            }
            let outer = if *inner == 1 { 4 } else { 1 };
            let tensor: Vec<f32> = (0..outer).flat_map(|_| elements(&mut random, axis * inner)).collect();
            for isa in isas() {
                check(isa, &tensor, axis, *inner);
            }
        }
    }
}

/// Compares an operator whose result has the shape of its input with what the reference makes of each row.
fn compare(
    inners: &[usize],
    operator: impl Fn(Isa, &[f32], usize, usize, &mut [f32]),
    expected: impl Fn(&[f32]) -> Vec<f32>,
) {
    for_shapes(inners, |isa, tensor, axis, inner| {
        let mut output = vec![7.0; tensor.len()];
        operator(isa, tensor, axis, inner, &mut output);
        for (row, result) in rows(tensor, axis, inner).iter().zip(rows(&output, axis, inner)) {
            assert_eq!(bits(&result), bits(&expected(row)), "{isa:?}, axis {axis}, inner {inner}");
        }
    });
}

const INNERS: [usize; 7] = [1, 2, 5, 9, 16, 19, 37];

#[test]
fn reductions_have_the_bits_of_the_reference_in_every_layout() {
    for reduction in REDUCTIONS {
        for_shapes(&INNERS, |isa, tensor, axis, inner| {
            let mut output = vec![7.0; tensor.len() / axis];
            reduce(isa, reduction, tensor, axis, inner, &mut output);
            let expected: Vec<f32> =
                rows(tensor, axis, inner).iter().map(|row| reference::reduce(reduction, row)).collect();
            assert_eq!(bits(&output), bits(&expected), "{reduction:?}, {isa:?}, axis {axis}, inner {inner}");
        });
    }
}

#[test]
fn reductions_of_nothing_are_what_sums_start_with() {
    let expected =
        [0.0, f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY];
    for isa in isas() {
        for inner in [1, 3, 20] {
            for (reduction, expected) in REDUCTIONS.into_iter().zip(expected) {
                let mut output = vec![7.0; inner];
                reduce(isa, reduction, &[], 0, inner, &mut output);
                assert_eq!(bits(&output), vec![canonical(expected); inner], "{reduction:?}");
            }
        }
    }
}

#[test]
fn softmax_has_the_bits_of_the_reference_in_every_layout() {
    compare(&INNERS, softmax, reference::softmax);
    compare(&INNERS, log_softmax, reference::log_softmax);
}

#[test]
fn norms_of_rows_have_the_bits_of_the_reference() {
    let mut random = Random::new(4);
    let factors: Vec<f32> = (0..2000).map(|_| random.between(-2.0, 2.0)).collect();
    let epsilon = 1e-5;
    for (scaled, biased) in [(false, false), (true, false), (false, true), (true, true)] {
        let scale = |length| scaled.then(|| &factors[..length]);
        let bias = |length| biased.then(|| &factors[500..][..length]);
        compare(
            &[1],
            |isa, input, length, _, output| {
                layer_norm(isa, input, length, scale(length), bias(length), epsilon, output);
            },
            |row| reference::layer_norm(row, scale(row.len()), bias(row.len()), epsilon),
        );
        compare(
            &[1],
            |isa, input, length, _, output| rms_norm(isa, input, length, scale(length), epsilon, output),
            |row| reference::rms_norm(row, scale(row.len()), epsilon),
        );
    }
    compare(
        &[1],
        |isa, input, length, _, output| mean_variance_norm(isa, input, length, output),
        reference::mean_variance_norm,
    );
    for_shapes(&[1], |isa, tensor, length, _| {
        let [mut means, mut factors] = [(); 2].map(|()| vec![7.0; tensor.len() / length]);
        layer_norm_statistics(isa, tensor, length, epsilon, &mut means, &mut factors);
        let expected = tensor.chunks(length).map(|row| reference::mean_and_factor(row, epsilon));
        let (expected_means, expected_factors): (Vec<f32>, Vec<f32>) = expected.unzip();
        assert_eq!(bits(&means), bits(&expected_means), "{isa:?}, {length}");
        assert_eq!(bits(&factors), bits(&expected_factors), "{isa:?}, {length}");
    });
    for p in [1, 2] {
        compare(
            &INNERS,
            |isa, input, axis, inner, output| lp_normalize(isa, p, input, axis, inner, output),
            |row| reference::lp_normalize(p, row),
        );
    }
}

#[test]
fn norms_of_channels_have_the_bits_of_the_reference() {
    let mut random = Random::new(5);
    let [scale, bias, mean]: [Vec<f32>; 3] =
        std::array::from_fn(|_| (0..6).map(|_| random.between(-2.0, 2.0)).collect());
    let variance: Vec<f32> = (0..6).map(|_| random.between(0.0, 2.0)).collect();
    let parameters = BatchNorm { scale: &scale, bias: &bias, mean: &mean, variance: &variance, epsilon: 1e-3 };
    for positions in [1, 3, 8, 17, 49, 64, 65, 200] {
        let input = elements(&mut random, 2 * 6 * positions);
        for isa in isas() {
            let mut output = vec![7.0; input.len()];
            for groups in [1, 2, 3, 6] {
                group_norm(isa, &input, groups, positions, &scale, &bias, 1e-5, &mut output);
                let channels = 6 / groups;
                let expected: Vec<f32> = input
                    .chunks(channels * positions)
                    .enumerate()
                    .flat_map(|(index, group)| {
                        let first = index % groups * channels;
                        let [scale, bias] = [&scale, &bias].map(|values| &values[first..first + channels]);
                        reference::group_norm(group, scale, bias, 1e-5)
                    })
                    .collect();
                assert_eq!(bits(&output), bits(&expected), "{isa:?}, {groups} groups, {positions} positions");
            }
            batch_norm(isa, &input, positions, parameters, &mut output);
            let expected: Vec<f32> = input
                .iter()
                .enumerate()
                .map(|(index, x)| reference::batch_norm(*x, index / positions % 6, &parameters))
                .collect();
            assert_eq!(bits(&output), bits(&expected), "{isa:?}, {positions} positions");
        }
    }
}

#[test]
fn cumulative_sums_have_the_bits_of_the_reference() {
    for exclusive in [false, true] {
        for reverse in [false, true] {
            let which = CumulativeSum { exclusive, reverse };
            compare(
                &INNERS,
                |isa, input, axis, inner, output| cumulative_sum(isa, which, input, axis, inner, output),
                |row| reference::cumulative_sum(which, row),
            );
        }
    }
}
