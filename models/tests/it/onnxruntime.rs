//! The backend: its profile, element types, and what it says to bad models and inputs.

use crate::backend;
use crate::writer::{F16, F32, F64, I32, I64, U8, floats, graph, int, longs, model, node, one, port, weight};
use depx_models::{Backend, ElementType, LoadError, ONNX_RUNTIME_VERSION, RunError, Tensor};

fn tensor(element_type: ElementType, shape: &[u32], data: Vec<u8>) -> Tensor {
    Tensor::new(element_type, shape.to_vec(), data).unwrap()
}

#[test]
fn the_profile_names_everything_that_decides_bits() {
    let Some(backend) = backend() else { return };
    let profile = backend.profile();
    for part in [
        "models 1",
        ONNX_RUNTIME_VERSION,
        "provider cpu",
        "extended",
        "1 thread",
        "subnormals kept",
        std::env::consts::ARCH,
    ] {
        assert!(profile.contains(part), "{part} is not in {profile}");
    }
    assert_eq!(profile, backend.clone().profile());
    assert!(backend.library_path().is_absolute());
}

#[test]
fn every_element_type_goes_in_and_out() {
    let Some(backend) = backend() else { return };
    for (number, element_type) in [
        (F16, ElementType::F16),
        (F32, ElementType::F32),
        (F64, ElementType::F64),
        (U8, ElementType::U8),
        (I32, ElementType::I32),
        (I64, ElementType::I64),
    ] {
        // A transposition, which the library cannot leave out.
        let onnx = one(node("Transpose", &["x"], &["y"]), &[], port("x", number, &[2, 3]), port("y", number, &[3, 2]));
        let model = backend.load(&onnx).unwrap();
        let element = |value: u8| (0..element_type.size()).map(move |byte| if byte == 0 { value } else { 1 });
        let data = |order: [u8; 6]| order.into_iter().flat_map(element).collect::<Vec<_>>();
        let outputs = model.run(&[tensor(element_type, &[2, 3], data([1, 2, 3, 4, 5, 6]))]).unwrap();
        assert_eq!(outputs, [tensor(element_type, &[3, 2], data([1, 4, 2, 5, 3, 6]))]);
    }
}

#[test]
fn an_open_dimension_takes_any_size_up_to_its_limit() {
    let Some(backend) = backend() else { return };
    let onnx = one(node("Neg", &["x"], &["y"]), &[], port("x", F32, &[-1]), port("y", F32, &[-1]));
    let model = backend.load(&onnx).unwrap();
    assert_eq!(model.inputs()[0].shape, [None]);
    for size in [1, 7, 512] {
        let outputs = model.run(&[tensor(ElementType::F32, &[size], floats(&vec![1.5; size as usize]))]).unwrap();
        assert_eq!(outputs[0].data(), floats(&vec![-1.5; size as usize]));
    }
    let larger = model.run(&[tensor(ElementType::F32, &[513], vec![0; 4 * 513])]);
    assert!(matches!(larger, Err(RunError::Inputs { .. })));
}

#[test]
fn subnormal_numbers_are_kept() {
    let Some(backend) = backend() else { return };
    let half = weight("half", F32, &[], &floats(&[0.5]));
    let onnx = one(node("Mul", &["x", "half"], &["y"]), &[half], port("x", F32, &[1]), port("y", F32, &[1]));
    let smallest = f32::MIN_POSITIVE;
    let outputs = backend.load(&onnx).unwrap().run(&[tensor(ElementType::F32, &[1], floats(&[smallest]))]).unwrap();
    assert_eq!(outputs[0].data(), floats(&[smallest / 2.0]));
}

#[test]
fn wrong_inputs_are_the_callers_mistake() {
    let Some(backend) = backend() else { return };
    let model = backend.load(include_bytes!("../../zoo/digits/digits.onnx")).unwrap();
    let image = || tensor(ElementType::F32, &[1, 1, 8, 8], vec![0; 256]);
    for inputs in [
        vec![],
        vec![image(), image()],
        vec![tensor(ElementType::F32, &[1, 64], vec![0; 256])],
        vec![tensor(ElementType::I32, &[1, 1, 8, 8], vec![0; 256])],
    ] {
        assert!(matches!(model.run(&inputs), Err(RunError::Inputs { .. })));
    }
    assert!(model.run(&[image()]).is_ok(), "a refused run spoils nothing");
}

#[test]
fn a_value_out_of_range_is_the_callers_mistake_too() {
    let Some(backend) = backend() else { return };
    let table = weight("table", F32, &[3], &floats(&[1.0, 2.0, 3.0]));
    let onnx = one(node("Gather", &["table", "x"], &["y"]), &[table], port("x", I64, &[1]), port("y", F32, &[1]));
    let model = backend.load(&onnx).unwrap();
    let pick = |index: i64| model.run(&[tensor(ElementType::I64, &[1], longs(&[index]))]);
    for _ in 0..20 {
        match pick(1_000_000_000) {
            Err(RunError::Inputs { reason }) => assert!(reason.contains("out of data bounds"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pick(2).unwrap()[0].data(), floats(&[3.0]));
}

#[test]
fn what_the_library_refuses_is_bounded_text() {
    let Some(backend) = backend() else { return };
    // The shapes are right and the types are not, which only the library looks at.
    let name = "long".repeat(10_000);
    let wrong = graph(
        &[node("Add", &["x", "x"], &[&name]), node("Not", &[&name], &["y"])],
        &[],
        &[port("x", F32, &[1])],
        &[port("y", F32, &[1])],
    );
    match backend.load(&model(wrong).0) {
        Err(LoadError::Backend { reason }) => assert!(reason.len() < 500 && !reason.contains('\n'), "{reason}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    let not_onnx = backend.load(b"MZ\x90\0 not a model");
    assert!(matches!(not_onnx.map(|_| ()), Err(LoadError::Invalid { .. })));
}

#[test]
fn integer_divisions_that_could_end_the_process_are_refused() {
    let Some(backend) = backend() else { return };
    let file = |operator: &str, number, divisor: Option<i32>| {
        let (x, z, y) = (port("x", number, &[1]), port("z", number, &[1]), port("y", number, &[1]));
        let weights = divisor.map(|divisor| weight("z", number, &[1], &divisor.to_le_bytes()));
        let inputs = if divisor.is_some() { vec![x] } else { vec![x, z] };
        let node =
            node(operator, &["x", "z"], &["y"]).all(5, (operator == "Mod" && number == F32).then(|| int("fmod", 1)));
        model(graph(&[node], weights.as_slice(), &inputs, &[y])).0
    };
    for operator in ["Div", "Mod"] {
        for unsafe_divisor in [None, Some(0), Some(-1)] {
            match backend.load(&file(operator, I32, unsafe_divisor)).map(|_| ()) {
                Err(LoadError::Invalid { reason }) => assert!(reason.contains("divide floats"), "{reason}"),
                other => panic!("{operator} by {unsafe_divisor:?}: {other:?}"),
            }
        }
        let model = backend.load(&file(operator, I32, Some(3))).unwrap();
        let outputs = model.run(&[tensor(ElementType::I32, &[1], i32::MIN.to_le_bytes().to_vec())]).unwrap();
        assert!(operator == "Mod" || outputs[0].data() == (i32::MIN / 3).to_le_bytes());
        let model = backend.load(&file(operator, F32, None)).unwrap();
        let float = |value: f32| tensor(ElementType::F32, &[1], floats(&[value]));
        assert!(model.run(&[float(1.0), float(0.0)]).is_ok(), "floats divide by anything");
    }
}

#[test]
fn the_mean_of_no_integers_does_not_end_the_process() {
    let Some(backend) = backend() else { return };
    let longs = |name, value: i64| weight(name, I64, &[1], &value.to_le_bytes());
    let nodes = [
        node("Slice", &["x", "start", "end"], &["none"]),
        node("ReduceMean", &["none"], &["y"]).message(5, int("keepdims", 1)),
    ];
    let onnx = model(graph(
        &nodes,
        &[longs("start", 5), longs("end", 1000)],
        &[port("x", I32, &[-1])],
        &[port("y", I32, &[1])],
    ));
    let model = backend.load(&onnx.0).unwrap();
    // Whatever it gives, it is an answer.
    let _ = model.run(&[tensor(ElementType::I32, &[2], vec![0; 8])]);
}

#[test]
fn pooling_agrees_with_what_was_inferred() {
    let Some(backend) = backend() else { return };
    for (attributes, shape) in [(vec![], [1, 1, 2, 2]), (vec![int("ceil_mode", 1)], [1, 1, 3, 3])] {
        let node = node("MaxPool", &["x"], &["y"])
            .message(5, crate::writer::ints("kernel_shape", &[2, 2]))
            .message(5, crate::writer::ints("strides", &[2, 2]))
            .all(5, attributes);
        let onnx = one(node, &[], port("x", F32, &[1, 1, 5, 5]), port("y", F32, &shape));
        let outputs =
            backend.load(&onnx).unwrap().run(&[tensor(ElementType::F32, &[1, 1, 5, 5], vec![0; 100])]).unwrap();
        assert_eq!(outputs[0].shape(), shape.map(|size| size as u32));
    }
}
