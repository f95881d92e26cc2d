//! What is done to the result of a product before it is given.

use super::operator::{Run, fail, fill_parts};
use depx_kernels::{Activation, Addend, Isa, Unary};
use ort::operator::KernelContext;

/// A function of each element, by the attribute `activation`.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    isa: Isa,
    /// What the product itself does.
    pub(super) activation: Activation,
    /// What is done then.
    pub(super) function: Option<Unary>,
}

impl Finish {
    pub(super) fn of(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Self> {
        let bound = |name| context.get(name).unwrap_or(0.0);
        let (activation, function) = match context.get::<String>("activation").as_deref() {
            None => (Activation::Identity, None),
            Some("Relu") => (Activation::Relu, None),
            Some("Clip") => (Activation::Clip { low: bound("low"), high: bound("high") }, None),
            Some("Gelu") => (Activation::Identity, Some(Unary::Gelu)),
            Some("GeluTanh") => (Activation::Identity, Some(Unary::GeluTanh)),
            Some("HardSwish") => (Activation::Identity, Some(Unary::HardSwish)),
            Some("Mish") => (Activation::Identity, Some(Unary::Mish)),
            Some("Sigmoid") => (Activation::Identity, Some(Unary::Sigmoid)),
            Some("Silu") => (Activation::Identity, Some(Unary::Silu)),
            Some("Tanh") => (Activation::Identity, Some(Unary::Tanh)),
            Some(name) => return fail(format!("no kernel ends with {name}")),
        };
        Ok(Self { isa, activation, function })
    }

    pub(super) fn apply(&self, context: &Run<'_>, y: &mut [f32]) {
        if let Some(function) = self.function {
            fill_parts(context.parallel, y, 16, |_, y| function.apply_in_place(self.isa, y));
        }
    }
}

/// Something of the size of the result that is added to it.
pub(super) fn whole<'a>(addend: Option<(Vec<usize>, &'a [f32])>, shape: &[usize]) -> ort::Result<Option<Addend<'a>>> {
    match addend {
        None => Ok(None),
        Some((of, data)) if of == shape => {
            let row_stride = shape.last().copied().unwrap_or(1);
            Ok(Some(Addend { data, row_stride, column_stride: 1, beta: 1.0 }))
        }
        Some((of, _)) => fail(format!("{of:?} is added to a result of {shape:?}")),
    }
}
