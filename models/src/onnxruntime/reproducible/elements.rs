//! Operators on single elements.

use super::operator::{Compute, Definition, Input, fail, floats, give, input};
use depx_kernels::{Isa, Unary, pow};
use ort::operator::KernelContext;

/// An operator without attributes.
macro_rules! plain {
    ($name:literal, $unary:ident) => {
        Definition { name: $name, inputs: &[Input::Floats], prepare: |_, isa| Ok(each(Unary::$unary, isa)) }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    plain!("Acos", Acos),
    plain!("Acosh", Acosh),
    plain!("Asin", Asin),
    plain!("Asinh", Asinh),
    plain!("Atan", Atan),
    plain!("Atanh", Atanh),
    Definition { name: "Celu", inputs: &[Input::Floats], prepare: celu },
    Definition {
        name: "Clip",
        inputs: &[Input::Floats, Input::OptionalFloats, Input::OptionalFloats],
        prepare: |_, _| Ok(clip()),
    },
    plain!("Cos", Cos),
    plain!("Cosh", Cosh),
    Definition { name: "Elu", inputs: &[Input::Floats], prepare: elu },
    plain!("Erf", Erf),
    plain!("Exp", Exp),
    Definition { name: "Gelu", inputs: &[Input::Floats], prepare: gelu },
    Definition { name: "HardSigmoid", inputs: &[Input::Floats], prepare: hard_sigmoid },
    plain!("HardSwish", HardSwish),
    Definition { name: "LeakyRelu", inputs: &[Input::Floats], prepare: leaky_relu },
    plain!("Log", Log),
    plain!("Mish", Mish),
    Definition { name: "Pow", inputs: &[Input::Floats, Input::Floats], prepare: |_, isa| Ok(power(isa)) },
    plain!("Reciprocal", Reciprocal),
    plain!("Relu", Relu),
    Definition { name: "Selu", inputs: &[Input::Floats], prepare: selu },
    plain!("Sigmoid", Sigmoid),
    plain!("Sin", Sin),
    plain!("Sinh", Sinh),
    plain!("Softplus", Softplus),
    plain!("Softsign", Softsign),
    plain!("Sqrt", Sqrt),
    plain!("Tan", Tan),
    plain!("Tanh", Tanh),
];

fn each(unary: Unary, isa: Isa) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        give(context, &shape, |y| {
            unary.apply(isa, x, y);
            Ok(())
        })
    })
}

fn number(context: &KernelContext<'_>, name: &str, default: f32) -> f32 {
    context.get(name).unwrap_or(default)
}

fn celu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let alpha = number(context, "alpha", 1.0);
    if alpha > 0.0 { Ok(each(Unary::Celu { alpha }, isa)) } else { fail("alpha must be more than 0") }
}

fn elu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    Ok(each(Unary::Elu { alpha: number(context, "alpha", 1.0) }, isa))
}

fn gelu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    match context.get::<String>("approximate").as_deref() {
        None | Some("none") => Ok(each(Unary::Gelu, isa)),
        Some("tanh") => Ok(each(Unary::GeluTanh, isa)),
        Some(_) => fail("this approximation is not known"),
    }
}

fn hard_sigmoid(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let (alpha, beta) = (number(context, "alpha", 0.2), number(context, "beta", 0.5));
    Ok(each(Unary::HardSigmoid { alpha, beta }, isa))
}

fn leaky_relu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    Ok(each(Unary::LeakyRelu { alpha: number(context, "alpha", 0.01) }, isa))
}

/// The defaults are those of the operator's definition.
fn selu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let (alpha, gamma) = (number(context, "alpha", 1.673_263_2), number(context, "gamma", 1.050_701));
    Ok(each(Unary::Selu { alpha, gamma }, isa))
}

/// Each element of the first input to the power of the second's, which may be one number for all.
fn power(isa: Isa) -> Compute {
    Box::new(move |context| {
        let (base, exponent) = (input(context, 0)?, input(context, 1)?);
        let ((shape, base), (exponents, exponent)) = (floats(&base)?, floats(&exponent)?);
        match exponent {
            &[exponent] if exponents.len() <= shape.len() => give(context, &shape, |y| {
                Unary::Pow { exponent }.apply(isa, base, y);
                Ok(())
            }),
            _ if exponents == shape => give(context, &shape, |y| {
                pow(isa, base, exponent, y);
                Ok(())
            }),
            _ => fail("powers that broadcast have no reproducible kernel yet: expand them before"),
        }
    })
}

/// `x < low ? low : x`, then `x > high ? high : x`: a NaN and a zero that equals a bound stay as they are.
fn clip() -> Compute {
    Box::new(|context| {
        let bound = |position| -> ort::Result<Option<f32>> {
            match context.input(position)? {
                None => Ok(None),
                Some(value) => match floats(&value)?.1 {
                    [bound] => Ok(Some(*bound)),
                    _ => fail("a bound must be a single number"),
                },
            }
        };
        let (low, high) = (bound(1)?.unwrap_or(f32::NEG_INFINITY), bound(2)?.unwrap_or(f32::INFINITY));
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        give(context, &shape, |y| {
            for (y, &x) in y.iter_mut().zip(x) {
                let raised = if x < low { low } else { x };
                *y = if raised > high { high } else { raised };
            }
            Ok(())
        })
    })
}
