//! Class D1 on quantised tensors: what the library computes where it is exact, and what is exact where it is not.

use crate::backend;
use crate::reproducible::{assert_close, both, numbers, tensor, values};
use crate::writer::{F32, I32, I64, Message, U8, floats, graph, int, ints, longs, model, node, port, weight};
use depx_models::{Backend, LoadError, Reproducible};

const I8: i64 = 3;
const U16: i64 = 4;
const I16: i64 = 5;

/// Integers that fit 7 bits, so that the library's sums of two products do not saturate.
fn integers(count: usize, element_type: i64) -> Vec<u8> {
    let shift = if element_type == U8 { 64.0 } else { 0.0 };
    numbers(count).iter().map(|number| (number * 15.0 + shift) as i16 as u8).collect()
}

fn scale(name: &str, values: &[f32]) -> Message {
    let shape = if values.len() == 1 { vec![] } else { vec![values.len() as i64] };
    weight(name, F32, &shape, &floats(values))
}

fn zero_point(name: &str, element_type: i64, values: &[u8]) -> Message {
    let shape = if values.len() == 1 { vec![] } else { vec![values.len() as i64] };
    weight(name, element_type, &shape, values)
}

/// The parameters of a first operand `x` and a result `y` of this type.
fn ends(element_type: i64) -> Vec<Message> {
    vec![
        scale("xs", &[0.031]),
        zero_point("xz", element_type, &[if element_type == U8 { 117 } else { 3 }]),
        scale("ys", &[0.17]),
        zero_point("yz", element_type, &[if element_type == U8 { 99 } else { 0xf0 }]),
    ]
}

/// `x` is quantised to `q`; `r` becomes the result.
fn between(nodes: &[Message]) -> Vec<Message> {
    let mut all = vec![node("QuantizeLinear", &["x", "xs", "xz"], &["q"])];
    all.extend_from_slice(nodes);
    all.push(node("DequantizeLinear", &["r", "ys", "yz"], &["y"]));
    all
}

#[test]
fn floats_are_quantised_as_by_the_library() {
    let Some(library) = backend() else { return };
    let x = tensor(&[2, 3, 4, 5], &numbers(120));
    for (element_type, zero) in [(U8, &[40u8, 0, 255][..]), (I8, &[40, 0, 0x80])] {
        for (axis, scales, zeros) in
            [(1, &[0.02f32, 0.01, 0.05][..], zero), (-3, &[0.02, 0.01, 0.05], zero), (1, &[0.015], &zero[..1])]
        {
            let parameters = [scale("s", scales), zero_point("z", element_type, zeros)];
            let nodes = [
                node("QuantizeLinear", &["x", "s", "z"], &["q"]).message(5, int("axis", axis)),
                node("DequantizeLinear", &["q", "s", "z"], &["y"]).message(5, int("axis", axis)),
            ];
            let ports = [port("x", F32, &[2, 3, 4, 5])];
            let onnx = model(graph(&nodes, &parameters, &ports, &[port("y", F32, &[2, 3, 4, 5])])).0;
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
            assert_eq!(ours, theirs, "{element_type} {axis}");
        }
    }
    // Without a zero point, and as an output.
    let onnx = model(graph(
        &[node("QuantizeLinear", &["x", "s"], &["y"])],
        &[scale("s", &[0.01])],
        &[port("x", F32, &[2, 3, 4, 5])],
        &[port("y", U8, &[2, 3, 4, 5])],
    ));
    let (ours, theirs) = both(&library, &onnx.0, std::slice::from_ref(&x));
    assert_eq!(ours, theirs);
    // 16 bits came with operator set 21.
    for element_type in [U16, I16] {
        let parameters = [scale("s", &[0.0001]), weight("z", element_type, &[], &1000u16.to_le_bytes())];
        let nodes =
            [node("QuantizeLinear", &["x", "s", "z"], &["q"]), node("DequantizeLinear", &["q", "s", "z"], &["y"])];
        let graph = graph(&nodes, &parameters, &[port("x", F32, &[2, 3, 4, 5])], &[port("y", F32, &[2, 3, 4, 5])]);
        let onnx = Message::default().int(1, 10).message(7, graph).message(8, crate::writer::opset("", 21)).0;
        let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
        assert_eq!(ours, theirs, "{element_type}");
    }
    let biases = model(graph(
        &[node("DequantizeLinear", &["x", "s"], &["y"])],
        &[scale("s", &[0.3])],
        &[port("x", I32, &[3])],
        &[port("y", F32, &[3])],
    ));
    let x = [i32::MIN, 16_777_217, -3].iter().flat_map(|x| x.to_le_bytes()).collect();
    let x = depx_models::Tensor::new(depx_models::ElementType::I32, vec![3], x).unwrap();
    let (ours, theirs) = both(&library, &biases.0, &[x]);
    assert_eq!(ours, theirs);
}

#[test]
fn products_of_integers_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    for (a, b, y) in [
        (&[4, 70][..], &[70, 33][..], &[4, 33][..]),
        (&[2, 3, 5, 7], &[7, 6], &[2, 3, 5, 6]),
        (&[2, 3, 5, 7], &[3, 7, 6], &[2, 3, 5, 6]),
    ] {
        for (a_type, b_type) in [(U8, I8), (U8, U8), (I8, I8)] {
            let size = |shape: &[i64]| shape.iter().product::<i64>() as usize;
            let sizes = a.iter().map(|&size| size as u32).collect::<Vec<_>>();
            let columns = *b.last().unwrap() as usize;
            let input = tensor(&sizes, &numbers(size(a)));
            let several = b.len() == 2;
            let count = if several { columns } else { 1 };
            let scales = numbers(count).iter().map(|scale| scale.abs() * 0.01 + 0.001).collect::<Vec<_>>();
            let zeros = integers(count, b_type);
            let mut weights = ends(a_type);
            weights.extend([
                weight("b", b_type, b, &integers(size(b), b_type)),
                scale("bs", &scales),
                zero_point("bz", b_type, &zeros),
            ]);
            let product = node("QLinearMatMul", &["q", "xs", "xz", "b", "bs", "bz", "ys", "yz"], &["r"]);
            let onnx = model(graph(&between(&[product]), &weights, &[port("x", F32, a)], &[port("y", F32, y)])).0;
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
            assert_eq!(ours, theirs, "{a_type} {b_type}");

            let nodes = [
                node("QuantizeLinear", &["x", "xs", "xz"], &["q"]),
                node("MatMulInteger", &["q", "b", "xz", "bz"], &["y"]),
            ];
            let onnx = model(graph(&nodes, &weights, &[port("x", F32, a)], &[port("y", I32, y)])).0;
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
            assert_eq!(ours, theirs, "{a_type} {b_type}");
        }
    }
}

#[test]
fn convolutions_of_integers_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    let input = tensor(&[2, 4, 11, 13], &numbers(2 * 4 * 11 * 13));
    let from = [port("x", F32, &[2, 4, 11, 13])];
    for (groups, attributes, [height, width]) in [
        (1, vec![], [9, 11]),
        (2, vec![ints("pads", &[1, 0, 2, 1]), ints("strides", &[2, 3])], [6, 4]),
        (4, vec![ints("dilations", &[2, 3])], [7, 7]),
    ] {
        for (x_type, w_type) in [(U8, I8), (U8, U8), (I8, I8)] {
            let several = w_type == I8;
            let count = if several { 8 } else { 1 };
            let scales = numbers(count).iter().map(|scale| scale.abs() * 0.01 + 0.001).collect::<Vec<_>>();
            let zeros = if several { vec![0; 8] } else { integers(1, w_type) };
            let shape = [8, 4 / groups, 3, 3];
            let mut weights = ends(x_type);
            let bias = (0..8i32).flat_map(|filter| (filter * 100 - 300).to_le_bytes()).collect::<Vec<_>>();
            weights.extend([
                weight("w", w_type, &shape, &integers(shape.iter().product::<i64>() as usize, w_type)),
                scale("ws", &scales),
                zero_point("wz", w_type, &zeros),
                weight("b", I32, &[8], &bias),
            ]);
            let conv = node("QLinearConv", &["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], &["r"])
                .message(5, int("group", groups))
                .all(5, attributes.clone());
            let to = [port("y", F32, &[2, 8, height, width])];
            let onnx = model(graph(&between(&[conv]), &weights, &from, &to)).0;
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
            assert_eq!(ours, theirs, "{x_type} {w_type} {groups}");

            let conv = node("ConvInteger", &["q", "w", "xz"], &["y"])
                .message(5, int("group", groups))
                .all(5, attributes.clone());
            let nodes = [node("QuantizeLinear", &["x", "xs", "xz"], &["q"]), conv];
            // The library's operator takes a first operand without a sign.
            if x_type == U8 && w_type == U8 {
                let onnx = model(graph(&nodes, &weights, &from, &[port("y", I32, &[2, 8, height, width])])).0;
                let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
                assert_eq!(ours, theirs);
            }
        }
    }
}

/// A layer as tools quantise it when activations are to be measured while a model runs.
#[test]
fn layers_quantised_while_they_run_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    let nodes = [
        node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"]),
        node("MatMulInteger", &["q", "w", "z", "wz"], &["sums"]),
        node("Cast", &["sums"], &["f"]).message(5, int("to", F32)),
        node("Mul", &["s", "ws"], &["scale"]),
        node("Mul", &["f", "scale"], &["y"]),
    ];
    let weights = [weight("w", I8, &[64, 10], &integers(640, I8)), zero_point("wz", I8, &[0]), scale("ws", &[0.013])];
    let onnx = model(graph(&nodes, &weights, &[port("x", F32, &[3, 64])], &[port("y", F32, &[3, 10])])).0;
    for count in [1.0, 0.0] {
        let x = numbers(192).iter().map(|x| x * count).collect::<Vec<_>>();
        let (ours, theirs) = both(&library, &onnx, &[tensor(&[3, 64], &x)]);
        assert_eq!(ours, theirs);
    }
}

/// Operators on floats between pairs that quantise and undo it, weights by channel.
#[test]
fn models_between_quantising_pairs_are_close_to_the_library() {
    let Some(library) = backend() else { return };
    let by_filter = |name: &str, inputs: &[&str], to: &str| node(name, inputs, &[to]).message(5, int("axis", 0));
    let nodes = [
        node("QuantizeLinear", &["x", "xs", "xz"], &["q"]),
        node("DequantizeLinear", &["q", "xs", "xz"], &["d"]),
        by_filter("DequantizeLinear", &["w", "ws", "wz"], "wd"),
        by_filter("DequantizeLinear", &["b", "bs"], "bd"),
        node("Conv", &["d", "wd", "bd"], &["c"]),
        node("Relu", &["c"], &["y"]),
    ];
    let scales = [0.01, 0.02, 0.005];
    let weights = [
        scale("xs", &[0.03]),
        zero_point("xz", U8, &[120]),
        weight("w", I8, &[3, 2, 3, 3], &integers(54, I8)),
        scale("ws", &scales),
        zero_point("wz", I8, &[0, 0, 0]),
        weight("b", I32, &[3], &[5i32, -7, 900].iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<_>>()),
        scale("bs", &scales.map(|scale| scale * 0.03)),
    ];
    let onnx = model(graph(&nodes, &weights, &[port("x", F32, &[1, 2, 9, 9])], &[port("y", F32, &[1, 3, 7, 7])])).0;
    let (ours, theirs) = both(&library, &onnx, &[tensor(&[1, 2, 9, 9], &numbers(162))]);
    assert_close("Conv", &ours, &theirs);
}

/// Where vector instructions of some processors saturate, which the library's use.
#[test]
fn sums_of_the_largest_products_do_not_saturate() {
    let Some(library) = backend() else { return };
    let nodes = [
        node("QuantizeLinear", &["x", "one", "z"], &["q"]),
        node("MatMulInteger", &["q", "w"], &["sums"]),
        node("Cast", &["sums"], &["y"]).message(5, int("to", F32)),
    ];
    let weights = [
        scale("one", &[1.0]),
        zero_point("z", U8, &[0]),
        weight("w", I8, &[64, 16], &[[127; 512], [0x80; 512]].concat()),
    ];
    let onnx = model(graph(&nodes, &weights, &[port("x", F32, &[1, 64])], &[port("y", F32, &[1, 16])])).0;
    let (ours, _) = both(&library, &onnx, &[tensor(&[1, 64], &[&[255.0; 32][..], &[1.0; 32]].concat())]);
    assert_eq!(values(&ours[0]), [(32 * 255 * 127 - 32 * 128) as f32; 16]);
}

#[test]
fn what_has_no_kernel_is_refused_by_its_input() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library);
    let weights = [
        weight("w", I8, &[4, 4], &[1; 16]),
        zero_point("rows", U8, &[1, 2, 3, 4]),
        scale("s", &[1.0]),
        scale("blocks", &[1.0, 2.0]),
        weight("big", I64, &[4, 4], &longs(&[1; 16])),
    ];
    for (node, parts) in [
        (node("MatMulInteger", &["x", "w", "rows"], &["y"]), ["'MatMulInteger'", "input 2 is not a single number"]),
        (
            node("MatMulInteger", &["x", "w", "", "rows"], &["y"]),
            ["'MatMulInteger'", "inputs 1 and 3 are of different types"],
        ),
        (node("MatMulInteger", &["x", "big"], &["y"]), ["'MatMulInteger'", "input 1 is not of 8-bit integers"]),
        (node("DequantizeLinear", &["big", "s"], &["y"]), ["'DequantizeLinear'", "no integers"]),
        (
            node("DequantizeLinear", &["x", "blocks"], &["y"]).message(5, int("block_size", 2)),
            ["'DequantizeLinear'", "scales of blocks"],
        ),
    ] {
        let onnx = model(graph(&[node], &weights, &[port("x", U8, &[4, 4])], &[port("y", F32, &[4, 4])])).0;
        match backend.load(&onnx).map(|_| ()) {
            Err(LoadError::Invalid { reason }) => {
                assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Weights are dequantised when a model is loaded, if all that is needed is in the file.
#[test]
fn weights_are_the_same_dequantised_before_and_in_a_run() {
    let Some(library) = backend() else { return };
    let long = |name: &str, element_type: i64, shape: &[i64], numbers: &[i64]| {
        let message = shape.iter().fold(Message::default(), |message, &size| message.int(1, size));
        numbers.iter().fold(message.int(2, element_type).bytes(8, name), |message, &number| message.int(5, number))
    };
    let x = tensor(&[1, 6], &numbers(6));
    for (element_type, numbers) in
        [(U8, [0, 255, 7, 128, 3, 90]), (I8, [0, -128, 127, -1, 3, 90]), (I32, [i64::from(i32::MAX), 5, -9, 0, 1, 2])]
    {
        for (axis, count) in [(0, 2), (1, 3), (-1, 3), (0, 1)] {
            let zeros = if element_type == I32 { [0; 3] } else { [3, 0, 90] };
            let scales = &[0.1f32, 0.03, 7.0][..count];
            let scale_shape = if count == 1 { vec![] } else { vec![count as i64] };
            let weights = [
                long("w", element_type, &[2, 3], &numbers),
                weight("s", F32, &scale_shape, &floats(scales)),
                long("z", element_type, &scale_shape, &zeros[..count]),
                weight("shape", I64, &[2], &longs(&[1, 6])),
            ];
            let onnx = |zero_points: &str| {
                let nodes = [
                    node("Identity", &["z"], &["later"]),
                    node("DequantizeLinear", &["w", "s", zero_points], &["d"]).message(5, int("axis", axis)),
                    node("Reshape", &["d", "shape"], &["r"]),
                    node("Add", &["x", "r"], &["y"]),
                ];
                model(graph(&nodes, &weights, &[port("x", F32, &[1, 6])], &[port("y", F32, &[1, 6])])).0
            };
            let (before, theirs) = both(&library, &onnx("z"), std::slice::from_ref(&x));
            let (during, _) = both(&library, &onnx("later"), std::slice::from_ref(&x));
            assert_eq!(before, during, "{element_type} {axis}");
            assert_eq!(before, theirs, "{element_type} {axis}");
            let fuel = |onnx: &[u8]| Reproducible::new(library.clone()).load(onnx).unwrap().fuel();
            assert!(fuel(&onnx("z")) < fuel(&onnx("later")));
        }
    }
}
