//! The operators that models may use.
//!
//! Each has a rule for the shape of its results and for its work. Left out are operators that draw random numbers, that run
//! other graphs, or whose results have a size that only a run shows.

use super::cost::COSTLY;
use super::shape::{Call, Dim, Effect, Inferred, Value, broadcast, elementwise};
use super::{constant, einsum, movement, products, types};
use crate::text::quoted;

pub(super) fn infer(call: &Call<'_>, ml: bool) -> Inferred {
    match call.node.domain {
        "" | "ai.onnx" => standard(call),
        "ai.onnx.ml" if ml => classic(call),
        "ai.onnx.ml" => Err("the model does not declare the operator set ai.onnx.ml".to_owned()),
        domain => Err(format!("domain {} is not supported; only ai.onnx and ai.onnx.ml are", quoted(domain))),
    }
}

/// Operators of `ai.onnx`, by the shape of what they give.
fn standard(call: &Call<'_>) -> Inferred {
    match call.node.operator {
        // The first input's shape.
        "Abs" | "BitwiseNot" | "CastLike" | "Ceil" | "Clip" | "DequantizeLinear" | "Floor" | "HardSigmoid"
        | "HardSwish" | "IsInf" | "IsNaN" | "LeakyRelu" | "Neg" | "Not" | "Reciprocal" | "Relu" | "Round"
        | "Shrink" | "Sign" | "Sqrt" | "ThresholdedRelu" | "Trilu" => elementwise(call, 1),
        // Scales along an inner axis are looked up for each element.
        "QuantizeLinear" => elementwise(call, 8),
        "ScatterElements" | "ScatterND" => movement::scatter(call),
        "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "Celu"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Gelu"
        | "GroupNormalization"
        | "Hardmax"
        | "InstanceNormalization"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "RMSNormalization"
        | "Selu"
        | "Sigmoid"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Tan"
        | "Tanh" => elementwise(call, COSTLY),
        "BatchNormalization" if call.int("training_mode", 0)? != 0 => Err("it is in training mode".to_owned()),
        "BatchNormalization" => elementwise(call, 4),
        "Cast" | "Identity" => constant::copy(call),
        "Dropout" if call.optional(2).is_some() => Err("it may be in training mode; export for inference".to_owned()),
        "Dropout" => elementwise(call, 1),
        "DynamicQuantizeLinear" => {
            let mut effect = elementwise(call, 4)?;
            effect.outputs.extend([Value::of(Vec::new()), Value::of(Vec::new())]);
            Ok(effect)
        }
        "LayerNormalization" => movement::layer_normalization(call),
        // A sum over some channels, and a power of it.
        "LRN" => elementwise(call, 2 * COSTLY + window(call.int("size", 0)?)?),

        // The common shape of all inputs.
        "Add" => constant::arithmetic(call, i64::checked_add),
        "Div" => {
            types::check_division(call)?;
            constant::arithmetic(call, i64::checked_div)
        }
        "Equal" => constant::arithmetic(call, |a, b| Some(i64::from(a == b))),
        "Mul" => constant::arithmetic(call, i64::checked_mul),
        "Sub" => constant::arithmetic(call, i64::checked_sub),
        "Where" => constant::choose(call),
        "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Greater" | "GreaterOrEqual" | "Less"
        | "LessOrEqual" | "Max" | "Mean" | "Min" | "Or" | "PRelu" | "Sum" | "Xor" => broadcast(call, 1),
        "Mod" => {
            types::check_division(call)?;
            broadcast(call, COSTLY)
        }
        "Pow" => broadcast(call, COSTLY),

        // Products and windows.
        "AveragePool" | "LpPool" | "MaxPool" => products::pool(call),
        "Conv" | "ConvInteger" => products::convolution(call, 0, 1),
        "ConvTranspose" => products::transposed_convolution(call),
        "Einsum" => einsum::infer(call),
        "GRU" => products::recurrent(call, 3, 1),
        "Gemm" => products::gemm(call),
        "LSTM" => products::recurrent(call, 4, 2),
        "MatMul" | "MatMulInteger" => products::matmul(call, 0, 1),
        "QLinearConv" => products::convolution(call, 0, 3),
        "QLinearMatMul" => products::matmul(call, 0, 3),
        "RNN" => products::recurrent(call, 1, 1),

        // Fewer or other dimensions.
        "ArgMax" | "ArgMin" => movement::reduce_one(call),
        "Concat" => movement::concat(call),
        "DepthToSpace" => movement::blocks(call, true),
        "Expand" => movement::expand(call),
        "Flatten" => movement::flatten(call),
        "Gather" => movement::gather(call),
        "GatherElements" => movement::gather_elements(call),
        "GatherND" => movement::gather_nd(call),
        "GlobalAveragePool" | "GlobalMaxPool" => movement::global_pool(call, 1),
        "GlobalLpPool" => movement::global_pool(call, COSTLY),
        "OneHot" => movement::one_hot(call),
        "Pad" => movement::pad(call),
        "ReduceL1" | "ReduceL2" | "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum"
        | "ReduceSumSquare" => movement::reduce(call, 1),
        "ReduceLogSum" | "ReduceLogSumExp" => movement::reduce(call, COSTLY),
        "Reshape" => movement::reshape(call),
        "Resize" => movement::resize(call),
        "Slice" => movement::slice(call),
        "SpaceToDepth" => movement::blocks(call, false),
        "Split" => movement::split(call),
        "Squeeze" => movement::squeeze(call),
        "Tile" => movement::tile(call),
        "TopK" => movement::top_k(call),
        "Transpose" => movement::transpose(call),
        "Unsqueeze" => movement::unsqueeze(call),

        // Shapes and constants.
        "Constant" => constant::constant(call),
        "ConstantOfShape" => constant::filled(call),
        "Range" => constant::range(call),
        "Shape" => constant::shape(call),
        "Size" => constant::size(call),

        "Bernoulli" | "Multinomial" | "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" => {
            Err("it draws random numbers, and results must be the same everywhere; pass them as an input".to_owned())
        }
        _ => Err("it is not among the supported operators; replace or fold it before exporting".to_owned()),
    }
}

/// Operators of `ai.onnx.ml`: rows of features in, rows of scores out.
fn classic(call: &Call<'_>) -> Inferred {
    let input = call.input(0)?;
    let rows = match input.shape[..] {
        [_] => Dim::ONE,
        [rows, _] => rows,
        _ => return Err("it takes rows of features".to_owned()),
    };
    let scores = |count: u64| Value::of(vec![rows, Dim::exact(count)]);
    let classes =
        || call.count("classlabels_ints").max(call.count("classlabels_int64s")).max(call.count("classlabels_strings"));
    let labelled = |work: u64| {
        let steps = rows.size.saturating_mul(work);
        Ok(Effect { outputs: vec![Value::of(vec![rows]), scores(classes())], products: 0, steps })
    };
    match call.node.operator {
        "Binarizer" | "Normalizer" | "Scaler" => elementwise(call, 4),
        "LinearClassifier" => labelled(call.count("coefficients")),
        "LinearRegressor" => {
            let targets = window(call.int("targets", 1)?)?;
            Ok(Effect::products(scores(targets), rows.size.saturating_mul(call.count("coefficients"))))
        }
        // No more steps than there are nodes, all trees together.
        "TreeEnsembleClassifier" => labelled(call.count("nodes_nodeids")),
        "TreeEnsembleRegressor" => {
            let targets = window(call.int("n_targets", 1)?)?;
            Ok(Effect::steps(scores(targets), rows.size.saturating_mul(call.count("nodes_nodeids"))))
        }
        _ => Err("it is not among the supported operators of ai.onnx.ml".to_owned()),
    }
}

/// A count from an attribute.
fn window(count: i64) -> Inferred<u64> {
    match count {
        1..=1_000_000 => Ok(count.unsigned_abs()),
        _ => Err(format!("{count} is not a usable size")),
    }
}
