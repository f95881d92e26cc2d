//! Products of matrices.

use crate::{Activation, Bias, Epilogue};

/// The sum of products as all kernels compute it: in blocks of 256, each a chain of fused multiply-adds in increasing order
/// starting from +0.0; the sums of blocks are added from the first to the last. Of no products it is +0.0.
pub fn sum_of_products(count: usize, product: impl Fn(usize) -> (f32, f32)) -> f32 {
    let mut total = None;
    for block in (0..count).step_by(256) {
        let mut sum = 0.0f32;
        for index in block..count.min(block + 256) {
            let (left, right) = product(index);
            sum = left.mul_add(right, sum);
        }
        total = Some(match total {
            None => sum,
            Some(total) => total + sum,
        });
    }
    total.unwrap_or(0.0)
}

/// What becomes of a sum at a row and column, see [`Epilogue`].
pub fn epilogue(sum: f32, epilogue: &Epilogue<'_>, row: usize, column: usize) -> f32 {
    let mut y = epilogue.alpha * sum;
    match epilogue.bias {
        Bias::None => {}
        Bias::Rows(bias) => y += bias[row],
        Bias::Columns(bias) => y += bias[column],
    }
    if let Some(addend) = epilogue.addend {
        y += addend.beta * addend.data[row * addend.row_stride + column * addend.column_stride];
    }
    match epilogue.activation {
        Activation::Identity => y,
        Activation::Relu if 0.0 > y => 0.0,
        Activation::Relu => y,
        Activation::Clip { low, high } => {
            let raised = if low > y { low } else { y };
            if high < raised { high } else { raised }
        }
    }
}

/// `epilogue(a × b)` for row-major `a` (`rows × depth`) and `b` (`depth × columns`).
pub fn gemm([rows, depth, columns]: [usize; 3], a: &[f32], b: &[f32], end: &Epilogue<'_>) -> Vec<f32> {
    let mut output = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let sum = sum_of_products(depth, |k| (a[row * depth + k], b[k * columns + column]));
            output.push(epilogue(sum, end, row, column));
        }
    }
    output
}
