//! Products of matrices. Weights are packed once.

use super::finish::{Finish, whole};
use super::operator::{Compute, Definition, FLOATS, Input, fail, floats, give, input, optional, sizes};
use depx_kernels::{Addend, Bias, Epilogue, Isa, Matrix, PackedMatrix, batched_gemm, gemm};
use ort::operator::KernelContext;
use ort::value::DynTensorValueType;

/// Operands, a bias or the C of Gemm, and what is added then.
const INPUTS: &[Input] = &[Input::Floats, Input::Floats, Input::OptionalFloats, Input::OptionalFloats];

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "Gemm", inputs: INPUTS, outputs: FLOATS, prepare: general },
    Definition { name: "MatMul", inputs: INPUTS, outputs: FLOATS, prepare: matmul },
];

/// The right operand, packed, if it is a constant matrix; `transposed` if its columns are the rows of the product's operand.
fn constant(context: &KernelContext<'_>, isa: Isa, transposed: bool) -> ort::Result<Option<PackedMatrix>> {
    let Ok(weights) = context.constant_input::<DynTensorValueType>(1) else { return Ok(None) };
    let (shape, data) = weights.try_extract_tensor::<f32>()?;
    let &[rows, columns] = &sizes(shape)?[..] else { return Ok(None) };
    let matrix = Matrix::new(data, rows, columns);
    Ok(Some(PackedMatrix::new(isa, if transposed { matrix.transposed() } else { matrix })))
}

/// With weights that are transposed if the attribute `transB` says so.
fn matmul(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let transposed = context.get::<i64>("transB").unwrap_or(0) != 0;
    let packed = constant(context, isa, transposed)?;
    if transposed && packed.is_none() {
        return fail("only constant matrices are transposed");
    }
    let finish = Finish::of(context, isa)?;
    Ok(Box::new(move |context| {
        let (a, b) = (input(context, 0)?, input(context, 1)?);
        let ((a_shape, a), (mut b_shape, b)) = (floats(&a)?, floats(&b)?);
        if transposed {
            b_shape.reverse();
        }
        let product = Batch::of(&a_shape, &b_shape)?;
        let (bias, addend) = (optional(context, 2)?, optional(context, 3)?);
        let bias = bias.as_ref().map(floats).transpose()?.map_or(Bias::None, |(_, bias)| Bias::Columns(bias));
        let addend = whole(addend.as_ref().map(floats).transpose()?, &product.shape)?;
        let epilogue = Epilogue { bias, addend, activation: finish.activation, ..Epilogue::default() };
        give(context, &product.shape, |output| {
            let [rows, depth, columns] = product.sizes;
            match &packed {
                // All rows of a batch meet the one right operand.
                Some(packed) if a_shape.len() > 1 => {
                    let rows = a_shape[..a_shape.len() - 1].iter().product();
                    gemm(context.parallel, Matrix::new(a, rows, depth), packed, output, columns, &epilogue);
                }
                _ => {
                    let operands = [Matrix::new(a, rows, depth), Matrix::new(b, depth, columns)];
                    batched_gemm(context.parallel, isa, &product.starts, operands, output, &epilogue);
                }
            }
            finish.apply(context, output);
        })
    }))
}

/// Products of a batch of matrices whose other dimensions broadcast.
pub(super) struct Batch {
    /// Of the result.
    pub(super) shape: Vec<usize>,
    /// Rows, depth and columns of each product.
    pub(super) sizes: [usize; 3],
    /// Where the operands of each begin.
    pub(super) starts: Vec<[usize; 2]>,
}

impl Batch {
    pub(super) fn of(a: &[usize], b: &[usize]) -> ort::Result<Self> {
        let ([a_outer @ .., depth], rows) = (a, a.len().checked_sub(2).map(|position| a[position])) else {
            return fail("a number is not a matrix");
        };
        let a_outer = &a_outer[..a_outer.len().saturating_sub(1)];
        let (b_outer, b_depth, columns) = match b {
            [] => return fail("a number is not a matrix"),
            [depth] => (&b[..0], *depth, None),
            [outer @ .., depth, columns] => (outer, *depth, Some(*columns)),
        };
        if *depth != b_depth {
            return fail(format!("rows of {depth} do not fit columns of {b_depth}"));
        }
        let rank = a_outer.len().max(b_outer.len());
        let size = |outer: &[usize], axis: usize| (axis + outer.len()).checked_sub(rank).map_or(1, |axis| outer[axis]);
        let sizes = [rows.unwrap_or(1), *depth, columns.unwrap_or(1)];
        let (mut shape, mut starts) = (Vec::with_capacity(rank + 2), vec![[0, 0]]);
        for axis in 0..rank {
            let (of_a, of_b) = (size(a_outer, axis), size(b_outer, axis));
            if of_a != of_b && of_a != 1 && of_b != 1 {
                return fail(format!("batches of {of_a} and {of_b} do not fit together"));
            }
            let count = if of_a == 1 { of_b } else { of_a };
            let next = |start: usize, size: usize, index: usize| start * size + if size == 1 { 0 } else { index };
            let all = starts
                .iter()
                .flat_map(|&[a, b]| (0..count).map(move |index| [next(a, of_a, index), next(b, of_b, index)]));
            starts = all.collect();
            shape.push(count);
        }
        for [a, b] in &mut starts {
            (*a, *b) = (*a * sizes[0] * sizes[1], *b * sizes[1] * sizes[2]);
        }
        shape.extend(rows);
        shape.extend(columns);
        Ok(Self { shape, sizes, starts })
    }
}

/// `alpha × A × B + beta × C`.
fn general(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let flag = |name| context.get::<i64>(name).unwrap_or(0) != 0;
    let (trans_a, trans_b) = (flag("transA"), flag("transB"));
    let (alpha, beta) = (context.get("alpha").unwrap_or(1.0), context.get("beta").unwrap_or(1.0));
    let packed = constant(context, isa, trans_b)?;
    let finish = Finish::of(context, isa)?;
    Ok(Box::new(move |context| {
        let (a, b, c) = (input(context, 0)?, input(context, 1)?, optional(context, 2)?);
        let further = optional(context, 3)?;
        let ((a_shape, a), (b_shape, b)) = (floats(&a)?, floats(&b)?);
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (&a_shape[..], &b_shape[..]) else {
            return fail("its operands must be matrices");
        };
        let a = Matrix::new(a, a_rows, a_columns);
        let a = if trans_a { a.transposed() } else { a };
        let rows = if trans_a { a_columns } else { a_rows };
        let columns = if trans_b { b_rows } else { b_columns };
        let c = c.as_ref().map(floats).transpose()?;
        let further = whole(further.as_ref().map(floats).transpose()?, &[rows, columns])?;
        let (bias, addend) = match &c {
            // Multiplying by 1 changes nothing, and a bias is added in registers.
            Some((shape, data)) if beta == 1.0 && matches!(shape[..], [width] | [1, width] if width == columns) => {
                (Bias::Columns(data), further)
            }
            Some(_) if further.is_some() => return fail("two matrices are added"),
            Some((shape, data)) => (Bias::None, Some(addend(shape, data, [rows, columns], beta)?)),
            None => (Bias::None, further),
        };
        give(context, &[rows, columns], |output| {
            let epilogue = Epilogue { alpha, bias, addend, activation: finish.activation };
            match &packed {
                Some(packed) => gemm(context.parallel, a, packed, output, columns, &epilogue),
                None => {
                    let b = Matrix::new(b, b_rows, b_columns);
                    let packed = PackedMatrix::new(isa, if trans_b { b.transposed() } else { b });
                    gemm(context.parallel, a, &packed, output, columns, &epilogue);
                }
            }
            finish.apply(context, output);
        })
    }))
}

/// What is added, repeated to the size of the product.
fn addend<'a>(shape: &[usize], data: &'a [f32], size: [usize; 2], beta: f32) -> ort::Result<Addend<'a>> {
    let [row_stride, column_stride] = repeated(shape, size)?;
    Ok(Addend { data, row_stride, column_stride, beta })
}

/// Strides of rows and columns that repeat a tensor of this shape to that size.
pub(super) fn repeated(shape: &[usize], [rows, columns]: [usize; 2]) -> ort::Result<[usize; 2]> {
    let (height, width) = match *shape {
        [] => (1, 1),
        [width] => (1, width),
        [height, width] => (height, width),
        _ => return fail("what is added must be a matrix"),
    };
    if (height != 1 && height != rows) || (width != 1 && width != columns) {
        return fail(format!("{height} × {width} do not fit {rows} × {columns}"));
    }
    Ok([if height == 1 { 0 } else { width }, usize::from(width != 1)])
}
