//! Class D1: the same bits whatever the instructions, close to what the library computes alone, and refusals by name.

use crate::backend;
use crate::gpu::gpu;
use crate::writer::{F32, F64, I64, Message, U8, floats, graph, int, ints, longs, model, node, one, port, weight};
use depx_cuda::interpreter::Interpreted;
use depx_kernels::Isa;
use depx_models::{Backend, ElementType, Gpu, LoadError, OnnxRuntime, Reproducible, Tensor};
use std::sync::{Arc, OnceLock};

const DIGITS: &[u8] = include_bytes!("../../zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../zoo/digits/heldout.images");
const LABELS: &str = include_str!("../../zoo/digits/heldout.labels");

pub(crate) fn tensor(shape: &[u32], values: &[f32]) -> Tensor {
    Tensor::new(ElementType::F32, shape.to_vec(), floats(values)).unwrap()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// A float attribute.
pub(crate) fn float(name: &str, value: f32) -> Message {
    Message::default().bytes(1, name).fixed(2, value).int(20, 1)
}

/// A text attribute.
pub(crate) fn text(name: &str, value: &str) -> Message {
    Message::default().bytes(1, name).bytes(4, value).int(20, 3)
}

/// Numbers of both signs, from small to large, the same each time.
pub(crate) fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|index| next() * [0.1, 1.0, 4.0][index % 3]).collect()
}

/// Their result, see [`ours`], and the library's.
pub(crate) fn both(library: &OnnxRuntime, onnx: &[u8], inputs: &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>) {
    (ours(library, onnx, inputs), library.load(onnx).unwrap().run(inputs).unwrap())
}

/// Runs a model with every instruction set and several threads, which must agree, and gives their result.
pub(crate) fn ours(library: &OnnxRuntime, onnx: &[u8], inputs: &[Tensor]) -> Vec<Tensor> {
    let run = |backend: Reproducible| backend.load(onnx).unwrap().run(inputs).unwrap();
    let expected = run(Reproducible::with_isa(library.clone(), Isa::PORTABLE));
    for isa in Isa::available() {
        assert!(run(Reproducible::with_isa(library.clone(), isa)) == expected, "{isa:?}");
    }
    for threads in [2, 3] {
        assert!(run(Reproducible::new(library.clone()).with_threads(threads)) == expected, "{threads} threads");
    }
    for on_gpu in on_gpus(library) {
        assert!(run(on_gpu) == expected, "the GPU's kernels");
    }
    expected
}

/// With the kernels of GPUs, interpreted on the processor, and on a GPU if there is one.
pub(crate) fn on_gpus(library: &OnnxRuntime) -> Vec<Reproducible> {
    static GPUS: OnceLock<Vec<Gpu>> = OnceLock::new();
    let gpus = GPUS.get_or_init(|| {
        let simulated = Gpu::simulated(Arc::new(Interpreted::new().unwrap()));
        std::iter::once(simulated).chain(gpu(library)).collect()
    });
    gpus.iter().map(|gpu| Reproducible::new(library.clone().with_gpu(gpu.clone()))).collect()
}

pub(crate) fn assert_close(name: &str, ours: &[Tensor], theirs: &[Tensor]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.shape(), theirs.shape(), "{name}");
        for (position, (a, b)) in values(ours).into_iter().zip(values(theirs)).enumerate() {
            let close =
                (a - b).abs() <= 1e-5 * b.abs().max(1.0) || a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(close, "{name}: {a} instead of {b} at {position}");
        }
    }
}

#[test]
fn the_profile_names_no_processor_and_no_library() {
    let Some(library) = backend() else { return };
    let profile = Reproducible::new(library).profile();
    assert_eq!(profile, "models 1, reproducible operators 2, kernels 2");
}

#[test]
fn digits_are_recognised_with_the_same_bits_everywhere() {
    let Some(library) = backend() else { return };
    let images = IMAGES.as_chunks::<64>().0;
    let load = |isa| Reproducible::with_isa(library.clone(), isa).load(DIGITS).unwrap();
    let models: Vec<_> = Isa::available().into_iter().map(load).collect();
    let (mut right, mut hash) = (0, 0xcbf2_9ce4_8422_2325);
    for (image, label) in images.iter().zip(LABELS.lines()) {
        let input = tensor(&[1, 1, 8, 8], &image.map(|pixel| f32::from(pixel) / 16.0));
        let results: Vec<_> = models.iter().map(|model| model.run(std::slice::from_ref(&input)).unwrap()).collect();
        assert!(results.iter().all(|result| *result == results[0]));
        // FNV-1a of all results, which are the same on other architectures, too.
        let bytes = results[0][0].data().iter();
        hash = bytes.fold(hash, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let logits = values(&results[0][0]);
        let best = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        right += usize::from(best == label.parse::<usize>().unwrap());
    }
    assert_eq!((right, hash), (357, 0x887b_435c_217f_4e7f));
}

/// A model of one operator on `x`, with weights as further inputs.
pub(crate) fn operator(node: Message, weights: &[Message], from: &[i64], to: &[i64]) -> Vec<u8> {
    one(node, weights, port("x", F32, from), port("y", F32, to))
}

#[test]
fn functions_of_elements_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    for name in [
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Celu",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    ] {
        let mut x = numbers(301);
        match name {
            "Acosh" => x.iter_mut().for_each(|x| *x = x.abs() + 1.0),
            // Near poles and asymptotes the library's own error is larger than what is compared to.
            "Tan" | "Reciprocal" => x.iter_mut().for_each(|x| *x = x.clamp(-1.2, 1.2).abs() + 0.1),
            "Acos" | "Asin" | "Atanh" => x.iter_mut().for_each(|x| *x /= 4.5),
            _ => {}
        }
        let onnx = operator(node(name, &["x"], &["y"]), &[], &[7, 43], &[7, 43]);
        let (ours, theirs) = both(&library, &onnx, &[tensor(&[7, 43], &x)]);
        assert_close(name, &ours, &theirs);
    }
}

#[test]
fn powers_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    let x = tensor(&[40], &numbers(40).iter().map(|x| x.abs()).collect::<Vec<_>>());
    for exponents in [vec![2.0], vec![0.5], numbers(40)] {
        let size = [exponents.len() as i64];
        let shape = if size == [1] { &[][..] } else { &size[..] };
        let onnx =
            operator(node("Pow", &["x", "e"], &["y"]), &[weight("e", F32, shape, &floats(&exponents))], &[40], &[40]);
        let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
        assert_close("Pow", &ours, &theirs);
    }
}

#[test]
fn clipping_keeps_what_is_within_and_nans() {
    let Some(library) = backend() else { return };
    let bounds = [weight("low", F32, &[], &floats(&[-1.0])), weight("high", F32, &[], &floats(&[0.0]))];
    let onnx = operator(node("Clip", &["x", "low", "high"], &["y"]), &bounds, &[6], &[6]);
    let x = [-2.0, -0.5, -0.0, 0.0, 3.0, f32::NAN];
    let (ours, _) = both(&library, &onnx, &[tensor(&[6], &x)]);
    let bits: Vec<_> = values(&ours[0]).into_iter().map(f32::to_bits).collect();
    assert_eq!(bits, [-1.0, -0.5, -0.0, 0.0, 0.0, f32::NAN].map(f32::to_bits));
}

#[test]
fn rows_are_reduced_and_normalised_as_by_the_library() {
    let Some(library) = backend() else { return };
    let x = tensor(&[3, 5, 2, 67], &numbers(3 * 5 * 2 * 67));
    for name in ["Softmax", "LogSoftmax"] {
        for axis in [-1, 1, 0] {
            let onnx =
                operator(node(name, &["x"], &["y"]).message(5, int("axis", axis)), &[], &[3, 5, 2, 67], &[3, 5, 2, 67]);
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
            assert_close(name, &ours, &theirs);
        }
    }
    let factors =
        [weight("scale", F32, &[67], &floats(&numbers(67))), weight("bias", F32, &[67], &floats(&numbers(67)))];
    let onnx =
        operator(node("LayerNormalization", &["x", "scale", "bias"], &["y"]), &factors, &[3, 5, 2, 67], &[3, 5, 2, 67]);
    let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
    assert_close("LayerNormalization", &ours, &theirs);

    for name in [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSumSquare",
    ] {
        // Operator set 17 names axes in an attribute. Some lie side by side, some do not.
        for (axes, to) in [
            (&[-1][..], &[3, 5, 2, 1][..]),
            (&[1, 2], &[3, 1, 1, 67]),
            (&[0, 3], &[1, 5, 2, 1]),
            (&[0, 1, 2, 3], &[1, 1, 1, 1]),
        ] {
            let onnx = operator(node(name, &["x"], &["y"]).message(5, ints("axes", axes)), &[], &[3, 5, 2, 67], to);
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
            assert_close(name, &ours, &theirs);
        }
    }
    let axes = [weight("axes", I64, &[2], &longs(&[1, 3]))];
    let reduced = node("ReduceSum", &["x", "axes"], &["y"]).message(5, int("keepdims", 0));
    let (ours, theirs) = both(&library, &operator(reduced, &axes, &[3, 5, 2, 67], &[3, 2]), &[x]);
    assert_close("ReduceSum", &ours, &theirs);
}

#[test]
fn products_broadcast_and_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    for (a, b, y) in [
        (&[4, 300][..], &[300, 33][..], &[4, 33][..]),
        (&[2, 3, 5, 7], &[7, 6], &[2, 3, 5, 6]),
        (&[2, 3, 5, 7], &[3, 7, 6], &[2, 3, 5, 6]),
        (&[5, 7], &[2, 1, 7, 6], &[2, 1, 5, 6]),
        (&[7], &[7, 6], &[6]),
        (&[4, 7], &[7], &[4]),
        (&[7], &[7], &[]),
    ] {
        let size = |shape: &[i64]| shape.iter().product::<i64>() as usize;
        let sizes = |shape: &[i64]| shape.iter().map(|&size| size as u32).collect::<Vec<_>>();
        let input = tensor(&sizes(a), &numbers(size(a)));
        let right = numbers(size(b));
        let constant = operator(node("MatMul", &["x", "b"], &["y"]), &[weight("b", F32, b, &floats(&right))], a, y);
        let (packed, theirs) = both(&library, &constant, std::slice::from_ref(&input));
        assert_close("MatMul", &packed, &theirs);
        let ports = [port("x", F32, a), port("b", F32, b)];
        let dynamic = model(graph(&[node("MatMul", &["x", "b"], &["y"])], &[], &ports, &[port("y", F32, y)])).0;
        let (ours, _) = both(&library, &dynamic, &[input, tensor(&sizes(b), &right)]);
        assert_eq!(ours, packed, "whether weights are packed changes nothing");
    }
    for (trans_a, trans_b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let shape = |transposed: i64, [rows, columns]: [i64; 2]| {
            if transposed == 1 { [columns, rows] } else { [rows, columns] }
        };
        let (a, b) = (shape(trans_a, [5, 40]), shape(trans_b, [40, 9]));
        for c in [&[9][..], &[5, 1], &[5, 9], &[]] {
            let size = c.iter().product::<i64>() as usize;
            let weights = [weight("b", F32, &b, &floats(&numbers(360))), weight("c", F32, c, &floats(&numbers(size)))];
            let general = node("Gemm", &["x", "b", "c"], &["y"])
                .message(5, int("transA", trans_a))
                .message(5, int("transB", trans_b))
                .message(5, Message::default().bytes(1, "alpha").fixed(2, 0.5).int(20, 1))
                .message(5, Message::default().bytes(1, "beta").fixed(2, 2.0).int(20, 1));
            let input = tensor(&a.map(|size| size as u32), &numbers(200));
            let (ours, theirs) = both(&library, &operator(general, &weights, &a, &[5, 9]), &[input]);
            assert_close("Gemm", &ours, &theirs);
        }
    }
}

#[test]
fn windows_slide_as_in_the_library() {
    let Some(library) = backend() else { return };
    let same = |name: &str| Message::default().bytes(1, "auto_pad").bytes(4, name).int(20, 3);
    // Attributes, groups, kernel, and the output's size.
    type Case<'a> = (&'a [Message], i64, [i64; 2], [i64; 2]);
    let cases: [Case<'_>; 6] = [
        (&[], 1, [3, 3], [9, 11]),
        (&[ints("pads", &[1, 0, 2, 1]), ints("strides", &[2, 3])], 2, [3, 2], [6, 5]),
        (&[ints("dilations", &[2, 3])], 4, [2, 3], [9, 7]),
        (&[same("SAME_UPPER"), ints("strides", &[2, 2])], 1, [4, 3], [6, 7]),
        (&[same("SAME_LOWER"), ints("strides", &[2, 2])], 1, [4, 3], [6, 7]),
        (&[same("VALID")], 1, [1, 1], [11, 13]),
    ];
    let input = tensor(&[2, 4, 11, 13], &numbers(2 * 4 * 11 * 13));
    for (attributes, groups, kernel, [height, width]) in cases {
        let filters = [8, 4 / groups, kernel[0], kernel[1]];
        let size = filters.iter().product::<i64>() as usize;
        let weights =
            [weight("w", F32, &filters, &floats(&numbers(size))), weight("b", F32, &[8], &floats(&numbers(8)))];
        let conv = node("Conv", &["x", "w", "b"], &["y"]).message(5, int("group", groups)).all(5, attributes.to_vec());
        let onnx = operator(conv, &weights, &[2, 4, 11, 13], &[2, 8, height, width]);
        let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
        assert_close("Conv", &ours, &theirs);
        if groups == 1 {
            let pool =
                node("MaxPool", &["x"], &["y"]).message(5, ints("kernel_shape", &kernel)).all(5, attributes.to_vec());
            let onnx = operator(pool, &[], &[2, 4, 11, 13], &[2, 4, height, width]);
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
            assert_close("MaxPool", &ours, &theirs);
        }
    }
    let pool = node("MaxPool", &["x"], &["y"])
        .all(5, [ints("kernel_shape", &[3, 3]), ints("strides", &[3, 2]), int("ceil_mode", 1)]);
    let (ours, theirs) =
        both(&library, &operator(pool, &[], &[2, 4, 11, 13], &[2, 4, 4, 6]), std::slice::from_ref(&input));
    assert_close("MaxPool with more outputs", &ours, &theirs);
    let channels: Vec<_> = ["scale", "bias", "mean", "variance"]
        .map(|name| weight(name, F32, &[4], &floats(&numbers(4).iter().map(|x| x.abs()).collect::<Vec<_>>())))
        .into();
    for (name, parameters) in [("BatchNormalization", 4), ("InstanceNormalization", 2)] {
        let names = ["x", "scale", "bias", "mean", "variance"];
        let normalisation = node(name, &names[..=parameters], &["y"]);
        let onnx = operator(normalisation, &channels[..parameters], &[2, 4, 11, 13], &[2, 4, 11, 13]);
        let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&input));
        assert_close(name, &ours, &theirs);
    }
    let average = operator(node("GlobalAveragePool", &["x"], &["y"]), &[], &[2, 4, 11, 13], &[2, 4, 1, 1]);
    let (ours, theirs) = both(&library, &average, &[input]);
    assert_close("GlobalAveragePool", &ours, &theirs);
}

/// Other programs in the process may have changed what processors do with subnormal numbers.
#[cfg(target_arch = "x86_64")]
#[test]
#[allow(unsafe_code, reason = "there is no other way to change the rules")]
fn rules_for_floats_of_the_process_change_no_bit() {
    let Some(library) = backend() else { return };
    let shape = [2];
    let weights = [weight("half", F32, &[], &floats(&[0.5]))];
    let nodes = [node("Mul", &["x", "half"], &["m"]), node("Exp", &["m"], &["e"]), node("Mul", &["e", "m"], &["y"])];
    let onnx = model(graph(&nodes, &weights, &[port("x", F32, &shape)], &[port("y", F32, &shape)])).0;
    // Their halves are subnormal, and e^-95 is.
    let input = [tensor(&[2], &[f32::MIN_POSITIVE, -190.0])];
    let set = |rules: u32| {
        // SAFETY: only what processors do with subnormal numbers changes, for this thread, and is set back below.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const rules, options(nostack, preserves_flags, readonly))
        };
    };
    for backend in [&Reproducible::new(library.clone()) as &dyn Backend, &library] {
        let run = || backend.load(&onnx).unwrap().run(&input).unwrap();
        let expected = run();
        // With results and operands flushed to zero.
        set(0x1F80 | 1 << 15 | 1 << 6);
        let flushed = run();
        set(0x1F80);
        assert!(values(&expected[0]).iter().all(|value| *value != 0.0), "{expected:?}");
        assert!(flushed == expected);
    }
}

#[test]
fn what_has_no_kernel_is_refused_by_name() {
    let Some(library) = backend() else { return };
    let backend = Reproducible::new(library);
    let refused = |onnx: &[u8], parts: &[&str]| match backend.load(onnx).map(|_| ()) {
        Err(LoadError::Invalid { reason }) => {
            assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        }
        other => panic!("{other:?}"),
    };
    let double = one(node("Exp", &["x"], &["y"]), &[], port("x", F64, &[3]), port("y", F64, &[3]));
    refused(&double, &["'Exp'", "32-bit floats"]);
    let sums = node("ScatterElements", &["x", "i", "u"], &["y"]).message(5, text("reduction", "mean"));
    let places = [weight("i", I64, &[1], &longs(&[0])), weight("u", F32, &[1], &floats(&[1.0]))];
    refused(&operator(sums, &places, &[3], &[3]), &["'ScatterElements'", "no reproducible kernel"]);
    let powers = node("Pow", &["x", "e"], &["y"]);
    refused(
        &operator(powers, &[weight("e", U8, &[1], &[2])], &[3], &[3]),
        &["'Pow'", "no reproducible kernel with these attributes"],
    );
    let alpha = Message::default().bytes(1, "alpha").fixed(2, -1.0).int(20, 1);
    for (name, attribute) in [
        ("Celu", alpha),
        ("Gelu", text("approximate", "cubic")),
        ("LpNormalization", int("p", 3)),
        ("MaxPool", int("storage_order", 1)),
    ] {
        let kernel = ints("kernel_shape", &[1, 1]);
        let attributes = if name == "MaxPool" { vec![attribute, kernel] } else { vec![attribute] };
        let onnx = operator(node(name, &["x"], &["y"]).all(5, attributes), &[], &[1, 1, 3, 4], &[1, 1, 3, 4]);
        refused(&onnx, &[&format!("'{name}'"), "no reproducible kernel with these attributes"]);
    }
    let far = node("ConvTranspose", &["x", "w"], &["y"]).message(5, ints("strides", &[4096, 2]));
    let filter = [weight("w", F32, &[1, 1, 1, 1], &floats(&[1.0]))];
    refused(&operator(far, &filter, &[1, 1, 1, 1], &[1, 1, 1, 1]), &["'ConvTranspose'", "with these attributes"]);
    // What only fused operators have.
    let square = weight("w", F32, &[4, 4], &floats(&numbers(16)));
    for product in [
        node("MatMul", &["x", "w", "w"], &["y"]),
        node("MatMul", &["x", "w"], &["y"]).message(5, int("transB", 1)),
        node("Gemm", &["x", "w"], &["y"]).message(5, text("activation", "Relu")),
    ] {
        let onnx = operator(product, std::slice::from_ref(&square), &[4, 4], &[4, 4]);
        refused(&onnx, &["no reproducible kernel with these attributes"]);
    }
    // Whose results or their order are not defined.
    let shift = node("BitShift", &["x", "x"], &["y"]).message(5, text("direction", "LEFT"));
    refused(&one(shift, &[], port("x", U8, &[3]), port("y", U8, &[3])), &["'BitShift'", "the processor's choice"]);
    let some = node("TopK", &["x", "k"], &["y", ""]).message(5, int("sorted", 0));
    let three = [weight("k", I64, &[1], &longs(&[3]))];
    refused(&one(some, &three, port("x", I64, &[3]), port("y", I64, &[3])), &["'TopK'", "order"]);
    let strings = node("Cast", &["x"], &["t"]).message(5, int("to", 8));
    let sizes = [strings, node("Size", &["t"], &["y"])];
    let onnx = model(graph(&sizes, &[], &[port("x", F32, &[3])], &[port("y", I64, &[])])).0;
    refused(&onnx, &["'Cast'", "not a plain number"]);
    refused(b"not a model", &[]);
}
