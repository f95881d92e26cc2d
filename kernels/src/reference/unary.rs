//! Which function is which.

use super::{double, fma, single, trigonometric};
use crate::Unary;

/// The function of one number.
pub fn unary(function: Unary, x: f32) -> f32 {
    match function {
        Unary::Exp => single::exp(x),
        Unary::Log => single::log(x),
        Unary::Erf => single::erf(x),
        Unary::Tanh => single::tanh(x),
        Unary::Sigmoid => single::sigmoid(x),
        Unary::Softplus => single::softplus(x),
        Unary::Gelu => single::gelu(x),
        Unary::GeluTanh => single::gelu_tanh(x),
        Unary::Silu => single::silu(x),
        Unary::Mish => single::mish(x),
        Unary::Elu { alpha } => single::elu(x, alpha),
        Unary::Selu { alpha, gamma } => gamma * single::elu(x, alpha),
        Unary::Celu { alpha } => single::celu(x, alpha),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Unary::HardSwish => x * hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::Clip { low, high } => {
            let raised = if x < low { low } else { x };
            if raised > high { high } else { raised }
        }
        Unary::LeakyRelu { alpha } => {
            if x < 0.0 {
                x * alpha
            } else {
                x
            }
        }
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Reciprocal => 1.0 / x,
        Unary::Sqrt => x.sqrt(),
        Unary::ReciprocalSqrt => 1.0 / x.sqrt(),
        Unary::Sin => trigonometric::sin(x),
        Unary::Cos => trigonometric::cos(x),
        Unary::Tan => trigonometric::tan(x),
        Unary::Asin => double::asin(x),
        Unary::Acos => double::acos(x),
        Unary::Atan => double::atan(x),
        Unary::Sinh => double::sinh(x),
        Unary::Cosh => double::cosh(x),
        Unary::Asinh => double::asinh(x),
        Unary::Acosh => double::acosh(x),
        Unary::Atanh => double::atanh(x),
        Unary::Ceil => x.ceil(),
        Unary::Floor => x.floor(),
        Unary::Round => x.round_ties_even(),
        Unary::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }
        Unary::ThresholdedRelu { alpha } => {
            if x > alpha {
                x
            } else {
                0.0
            }
        }
        Unary::Shrink { lambd, bias } => {
            if x < -lambd {
                x + bias
            } else if x > lambd {
                x - bias
            } else {
                0.0
            }
        }
        Unary::Pow { exponent } => double::pow(x, exponent),
    }
}

/// The first number to the power of the second.
pub fn pow(base: f32, exponent: f32) -> f32 {
    double::pow(base, exponent)
}

fn hard_sigmoid(x: f32, alpha: f32, beta: f32) -> f32 {
    fma(x, alpha, beta).clamp(0.0, 1.0)
}
