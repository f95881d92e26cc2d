//! Operators on single elements.

use super::operator::{Compute, Definition, FLOATS, Input, Run, fail, fill_parts, floats, give, input};
use depx_kernels::{Isa, Unary};
use ort::operator::KernelContext;

/// An operator without attributes.
macro_rules! plain {
    ($name:literal, $unary:ident) => {
        Definition {
            name: $name,
            inputs: &[Input::Floats],
            outputs: FLOATS,
            prepare: |_, isa| Ok(each(Unary::$unary, isa)),
        }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    plain!("Acos", Acos),
    plain!("Acosh", Acosh),
    plain!("Asin", Asin),
    plain!("Asinh", Asinh),
    plain!("Atan", Atan),
    plain!("Atanh", Atanh),
    Definition { name: "Celu", inputs: &[Input::Floats], outputs: FLOATS, prepare: celu },
    Definition {
        name: "Clip",
        inputs: &[Input::Floats, Input::OptionalFloats, Input::OptionalFloats],
        outputs: FLOATS,
        prepare: |_, isa| Ok(clip(isa)),
    },
    plain!("Ceil", Ceil),
    plain!("Cos", Cos),
    plain!("Cosh", Cosh),
    Definition { name: "Elu", inputs: &[Input::Floats], outputs: FLOATS, prepare: elu },
    plain!("Erf", Erf),
    plain!("Exp", Exp),
    plain!("Floor", Floor),
    Definition { name: "Gelu", inputs: &[Input::Floats], outputs: FLOATS, prepare: gelu },
    Definition { name: "HardSigmoid", inputs: &[Input::Floats], outputs: FLOATS, prepare: hard_sigmoid },
    plain!("HardSwish", HardSwish),
    Definition { name: "LeakyRelu", inputs: &[Input::Floats], outputs: FLOATS, prepare: leaky_relu },
    plain!("Log", Log),
    plain!("Mish", Mish),
    plain!("Reciprocal", Reciprocal),
    plain!("Relu", Relu),
    plain!("Round", Round),
    Definition { name: "Selu", inputs: &[Input::Floats], outputs: FLOATS, prepare: selu },
    plain!("Sigmoid", Sigmoid),
    Definition { name: "Shrink", inputs: &[Input::Floats], outputs: FLOATS, prepare: shrink },
    plain!("Sign", Sign),
    plain!("Silu", Silu),
    plain!("Sin", Sin),
    plain!("Sinh", Sinh),
    plain!("Softplus", Softplus),
    plain!("Softsign", Softsign),
    plain!("Sqrt", Sqrt),
    plain!("Tan", Tan),
    plain!("Tanh", Tanh),
    Definition { name: "ThresholdedRelu", inputs: &[Input::Floats], outputs: FLOATS, prepare: thresholded_relu },
];

fn each(unary: Unary, isa: Isa) -> Compute {
    Box::new(move |context| apply(context, isa, unary))
}

fn apply(context: &Run<'_>, isa: Isa, unary: Unary) -> ort::Result<()> {
    let x = input(context, 0)?;
    let (shape, x) = floats(&x)?;
    give(context, &shape, |y| fill_parts(context.parallel, y, 16, |part, y| unary.apply(isa, &x[part], y)))
}

fn number(context: &KernelContext<'_>, name: &str, default: f32) -> f32 {
    context.get(name).unwrap_or(default)
}

/// The alpha of the models that are let through is more than 0.
fn celu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    Ok(each(Unary::Celu { alpha: number(context, "alpha", 1.0) }, isa))
}

fn elu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    Ok(each(Unary::Elu { alpha: number(context, "alpha", 1.0) }, isa))
}

fn gelu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let with_tanh = context.get::<String>("approximate").is_some_and(|approximate| approximate == "tanh");
    Ok(each(if with_tanh { Unary::GeluTanh } else { Unary::Gelu }, isa))
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

fn shrink(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let (lambd, bias) = (number(context, "lambd", 0.5), number(context, "bias", 0.0));
    Ok(each(Unary::Shrink { lambd, bias }, isa))
}

fn thresholded_relu(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    Ok(each(Unary::ThresholdedRelu { alpha: number(context, "alpha", 1.0) }, isa))
}

/// Between two bounds, each a single number or left out.
fn clip(isa: Isa) -> Compute {
    Box::new(move |context| {
        let bound = |position, open| match context.input(position)? {
            None => Ok(open),
            Some(value) => match floats(&value)?.1 {
                [bound] => Ok(*bound),
                _ => fail("a bound must be a single number"),
            },
        };
        let (low, high) = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
        apply(context, isa, Unary::Clip { low, high })
    })
}
