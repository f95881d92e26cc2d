//! Class D1 on recurrent layers.

use crate::backend;
use crate::reproducible::{assert_close, both, float, numbers, tensor, text};
use crate::writer::{F32, I32, Message, floats, graph, int, ints, model, node, port, weight};
use depx_models::{Backend, LoadError, OnnxRuntime, Reproducible, Tensor};

const TIME: i64 = 5;
const BATCH: i64 = 3;
const FEATURES: i64 = 7;
const HIDDEN: i64 = 6;

/// The operator, gates, and outputs.
const LAYERS: [(&str, i64, usize); 3] = [("RNN", 1, 2), ("GRU", 3, 2), ("LSTM", 4, 3)];

fn texts(name: &str, values: &[&str]) -> Message {
    values.iter().fold(Message::default().bytes(1, name), |message, value| message.bytes(9, value)).int(20, 8)
}

/// A layer of one direction or two with these inputs of `w r b lengths h c p`, and as many outputs as are named.
fn layer(name: &str, attributes: &[Message], directions: i64, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let gates = LAYERS.iter().find(|(known, ..)| *known == name).unwrap().1;
    let rows = gates * HIDDEN;
    let random = |name: &str, shape: [i64; 3]| {
        let size = shape.iter().product::<i64>() as usize;
        // Each parameter has other numbers.
        let all = numbers(size + usize::from(name.as_bytes()[0]));
        let shape = if name == "b" || name == "p" { &shape[..2] } else { &shape[..] };
        weight(name, F32, shape, &floats(&all[all.len() - size..].iter().map(|x| x * 0.5).collect::<Vec<_>>()))
    };
    let weights = [
        random("w", [directions, rows, FEATURES]),
        random("r", [directions, rows, HIDDEN]),
        random("b", [directions, 2 * rows, 1]),
        random("h", [directions, BATCH, HIDDEN]),
        random("c", [directions, BATCH, HIDDEN]),
        random("p", [directions, 3 * HIDDEN, 1]),
        weight("lengths", I32, &[BATCH], &[5i32, 2, 4].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()),
    ];
    let shape = |name: &str| match name {
        "y" => vec![TIME, directions, BATCH, HIDDEN],
        _ => vec![directions, BATCH, HIDDEN],
    };
    let node = node(name, &[&["x", "w", "r"], inputs].concat(), outputs)
        .message(5, int("hidden_size", HIDDEN))
        .all(5, attributes.to_vec());
    let ports = outputs.iter().filter(|name| !name.is_empty()).map(|name| port(name, F32, &shape(name)));
    model(graph(&[node], &weights, &[port("x", F32, &[TIME, BATCH, FEATURES])], &ports.collect::<Vec<_>>())).0
}

fn check(library: &OnnxRuntime, name: &str, onnx: &[u8]) -> Vec<Tensor> {
    let x = tensor(&[TIME as u32, BATCH as u32, FEATURES as u32], &numbers((TIME * BATCH * FEATURES) as usize));
    let (ours, theirs) = both(library, onnx, &[x]);
    assert_close(name, &ours, &theirs);
    ours
}

#[test]
fn layers_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    for (name, _, outputs) in LAYERS {
        let all = &["y", "y_h", "y_c"][..outputs];
        for (direction, directions) in [("forward", 1), ("reverse", 1), ("bidirectional", 2)] {
            let direction = text("direction", direction);
            for inputs in [&[][..], &["b"], &["b", "", "h"], &["b", "lengths", "h"]] {
                let onnx = layer(name, std::slice::from_ref(&direction), directions, inputs, all);
                check(&library, name, &onnx);
            }
            let clipped = [direction.clone(), float("clip", 0.3)];
            check(&library, &format!("{name} clipped"), &layer(name, &clipped, directions, &["b"], all));
        }
    }
    for direction in ["forward", "reverse"] {
        let inputs = ["b", "lengths", "h", "c", "p"];
        check(&library, "LSTM", &layer("LSTM", &[text("direction", direction)], 1, &inputs, &["y", "y_h", "y_c"]));
        let linear = [text("direction", direction), int("linear_before_reset", 1)];
        check(&library, "GRU", &layer("GRU", &linear, 1, &["b", "lengths", "h"], &["y", "y_h"]));
    }
}

#[test]
fn activations_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    for name in ["Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"] {
        check(&library, name, &layer("RNN", &[texts("activations", &[name])], 1, &["b"], &["y", "y_h"]));
    }
    let each = texts("activations", &["HardSigmoid", "Tanh", "Softsign", "Sigmoid", "Relu", "Tanh"]);
    let onnx = layer("LSTM", &[text("direction", "bidirectional"), each], 2, &["b"], &["y"]);
    check(&library, "LSTM", &onnx);
}

#[test]
fn outputs_may_be_left_out() {
    let Some(library) = backend() else { return };
    for (name, _, outputs) in LAYERS {
        let all = &["y", "y_h", "y_c"][..outputs];
        let whole = check(&library, name, &layer(name, &[], 1, &["b"], all));
        for (position, wanted) in all.iter().enumerate() {
            let names = all.iter().map(|name| if name == wanted { name } else { "" }).collect::<Vec<_>>();
            let only = check(&library, name, &layer(name, &[], 1, &["b"], &names));
            assert_eq!(only, whole[position..=position]);
            let first = check(&library, name, &layer(name, &[], 1, &["b"], &names[..=position]));
            assert_eq!(first, only);
        }
    }
}

#[test]
fn what_has_no_kernel_is_refused_by_its_attribute() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library);
    let numbers = |name: &str| Message::default().bytes(1, name).bytes(7, floats(&[0.1])).int(20, 6);
    for (attribute, part) in [
        (int("input_forget", 1), "'input_forget'"),
        (numbers("activation_alpha"), "'activation_alpha'"),
        (texts("activations", &["Sigmoid", "Affine", "Tanh"]), "'Affine'"),
        (texts("activations", &["Sigmoid"]), "'activations'"),
        (ints("activations", &[1]), "'activations'"),
        (text("direction", "bidirectional"), "directions"),
        (int("layout", 1), "'layout'"),
    ] {
        match backend.load(&layer("LSTM", &[attribute], 1, &["b"], &["y"])).map(|_| ()) {
            Err(LoadError::Invalid { reason }) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{part}: {other:?}"),
        }
    }
}
