//! Operators of class D1 that are rarer than those in `reproducible`.

use crate::backend;
use crate::reproducible::{assert_close, both, float, numbers, operator, tensor, text, values};
use crate::writer::{
    F32, F64, I32, I64, Message, U8, floats, graph, int, ints, longs, model, node, one, opset, port, weight,
};
use depx_models::{Backend, ElementType, OnnxRuntime, Reproducible, Tensor};

fn integers(tensor: &Tensor) -> Vec<i64> {
    let data = tensor.data();
    match tensor.element_type() {
        ElementType::U8 => data.iter().map(|&byte| byte.into()).collect(),
        ElementType::I32 => data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
        ElementType::I64 => data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
        other => panic!("{other:?} is no integer"),
    }
}

/// Checks an operator on images of 3 × 4 × 6 × 5 numbers against the library.
fn check(library: &OnnxRuntime, node: Message, weights: &[Message], to: &[i64]) {
    let x = tensor(&[3, 4, 6, 5], &numbers(360));
    let (ours, theirs) = both(library, &operator(node.clone(), weights, &[3, 4, 6, 5], to), &[x]);
    assert_close(&String::from_utf8_lossy(&node.0), &ours, &theirs);
}

#[test]
fn roundings_and_signs_keep_the_sign_of_zeros() {
    let Some(library) = backend() else { return };
    let x = [-0.0, 0.0, -0.3, 0.5, 1.5, -2.5, f32::NAN, f32::NEG_INFINITY];
    for (name, expected) in [
        ("Ceil", [-0.0, 0.0, -0.0, 1.0, 2.0, -2.0, f32::NAN, f32::NEG_INFINITY]),
        ("Floor", [-0.0, 0.0, -1.0, 0.0, 1.0, -3.0, f32::NAN, f32::NEG_INFINITY]),
        ("Round", [-0.0, 0.0, -0.0, 0.0, 2.0, -2.0, f32::NAN, f32::NEG_INFINITY]),
        ("Sign", [-0.0, 0.0, -1.0, 1.0, 1.0, -1.0, f32::NAN, -1.0]),
    ] {
        let (ours, _) = both(&library, &operator(node(name, &["x"], &["y"]), &[], &[8], &[8]), &[tensor(&[8], &x)]);
        assert_eq!(
            values(&ours[0]).iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            expected.map(f32::to_bits),
            "{name}"
        );
    }
}

#[test]
fn inputs_broadcast_to_each_other() {
    let Some(library) = backend() else { return };
    for shape in [&[][..], &[5], &[4, 1, 1], &[6, 1], &[3, 4, 6, 5], &[1, 4, 1, 5], &[2, 1, 1, 1, 1]] {
        let size = shape.iter().product::<i64>() as usize;
        let to = if shape.len() == 5 { &[2, 3, 4, 6, 5][..] } else { &[3, 4, 6, 5] };
        let w = [weight("w", F32, shape, &floats(&numbers(size).iter().map(|x| x.abs() + 0.5).collect::<Vec<_>>()))];
        for name in ["Max", "Min", "Sum", "Mean"] {
            check(&library, node(name, &["w", "x", "x"], &["y"]), &w, to);
            check(&library, node(name, &["x"], &["y"]), &[], &[3, 4, 6, 5]);
        }
        check(&library, node("Mod", &["x", "w"], &["y"]).message(5, int("fmod", 1)), &w, to);
        check(&library, node("Pow", &["w", "x"], &["y"]), &w, to);
        if shape.len() < 5 {
            check(&library, node("PRelu", &["x", "w"], &["y"]), &w, to);
        }
    }
    let exponents = weight("w", I64, &[6, 1], &longs(&[0, 1, 2, 3, -1, -2]));
    check(&library, node("Pow", &["x", "w"], &["y"]), &[exponents], &[3, 4, 6, 5]);
    let zeros = [weight("w", F32, &[3], &floats(&[0.0, f32::NAN, 1.0]))];
    let (ours, _) = both(
        &library,
        &operator(node("Max", &["x", "w"], &["y"]), &zeros, &[3], &[3]),
        &[tensor(&[3], &[-0.0, 1.0, f32::NAN])],
    );
    let bits = values(&ours[0]).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits, [-0.0, f32::NAN, f32::NAN].map(f32::to_bits));
}

#[test]
fn elements_are_found_by_their_order() {
    let Some(library) = backend() else { return };
    let x = tensor(&[3, 4, 6, 5], &numbers(360).iter().map(|x| (x * 3.0).round()).collect::<Vec<_>>());
    for (axis, to, kept) in [(0, [1, 4, 6, 5], [2, 4, 6, 5]), (-2, [3, 4, 1, 5], [3, 4, 2, 5])] {
        for (name, last) in [("ArgMax", 0), ("ArgMin", 0), ("ArgMax", 1), ("ArgMin", 1)] {
            for keep in [0, 1] {
                let arg = node(name, &["x"], &["y"])
                    .all(5, [int("axis", axis), int("keepdims", keep), int("select_last_index", last)]);
                let to = to.into_iter().filter(|&size| keep == 1 || size != 1).collect::<Vec<_>>();
                let onnx = one(arg, &[], port("x", F32, &[3, 4, 6, 5]), port("y", I64, &to));
                let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
                assert_eq!(ours, theirs, "{name} along {axis}");
            }
        }
        for largest in [0, 1] {
            let first = node("TopK", &["x", "k"], &["y", "i"]).all(5, [int("axis", axis), int("largest", largest)]);
            let two = weight("k", I64, &[1], &longs(&[2]));
            let outputs = [port("y", F32, &kept), port("i", I64, &kept)];
            let onnx = model(graph(&[first], &[two], &[port("x", F32, &[3, 4, 6, 5])], &outputs)).0;
            let (ours, theirs) = both(&library, &onnx, std::slice::from_ref(&x));
            assert_eq!(ours, theirs, "TopK along {axis}");
        }
        check(&library, node("Hardmax", &["x"], &["y"]).message(5, int("axis", axis)), &[], &[3, 4, 6, 5]);
    }
}

#[test]
fn floats_become_the_nearest_integers_towards_zero() {
    let Some(library) = backend() else { return };
    let x = [-1.9, 2.9, -0.0, 255.5, 3e9, -3e9, 1e30, f32::NEG_INFINITY, f32::NAN];
    for (to, expected) in [
        (U8, [0, 2, 0, 255, 255, 0, 255, 0, 0]),
        (I32, [-1, 2, 0, 255, i64::from(i32::MAX), i64::from(i32::MIN), i64::from(i32::MAX), i64::from(i32::MIN), 0]),
        (I64, [-1, 2, 0, 255, 3_000_000_000, -3_000_000_000, i64::MAX, i64::MIN, 0]),
    ] {
        let like = [weight("like", to, &[1], &[0; 8][..[1, 4, 8][usize::from(to != U8) + usize::from(to == I64)]])];
        for (cast, weights) in [
            (node("Cast", &["x"], &["y"]).message(5, int("to", to)), &[][..]),
            (node("CastLike", &["x", "like"], &["y"]), &like),
        ] {
            let onnx = one(cast, weights, port("x", F32, &[9]), port("y", to, &[9]));
            let (ours, _) = both(&library, &onnx, &[tensor(&[9], &x)]);
            assert_eq!(integers(&ours[0]), expected);
        }
    }
    let wide =
        one(node("Cast", &["x"], &["y"]).message(5, int("to", I64)), &[], port("x", F64, &[1]), port("y", I64, &[1]));
    let x = Tensor::new(ElementType::F64, vec![1], (-2_251_799_813_685_249.5f64).to_le_bytes().to_vec()).unwrap();
    assert_eq!(integers(&both(&library, &wide, &[x]).0[0]), [-2_251_799_813_685_249]);
}

#[test]
fn pools_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    check(&library, node("GlobalMaxPool", &["x"], &["y"]), &[], &[3, 4, 1, 1]);
    for p in [1, 2, 3] {
        check(&library, node("GlobalLpPool", &["x"], &["y"]).message(5, int("p", p)), &[], &[3, 4, 1, 1]);
        let attributes =
            [int("p", p), ints("kernel_shape", &[3, 2]), ints("strides", &[2, 1]), ints("pads", &[1, 0, 0, 1])];
        check(&library, node("LpPool", &["x"], &["y"]).all(5, attributes), &[], &[3, 4, 3, 5]);
    }
    let attributes = [ints("kernel_shape", &[3, 2]), ints("strides", &[2, 1]), ints("pads", &[1, 0, 0, 1])];
    let pool = node("MaxPool", &["x"], &["y", "i"]).all(5, attributes);
    let outputs = [port("y", F32, &[3, 4, 3, 5]), port("i", I64, &[3, 4, 3, 5])];
    let onnx = model(graph(&[pool], &[], &[port("x", F32, &[3, 4, 6, 5])], &outputs)).0;
    let (ours, theirs) = both(&library, &onnx, &[tensor(&[3, 4, 6, 5], &numbers(360))]);
    assert_eq!(ours, theirs);
}

#[test]
fn sums_and_normalisations_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    let axes = [weight("a", I64, &[], &longs(&[-2])), weight("a", I32, &[1], &1i32.to_le_bytes())];
    for axis in axes {
        for (exclusive, reverse) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let sum =
                node("CumSum", &["x", "a"], &["y"]).all(5, [int("exclusive", exclusive), int("reverse", reverse)]);
            check(&library, sum, std::slice::from_ref(&axis), &[3, 4, 6, 5]);
        }
    }
    for size in [1, 3, 9] {
        let norm = node("LRN", &["x"], &["y"]).all(5, [int("size", size), float("alpha", 0.3), float("bias", 0.5)]);
        check(&library, norm, &[], &[3, 4, 6, 5]);
    }
    for axes in [&[0, 2, 3][..], &[1], &[-1, -2]] {
        let norm = node("MeanVarianceNormalization", &["x"], &["y"]).message(5, ints("axes", axes));
        check(&library, norm, &[], &[3, 4, 6, 5]);
    }
    let scale = [weight("s", F32, &[5], &floats(&numbers(5)))];
    let norm = node("LayerNormalization", &["x", "s"], &["y", "m", "f"]);
    let outputs = [port("y", F32, &[3, 4, 6, 5]), port("m", F32, &[3, 4, 6, 1]), port("f", F32, &[3, 4, 6, 1])];
    let onnx = model(graph(&[norm], &scale, &[port("x", F32, &[3, 4, 6, 5])], &outputs)).0;
    let (ours, theirs) = both(&library, &onnx, &[tensor(&[3, 4, 6, 5], &numbers(360))]);
    assert_close("LayerNormalization", &ours, &theirs);
    // One scale for each group, as before operator set 21, is one for each of its channels.
    let grouped = |scales: &[f32], biases: &[f32]| {
        let weights =
            [("s", scales), ("b", biases)].map(|(name, data)| weight(name, F32, &[data.len() as i64], &floats(data)));
        let norm = node("GroupNormalization", &["x", "s", "b"], &["y"]).message(5, int("num_groups", 2));
        let onnx = operator(norm, &weights, &[3, 4, 6, 5], &[3, 4, 6, 5]);
        let inputs = [tensor(&[3, 4, 6, 5], &numbers(360))];
        Reproducible::new(library.clone()).load(&onnx).unwrap().run(&inputs).unwrap()
    };
    assert_eq!(grouped(&[2.0, 0.5], &[1.0, -1.0]), grouped(&[2.0, 2.0, 0.5, 0.5], &[1.0, 1.0, -1.0, -1.0]));
}

#[test]
fn transposed_convolutions_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    // Attributes, groups, and the output's size; kernels are 3 × 2.
    type Case<'a> = (&'a [Message], i64, [i64; 2]);
    let cases: [Case<'_>; 8] = [
        (&[], 1, [8, 6]),
        (&[ints("strides", &[2, 3]), ints("pads", &[1, 0, 0, 1])], 2, [12, 13]),
        (&[ints("strides", &[2, 3]), ints("output_padding", &[1, 2])], 4, [14, 16]),
        (&[ints("dilations", &[2, 3]), ints("strides", &[3, 1])], 1, [20, 8]),
        (&[ints("strides", &[2, 2]), text("auto_pad", "SAME_UPPER")], 1, [12, 10]),
        (&[ints("strides", &[2, 2]), text("auto_pad", "SAME_LOWER")], 2, [12, 10]),
        (&[ints("strides", &[2, 2]), text("auto_pad", "VALID")], 1, [13, 10]),
        (&[ints("strides", &[2, 2]), ints("output_shape", &[12, 9])], 1, [12, 9]),
    ];
    for (attributes, groups, [height, width]) in cases {
        let maps = 8 / groups;
        let w = [
            weight("w", F32, &[4, maps, 3, 2], &floats(&numbers(24 * maps as usize))),
            weight("b", F32, &[8], &floats(&numbers(8))),
        ];
        let conv = node("ConvTranspose", &["x", "w", "b"], &["y"]).message(5, int("group", groups));
        check(&library, conv.all(5, attributes.to_vec()), &w, &[3, 8, height, width]);
    }
}

#[test]
fn images_are_resized_as_by_the_library() {
    let Some(library) = backend() else { return };
    let unused = weight("none", F32, &[0], &[]);
    let rules = ["nearest", "linear", "cubic"].into_iter().flat_map(|mode| {
        ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"].map(|coordinates| (mode, coordinates))
    });
    for (mode, coordinates) in rules {
        for nearest in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
            let attributes = [
                text("mode", mode),
                text("coordinate_transformation_mode", coordinates),
                text("nearest_mode", nearest),
            ];
            let resize = node("Resize", &["x", "", "", "sizes"], &["y"]).all(5, attributes.clone());
            for to in [[3, 4, 11, 3], [3, 4, 4, 10], [3, 4, 1, 5]] {
                check(&library, resize.clone(), &[weight("sizes", I64, &[4], &longs(&to))], &to);
            }
            let resize = node("Resize", &["x", "", "scales"], &["y"]).all(5, attributes);
            let scales = weight("scales", F32, &[4], &floats(&[1.0, 1.0, 2.0, 3.0]));
            check(&library, resize, &[scales], &[3, 4, 12, 15]);
        }
    }
    let crop = [
        text("mode", "linear"),
        text("coordinate_transformation_mode", "tf_crop_and_resize"),
        float("extrapolation_value", 7.0),
    ];
    let regions = weight("regions", F32, &[8], &floats(&[0.0, 0.0, -0.2, 0.3, 1.0, 1.0, 0.7, 0.6]));
    let sizes = weight("sizes", I64, &[4], &longs(&[3, 4, 7, 3]));
    let resize = node("Resize", &["x", "regions", "none", "sizes"], &["y"]).all(5, crop);
    check(&library, resize, &[regions, unused, sizes], &[3, 4, 7, 3]);
}

#[test]
fn updates_are_those_of_the_library() {
    let Some(library) = backend() else { return };
    let u = weight("u", F32, &[3, 2, 6, 5], &floats(&numbers(180)));
    for (reduction, name) in ["add", "mul", "max", "min"]
        .into_iter()
        .flat_map(|reduction| ["ScatterElements", "ScatterND"].map(|name| (reduction, name)))
    {
        let (places, indices): (&[i64], Vec<i64>) = match name {
            "ScatterElements" => (&[3, 2, 6, 5], (0..180).map(|number| number % 7 % 4 - number % 2 * 4).collect()),
            _ => (&[3, 2, 2], vec![0, 1, -1, 3, 2, 0, 0, 1, 1, -4, 2, 3]),
        };
        let i = weight("i", I64, places, &longs(&indices));
        let scatter = node(name, &["x", "i", "u"], &["y"]).message(5, text("reduction", reduction));
        let scatter = if name == "ScatterElements" { scatter.message(5, int("axis", 1)) } else { scatter };
        // The model's operator set is 18, in which there are the larger and the smaller one.
        let graph =
            graph(&[scatter], &[i, u.clone()], &[port("x", F32, &[3, 4, 6, 5])], &[port("y", F32, &[3, 4, 6, 5])]);
        let onnx = Message::default().int(1, 8).message(7, graph).message(8, opset("", 18)).0;
        let (ours, theirs) = both(&library, &onnx, &[tensor(&[3, 4, 6, 5], &numbers(360))]);
        assert_close(name, &ours, &theirs);
    }
}
