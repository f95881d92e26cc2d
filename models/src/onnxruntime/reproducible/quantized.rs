//! Operators on integers of few bits that stand for floats.

use super::operator::{
    Compute, Definition, FLOATS, Input, Output, Run, axis, elements, fail, floats, give, give_at, input,
};
use super::products::Batch;
use super::windows::{Motion, shape};
use depx_kernels::{
    Int8, Isa, PackedIntegerFilters, PackedIntegers, Parallel, Quantized, Scales, Window, dequantize,
    integer_convolution, integer_gemm, quantization_of, quantize, requantization_scale, requantize,
};
use ort::operator::{ComputeContext, KernelContext};
use ort::value::{DynTensorValueType, PrimitiveTensorElementType, TensorElementType, ValueRef};

/// An integer that tensors hold.
trait Element: PrimitiveTensorElementType + Copy + Default + Send + 'static {
    const TYPE: TensorElementType;
}

macro_rules! element {
    ($($rust:ident $onnx:ident,)*) => {
        $(impl Element for $rust {
            const TYPE: TensorElementType = TensorElementType::$onnx;
        })*
    };
}

element!(u8 Uint8, i8 Int8, u16 Uint16, i16 Int16, i32 Int32,);

const FLOAT: Input = Input::Floats;
const SUMS: &[Output] = &[Output::Of(TensorElementType::Int32)];

pub(super) const DEFINITIONS: &[Definition] = &[
    sums::<u8, u8>("ConvInteger", conv_integer::<u8, u8>),
    sums::<u8, i8>("ConvInteger", conv_integer::<u8, i8>),
    sums::<i8, u8>("ConvInteger", conv_integer::<i8, u8>),
    sums::<i8, i8>("ConvInteger", conv_integer::<i8, i8>),
    sums::<u8, u8>("MatMulInteger", matmul_integer::<u8, u8>),
    sums::<u8, i8>("MatMulInteger", matmul_integer::<u8, i8>),
    sums::<i8, u8>("MatMulInteger", matmul_integer::<i8, u8>),
    sums::<i8, i8>("MatMulInteger", matmul_integer::<i8, i8>),
    requantized::<u8, u8, u8>("QLinearConv", qlinear_conv::<u8, u8, u8>),
    requantized::<u8, i8, u8>("QLinearConv", qlinear_conv::<u8, i8, u8>),
    requantized::<i8, u8, i8>("QLinearConv", qlinear_conv::<i8, u8, i8>),
    requantized::<i8, i8, i8>("QLinearConv", qlinear_conv::<i8, i8, i8>),
    requantized::<u8, u8, u8>("QLinearMatMul", qlinear_matmul::<u8, u8, u8>),
    requantized::<u8, i8, u8>("QLinearMatMul", qlinear_matmul::<u8, i8, u8>),
    requantized::<i8, u8, i8>("QLinearMatMul", qlinear_matmul::<i8, u8, i8>),
    requantized::<i8, i8, i8>("QLinearMatMul", qlinear_matmul::<i8, i8, i8>),
    quantizing::<u8>(),
    quantizing::<i8>(),
    quantizing::<u16>(),
    quantizing::<i16>(),
    dequantizing::<u8>(),
    dequantizing::<i8>(),
    dequantizing::<u16>(),
    dequantizing::<i16>(),
    dequantizing::<i32>(),
    Definition {
        name: "DynamicQuantizeLinear",
        inputs: &[FLOAT],
        outputs: &[
            Output::Of(TensorElementType::Uint8),
            Output::Of(TensorElementType::Float32),
            Output::Of(TensorElementType::Uint8),
        ],
        prepare: |_, _| Ok(dynamic_quantize_linear()),
    },
];

type Prepare = fn(&KernelContext<'_>, Isa) -> ort::Result<Compute>;

/// Of two tensors and their zero points, 32-bit integers.
const fn sums<A: Element, B: Element>(name: &'static str, prepare: Prepare) -> Definition {
    let inputs =
        const { &[Input::Of(A::TYPE), Input::Of(B::TYPE), Input::OptionalOf(A::TYPE), Input::OptionalOf(B::TYPE)] };
    Definition { name, inputs, outputs: SUMS, prepare }
}

/// Of two tensors with scales and zero points, another with a scale and a zero point; a convolution also takes a bias.
const fn requantized<A: Element, B: Element, Y: Element>(name: &'static str, prepare: Prepare) -> Definition {
    let inputs = const {
        let [a, b, y] = [Input::Of(A::TYPE), Input::Of(B::TYPE), Input::Of(Y::TYPE)];
        &[a, FLOAT, a, b, FLOAT, b, FLOAT, y, Input::OptionalOf(TensorElementType::Int32)]
    };
    Definition { name, inputs, outputs: const { &[Output::Of(Y::TYPE)] }, prepare }
}

const fn quantizing<T: Element + Quantized>() -> Definition {
    let inputs = const { &[FLOAT, FLOAT, Input::OptionalOf(T::TYPE)] };
    let prepare = |context: &KernelContext<'_>, _| Ok(quantize_linear::<T>(context));
    Definition { name: "QuantizeLinear", inputs, outputs: const { &[Output::Of(T::TYPE)] }, prepare }
}

const fn dequantizing<T: Element + Into<i32>>() -> Definition {
    let inputs = const { &[Input::Of(T::TYPE), FLOAT, Input::OptionalOf(T::TYPE)] };
    let prepare = |context: &KernelContext<'_>, _| Ok(dequantize_linear::<T>(context));
    Definition { name: "DequantizeLinear", inputs, outputs: FLOATS, prepare }
}

/// The elements of an input, or one zero where it is left out.
struct ZeroPoints<'a, T> {
    value: Option<ValueRef<'a>>,
    zero: [T; 1],
}

impl<'a, T: Element> ZeroPoints<'a, T> {
    fn of(context: &'a ComputeContext, position: usize) -> ort::Result<Self> {
        Ok(Self { value: context.input(position)?, zero: [T::default()] })
    }

    fn all(&self) -> ort::Result<&[T]> {
        match &self.value {
            Some(value) => Ok(elements(value)?.1),
            None => Ok(&self.zero),
        }
    }

    fn one(&self) -> ort::Result<T> {
        single(self.all()?)
    }
}

fn single<T: Copy>(values: &[T]) -> ort::Result<T> {
    match values {
        [value] => Ok(*value),
        _ => fail("its left operand must have one scale and one zero point"),
    }
}

/// As many parameters as there may be: one, or one for each of `count`.
fn fitting<T>(values: &[T], count: usize) -> ort::Result<&[T]> {
    if values.len() == 1 || values.len() == count {
        return Ok(values);
    }
    fail(format!("{} scales or zero points do not fit {count} columns or channels", values.len()))
}

fn is_constant(context: &KernelContext<'_>, position: usize) -> bool {
    context.constant_input::<DynTensorValueType>(position).is_ok()
}

/// Products of matrices, the right one of which is packed once if it and its zero points are constants.
struct Product {
    isa: Isa,
    constant: bool,
    constant_zero_points: bool,
    packed: Option<PackedIntegers>,
}

impl Product {
    /// Of the operand and the zero points at these positions.
    fn new(context: &KernelContext<'_>, isa: Isa, [matrix, zero_points]: [usize; 2]) -> Self {
        let [constant, constant_zero_points] = [matrix, zero_points].map(|position| is_constant(context, position));
        Self { isa, constant, constant_zero_points, packed: None }
    }

    fn sums<A: Element + Int8, B: Element + Int8>(
        &mut self,
        parallel: &dyn Parallel,
        batch: &Batch,
        (a, zero_point): (&[A], A),
        (b, b_rank, zero_points): (&[B], usize, &ZeroPoints<'_, B>),
    ) -> ort::Result<Vec<i32>> {
        let [rows, depth, columns] = batch.sizes;
        let keep = self.constant && (self.constant_zero_points || zero_points.value.is_none()) && b_rank == 2;
        let zero_points = fitting(zero_points.all()?, columns)?;
        let pack = |isa, start| PackedIntegers::new(isa, &b[start..][..depth * columns], [depth, columns], zero_points);
        let mut sums = vec![0; batch.starts.len() * rows * columns];
        if sums.is_empty() {
            return Ok(sums);
        }
        let (mut packed, mut packed_start) = (self.packed.take().filter(|_| keep), 0);
        for (&[a_start, b_start], sums) in batch.starts.iter().zip(sums.chunks_exact_mut(rows * columns)) {
            if packed.is_none() || packed_start != b_start {
                (packed, packed_start) = (Some(pack(self.isa, b_start)), b_start);
            }
            if let Some(packed) = &packed {
                integer_gemm(parallel, &a[a_start..][..rows * depth], rows, zero_point, packed, sums);
            }
        }
        self.packed = packed;
        Ok(sums)
    }
}

fn matmul_integer<A: Element + Int8, B: Element + Int8>(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let mut product = Product::new(context, isa, [1, 3]);
    Ok(Box::new(move |context| {
        let (a, b) = (input(context, 0)?, input(context, 1)?);
        let ((a_shape, a), (b_shape, b)) = (elements::<A>(&a)?, elements::<B>(&b)?);
        let batch = Batch::of(&a_shape, &b_shape)?;
        let zero_point = ZeroPoints::<A>::of(context, 2)?.one()?;
        let zero_points = ZeroPoints::<B>::of(context, 3)?;
        let sums = product.sums(context.parallel, &batch, (a, zero_point), (b, b_shape.len(), &zero_points))?;
        give_at(context, 0, &batch.shape, |output| output.copy_from_slice(&sums))
    }))
}

fn qlinear_matmul<A: Element + Int8, B: Element + Int8, Y: Element + Int8>(
    context: &KernelContext<'_>,
    isa: Isa,
) -> ort::Result<Compute> {
    let mut product = Product::new(context, isa, [3, 5]);
    Ok(Box::new(move |context| {
        let (a, b) = (input(context, 0)?, input(context, 3)?);
        let ((a_shape, a), (b_shape, b)) = (elements::<A>(&a)?, elements::<B>(&b)?);
        let batch = Batch::of(&a_shape, &b_shape)?;
        let zero_point = ZeroPoints::<A>::of(context, 2)?.one()?;
        let zero_points = ZeroPoints::<B>::of(context, 5)?;
        let sums = product.sums(context.parallel, &batch, (a, zero_point), (b, b_shape.len(), &zero_points))?;
        let columns = batch.sizes[2];
        let scales = requantization_scales(context, [1, 4, 6], columns)?;
        let scales = if let [scale] = scales[..] { Scales::One(scale) } else { Scales::Columns(&scales) };
        let zero_point = ZeroPoints::<Y>::of(context, 7)?.one()?;
        give_at(context, 0, &batch.shape, |output| requantize(&sums, columns, scales, zero_point, output))
    }))
}

/// What sums are multiplied by, one for all or for each column or filter: from the scales of both operands and the result.
fn requantization_scales(context: &ComputeContext, positions: [usize; 3], count: usize) -> ort::Result<Vec<f32>> {
    let [a, b, y] = positions.map(|position| input(context, position));
    let (a, b, y) = (a?, b?, y?);
    let (a, y) = (single(floats(&a)?.1)?, single(floats(&y)?.1)?);
    let b = fitting(floats(&b)?.1, count)?;
    Ok(b.iter().map(|&b| requantization_scale(a, b, y)).collect())
}

/// Convolutions whose filters are packed once if they and their zero points are constants.
struct Convolution {
    isa: Isa,
    motion: Motion,
    groups: usize,
    positions: [usize; 4],
    constant: bool,
    constant_zero_points: bool,
    packed: Option<(Window, PackedIntegerFilters)>,
}

impl Convolution {
    /// Of the image, its zero point, the filters and theirs at these positions.
    fn new(context: &KernelContext<'_>, isa: Isa, positions: [usize; 4]) -> Self {
        let [constant, constant_zero_points] = [positions[2], positions[3]].map(|at| is_constant(context, at));
        let motion = Motion::of(context);
        let groups = usize::try_from(context.get::<i64>("group").unwrap_or(1)).unwrap_or(0);
        Self { isa, motion, groups, positions, constant, constant_zero_points, packed: None }
    }

    /// The result's shape, batch and filters first, and the sums.
    fn sums<X: Element + Int8, W: Element + Int8>(
        &mut self,
        context: &Run<'_>,
        bias: &[i32],
    ) -> ort::Result<(Vec<usize>, Vec<i32>)> {
        let (x, w) = (input(context, self.positions[0])?, input(context, self.positions[2])?);
        let ((x_shape, x), (w_shape, w)) = (elements::<X>(&x)?, elements::<W>(&w)?);
        let (&[batch, channels, ref image @ ..], &[filters, of_group, ref kernel @ ..]) = (&x_shape[..], &w_shape[..])
        else {
            return fail("its input and weights must have channels");
        };
        let groups = self.groups;
        if groups == 0 || filters % groups != 0 || channels != of_group * groups {
            return fail(format!("{groups} groups of {of_group} channels do not fit {channels} and {filters} filters"));
        }
        if !bias.is_empty() && bias.len() != filters {
            return fail(format!("a bias for each of {filters} filters"));
        }
        let zero_point = ZeroPoints::<X>::of(context, self.positions[1])?.one()?;
        let zero_points = ZeroPoints::<W>::of(context, self.positions[3])?;
        let keep = self.constant && (self.constant_zero_points || zero_points.value.is_none());
        let (window, axes, _) = self.motion.window(kernel, image)?;
        if self.packed.as_ref().is_none_or(|(known, _)| !keep || *known != window) {
            let zero_points = fitting(zero_points.all()?, filters)?;
            let packed = PackedIntegerFilters::new(self.isa, w, [filters, of_group], groups, window, zero_points);
            self.packed = Some((window, packed));
        }
        let shape = shape(&[batch, filters], window.output(axes), kernel.len());
        let mut sums = vec![0; shape.iter().product()];
        if let Some((_, packed)) = &self.packed {
            integer_convolution(context.parallel, x, batch, axes, zero_point, packed, bias, &mut sums);
        }
        Ok((shape, sums))
    }
}

fn conv_integer<X: Element + Int8, W: Element + Int8>(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let mut convolution = Convolution::new(context, isa, [0, 2, 1, 3]);
    Ok(Box::new(move |context| {
        let (shape, sums) = convolution.sums::<X, W>(context, &[])?;
        give_at(context, 0, &shape, |output| output.copy_from_slice(&sums))
    }))
}

fn qlinear_conv<X: Element + Int8, W: Element + Int8, Y: Element + Int8>(
    context: &KernelContext<'_>,
    isa: Isa,
) -> ort::Result<Compute> {
    let mut convolution = Convolution::new(context, isa, [0, 2, 3, 5]);
    Ok(Box::new(move |context| {
        let bias = context.input(8)?;
        let bias = bias.as_ref().map(elements::<i32>).transpose()?.map_or(&[][..], |(_, bias)| bias);
        let (shape, sums) = convolution.sums::<X, W>(context, bias)?;
        let filters = shape[1];
        let scales = requantization_scales(context, [1, 4, 6], filters)?;
        let zero_point = ZeroPoints::<Y>::of(context, 7)?.one()?;
        give_at(context, 0, &shape, |output: &mut [Y]| {
            let plane = shape[2..].iter().product();
            let images = sums.chunks_exact(filters * plane).zip(output.chunks_exact_mut(filters * plane));
            for (sums, output) in images {
                let scales = if let [scale] = scales[..] { Scales::One(scale) } else { Scales::Rows(&scales) };
                requantize(sums, plane, scales, zero_point, output);
            }
        })
    }))
}

/// Calls `each` with ranges of elements and the parameters that hold for them: one scale and zero point for all, or one for each
/// position along an axis.
fn along<T: Copy>(
    shape: &[usize],
    axis_given: i64,
    scales: &[f32],
    zero_points: Option<&[T]>,
    mut each: impl FnMut(std::ops::Range<usize>, f32, Option<T>),
) -> ort::Result<()> {
    let (count, inner) = match scales.len() {
        1 => (1, shape.iter().product()),
        _ => {
            let axis = axis(axis_given, shape.len())?;
            (shape[axis], shape[axis + 1..].iter().product::<usize>())
        }
    };
    if scales.len() != count || zero_points.is_some_and(|zero_points| zero_points.len() != count) {
        return fail(format!("it must have {count} scales and as many zero points"));
    }
    let elements: usize = shape.iter().product();
    if elements > 0 {
        for (index, start) in (0..elements).step_by(inner).enumerate() {
            let channel = index % count;
            each(start..start + inner, scales[channel], zero_points.map(|zero_points| zero_points[channel]));
        }
    }
    Ok(())
}

fn quantize_linear<T: Element + Quantized>(context: &KernelContext<'_>) -> Compute {
    let axis = context.get("axis").unwrap_or(1);
    Box::new(move |context| {
        let (x, scales, zero_points) = (input(context, 0)?, input(context, 1)?, context.input(2)?);
        let ((shape, x), (_, scales)) = (floats(&x)?, floats(&scales)?);
        let zero_points = zero_points.as_ref().map(elements::<T>).transpose()?.map(|(_, zero_points)| zero_points);
        let mut done = Ok(());
        give_at(context, 0, &shape, |output: &mut [T]| {
            done = along(&shape, axis, scales, zero_points, |range, scale, zero_point| {
                quantize(&x[range.clone()], scale, zero_point.unwrap_or_default(), &mut output[range]);
            });
        })?;
        done
    })
}

fn dequantize_linear<T: Element + Into<i32>>(context: &KernelContext<'_>) -> Compute {
    let axis = context.get("axis").unwrap_or(1);
    Box::new(move |context| {
        let (x, scales, zero_points) = (input(context, 0)?, input(context, 1)?, context.input(2)?);
        let ((shape, x), (_, scales)) = (elements::<T>(&x)?, floats(&scales)?);
        let zero_points = zero_points.as_ref().map(elements::<T>).transpose()?.map(|(_, zero_points)| zero_points);
        let mut done = Ok(());
        give(context, &shape, |output| {
            done = along(&shape, axis, scales, zero_points, |range, scale, zero_point| {
                dequantize(&x[range.clone()], scale, zero_point.unwrap_or_default(), &mut output[range]);
            });
        })?;
        done
    })
}

fn dynamic_quantize_linear() -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let (scale, zero_point) = quantization_of(x);
        give_at(context, 0, &shape, |output| quantize(x, scale, zero_point, output))?;
        give_at(context, 1, &[], |output| output[0] = scale)?;
        give_at(context, 2, &[], |output| output[0] = zero_point)
    })
}
