//! The bits that kernels give in models: a hash for each family of them, the same on every architecture. Another hash means other bits,
//! which need another version of kernels or operators.

use crate::backend;
use crate::reproducible::{numbers, ours, tensor};
use crate::writer::{F32, I32, I64, Message, U8, floats, graph, int, ints, longs, node, opset, port, weight};
use std::collections::BTreeMap;

const I8: i64 = 3;

/// The size of each model's input `x`: some full tiles and vectors, and rests of them.
const X: [u32; 4] = [2, 4, 37, 45];

/// Zeros, infinities, NaNs of both kinds, and the largest, the least and subnormal numbers, which take some places of a second input.
const SPECIAL: [u32; 11] = [
    0,
    0x8000_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_1234,
    0x7f80_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    1,
    0x8040_0000,
];

/// A family, its operators, and the hash of all values whose names start with `y`. An operator's inputs are values, or weights as
/// `weight_of` says; `_` is one that is left out.
const FAMILIES: [(&str, &str, u64); 22] = [
    (
        "functions",
        "Acos x -> y1; Acosh x -> y2; Asin x -> y3; Asinh x -> y4; Atan x -> y5; Atanh x -> y6; Ceil x -> y7; Cos x -> y8;
        Cosh x -> y9; Erf x -> y10; Exp x -> y11; Floor x -> y12; HardSwish x -> y13; Log x -> y14; Mish x -> y15;
        Reciprocal x -> y16; Relu x -> y17; Round x -> y18; Sigmoid x -> y19; Sign x -> y20; Sin x -> y21; Sinh x -> y22;
        Softplus x -> y23; Softsign x -> y24; Sqrt x -> y25; Tan x -> y26; Tanh x -> y27; Gelu x -> y28",
        0xaa74_1cd2_ff19_b74c,
    ),
    (
        "functions with parameters",
        "Celu x -> y1 alpha=2.5; Elu x -> y2 alpha=0.3; Gelu x -> y3 approximate=tanh; HardSigmoid x -> y4 alpha=0.3;
        LeakyRelu x -> y5 alpha=0.1; Selu x -> y6; Shrink x -> y7 bias=0.2 lambd=0.7; ThresholdedRelu x -> y8 alpha=0.4;
        Clip x =-0.5 =2.0 -> y9; Pow x =2.0 -> y10; Pow x =0.5 -> y11; Pow x =-1.7 -> y12; Pow x [3] -> y13",
        0xa794_d969_35b7_b74e,
    ),
    (
        "broadcasting",
        "Max x f:45 -> y1; Min x f:37,1 -> y2; Sum x f:45 x -> y3; Mean x f:4,1,1 x -> y4; Mod x p:45 -> y5 fmod=1;
        Abs x -> a; Pow a f:45 -> y6; PRelu x f:4,1,1 -> y7",
        0xf685_d229_4b3e_e558,
    ),
    (
        "rows",
        "Softmax x -> y1; Softmax x -> y2 axis=1; LogSoftmax x -> y3; LogSoftmax x -> y4 axis=0;
        LayerNormalization x f:45 f:45 -> y5 y6 y7; RMSNormalization x f:45 -> y8; LpNormalization x -> y9 p=1;
        LpNormalization x -> y10 axis=1; MeanVarianceNormalization x -> y11; CumSum x [2] -> y12; CumSum x [-1] -> y13 reverse=1",
        0x84bc_30cc_b1ef_84b4,
    ),
    (
        "channels",
        "BatchNormalization x f:4 f:4 f:4 p:4 -> y1; InstanceNormalization x f:4 f:4 -> y2;
        GroupNormalization x f:4 f:4 -> y3 num_groups=2; LRN x -> y4 size=3 alpha=0.3 bias=0.5",
        0x2baf_1636_0632_1ce2,
    ),
    (
        "reductions",
        "ReduceL1 x [-1] -> y1; ReduceL2 x [-1] -> y2; Abs x -> a; ReduceLogSum a [-1] -> y3; ReduceLogSumExp x [1,2] -> y4;
        ReduceMax x [1] -> y5; ReduceMean x [0,3] -> y6; ReduceMin x [-1] -> y7; ReduceProd x [1] -> y8; ReduceSum x [2] -> y9;
        ReduceSum x [0,1,2,3] -> y10; ReduceSumSquare x [-1] -> y11; ReduceLogSumExp x [-1] -> y12",
        0x4273_35dd_32bc_dcfa,
    ),
    (
        "pools",
        "MaxPool x -> y1 i kernel_shape=[3,2] strides=[2,1] pads=[1,0,0,1]; Cast i -> y2 to=1;
        AveragePool x -> y3 kernel_shape=[3,3] pads=[1,1,1,1]; LpPool x -> y4 kernel_shape=[2,3] p=3;
        GlobalAveragePool x -> y5; GlobalMaxPool x -> y6; GlobalLpPool x -> y7 p=2",
        0x8eab_60eb_eb45_c433,
    ),
    (
        "order",
        "TopK x [7] -> y1 i; TopK x [2] -> y2 j axis=1 largest=0; Hardmax x -> y3; ArgMax x -> k axis=2; ArgMin x -> l axis=-1;
        Cast i -> y4 to=1; Cast j -> y5 to=1; Cast k -> y6 to=1; Cast l -> y7 to=1",
        0x6171_98bd_2500_344e,
    ),
    (
        "products",
        "MatMul x f:45,67 -> y1; Transpose x -> t perm=[0,1,3,2]; MatMul x t -> y2; MatMul t x -> y3; Reshape x [296,45] -> r;
        Gemm r f:67,45 f:67 -> y4 transB=1 alpha=0.5 beta=2.0; Gemm r r -> y5 transA=1; MatMul x f:45 -> y6",
        0xfad6_76cd_6440_cb24,
    ),
    (
        "ends of products",
        "MatMul x f:45,67 -> m; Add m f:67 -> n; Relu n -> y1; MatMul x f:45,45 -> o; Add o f:45 -> p; Add p x -> q; Gelu q -> y2;
        Conv x f:4,4,3,3 f:4 -> c pads=[1,1,1,1]; Add c x -> d; HardSwish d -> y3; Conv x f:6,4,1,1 f:6 -> e; Sigmoid e -> f;
        Mul e f -> y4; Conv x f:6,4,3,3 -> g; BatchNormalization g f:6 f:6 f:6 p:6 -> h; Clip h =0.0 =6.0 -> y5",
        0xf9ce_d23c_e493_d2a2,
    ),
    (
        "convolutions",
        "Conv x f:8,4,3,3 f:8 -> y1; Conv x f:6,2,3,2 f:6 -> y2 group=2 strides=[2,3] pads=[1,0,2,1];
        Conv x f:4,1,3,3 f:4 -> y3 group=4 pads=[1,1,1,1]; Conv x f:8,1,5,5 -> y4 group=4 strides=[2,2] dilations=[2,1];
        Conv x f:19,4,1,1 f:19 -> y5; Reshape x [2,4,1665] -> r; Conv r f:5,4,7 f:5 -> y6 strides=[3];
        Reshape x [2,4,5,9,37] -> s; Conv s f:3,4,2,3,3 -> y7",
        0xe53f_b2dc_e654_003e,
    ),
    (
        "transposed convolutions",
        "ConvTranspose x f:4,3,3,2 f:3 -> y1; ConvTranspose x f:4,1,3,2 f:2 -> y2 group=2 strides=[2,3] pads=[1,0,0,1];
        ConvTranspose x f:4,1,2,2 f:4 -> y3 group=4 strides=[2,2] output_padding=[1,0]; ConvTranspose x f:4,2,3,3 -> y4 dilations=[2,3]",
        0x957e_1291_7e11_d9d7,
    ),
    (
        "attention",
        "Transpose x -> k perm=[0,1,3,2]; MatMul x k -> s; Mul s =0.149 -> t; Add t f:37 -> u; Softmax u -> p; MatMul p x -> v;
        Transpose v -> y1 perm=[0,2,1,3]; MatMul x k -> z; Div z =8.0 -> a; Softmax a -> b; MatMul b x -> y2",
        0xce7d_464a_41fa_e00d,
    ),
    (
        "what is spelled out",
        "ReduceMean x [-1] -> m; Sub x m -> c; Pow c =2.0 -> q; ReduceMean q [-1] -> v; Add v =0.00001 -> e; Sqrt e -> r; Div c r -> n;
        Mul n f:45 -> s; Add s p:45 -> y1; Mul x x -> q2; ReduceMean q2 [-1] -> m2; Add m2 =0.00001 -> e2; Sqrt e2 -> r2;
        Div x r2 -> n2; Mul n2 f:45 -> y2; Div x =1.4142135 -> d; Erf d -> f; Add f =1.0 -> o; Mul x o -> h; Mul h =0.5 -> y3;
        Sigmoid x -> g; Mul x g -> y4",
        0xe447_204d_4407_19b8,
    ),
    (
        "LSTM",
        "Reshape x [37,8,45] -> s; LSTM s t:2,76,45 t:2,76,19 t:2,152 -> y1 y2 y3 hidden_size=19 direction=bidirectional;
        LSTM s t:1,76,45 t:1,76,19 t:1,152 _ t:1,8,19 t:1,8,19 t:1,57 -> y4 y5 y6 hidden_size=19 direction=reverse clip=0.7",
        0xc04b_41b0_404a_1a57,
    ),
    (
        "GRU and RNN",
        "Reshape x [37,8,45] -> s; GRU s t:2,57,45 t:2,57,19 t:2,114 -> y1 y2 hidden_size=19 direction=bidirectional;
        GRU s t:1,57,45 t:1,57,19 t:1,114 -> y3 y4 hidden_size=19 linear_before_reset=1;
        RNN s t:1,19,45 t:1,19,19 t:1,38 -> y5 y6 hidden_size=19",
        0x9d14_3c0d_1d56_3216,
    ),
    (
        "quantised tensors",
        "QuantizeLinear x =0.031 u: -> q; DequantizeLinear q =0.031 u: -> y1; QuantizeLinear x p:4 s:4 -> r axis=1;
        DequantizeLinear r p:4 s:4 -> y2 axis=1; DynamicQuantizeLinear x -> d y3 z; DequantizeLinear d y3 z -> y4;
        DequantizeLinear n:5,7 p:7 -> y5 axis=1",
        0x7686_97bb_a2e2_22ed,
    ),
    (
        "quantised products",
        "QuantizeLinear x =0.031 u: -> q; MatMulInteger q s:45,67 u: s:67 -> m; Cast m -> y1 to=1;
        QLinearMatMul q =0.031 u: s:45,67 p:67 s:67 =9.0 u: -> l; DequantizeLinear l =9.0 u: -> y2;
        ConvInteger q u:8,4,3,3 u: u: -> c; Cast c -> y3 to=1;
        QLinearConv q =0.031 u: s:8,4,3,3 p:8 s:8 =9.0 u: n:8 -> o pads=[1,1,1,1]; DequantizeLinear o =9.0 u: -> y4;
        QLinearConv q =0.031 u: s:4,1,3,3 p: s: =9.0 u: -> g group=4; DequantizeLinear g =9.0 u: -> y5",
        0xc45c_42a9_0f57_f89e,
    ),
    (
        "resize",
        "Resize x _ _ [2,4,50,23] -> y1; Resize x _ _ [2,4,50,23] -> y2 mode=linear; Resize x _ _ [2,4,50,23] -> y3 mode=cubic;
        Resize x _ _ [2,4,19,90] -> y4 mode=linear coordinate_transformation_mode=align_corners;
        Resize x _ _ [2,4,19,90] -> y5 mode=cubic coordinate_transformation_mode=asymmetric",
        0x7ff1_bdbc_a173_03e0,
    ),
    (
        "einsum",
        "Einsum x x -> y1 equation=bhid,bhjd->bhij; Einsum x f:4,45,7 -> y2 equation=bhid,hde->bie; Einsum x -> y3 equation=bhid->hd;
        Einsum x f:4,37 -> y4 equation=bhid,hi->bhid",
        0x8026_230b_81b7_1a08,
    ),
    (
        "scatter",
        "Reshape [1,0,0,3,1,0] [3,2] -> i; ScatterND x i f:3,37,45 -> y1 reduction=add; ScatterND x i f:3,37,45 -> y2 reduction=mul;
        ScatterND x i f:3,37,45 -> y3 reduction=max; Reshape [3,0,3,3] [2,2,1,1] -> j;
        ScatterElements x j f:2,2,1,1 -> y4 axis=1 reduction=min",
        0x3211_47dc_0d5b_e02e,
    ),
    (
        "halves and casts",
        "Cast x -> h to=10; Mul h h -> m; Transpose m -> t perm=[0,1,3,2]; MatMul h t -> p; Softmax p -> s; Cast s -> y1 to=1;
        Cast x -> b to=16; Exp b -> e; Cast e -> y2 to=1; Cast x -> i to=3; Cast i -> y3 to=1; Cast x -> j to=2; Cast j -> y4 to=1;
        Cast x -> k to=7; Cast k -> y5 to=1; Cast x -> l to=5; Cast l -> y6 to=1; Cast x -> n to=6; Cast n -> y7 to=1;
        Cast x -> o to=4; Cast o -> y8 to=1; Cast x -> q to=12; Cast q -> y9 to=1; Cast x -> r to=13; Cast r -> y10 to=1",
        0xf7a7_c7af_2802_e106,
    ),
];

fn list(text: &str) -> Option<Vec<i64>> {
    text.split(',').filter(|number| !number.is_empty()).map(|number| number.parse().ok()).collect()
}

fn in_brackets(text: &str) -> Option<Vec<i64>> {
    text.strip_prefix('[')?.strip_suffix(']').and_then(list)
}

/// `[1,2]` are integers, `=0.5` is one number; `f:3,4` are random floats of that shape, `t:` tenths of them, `p:` positive ones, `u:` and
/// `s:` bytes without and with a sign, and `n:` 32-bit integers.
fn weight_of(name: &str) -> Option<Message> {
    if let Some(numbers) = in_brackets(name) {
        return Some(weight(name, I64, &[numbers.len() as i64], &longs(&numbers)));
    }
    if let Some(number) = name.strip_prefix('=') {
        return Some(weight(name, F32, &[], &floats(&[number.parse().unwrap()])));
    }
    let (kind, shape) = name.split_once(':')?;
    let shape = list(shape).unwrap();
    let numbers = numbers(shape.iter().product::<i64>() as usize);
    let (element_type, data) = match kind {
        "f" => (F32, floats(&numbers)),
        "t" => (F32, floats(&numbers.iter().map(|number| number * 0.1).collect::<Vec<_>>())),
        "p" => (F32, floats(&numbers.iter().map(|number| number.abs() + 0.5).collect::<Vec<_>>())),
        "u" => (U8, numbers.iter().map(|number| (number * 31.0) as i8 as u8 ^ 0x80).collect()),
        "s" => (I8, numbers.iter().map(|number| (number * 31.0) as i8 as u8).collect()),
        "n" => (I32, numbers.iter().flat_map(|number| ((number * 1000.0) as i32).to_le_bytes()).collect()),
        _ => panic!("{name}"),
    };
    Some(weight(name, element_type, &shape, &data))
}

fn attribute(name: &str, value: &str) -> Message {
    if let Some(numbers) = in_brackets(value) {
        return ints(name, &numbers);
    }
    let message = Message::default().bytes(1, name);
    match (value.parse(), value.parse()) {
        (Ok(number), _) => int(name, number),
        (_, Ok(number)) => message.fixed(2, number).int(20, 1),
        _ => message.bytes(4, value).int(20, 3),
    }
}

/// The model of these operators. Its outputs are made flat.
fn model_of(operators: &str) -> Vec<u8> {
    let (mut nodes, mut weights, mut outputs) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut add = |operator: &str, inputs: &[&str], to: &[&str], attributes: Vec<Message>| {
        weights.extend(inputs.iter().filter_map(|name| Some((name.to_string(), weight_of(name)?))));
        nodes.push(node(operator, inputs, to).all(5, attributes));
    };
    for operator in operators.split(';') {
        let (left, right) = operator.split_once(" -> ").unwrap();
        let left: Vec<_> = left.split_whitespace().map(|name| if name == "_" { "" } else { name }).collect();
        let (to, attributes): (Vec<_>, Vec<_>) = right.split_whitespace().partition(|word| !word.contains('='));
        let attributes = attributes.iter().filter_map(|word| word.split_once('='));
        add(left[0], &left[1..], &to, attributes.map(|(name, value)| attribute(name, value)).collect());
        for value in to.into_iter().filter(|value| value.starts_with('y')) {
            let flat = format!("flat {value}");
            add("Reshape", &[value, "[-1]"], &[&flat], vec![]);
            outputs.push(port(&flat, F32, &[-1]));
        }
    }
    let weights: Vec<_> = weights.into_values().collect();
    let graph = graph(&nodes, &weights, &[port("x", F32, &X.map(i64::from))], &outputs);
    Message::default().int(1, 10).message(7, graph).message(8, opset("", 23)).0
}

#[test]
fn bits_are_those_of_this_version() {
    let Some(library) = backend() else { return };
    let ordinary = numbers(X.iter().product::<u32>() as usize);
    let mut special = ordinary.clone();
    special.iter_mut().step_by(1201).zip(SPECIAL).for_each(|(x, bits)| *x = f32::from_bits(bits));
    let mut other = String::new();
    for (family, operators, expected) in FAMILIES {
        let onnx = model_of(operators);
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for x in [&ordinary, &special] {
            for output in ours(&library, &onnx, &[tensor(&X, x)]) {
                let bytes = output.data().iter();
                hash = bytes.fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            }
        }
        if hash != expected {
            other += &format!("{family}: {hash:#018x}\n");
        }
    }
    assert_eq!(other, "", "these families have other bits");
}
