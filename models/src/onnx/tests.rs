//! Good and bad files. The library is not needed for any of this.

#[path = "../../tests/it/writer.rs"]
mod writer;

use super::*;
use crate::ElementType;
use writer::{
    F16, F32, F64, I32, I64, Message, U8, floats, graph, int, ints, longs, model, node, one, opset, port, weight,
};

const DIGITS: &[u8] = include_bytes!("../../zoo/digits/digits.onnx");

fn refusal(onnx: &[u8]) -> String {
    match inspect(onnx) {
        Err(LoadError::Invalid { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// The shape that one operator gives to inputs and weights, or why it is refused.
fn shape(node: Message, weights: &[Message], inputs: &[Message], rank: usize) -> Result<Vec<Option<u32>>, String> {
    let onnx = model(graph(&[node], weights, inputs, &[port("y", F32, &vec![-1; rank])])).0;
    match inspect(&onnx) {
        Ok(info) => Ok(info.outputs[0].shape.clone()),
        Err(LoadError::Invalid { reason } | LoadError::Backend { reason }) => Err(reason),
    }
}

fn sizes(sizes: &[u32]) -> Result<Vec<Option<u32>>, String> {
    Ok(sizes.iter().copied().map(Some).collect())
}

#[test]
fn the_digits_model_is_what_its_card_says() {
    let info = inspect(DIGITS).unwrap();
    let spec = |name: &str, shape: &[u32]| TensorSpec {
        name: name.to_owned(),
        element_type: ElementType::F32,
        shape: shape.iter().copied().map(Some).collect(),
    };
    assert_eq!(info.inputs, [spec("image", &[1, 1, 8, 8])]);
    assert_eq!(info.outputs, [spec("logits", &[1, 10])]);
    assert_eq!((info.nodes, info.weight_bytes), (8, 6090 * 4));
    // 10,000 for the run, 8 × 1,000 for the operators, an eighth of 9,216 + 73,728 + 1,280 products, 4 × (256 + 128) steps of
    // pooling, a step per element of both activations, and the elements read and written.
    let touched = (64 + 160 + 1024) + 2 * 1024 + (1024 + 256) + (256 + 4640 + 512) + 2 * 512 + (512 + 128) + 2 * 128;
    let dense = 128 + 1280 + 10 + 10;
    let steps = 4 * (256 + 128) + 1024 + 512;
    assert_eq!(VERSION, 1, "another version has other prices");
    assert_eq!(info.fuel, 10_000 + 8 * 1_000 + (9_216 + 73_728 + 1_280) / 8 + steps + touched + dense);
}

#[test]
fn every_prefix_and_every_flipped_byte_of_a_model_is_handled() {
    for end in 0..DIGITS.len() {
        if let Ok(info) = inspect(&DIGITS[..end]) {
            panic!("a prefix of {end} bytes was taken for {info:?}");
        }
    }
    // Whatever the outcome, it is an outcome; weights may change freely, structure may not break anything.
    let structure = (0..600).chain(DIGITS.len() - 200..DIGITS.len());
    for position in structure {
        for bit in 0..8 {
            let mut changed = DIGITS.to_vec();
            changed[position] ^= 1 << bit;
            let _ = inspect(&changed);
        }
    }
}

#[test]
fn what_is_not_onnx_is_refused() {
    for bytes in [&b""[..], b"ORTM\0\0\0\0", b"\x89PNG\r\n\x1a\n", b"{\"graph\": 1}", &[0x3a, 0xff, 0xff, 0xff, 0x7f]] {
        let reason = refusal(bytes);
        assert!(reason.contains("ONNX file"), "{reason}");
    }
    assert!(refusal(&vec![0; MAX_MODEL_BYTES + 1]).contains("536870912 are allowed"));
}

#[test]
fn each_rule_for_files_has_its_sentence() {
    let (x, y) = (port("x", F32, &[2, 3]), port("y", F32, &[2, 3]));
    let relu = node("Relu", &["x"], &["y"]);
    let good = graph(std::slice::from_ref(&relu), &[], std::slice::from_ref(&x), std::slice::from_ref(&y));
    assert!(inspect(&model(good.clone()).0).is_ok());
    let with_weight =
        |weight| graph(std::slice::from_ref(&relu), &[weight], std::slice::from_ref(&x), std::slice::from_ref(&y));
    let with_node = |node| graph(&[node], &[], std::slice::from_ref(&x), std::slice::from_ref(&y));
    let with_input = |input| graph(std::slice::from_ref(&relu), &[], &[input], std::slice::from_ref(&y));
    let attribute = |attribute| model(with_node(relu.clone().message(5, attribute)));
    let header =
        |ir, opsets: &[Message]| Message::default().int(1, ir).message(7, good.clone()).all(8, opsets.iter().cloned());
    let deep: Vec<_> = (0..=MAX_DEPTH).map(|i| node("Relu", &[&format!("v{i}")], &[&format!("v{}", i + 1)])).collect();

    let cases: Vec<(Message, &str)> = vec![
        // The file.
        (header(3, &[opset("", 17)]), "IR version is 3"),
        (header(99, &[opset("", 17)]), "IR version is 99"),
        (header(8, &[opset("", 12)]), "operator set 12 of ai.onnx"),
        (header(8, &[opset("", 27)]), "operator set 27 of ai.onnx"),
        (header(8, &[]), "operator set 0 of ai.onnx"),
        (header(8, &[opset("", 17), opset("ai.onnx", 17)]), "comes twice"),
        (header(8, &[opset("", 17), opset("ai.onnx.ml", 9)]), "operator set 9 of ai.onnx.ml"),
        (model(good.clone()).message(7, good.clone()), "comes twice"),
        (model(good.clone()).message(20, Message::default()), "training"),
        (model(good.clone()).message(25, Message::default()), "inline_local_functions"),
        (model(graph(&[], &[], &[], &[])), "no inputs or no outputs"),
        (model(good.clone().message(15, Message::default())), "sparse"),
        // Names.
        (
            model(graph(&[relu.clone(), relu.clone()], &[], std::slice::from_ref(&x), std::slice::from_ref(&y))),
            "'y' is defined twice",
        ),
        (model(with_node(node("Relu", &["z"], &["y"]))), "'z' is not defined before it"),
        (model(graph(&[], &[], std::slice::from_ref(&x), std::slice::from_ref(&y))), "'y' is not computed"),
        (model(with_weight(weight("x", F32, &[1], &[0; 4]))), "'x' is defined twice"),
        (model(with_node(node("Relu", &["x"], &["y"]).bytes(2, [0xff]))), "UTF-8"),
        // Inputs and outputs.
        (model(with_input(port("x", 9, &[2, 3]))), "type that tasks cannot hold"),
        (model(with_input(port("x", F32, &[2, 0]))), "dimension of size 0"),
        (model(with_input(port("x", F32, &[2, i64::MAX]))), "dimension of size"),
        (model(with_input(port("x", F32, &[1; 9]))), "more than 8 dimensions"),
        (model(with_input(port("x", F32, &[2, 4]))), "another shape than declared"),
        (model(with_input(Message::default().bytes(1, "x"))), "not a tensor"),
        (
            model(with_input(
                Message::default().bytes(1, "x").message(2, Message::default().message(4, Message::default())),
            )),
            "not a tensor",
        ),
        (
            model(with_input(
                Message::default().bytes(1, "x").message(2, Message::default().message(1, Message::default())),
            )),
            "has no shape",
        ),
        // Weights.
        (model(with_weight(weight("w", F32, &[2], &[0; 7]))), "not as much data"),
        (model(with_weight(weight("w", F32, &[2], &[0; 8]).int(4, 0))), "wrong type"),
        (model(with_weight(weight("w", F32, &[2], &[0; 8]).bytes(4, [0; 4]))), "not as much data"),
        (model(with_weight(weight("w", I64, &[-1], &[]))), "negative dimension"),
        (model(with_weight(weight("w", 8, &[0], &[]))), "element type 8"),
        (model(with_weight(weight("w", F32, &[1 << 20, 1 << 20], &[]))), "more than 134217728 elements"),
        (model(with_weight(weight("w", F32, &[i64::MAX; 8], &[]))), "more than 134217728 elements"),
        (model(with_weight(weight("w", F32, &[0], &[]).int(14, 1))), "other files"),
        (model(with_weight(weight("w", F32, &[0], &[]).message(13, Message::default()))), "other files"),
        (model(with_weight(weight("w", F32, &[0], &[]).message(3, Message::default()))), "segments"),
        // Operators.
        (model(with_node(node("RandomNormalLike", &["x"], &["y"]))), "random numbers"),
        (model(with_node(node("Loop", &["x"], &["y"]))), "not among the supported"),
        (model(with_node(node("Relu", &["x"], &["y"]).bytes(7, "com.microsoft"))), "domain 'com.microsoft'"),
        (model(with_node(node("Scaler", &["x"], &["y"]).bytes(7, "ai.onnx.ml"))), "does not declare"),
        (model(with_node(node("Relu", &["x"], &["y"]).bytes(8, "v2"))), "overloaded"),
        (model(with_node(node("Relu", &[], &["y"]))), "input 0 is missing"),
        (model(with_node(node("Relu", &["x"], &["y", "mask"]))), "first 1 outputs"),
        (attribute(int("a", 1).message(6, Message::default())), "control flow"),
        (attribute(int("a", 1).int(20, 1)), "comes twice"),
        (attribute(int("a", 1).bytes(4, "s")), "one value of its type"),
        (attribute(int("a", 1).int(8, 3)), "one value of its type"),
        (attribute(Message::default().bytes(1, "a").int(3, 1)), "one value of its type"),
        (attribute(Message::default().bytes(1, "a").bytes(21, "outer").int(20, 2)), "inline its functions"),
        (model(with_node(relu.clone().message(5, int("a", 1)).message(5, int("a", 2)))), "comes twice"),
        // Size.
        (
            model(graph(&vec![relu.clone(); MAX_NODES + 1], &[], std::slice::from_ref(&x), std::slice::from_ref(&y))),
            "more than 16384 operators",
        ),
        (
            model(graph(&deep, &[], &[port("v0", F32, &[1])], &[port(&format!("v{}", MAX_DEPTH + 1), F32, &[1])])),
            "more than 4096 of its operators depend",
        ),
        (model(with_node((0..=256).fold(relu.clone(), |node, _| node.bytes(1, "")))), "more than 256 inputs"),
        (
            model(with_node((0..=32).fold(relu.clone(), |node, i| node.message(5, int(&i.to_string(), 1))))),
            "more than 32 attributes",
        ),
        (
            model(graph(std::slice::from_ref(&relu), &[], &vec![x.clone(); 65], std::slice::from_ref(&y))),
            "more than 64 inputs",
        ),
    ];
    for (file, part) in cases {
        let reason = refusal(&file.0);
        assert!(reason.contains(part), "expected '{part}' in: {reason}");
        assert!(reason.len() <= MAX_REASON + 3);
    }
}

#[test]
fn results_that_are_too_large_are_refused() {
    let expand = |target: &[i64]| {
        let weights = [weight("shape", I64, &[target.len() as i64], &longs(target))];
        shape(node("Expand", &["x", "shape"], &["y"]), &weights, &[port("x", F32, &[1])], target.len())
    };
    assert_eq!(expand(&[1 << 13, 1 << 14]), sizes(&[1 << 13, 1 << 14]));
    assert!(expand(&[1 << 14, 1 << 14]).unwrap_err().contains("134217728"));
    assert!(expand(&[i64::MAX, i64::MAX]).unwrap_err().contains("134217728"));

    // Each step is small enough, all together are not.
    let grow: Vec<_> = (0..6).map(|i| node("Expand", &["x", "shape"], &[&format!("y{i}")])).collect();
    let target = weight("shape", I64, &[1], &longs(&[1 << 27]));
    let onnx = model(graph(&grow, &[target], &[port("x", F32, &[1])], &[port("y5", F32, &[1 << 27])]));
    assert!(refusal(&onnx.0).contains("536870912 elements"));
}

#[test]
fn shapes_are_inferred() {
    let x = |shape: &[i64]| vec![port("x", F32, shape)];
    let f32s = |name, shape: &[i64]| weight(name, F32, shape, &vec![0; 4 * shape.iter().product::<i64>() as usize]);
    let i64s = |name, values: &[i64]| weight(name, I64, &[values.len() as i64], &longs(values));
    let conv = |attributes: &[Message], x_shape: &[i64], w_shape: &[i64]| {
        shape(
            node("Conv", &["x", "w"], &["y"]).all(5, attributes.iter().cloned()),
            &[f32s("w", w_shape)],
            &x(x_shape),
            4,
        )
    };
    assert_eq!(conv(&[], &[1, 3, 9, 8], &[5, 3, 3, 3]), sizes(&[1, 5, 7, 6]));
    assert_eq!(
        conv(&[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])], &[1, 3, 9, 8], &[5, 3, 3, 3]),
        sizes(&[1, 5, 5, 4])
    );
    assert_eq!(conv(&[ints("dilations", &[2, 3])], &[1, 3, 9, 8], &[5, 3, 3, 3]), sizes(&[1, 5, 5, 2]));
    assert_eq!(conv(&[int("group", 3)], &[1, 6, 9, 8], &[6, 2, 1, 1]), sizes(&[1, 6, 9, 8]));
    assert!(conv(&[], &[1, 4, 9, 8], &[5, 3, 3, 3]).unwrap_err().contains("multiplies 4 by 3"));
    assert!(conv(&[], &[1, 3, 2, 8], &[5, 3, 3, 3]).unwrap_err().contains("larger than its image"));
    assert!(conv(&[ints("strides", &[0, 1])], &[1, 3, 9, 8], &[5, 3, 3, 3]).unwrap_err().contains("zero"));
    assert!(conv(&[ints("pads", &[-1, 0, 0, 0])], &[1, 3, 9, 8], &[5, 3, 3, 3]).is_err());
    assert!(conv(&[ints("kernel_shape", &[2, 2])], &[1, 3, 9, 8], &[5, 3, 3, 3]).is_err());

    let pool = |attributes: &[Message], shape_in: &[i64]| {
        shape(node("MaxPool", &["x"], &["y"]).all(5, attributes.iter().cloned()), &[], &x(shape_in), 4)
    };
    let window = [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    assert_eq!(pool(&window, &[1, 2, 5, 4]), sizes(&[1, 2, 2, 2]));
    assert_eq!(pool(&[&window[..], &[int("ceil_mode", 1)]].concat(), &[1, 2, 5, 4]), sizes(&[1, 2, 3, 2]));

    let two = |operator: &str, a: &[i64], b: &[i64], rank| {
        shape(node(operator, &["x", "w"], &["y"]), &[f32s("w", b)], &x(a), rank)
    };
    assert_eq!(two("MatMul", &[7, 1, 2, 3], &[5, 3, 4], 4), sizes(&[7, 5, 2, 4]));
    assert_eq!(two("MatMul", &[3], &[3, 4], 1), sizes(&[4]));
    assert_eq!(two("MatMul", &[2, 3], &[3], 1), sizes(&[2]));
    assert_eq!(two("Add", &[2, 1, 4], &[3, 1], 3), sizes(&[2, 3, 4]));
    assert_eq!(two("Add", &[-1, 4], &[1, 4], 2), Ok(vec![None, Some(4)]));
    assert_eq!(two("Add", &[-1, 4], &[3, 4], 2), sizes(&[3, 4]));
    assert!(two("Add", &[2, 3], &[4], 2).unwrap_err().contains("do not fit"));
    assert!(two("MatMul", &[2, 3], &[4, 5], 2).unwrap_err().contains("multiplies 3 by 4"));

    let with = |operator: &str, attributes: &[Message], weights: &[Message], shape_in: &[i64], rank| {
        let names = ["x", "a", "b", "c", "d"];
        let call = node(operator, &names[..=weights.len()], &["y"]).all(5, attributes.iter().cloned());
        shape(call, weights, &x(shape_in), rank)
    };
    assert_eq!(with("Reshape", &[], &[i64s("a", &[0, -1])], &[2, 3, 4], 2), sizes(&[2, 12]));
    assert_eq!(with("Reshape", &[], &[i64s("a", &[0, -1])], &[-1, 3, 4], 2), Ok(vec![None, Some(12)]));
    assert_eq!(with("Reshape", &[], &[i64s("a", &[-1, 4])], &[-1, 3, 4], 2), Ok(vec![None, Some(4)]));
    assert!(with("Reshape", &[], &[i64s("a", &[5, -1])], &[2, 3, 4], 2).unwrap_err().contains("do not fit"));
    assert_eq!(with("Transpose", &[ints("perm", &[2, 0, 1])], &[], &[2, 3, 4], 3), sizes(&[4, 2, 3]));
    assert!(with("Transpose", &[ints("perm", &[0, 0, 1])], &[], &[2, 3, 4], 3).is_err());
    assert_eq!(with("Flatten", &[], &[], &[2, 3, 4], 2), sizes(&[2, 12]));
    assert_eq!(with("Squeeze", &[], &[i64s("a", &[-2])], &[2, 1, 4], 2), sizes(&[2, 4]));
    assert_eq!(with("Unsqueeze", &[], &[i64s("a", &[0, 3])], &[2, 4], 4), sizes(&[1, 2, 4, 1]));
    assert_eq!(
        with("Slice", &[], &[i64s("a", &[1]), i64s("b", &[i64::MAX]), i64s("c", &[1])], &[2, 5], 2),
        sizes(&[2, 4])
    );
    assert_eq!(with("Slice", &[], &[i64s("a", &[-10]), i64s("b", &[5])], &[-1], 1), Ok(vec![None]));
    assert_eq!(with("Gather", &[int("axis", 1)], &[i64s("a", &[0, 0])], &[2, 5, 3], 3), sizes(&[2, 2, 3]));
    assert_eq!(with("Pad", &[], &[i64s("a", &[0, 1, 2, 3])], &[2, 5], 2), sizes(&[4, 9]));
    assert_eq!(with("Tile", &[], &[i64s("a", &[2, 3])], &[2, 5], 2), sizes(&[4, 15]));
    assert_eq!(with("ReduceMean", &[ints("axes", &[-1])], &[], &[2, 5], 2), sizes(&[2, 1]));
    assert_eq!(with("ReduceSum", &[int("keepdims", 0)], &[], &[2, 5], 0), sizes(&[]));
    assert_eq!(with("ArgMax", &[int("axis", 1), int("keepdims", 0)], &[], &[2, 5], 1), sizes(&[2]));
    assert_eq!(with("GlobalAveragePool", &[], &[], &[2, 5, 7, 7], 4), sizes(&[2, 5, 1, 1]));
    assert_eq!(with("TopK", &[], &[i64s("a", &[3])], &[2, 5], 2), sizes(&[2, 3]));
    assert_eq!(with("DepthToSpace", &[int("blocksize", 2)], &[], &[1, 8, 3, 3], 4), sizes(&[1, 2, 6, 6]));
    let scales = [weight("a", F32, &[0], &[]), weight("b", F32, &[4], &floats(&[1.0, 1.0, 2.0, 1.5]))];
    assert_eq!(with("Resize", &[], &scales, &[1, 2, 3, 3], 4), sizes(&[1, 2, 6, 4]));
    let halves = node("Split", &["x"], &["y", "z"]).message(5, int("axis", 1));
    assert_eq!(shape(halves, &[], &x(&[2, 6]), 2), sizes(&[2, 3]));
    let lstm = node("LSTM", &["x", "w", "r"], &["y"]);
    let weights = [f32s("w", &[2, 12, 5]), f32s("r", &[2, 12, 3])];
    assert_eq!(shape(lstm, &weights, &x(&[7, 1, 5]), 4), sizes(&[7, 2, 1, 3]));
}

#[test]
fn results_that_grow_are_inferred_and_bounded() {
    let filter = |shape: &[i64]| weight("w", F32, shape, &vec![0; 4 * shape.iter().product::<i64>() as usize]);
    let transposed = |attributes: &[Message], image: &[i64], kernel: &[i64]| {
        let conv = node("ConvTranspose", &["x", "w"], &["y"]).all(5, attributes.iter().cloned());
        shape(conv, &[filter(&[&[1, 1], kernel].concat())], &[port("x", F32, &[&[1, 1], image].concat())], 4)
    };
    let text = |name: &str, value: &str| Message::default().bytes(1, name).bytes(4, value).int(20, 3);
    let strides = ints("strides", &[2, 3]);
    assert_eq!(transposed(&[], &[5, 4], &[3, 2]), sizes(&[1, 1, 7, 5]));
    let padded = [strides.clone(), ints("pads", &[1, 0, 0, 1]), ints("output_padding", &[1, 2])];
    assert_eq!(transposed(&padded, &[5, 4], &[3, 2]), sizes(&[1, 1, 11, 12]));
    let same = [strides.clone(), text("auto_pad", "SAME_UPPER")];
    assert_eq!(transposed(&same, &[5, 4], &[3, 2]), sizes(&[1, 1, 10, 12]));
    assert_eq!(transposed(&[strides.clone(), text("auto_pad", "VALID")], &[5, 4], &[3, 2]), sizes(&[1, 1, 11, 11]));
    let wanted = |sizes: &[i64]| transposed(&[strides.clone(), ints("output_shape", sizes)], &[5, 4], &[3, 2]);
    assert_eq!(wanted(&[9, 12]), sizes(&[1, 1, 9, 12]));
    assert!(wanted(&[9, 15]).unwrap_err().contains("larger than what its input reaches"));
    assert!(transposed(&[ints("output_padding", &[3, 0])], &[5, 4], &[3, 2]).unwrap_err().contains("output padding"));
    assert!(transposed(&[text("auto_pad", "SOME")], &[5, 4], &[3, 2]).unwrap_err().contains("'auto_pad' is unknown"));

    // Each of 64 × 64 results meets all of the kernel.
    let onnx = one(
        node("ConvTranspose", &["x", "w"], &["y"]),
        &[filter(&[1, 1, 64, 64])],
        port("x", F32, &[1, 1, 1, 1]),
        port("y", F32, &[1, 1, 64, 64]),
    );
    assert_eq!(inspect(&onnx).unwrap().fuel, 11_000 + 1 + (2 + 4) * 64 * 64 + 64 * 64 * 64 * 64 / 8);

    let resize = |attribute: Message, scales: &[f32]| {
        let scales = weight("s", F32, &[scales.len() as i64], &floats(scales));
        let resize = node("Resize", &["x", "", "s"], &["y"]).message(5, attribute);
        shape(resize, &[scales], &[port("x", F32, &[1, 2, 3, 3])], 4)
    };
    assert_eq!(resize(ints("axes", &[3, -2]), &[2.0, 1.5]), sizes(&[1, 2, 4, 6]));
    assert!(resize(ints("axes", &[3]), &[2.0, 1.5]).unwrap_err().contains("one size or scale"));
    let policy = text("keep_aspect_ratio_policy", "not_larger");
    assert!(resize(policy, &[1.0; 4]).unwrap_err().contains("keep_aspect_ratio_policy"));
}

#[test]
fn shapes_that_exporters_compute_are_followed() {
    // Reshape(x, Concat(Shape(x)[0:1], [-1])): what PyTorch writes for x.view(x.size(0), -1).
    let nodes = [
        node("Shape", &["x"], &["shape"]),
        node("Gather", &["shape", "zero"], &["batch"]),
        node("Unsqueeze", &["batch", "axis"], &["batches"]),
        node("Concat", &["batches", "rest"], &["target"]).message(5, int("axis", 0)),
        node("Reshape", &["x", "target"], &["y"]),
    ];
    let weights = [
        weight("zero", I64, &[], &longs(&[0])),
        weight("axis", I64, &[1], &longs(&[0])),
        weight("rest", I64, &[1], &longs(&[-1])),
    ];
    let file =
        |batch| model(graph(&nodes, &weights, &[port("x", F32, &[batch, 3, 4])], &[port("y", F32, &[-1, -1])])).0;
    assert_eq!(inspect(&file(2)).unwrap().outputs[0].shape, [Some(2), Some(12)]);
    // The price must not depend on what a dimension turns out to be.
    assert!(refusal(&file(-1)).contains("fixed input shapes"));
}

#[test]
fn an_open_dimension_is_priced_at_its_limit() {
    let fuel = |batch| {
        let (x, y) = (port("x", F32, &[batch, 10]), port("y", F32, &[batch, 10]));
        inspect(&one(node("Relu", &["x"], &["y"]), &[], x, y)).unwrap().fuel
    };
    assert_eq!(fuel(-1), fuel(i64::from(OPEN_DIMENSION)));
    assert_eq!(fuel(2) - fuel(1), 30, "ten elements more are read, written and computed");
}

#[test]
fn small_parts_are_priced_each() {
    let fuel = |node, inputs: &[Message], rank: usize| {
        inspect(&model(graph(&[node], &[], inputs, &[port("y", F32, &vec![-1; rank])])).0).unwrap().fuel
    };
    // A thousand products of one element, which take as long as sixteen columns.
    let batch = [port("a", F32, &[1000, 1, 1]), port("b", F32, &[1000, 1, 1])];
    assert_eq!(fuel(node("MatMul", &["a", "b"], &["y"]), &batch, 3), 11_000 + 3000 + 999 * 256 + 1000 * 16 / 8);
    let sum = node("Sum", &["x"; 100], &["y"]);
    assert_eq!(fuel(sum, &[port("x", F32, &[1])], 1), 11_000 + 101 + 100 + (101 - 8) * 512);
    // Rows of four elements stay together.
    let transpose = node("Transpose", &["x"], &["y"]).message(5, ints("perm", &[1, 0, 2]));
    assert_eq!(fuel(transpose, &[port("x", F32, &[2, 3, 4])], 3), 11_000 + 2 * 24 + 6 * 8);
}

#[test]
fn every_element_type_is_known() {
    for (number, element_type) in [
        (F16, ElementType::F16),
        (F32, ElementType::F32),
        (F64, ElementType::F64),
        (U8, ElementType::U8),
        (I32, ElementType::I32),
        (I64, ElementType::I64),
    ] {
        let onnx = one(node("Identity", &["x"], &["y"]), &[], port("x", number, &[2]), port("y", number, &[2]));
        assert_eq!(inspect(&onnx).unwrap().inputs[0].element_type, element_type);
    }
}

/// Files that were changed anywhere are refused or rewritten, whatever they hold.
#[cfg(feature = "onnxruntime")]
#[test]
fn every_flipped_bit_of_a_model_to_be_rewritten_is_handled() {
    let nodes = [
        node("DequantizeLinear", &["q", "s", "z"], &["d"]).message(5, int("axis", 1)),
        node("Cast", &["d"], &["h"]).message(5, int("to", F16)),
        node("Add", &["x", "h"], &["a"]),
        node("Concat", &["a", "w"], &["c"]).message(5, int("axis", 0)),
        node("Mul", &["c", "w"], &["y"]),
    ];
    let weights = [
        weight("q", U8, &[1, 2], &[3, 4]),
        weight("s", F32, &[2], &floats(&[0.5, 0.25])),
        weight("z", U8, &[2], &[1, 0]),
        weight("w", F16, &[1, 2], &[0, 60, 0, 64]),
    ];
    let onnx = model(graph(&nodes, &weights, &[port("x", F16, &[1, 2])], &[port("y", F16, &[2, 2])])).0;
    let (info, rewritten) = reproducible::rewrite(&onnx, |_| Some(1)).unwrap();
    // One operator is gone; three of the others have conversions, two before the first and one after each.
    assert_eq!(info.nodes, 4 + 2 + 1 + 1 + 1);
    assert!(rewritten.windows(11).any(|name| name == b"depx.wide.w"));
    for position in 0..onnx.len() {
        for bit in 0..8 {
            let mut changed = onnx.clone();
            changed[position] ^= 1 << bit;
            let _ = reproducible::rewrite(&changed, |_| Some(1));
        }
    }
}
