//! Operators of class D1 that became one: the same bits as apart, or close to the library where they are spelled out.

use crate::backend;
use crate::reproducible::{assert_close, both, numbers, ours, tensor, text};
use crate::writer::{F32, I64, Message, floats, graph, int, ints, longs, model, node, port, weight};
use depx_models::{Backend, Reproducible};

/// Names of a graph's values, its weights with their shapes, and its operators, of which the last gives `y`.
struct Fused<'a> {
    x: &'a [i64],
    y: &'a [i64],
    weights: &'a [(&'a str, &'a [i64])],
    nodes: Vec<Message>,
}

impl Fused<'_> {
    /// The model; with further outputs, whose values then cannot vanish.
    fn model(&self, further: &[(&str, &[i64])]) -> Vec<u8> {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|&(name, shape)| {
                let size = shape.iter().product::<i64>() as usize;
                // Variances are not negative.
                let values = numbers(size).into_iter().map(|x| if name == "variance" { x.abs() + 0.5 } else { x });
                weight(name, F32, shape, &floats(&values.collect::<Vec<_>>()))
            })
            .chain(
                [("half", 0.5), ("one", 1.0), ("two", 2.0), ("three", 3.0), ("eight", 8.0), ("small", 1e-5)]
                    .map(scalar),
            )
            .chain([("root", 2.0f32.sqrt()), ("tanh", 0.797_884_6), ("cubic", 0.044_715), ("six", 6.0)].map(scalar))
            .chain([weight("heads", I64, &[4], &longs(&[0, 0, 4, 8])), weight("row", I64, &[3], &longs(&[0, 0, 32]))])
            .collect();
        let outputs: Vec<_> =
            [("y", self.y)].iter().chain(further).map(|&(name, shape)| port(name, F32, shape)).collect();
        model(graph(&self.nodes, &weights, &[port("x", F32, self.x)], &outputs)).0
    }
}

fn scalar((name, value): (&str, f32)) -> Message {
    weight(name, F32, &[], &floats(&[value]))
}

/// Operators whose outputs are called by their numbers, and the last one's `y`.
fn chain(operators: &[(&str, &[&str], &[Message])]) -> Vec<Message> {
    let last = operators.len() - 1;
    let nodes = operators.iter().enumerate().map(|(index, (operator, inputs, attributes))| {
        let output = if index == last { "y".to_owned() } else { index.to_string() };
        node(operator, inputs, &[&output]).all(5, attributes.to_vec())
    });
    nodes.collect()
}

#[test]
fn what_is_spelled_out_is_close_to_the_library() {
    let Some(library) = backend() else { return };
    let last = [ints("axes", &[-1])];
    let factors: &[(&str, &[i64])] = &[("scale", &[32]), ("bias", &[32])];
    for (name, operators) in [
        (
            "Gelu",
            &[
                ("Div", &["x", "root"][..], &[][..]),
                ("Erf", &["0"], &[]),
                ("Add", &["1", "one"], &[]),
                ("Mul", &["x", "2"], &[]),
                ("Mul", &["3", "half"], &[]),
            ][..],
        ),
        (
            "Gelu with tanh",
            &[
                ("Pow", &["x", "three"], &[]),
                ("Mul", &["cubic", "0"], &[]),
                ("Add", &["x", "1"], &[]),
                ("Mul", &["2", "tanh"], &[]),
                ("Tanh", &["3"], &[]),
                ("Add", &["one", "4"], &[]),
                ("Mul", &["x", "half"], &[]),
                ("Mul", &["6", "5"], &[]),
            ],
        ),
        ("Silu", &[("Sigmoid", &["x"], &[]), ("Mul", &["x", "0"], &[])]),
        ("Mish", &[("Softplus", &["x"], &[]), ("Tanh", &["0"], &[]), ("Mul", &["1", "x"], &[])]),
        (
            "LayerNormalization",
            &[
                ("ReduceMean", &["x"], &last),
                ("Sub", &["x", "0"], &[]),
                ("Pow", &["1", "two"], &[]),
                ("ReduceMean", &["2"], &last),
                ("Add", &["3", "small"], &[]),
                ("Sqrt", &["4"], &[]),
                ("Div", &["1", "5"], &[]),
                ("Mul", &["6", "scale"], &[]),
                ("Add", &["7", "bias"], &[]),
            ],
        ),
        (
            "RMSNormalization",
            &[
                ("Mul", &["x", "x"], &[]),
                ("ReduceMean", &["0"], &last),
                ("Add", &["1", "small"], &[]),
                ("Sqrt", &["2"], &[]),
                ("Reciprocal", &["3"], &[]),
                ("Mul", &["x", "4"], &[]),
                ("Mul", &["scale", "5"], &[]),
            ],
        ),
    ] {
        let fused = Fused { x: &[3, 5, 32], y: &[3, 5, 32], weights: factors, nodes: chain(operators) };
        let (ours, theirs) = both(&library, &fused.model(&[]), &[tensor(&[3, 5, 32], &numbers(480))]);
        assert_close(name, &ours, &theirs);
    }
}

#[test]
fn what_is_done_to_a_product_at_its_end_changes_no_bit() {
    let Some(library) = backend() else { return };
    let pads = ints("pads", &[1, 1, 1, 1]);
    let heads = |order: &[i64]| vec![ints("perm", order)];
    let (queries, keys, back) = (heads(&[0, 2, 1, 3]), heads(&[0, 2, 3, 1]), heads(&[0, 2, 1, 3]));
    let attention: &[(&str, &[&str], &[Message])] = &[
        ("MatMul", &["x", "q"], &[]),
        ("Reshape", &["0", "heads"], &[]),
        ("Transpose", &["1"], &queries),
        ("MatMul", &["x", "k"], &[]),
        ("Reshape", &["3", "heads"], &[]),
        ("Transpose", &["4"], &keys),
        ("MatMul", &["x", "v"], &[]),
        ("Reshape", &["6", "heads"], &[]),
        ("Transpose", &["7"], &queries),
        ("MatMul", &["2", "5"], &[]),
        ("Div", &["9", "eight"], &[]),
        ("Add", &["10", "mask"], &[]),
        ("Softmax", &["11"], &[]),
        ("MatMul", &["12", "8"], &[]),
        ("Transpose", &["13"], &back),
        ("Reshape", &["14", "row"], &[]),
    ];
    let product: &[(&str, &[&str], &[Message])] = &[
        ("MatMul", &["x", "w"], &[]),
        ("Add", &["bias", "0"], &[]),
        ("Add", &["1", "x"], &[]),
        ("Clip", &["2", "half", "two"], &[]),
    ];
    let tanh: &[(&str, &[&str], &[Message])] = &[
        ("Transpose", &["w"], &[]),
        ("MatMul", &["x", "0"], &[]),
        ("Add", &["1", "bias"], &[]),
        ("Tanh", &["2"], &[]),
    ];
    let conv: &[(&str, &[&str], &[Message])] = &[
        ("Conv", &["x", "filters"], std::slice::from_ref(&pads)),
        ("Add", &["0", "channels"], &[]),
        ("Add", &["x", "1"], &[]),
        ("Relu", &["2"], &[]),
    ];
    let row: &[i64] = &[2, 300, 32];
    let image: &[i64] = &[2, 5, 9, 13];
    let weights: &[(&str, &[i64])] = &[
        ("w", &[32, 32]),
        ("q", &[32, 32]),
        ("k", &[32, 32]),
        ("v", &[32, 32]),
        ("bias", &[32]),
        ("mask", &[2, 1, 1, 300]),
        ("filters", &[5, 5, 3, 3]),
        ("channels", &[5, 1, 1]),
    ];
    for (operators, shape, kept) in [
        (attention, row, &[("9", &[2, 4, 300, 300][..]), ("13", &[2, 4, 300, 8]), ("2", &[2, 4, 300, 8])][..]),
        (product, row, &[("0", row), ("1", row), ("2", row)]),
        (tanh, row, &[("1", row), ("2", row)]),
        (conv, image, &[("0", image), ("1", image), ("2", image)]),
    ] {
        let fused = Fused { x: shape, y: shape, weights, nodes: chain(operators) };
        let sizes: Vec<u32> = shape.iter().map(|&size| size as u32).collect();
        let input = [tensor(&sizes, &numbers(shape.iter().product::<i64>() as usize))];
        let (expected, theirs) = both(&library, &fused.model(&[]), &input);
        assert_close(operators[0].0, &expected, &theirs);
        for kept in kept {
            assert!(ours(&library, &fused.model(&[*kept]), &input)[0] == expected[0], "{kept:?} is an output");
        }
        assert!(ours(&library, &fused.model(kept), &input)[0] == expected[0], "{kept:?} are outputs");
    }
}

#[test]
fn only_gelu_has_an_approximation() {
    let Some(library) = backend() else { return };
    let shape: &[i64] = &[4, 32];
    let input = [tensor(&[4, 32], &numbers(128))];
    let y = |attributes: &[Message]| {
        let operators: &[(&str, &[&str], &[Message])] = &[("MatMul", &["x", "w"], &[]), ("Relu", &["0"], attributes)];
        let fused = Fused { x: shape, y: shape, weights: &[("w", &[32, 32])], nodes: chain(operators) };
        ours(&library, &fused.model(&[]), &input)
    };
    assert!(y(&[text("approximate", "tanh")]) == y(&[]));
}

#[test]
fn a_normalisation_is_folded_into_a_convolution() {
    let Some(library) = backend() else { return };
    let parameters: &[(&str, &[i64])] = &[
        ("filters", &[6, 5, 3, 3]),
        ("biases", &[6]),
        ("scale", &[6]),
        ("bias", &[6]),
        ("mean", &[6]),
        ("variance", &[6]),
        ("other", &[2, 6, 7, 11]),
    ];
    for inputs in [&["x", "filters"][..], &["x", "filters", "biases"]] {
        let operators: &[(&str, &[&str], &[Message])] = &[
            ("Conv", inputs, &[]),
            ("BatchNormalization", &["0", "scale", "bias", "mean", "variance"], &[]),
            ("Add", &["1", "other"], &[]),
            ("Clip", &["2", "", "six"], &[]),
        ];
        let fused = Fused { x: &[2, 5, 9, 13], y: &[2, 6, 7, 11], weights: parameters, nodes: chain(operators) };
        let input = [tensor(&[2, 5, 9, 13], &numbers(2 * 5 * 9 * 13))];
        let (ours, theirs) = both(&library, &fused.model(&[]), &input);
        assert_close("Conv", &ours, &theirs);
    }
}

#[test]
fn shapes_that_are_known_are_constants() {
    let Some(library) = backend() else { return };
    let operators: &[(&str, &[&str], &[Message])] = &[
        ("Shape", &["x"], &[]),
        ("Gather", &["0", "first"], &[]),
        ("Concat", &["1", "rest"], &[int("axis", 0)]),
        ("Reshape", &["x", "2"], &[]),
        ("Exp", &["3"], &[]),
    ];
    let weights = [weight("first", I64, &[1], &longs(&[0])), weight("rest", I64, &[1], &longs(&[-1]))];
    let all = [port("y", F32, &[3, 20]), port("2", I64, &[2]), port("0", I64, &[3])];
    for outputs in [&all[..1], &all] {
        let onnx = model(graph(&chain(operators), &weights, &[port("x", F32, &[3, 4, 5])], outputs)).0;
        let (ours, theirs) = both(&library, &onnx, &[tensor(&[3, 4, 5], &numbers(60))]);
        assert_close("Exp", &ours[..1], &theirs[..1]);
        assert_eq!(ours[1..], theirs[1..]);
    }
}

#[test]
fn fusing_takes_operators_that_lack_inputs_or_outputs() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library);
    let mean = ints("axes", &[-1]);
    let operators = [
        node("Pow", &["x"], &["0"]),
        node("ReduceMean", &["0"], &["1"]).message(5, mean),
        node("Add", &["1", "small"], &["2"]),
        node("Sqrt", &["2"], &["3"]),
        node("Div", &["x", "3"], &["4"]),
        node("Mul", &["4", "scale"], &["5"]),
        node("MatMul", &["5", "w"], &["6"]),
        node("Relu", &["6"], &[]),
        node("Relu", &["6"], &[""]),
        node("MatMul", &["5", "w"], &[]),
        node("MatMul", &["5", "w"], &[""]),
        node("Clip", &["5", "", "small"], &["y"]),
        node("Softmax", &["y"], &[]),
        node("Mul", &["y", "y"], &[]),
        node("Add", &["y", "scale"], &[]),
        node("Transpose", &["y"], &[]),
    ];
    let weights = [
        weight("small", F32, &[], &floats(&[1e-5])),
        weight("scale", F32, &[4], &floats(&[1.0; 4])),
        weight("w", F32, &[4, 4], &floats(&[1.0; 16])),
    ];
    let onnx = model(graph(&operators, &weights, &[port("x", F32, &[3, 4])], &[port("y", F32, &[3, 4])])).0;
    // The library may refuse what is left.
    let _ = backend.load(&onnx);
}
