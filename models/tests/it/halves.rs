//! Class D1 on floats of 16 and of 64 bits: each operator computes in 32 bits, and what it gives is rounded once.

use crate::backend;
use crate::reproducible::{both, numbers};
use crate::writer::{F16, F32, F64, I64, Message, floats, graph, int, ints, longs, model, node, opset, port, weight};
use depx_kernels::Isa;
use depx_models::{Backend, ElementType, LoadError, OnnxRuntime, Reproducible, Tensor};
use half::{bf16, f16};

const BF16: i64 = 16;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
}

fn tensor(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::new(ElementType::F16, shape.to_vec(), bytes(values)).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    match tensor.element_type() {
        ElementType::F16 => tensor.data().as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        _ => tensor.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
    }
}

fn rounded(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

/// The result with every instruction set.
fn run(library: &OnnxRuntime, onnx: &[u8], inputs: &[Tensor]) -> Vec<Tensor> {
    let run = |isa| Reproducible::with_isa(library.clone(), isa).load(onnx).unwrap().run(inputs).unwrap();
    let expected = run(Isa::PORTABLE);
    assert!(Isa::available().into_iter().all(|isa| run(isa) == expected));
    expected
}

fn cast(from: &str, to: &str, element_type: i64) -> Message {
    node("Cast", &[from], &[to]).message(5, int("to", element_type))
}

#[test]
fn every_operator_rounds_once() {
    let Some(library) = backend() else { return };
    let w = numbers(300);
    // The last weight is also an output of another node, as it is.
    let nodes = [
        node("Add", &["x", "w"], &["a"]),
        node("Mul", &["a", "a"], &["b"]),
        node("Transpose", &["b"], &["t"]),
        node("Sub", &["t", "v"], &["c"]),
        node("Exp", &["c"], &["e"]),
        node("Concat", &["e", "v"], &["y"]).message(5, int("axis", 0)),
    ];
    let weights = [weight("w", F16, &[300], &bytes(&w)), weight("v", F16, &[300], &bytes(&w))];
    let onnx = model(graph(&nodes, &weights, &[port("x", F16, &[300])], &[port("y", F16, &[600])])).0;
    let x = numbers(301)[1..].to_vec();
    let ours = run(&library, &onnx, &[tensor(&[300], &x)]);
    let single =
        model(graph(&[node("Exp", &["x"], &["y"])], &[], &[port("x", F32, &[300])], &[port("y", F32, &[300])]));
    let before = x.iter().zip(&w).map(|(x, w)| {
        let a = rounded(rounded(*x) + rounded(*w));
        rounded(rounded(a * a) - rounded(*w))
    });
    let before = Tensor::new(ElementType::F32, vec![300], floats(&before.collect::<Vec<_>>())).unwrap();
    let mut expected = values(&run(&library, &single.0, &[before])[0]);
    expected.extend(&w);
    assert_eq!(values(&ours[0]), expected.into_iter().map(rounded).collect::<Vec<_>>());
}

#[test]
fn halves_run_as_in_the_library() {
    let Some(library) = backend() else { return };
    let x = tensor(&[2, 3, 8, 8], &numbers(384));
    let nodes = [
        node("Conv", &["x", "w", "b"], &["c"]),
        node("Relu", &["c"], &["r"]),
        node("GlobalAveragePool", &["r"], &["g"]),
        node("Reshape", &["g", "shape"], &["f"]),
        node("MatMul", &["f", "m"], &["d"]),
        node("Softmax", &["d"], &["y"]),
    ];
    let weights = [
        weight("w", F16, &[4, 3, 3, 3], &bytes(&numbers(108))),
        weight("b", F16, &[4], &bytes(&numbers(4))),
        weight("shape", I64, &[2], &longs(&[2, 4])),
        weight("m", F16, &[4, 5], &bytes(&numbers(20))),
    ];
    let onnx = model(graph(&nodes, &weights, &[port("x", F16, &[2, 3, 8, 8])], &[port("y", F16, &[2, 5])])).0;
    let (ours, theirs) = both(&library, &onnx, &[x]);
    for (a, b) in values(&ours[0]).into_iter().zip(values(&theirs[0])) {
        assert!((a - b).abs() <= 4e-3, "{a} instead of {b}");
    }
}

/// Back and forth, too, which must not be left out.
#[test]
fn conversions_round_to_nearest() {
    let Some(library) = backend() else { return };
    let x = (0..4096u32).map(|index| f32::from_bits(index.wrapping_mul(0x9e37_79b9) & 0x7fff_ffff | index << 31));
    let mut x = x.collect::<Vec<_>>();
    x.extend(numbers(1000));
    let count = x.len() as i64;
    let input = Tensor::new(ElementType::F32, vec![count as u32], floats(&x)).unwrap();
    for (element_type, expected) in [
        (F16, x.iter().map(|x| f16::from_f32(*x).to_f32()).collect::<Vec<_>>()),
        (BF16, x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect()),
    ] {
        let nodes = [cast("x", "h", element_type), cast("h", "y", F32)];
        let onnx = model(graph(&nodes, &[], &[port("x", F32, &[count])], &[port("y", F32, &[count])])).0;
        let ours = values(&run(&library, &onnx, std::slice::from_ref(&input))[0]);
        for ((x, a), b) in x.iter().zip(ours).zip(expected) {
            assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{a:e} instead of {b:e} for {x:e}");
        }
    }
    let between = [cast("x", "h", BF16), cast("h", "y", F16)];
    let onnx = model(graph(&between, &[], &[port("x", F16, &[3])], &[port("y", F16, &[3])])).0;
    assert_eq!(values(&run(&library, &onnx, &[tensor(&[3], &[1.0, 1.001, 65504.0])])[0]), [1.0, 1.0, f32::INFINITY]);
    let masks = [cast("x", "h", F16), node("Sub", &["one", "h"], &["y"])];
    let one = [weight("one", F16, &[], &bytes(&[1.0]))];
    let onnx = model(graph(&masks, &one, &[port("x", I64, &[2])], &[port("y", F16, &[2])])).0;
    let mask = Tensor::new(ElementType::I64, vec![2], longs(&[0, 1])).unwrap();
    assert_eq!(values(&run(&library, &onnx, &[mask])[0]), [1.0, 0.0]);
}

/// What moves elements moves these as they are, and between computations.
#[test]
fn elements_are_moved_without_conversions() {
    let Some(library) = backend() else { return };
    let weights = [
        weight("shape", I64, &[2], &longs(&[4, 6])),
        weight("indices", I64, &[2, 3], &longs(&[0, 1, 1, 0, 0, 1])),
        weight("starts", I64, &[1], &longs(&[1])),
        weight("ends", I64, &[1], &longs(&[3])),
        weight("axis", I64, &[1], &longs(&[0])),
    ];
    let along = |message: Message| message.message(5, int("axis", 0));
    for (name, mover, shape) in [
        ("Concat", along(node("Concat", &["a", "a"], &["b"])), &[8, 6][..]),
        ("Flatten", node("Flatten", &["a"], &["b"]), &[4, 6]),
        ("Gather", node("Gather", &["a", "indices"], &["b"]), &[2, 3, 6]),
        ("GatherElements", node("GatherElements", &["a", "indices"], &["b"]), &[2, 3]),
        ("GatherND", node("GatherND", &["a", "starts"], &["b"]), &[6]),
        ("Identity", node("Identity", &["a"], &["b"]), &[4, 6]),
        ("Reshape", node("Reshape", &["a", "shape"], &["b"]), &[4, 6]),
        ("Slice", node("Slice", &["a", "starts", "ends"], &["b"]), &[2, 6]),
        ("Split", along(node("Split", &["a"], &["b", "rest"])), &[2, 6]),
        ("Transpose", node("Transpose", &["a"], &["b"]).message(5, ints("perm", &[1, 0])), &[6, 4]),
        ("Unsqueeze", node("Unsqueeze", &["a", "axis"], &["b"]), &[1, 4, 6]),
        ("Where", node("Where", &["less", "a", "h"], &["b"]), &[4, 6]),
        ("Expand", node("Expand", &["a", "shape"], &["b"]), &[4, 6]),
    ] {
        for element_type in [F16, BF16] {
            let nodes = [
                cast("x", "h", element_type),
                node("Add", &["h", "h"], &["a"]),
                node("Less", &["h", "a"], &["less"]),
                mover.clone(),
                node("Mul", &["b", "b"], &["c"]),
                cast("c", "y", F32),
            ];
            let onnx = graph(&nodes, &weights, &[port("x", F32, &[4, 6])], &[port("y", F32, shape)]);
            let onnx = Message::default().int(1, 8).message(7, onnx).message(8, opset("", 16)).0;
            let x = Tensor::new(ElementType::F32, vec![4, 6], floats(&numbers(24))).unwrap();
            let found = values(&run(&library, &onnx, &[x])[0]);
            let round = |x: f32| if element_type == F16 { rounded(x) } else { bf16::from_f32(x).to_f32() };
            assert!(found.iter().all(|y| round(*y) == *y), "{name} {element_type}");
        }
    }
}

#[test]
fn doubles_are_added_and_multiplied() {
    let Some(library) = backend() else { return };
    let nodes = [node("Add", &["x", "x"], &["a"]), node("Div", &["x", "a"], &["y"])];
    let onnx = model(graph(&nodes, &[], &[port("x", F64, &[2])], &[port("y", F64, &[2])])).0;
    let x = [3.0f64, -0.1].iter().flat_map(|x| x.to_le_bytes()).collect();
    let x = Tensor::new(ElementType::F64, vec![2], x).unwrap();
    let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
    assert_eq!(ours, theirs);
    let nodes = [cast("x", "s", F32), cast("s", "y", F64)];
    let onnx = model(graph(&nodes, &[], &[port("x", F64, &[2])], &[port("y", F64, &[2])])).0;
    let found = run(&library, &onnx, &[x]).remove(0);
    let expected = [3.0f64, (-0.1f32).into()].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    assert_eq!(found.data(), expected);
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library);
    let onnx = |nodes: &[Message], from: i64, to: i64| {
        model(graph(nodes, &[], &[port("x", from, &[3])], &[port("y", to, &[3])])).0
    };
    for (onnx, part) in [
        (onnx(&[node("Exp", &["x"], &["depx.wide.a"]), node("Exp", &["depx.wide.a"], &["y"])], F16, F16), "rename"),
        (onnx(&[cast("x", "y", F16)], F64, F16), "doubles to 16 bits"),
        (onnx(&[node("LpNormalization", &["x"], &["y"]).message(5, int("p", 3))], F16, F16), "no reproducible kernel"),
    ] {
        match backend.load(&onnx).map(|_| ()) {
            Err(LoadError::Invalid { reason }) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{part}: {other:?}"),
        }
    }
}
