//! Bits against the reference, accuracy against double precision, and hashes that notice a change of either.

use super::*;
use crate::reference;
use crate::samples::{Random, SPECIAL, hash, isas, same_bits};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_PI_2, FRAC_PI_4, SQRT_2};
use std::ops::Range;

/// Every function, and numbers around which it changes its formula or its kind of result.
pub(crate) const FUNCTIONS: [(Unary, &[f32]); 45] = [
    (Unary::Exp, &[-104.0, 89.0, 88.722_84, -87.336_54, -103.972_08]),
    (Unary::Log, &[1.0, FRAC_1_SQRT_2, SQRT_2, f32::MIN_POSITIVE]),
    (Unary::Erf, &[1.0, 3.95]),
    (Unary::Tanh, &[9.0, 9.010_914]),
    (Unary::Sigmoid, &[-104.0, -87.336_54, 17.0, 20.0]),
    (Unary::Softplus, &[-104.0, -87.336_54, 17.0]),
    (Unary::Gelu, &[14.5, -13.0, 5.5]),
    (Unary::GeluTanh, &[11.0, -10.0, 5.0]),
    (Unary::Silu, &[110.0, -104.0, -87.336_54, 17.0]),
    (Unary::Mish, &[20.0, -110.0, -104.0, -87.336_54]),
    (Unary::Elu { alpha: 1.0 }, &[-30.0, -0.346_573_6]),
    (Unary::Elu { alpha: -0.3 }, &[-30.0]),
    (Unary::Selu { alpha: 1.673_263_2, gamma: 1.050_701 }, &[-30.0]),
    (Unary::Celu { alpha: 2.5 }, &[-75.0]),
    (Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, &[2.5, -2.5]),
    (Unary::HardSwish, &[3.0, -3.0]),
    (Unary::Relu, &[]),
    (Unary::Clip { low: -1.5, high: 6.0 }, &[-1.5, 6.0]),
    (Unary::Clip { low: 2.0, high: 1.0 }, &[]),
    (Unary::LeakyRelu { alpha: 0.01 }, &[]),
    (Unary::Softsign, &[]),
    (Unary::Reciprocal, &[]),
    (Unary::Sqrt, &[]),
    (Unary::ReciprocalSqrt, &[]),
    (Unary::Sin, &[FRAC_PI_4, FRAC_PI_2, 1_073_741_824.0, 7.729_117e28]),
    (Unary::Cos, &[FRAC_PI_4, FRAC_PI_2, 1_073_741_824.0, 7.729_117e28]),
    (Unary::Tan, &[FRAC_PI_4, FRAC_PI_2, 1_073_741_824.0, 7.729_117e28]),
    (Unary::Asin, &[0.5, 1.0]),
    (Unary::Acos, &[0.5, 1.0]),
    (Unary::Atan, &[1.0]),
    (Unary::Sinh, &[100.0, 89.415_99]),
    (Unary::Cosh, &[100.0, 89.415_99]),
    (Unary::Asinh, &[]),
    (Unary::Acosh, &[1.0]),
    (Unary::Atanh, &[1.0]),
    (Unary::Ceil, &[0.5, 1.0, 1.5, 4_194_304.5, 8_388_608.0]),
    (Unary::Floor, &[0.5, 1.0, 1.5, 4_194_304.5, 8_388_608.0]),
    (Unary::Round, &[0.5, 1.0, 1.5, 2.5, 4_194_304.5, 8_388_608.0]),
    (Unary::Sign, &[]),
    (Unary::ThresholdedRelu { alpha: 1.0 }, &[1.0]),
    (Unary::Shrink { lambd: 1.5, bias: 0.5 }, &[1.5]),
    (Unary::Shrink { lambd: -1.0, bias: -0.1 }, &[1.0]),
    (Unary::Pow { exponent: 3.0 }, &[]),
    (Unary::Pow { exponent: 0.5 }, &[]),
    (Unary::Pow { exponent: -1.7 }, &[]),
];

/// Special numbers, neighbours of the borders, random bits, and random numbers of the sizes that networks have.
fn inputs(borders: &[f32]) -> Vec<f32> {
    let mut random = Random::new(1);
    let mut inputs = SPECIAL.to_vec();
    for border in borders {
        let bits = border.to_bits();
        inputs.extend((bits - 8..bits + 8).flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)]));
    }
    inputs.extend((0..4000).map(|_| f32::from_bits(random.word())));
    inputs.extend((0..4000).map(|_| random.between(-20.0, 20.0)));
    inputs.extend((0..2000).map(|_| random.between(-120.0, 120.0)));
    inputs
}

#[test]
fn every_instruction_set_gives_the_bits_of_the_reference() {
    for (function, borders) in FUNCTIONS {
        let inputs = inputs(borders);
        let expected: Vec<f32> = inputs.iter().map(|x| reference::unary(function, *x)).collect();
        for isa in isas() {
            let mut outputs = vec![0.0; inputs.len()];
            function.apply(isa, &inputs, &mut outputs);
            for ((x, expected), output) in inputs.iter().zip(&expected).zip(&outputs) {
                assert!(
                    same_bits(*expected, *output),
                    "{function:?} of {x:e} is {output:e}, not {expected:e}, {isa:?}"
                );
            }
        }
    }
}

#[test]
fn lengths_change_no_bit() {
    for length in (0..=130).chain([1000, 1021]) {
        let inputs: Vec<f32> = inputs(&[]).into_iter().skip(length).take(length).collect();
        let expected: Vec<f32> = inputs.iter().map(|x| reference::unary(Unary::Sin, *x)).collect();
        for isa in isas() {
            // What follows the output stays as it is.
            let mut outputs = vec![7.0; length + 16];
            Unary::Sin.apply(isa, &inputs, &mut outputs[..length]);
            assert!(outputs[..length].iter().zip(&expected).all(|(output, expected)| same_bits(*output, *expected)));
            assert_eq!(outputs[length..], [7.0; 16]);
            let mut in_place = inputs.clone();
            Unary::Sin.apply_in_place(isa, &mut in_place);
            assert_eq!(hash(&in_place), hash(&expected));
        }
    }
}

#[test]
fn powers_have_the_bits_of_the_reference_and_the_special_cases_of_the_standard() {
    let mut random = Random::new(2);
    let special: Vec<f32> = SPECIAL.into_iter().chain([2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 16_777_215.0, 1e10]).collect();
    let mut pairs: Vec<(f32, f32)> =
        special.iter().flat_map(|base| special.iter().map(|exponent| (*base, *exponent))).collect();
    pairs.extend((0..4000).map(|_| (f32::from_bits(random.word()), random.between(-3.0, 3.0))));
    pairs.extend((0..4000).map(|_| (random.between(0.0, 9.0), random.between(-40.0, 40.0))));
    let (bases, exponents): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    for isa in isas() {
        let mut outputs = bases.clone();
        Binary::Pow.apply(isa, &mut outputs, &exponents);
        for ((x, y), output) in pairs.iter().zip(&outputs) {
            let expected = reference::pow(*x, *y);
            assert!(same_bits(expected, *output), "{x:e} to the power {y:e} is {output:e}, not {expected:e}, {isa:?}");
            let exact = f64::from(*x).powf(f64::from(*y));
            assert!(errors(*output, exact) <= 0.51, "{x:e} to the power {y:e} is {output:e}, not {exact:e}");
        }
    }
}

unsafe extern "C" {
    // Of the C library, which std links; their errors are those of double precision.
    safe fn erf(x: f64) -> f64;
    safe fn erfc(x: f64) -> f64;
}

type Exact = fn(f64) -> f64;

/// The function in double precision, and how many units in the last place it may be missed by: measured over all numbers, see
/// `KERNELS.md`.
fn exact(function: Unary) -> Option<(Exact, f64)> {
    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
    Some(match function {
        Unary::Exp => (f64::exp, 2.0),
        Unary::Log => (f64::ln, 2.0),
        Unary::Erf => (|x| erf(x), 2.0),
        Unary::Tanh => (f64::tanh, 6.0),
        Unary::Sigmoid => (sigmoid, 5.0),
        Unary::Softplus => (|x| x.max(0.0) + (-x.abs()).exp().ln_1p(), 4.0),
        Unary::Gelu => (|x| if x == f64::NEG_INFINITY { -0.0 } else { x * 0.5 * erfc(-x * 0.5_f64.sqrt()) }, 7.0),
        Unary::GeluTanh => (
            |x| {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(2.0 * u) }
            },
            4.0,
        ),
        Unary::Silu => (|x| if x == f64::NEG_INFINITY { -0.0 } else { x * sigmoid(x) }, 4.0),
        Unary::Mish => (|x| if x == f64::NEG_INFINITY { -0.0 } else { x * x.exp().ln_1p().tanh() }, 4.0),
        Unary::Elu { alpha: 1.0 } => (|x| if x > 0.0 { x } else { x.exp_m1() }, 4.0),
        Unary::Softsign => (|x| x / (1.0 + x.abs()), 4.0),
        Unary::Reciprocal => (f64::recip, 0.5),
        Unary::Sqrt => (f64::sqrt, 0.5),
        Unary::ReciprocalSqrt => (|x| 1.0 / x.sqrt(), 4.0),
        Unary::Sin => (f64::sin, 2.0),
        Unary::Cos => (f64::cos, 2.0),
        Unary::Tan => (f64::tan, 4.0),
        Unary::Asin => (f64::asin, 4.0),
        Unary::Acos => (f64::acos, 4.0),
        Unary::Atan => (f64::atan, 4.0),
        Unary::Sinh => (f64::sinh, 4.0),
        Unary::Cosh => (f64::cosh, 4.0),
        Unary::Asinh => (f64::asinh, 4.0),
        Unary::Acosh => (f64::acosh, 4.0),
        Unary::Atanh => (f64::atanh, 4.0),
        Unary::Pow { exponent: 3.0 } => (|x| x * x * x, 4.0),
        Unary::Pow { exponent: 0.5 } => (|x| x.powf(0.5), 4.0),
        _ => return None,
    })
}

/// By how many units in the last place of a result `exact` is missed; infinity if one is a NaN, infinite or zero by its sign and
/// the other is not.
fn errors(output: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if same_bits(output, rounded) {
        let unit = 2_f64.powi((exact.abs().to_bits() >> 52) as i32 - 1023 - 23).max(2_f64.powi(-149));
        return if exact.is_finite() && rounded.is_finite() { (f64::from(output) - exact).abs() / unit } else { 0.0 };
    }
    if output.is_nan() || rounded.is_nan() || (output == 0.0 && exact == 0.0) {
        return f64::INFINITY;
    }
    let unit = 2_f64.powi(((exact.abs().to_bits() >> 52) as i32 - 1023).min(127) - 23).max(2_f64.powi(-149));
    // An infinity stands for 2¹²⁸.
    let limited = |value: f64| value.clamp(-2_f64.powi(128), 2_f64.powi(128));
    (limited(f64::from(output)) - limited(exact)).abs() / unit
}

/// The largest error among numbers whose bits are in `range` and `step` apart, and where it is.
fn largest_error(function: Unary, exact: Exact, range: Range<u64>, step: usize) -> (f64, f32) {
    let mut largest = (0.0, 0.0);
    let mut inputs = Vec::new();
    let mut outputs = Vec::new();
    for first in range.clone().step_by(step << 12) {
        inputs.clear();
        inputs.extend((first..range.end).step_by(step).take(1 << 12).map(|bits| f32::from_bits(bits as u32)));
        outputs.resize(inputs.len(), 0.0);
        function.apply(Isa::best(), &inputs, &mut outputs);
        for (x, output) in inputs.iter().zip(&outputs) {
            let error = errors(*output, exact(f64::from(*x)));
            if error > largest.0 {
                largest = (error, *x);
            }
        }
    }
    largest
}

/// The bits of numbers from 2⁻⁵ to 2⁵, of either sign.
const ORDINARY: [Range<u64>; 2] = [0x3d00_0000..0x4200_0000, 0xbd00_0000..0xc200_0000];

/// Every so many arguments are tried, or as many as `DEPX_KERNELS_STEP` says: 1 tries all, for the table in `KERNELS.md`, and takes an
/// hour. `DEPX_KERNELS_FUNCTION` names the one function that is of interest.
#[test]
fn results_are_close_to_the_exact_ones() {
    let variable = |name| std::env::var(name).ok();
    let step = variable("DEPX_KERNELS_STEP").map_or(65_521, |step| step.parse().expect("a number"));
    let only = variable("DEPX_KERNELS_FUNCTION").unwrap_or_default();
    let mut wrong = Vec::new();
    for (function, _) in FUNCTIONS {
        if let Some((exact, bound)) = exact(function).filter(|_| format!("{function:?}").starts_with(&only)) {
            let everywhere = largest_error(function, exact, 0..1 << 32, step);
            let ordinary = ORDINARY.map(|range| largest_error(function, exact, range, 251));
            let (error, x) =
                ordinary.into_iter().fold(everywhere, |most, next| if next.0 > most.0 { next } else { most });
            println!("{function:?} of {x:e} is missed by {error} units");
            wrong.extend((error > bound).then(|| format!("{function:?} of {x:e} is missed by {error} units")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
