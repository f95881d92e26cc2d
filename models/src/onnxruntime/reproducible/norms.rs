//! Pooling by norms.

use super::operator::{Compute, Definition, FLOATS, Input, fail};
use super::rows::planes;
use super::windows::pool;
use depx_kernels::{Isa, global_lp_pool, lp_pool};
use ort::operator::KernelContext;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "GlobalLpPool", inputs: &[Input::Floats], outputs: FLOATS, prepare: global },
    Definition { name: "LpPool", inputs: &[Input::Floats], outputs: FLOATS, prepare: windows },
];

fn p(context: &KernelContext<'_>) -> ort::Result<u32> {
    let p = context.get::<i64>("p").unwrap_or(2);
    u32::try_from(p).or_else(|_| fail(format!("a norm with p = {p}")))
}

fn windows(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let p = p(context)?;
    pool(context, 0, move |_, x, spatial, window, _, y| lp_pool(isa, p, x, spatial, window, y))
}

fn global(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let p = p(context)?;
    Ok(planes(move |x, plane, y| global_lp_pool(isa, p, x, plane, y)))
}
