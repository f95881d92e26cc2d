//! What all operators have in common: how they are registered, read their inputs and fail.

use crate::text::{MAX_REASON, bounded};
use depx_kernels::{Isa, Parallel, Threads};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::{PrimitiveTensorElementType, TensorElementType, ValueRef};
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// An operator.
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// Its inputs, in order.
    pub(super) inputs: &'static [Input],
    /// Its outputs, in order.
    pub(super) outputs: &'static [Output],
    /// Reads its attributes and packs its weights.
    pub(super) prepare: fn(&KernelContext<'_>, Isa) -> ort::Result<Compute>,
}

impl Definition {
    pub(super) fn inputs(&self) -> impl Iterator<Item = OperatorInput> {
        self.inputs.iter().map(|input| match input {
            Input::Floats => OperatorInput::required(TensorElementType::Float32),
            Input::OptionalFloats => OperatorInput::optional(TensorElementType::Float32),
            Input::Integers => OperatorInput::required(TensorElementType::Int64),
            Input::OptionalIntegers => OperatorInput::optional(TensorElementType::Int64),
            Input::ManyFloats => OperatorInput::variadic(1).homogenous(TensorElementType::Float32),
            Input::Anything => OperatorInput::variadic(1),
            Input::Of(element) => OperatorInput::required(*element),
            Input::OptionalOf(element) => OperatorInput::optional(*element),
        })
    }

    pub(super) fn outputs(&self) -> impl Iterator<Item = OperatorOutput> {
        self.outputs.iter().map(|output| match output {
            Output::Of(element) => OperatorOutput::required(*element),
            Output::OptionalOf(element) => OperatorOutput::optional(*element),
        })
    }
}

/// What an input holds, and whether it may be left out.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Floats,
    OptionalFloats,
    Integers,
    OptionalIntegers,
    /// One or more of them, which come last.
    ManyFloats,
    /// One or more of any types, which come last.
    Anything,
    Of(TensorElementType),
    OptionalOf(TensorElementType),
}

/// What an output holds, and whether it may be left out.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Of(TensorElementType),
    OptionalOf(TensorElementType),
}

/// The output of most operators.
pub(super) const FLOATS: &[Output] = &[Output::Of(TensorElementType::Float32)];

/// What an operator does in each run.
pub(super) type Compute = Box<dyn FnMut(&Run<'_>) -> ort::Result<()> + Send>;

/// One run of an operator, and the threads that it may use.
pub(super) struct Run<'a> {
    context: &'a ComputeContext,
    pub(super) parallel: &'a dyn Parallel,
}

impl Deref for Run<'_> {
    type Target = ComputeContext;

    fn deref(&self) -> &ComputeContext {
        self.context
    }
}

pub(super) struct Registered {
    pub(super) definition: &'static Definition,
    pub(super) isa: Isa,
    pub(super) threads: Arc<Threads>,
}

impl Operator for Registered {
    type Kernel<'attr> = Guarded;

    fn name(&self) -> &str {
        self.definition.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        self.definition.inputs()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        self.definition.outputs()
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Guarded> {
        Ok(Guarded::new((self.definition.prepare)(context, self.isa)?, self.threads.clone()))
    }
}

/// A kernel whose panics do not cross the library's frames. Kernels check the shapes of what they are given, which a model that leaves
/// dimensions open can have wrong.
pub(super) struct Guarded {
    compute: Compute,
    threads: Arc<Threads>,
}

impl Guarded {
    pub(super) fn new(compute: Compute, threads: Arc<Threads>) -> Self {
        Self { compute, threads }
    }
}

impl Kernel for Guarded {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run { context, parallel: &*self.threads };
        catch_unwind(AssertUnwindSafe(|| (self.compute)(&run))).unwrap_or_else(|panic| {
            let reason = panic.downcast_ref::<String>().map_or("its inputs do not fit", String::as_str);
            fail(bounded(reason, MAX_REASON))
        })
    }
}

pub(super) fn fail<T>(reason: impl Into<String>) -> ort::Result<T> {
    Err(ort::Error::new(reason.into()))
}

/// An input that must be there.
pub(super) fn input(context: &ComputeContext, position: usize) -> ort::Result<ValueRef<'_>> {
    match context.input(position)? {
        Some(value) => Ok(value),
        None => fail(format!("input {position} is missing")),
    }
}

/// The shape and the elements of a tensor of floats.
pub(super) fn floats<'a>(value: &'a ValueRef<'_>) -> ort::Result<(Vec<usize>, &'a [f32])> {
    elements(value)
}

/// The shape and the elements of a tensor.
pub(super) fn elements<'a, T: PrimitiveTensorElementType>(
    value: &'a ValueRef<'_>,
) -> ort::Result<(Vec<usize>, &'a [T])> {
    let (shape, data) = value.try_extract_tensor::<T>()?;
    Ok((sizes(shape)?, data))
}

pub(super) fn sizes(shape: &[i64]) -> ort::Result<Vec<usize>> {
    let sizes = shape.iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>();
    sizes.or_else(|_| fail("a dimension is negative"))
}

/// Makes the output and fills it, unless it is empty.
pub(super) fn give(context: &ComputeContext, shape: &[usize], fill: impl FnOnce(&mut [f32])) -> ort::Result<()> {
    give_at(context, 0, shape, fill)
}

/// The same for the output at a position, unless it is left out.
pub(super) fn give_at<T: PrimitiveTensorElementType>(
    context: &ComputeContext,
    position: usize,
    shape: &[usize],
    fill: impl FnOnce(&mut [T]),
) -> ort::Result<()> {
    if position >= context.num_outputs()? {
        return Ok(());
    }
    let shape = shape.iter().map(|&size| size as i64).collect::<Vec<_>>();
    let Some(mut output) = context.output(position, shape)? else { return Ok(()) };
    let (_, output) = output.try_extract_tensor_mut::<T>()?;
    if !output.is_empty() {
        fill(output);
    }
    Ok(())
}

/// Elements that are worth a task of their own.
const TASK: usize = 16_384;

/// Fills an output of which multiples of `unit` elements can be computed by themselves: each part is given with its range.
pub(super) fn fill_parts<T: Send>(
    parallel: &dyn Parallel,
    output: &mut [T],
    unit: usize,
    fill: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    let tasks = (output.len() / TASK).min(4 * parallel.threads());
    if parallel.threads() == 1 || tasks < 2 {
        return fill(0..output.len(), output);
    }
    let len = output.len().div_ceil(tasks).next_multiple_of(unit);
    let parts: Vec<_> = output.chunks_mut(len).map(Mutex::new).collect();
    parallel.run(parts.len(), &|task| {
        let mut part = parts[task].lock().unwrap_or_else(PoisonError::into_inner);
        fill(task * len..task * len + part.len(), &mut part);
    });
}

/// An input that may be left out.
pub(super) fn optional(context: &ComputeContext, position: usize) -> ort::Result<Option<ValueRef<'_>>> {
    if position < context.num_inputs()? { context.input(position) } else { Ok(None) }
}

/// A position among `rank` dimensions, from the end if negative.
pub(super) fn axis(axis: i64, rank: usize) -> ort::Result<usize> {
    let position = if axis < 0 { axis + rank as i64 } else { axis };
    match usize::try_from(position) {
        Ok(position) if position < rank => Ok(position),
        _ => fail(format!("axis {axis} is not one of {rank} dimensions")),
    }
}
