use super::*;
use crate::parallel::tests::Threads;
use crate::reference;
use crate::samples::{Random, hash_bytes, isas};
use crate::{Axes, Window};

fn integers<T: Int8>(random: &mut Random, len: usize) -> Vec<T> {
    let range = (T::MAX - T::MIN) as usize + 1;
    // Extremes often, because they are what saturates where kernels are not exact.
    (0..len)
        .map(|_| match random.below(4) {
            0 => T::of(T::MIN.into()),
            1 => T::of(T::MAX.into()),
            _ => T::of(i32::from(T::MIN) + random.below(range) as i32),
        })
        .collect()
}

fn check_gemm<A: Int8, B: Int8>(random: &mut Random, shape: [usize; 3], threads: usize) -> u64 {
    let [rows, depth, columns] = shape;
    let (a, b) = (integers::<A>(random, rows * depth), integers::<B>(random, depth * columns));
    let zero_point = integers::<A>(random, 1)[0];
    let count = if random.below(2) == 0 { columns } else { 1 };
    let zero_points = integers::<B>(random, count);
    let expected = reference::integer_gemm(shape, &a, zero_point, &b, &zero_points);
    for isa in isas() {
        let packed = PackedIntegers::new(isa, &b, [depth, columns], &zero_points);
        let mut output = vec![7; rows * columns];
        integer_gemm(&Threads(threads), &a, rows, zero_point, &packed, &mut output);
        assert!(output == expected, "{isa:?} {shape:?}");
    }
    hash_bytes(expected.into_iter().flat_map(i32::to_le_bytes))
}

#[test]
fn products_are_the_reference() {
    let mut random = Random::new(1);
    for turn in 0..80 {
        let shape = [random.below(41), random.below(41), random.below(41)];
        check_gemm::<u8, i8>(&mut random, shape, 1 + turn % 3);
        check_gemm::<u8, u8>(&mut random, shape, 1);
        check_gemm::<i8, i8>(&mut random, shape, 1);
        check_gemm::<i8, u8>(&mut random, shape, 1);
    }
    for shape in [[250, 3, 17], [3, 1030, 50], [13, 511, 31], [7, 513, 33]] {
        check_gemm::<u8, i8>(&mut random, shape, 2);
    }
}

fn check_convolution<X: Int8, W: Int8>(random: &mut Random, threads: usize) -> u64 {
    let axis = |random: &mut Random, least: usize, below: usize| -> Axes {
        std::array::from_fn(|axis| if axis == 0 { least } else { least + random.below(below) })
    };
    let window = Window {
        kernel: axis(random, 1, 4),
        strides: axis(random, 1, 3),
        dilations: axis(random, 1, 3),
        pads_begin: axis(random, 0, 3),
        pads_end: axis(random, 0, 3),
    };
    let spatial = axis(random, 1, 19);
    let (batch, groups) = (1 + random.below(2), 1 + random.below(3));
    let (channels, filters) = (1 + random.below(40), groups * (1 + random.below(9)));
    let input = integers::<X>(random, batch * groups * channels * spatial[1] * spatial[2]);
    let weights = integers::<W>(random, filters * channels * window.taps());
    let zero_point = integers::<X>(random, 1)[0];
    let count = if random.below(2) == 0 { filters } else { 1 };
    let zero_points = integers::<W>(random, count);
    let bias: Vec<i32> = (0..filters).map(|_| random.bits() as i32).collect();
    let expected = reference::integer_convolution(
        &input,
        [batch, groups * channels],
        spatial,
        zero_point,
        &weights,
        &zero_points,
        [filters, groups],
        &window,
        &bias,
    );
    for isa in isas() {
        let packed = PackedIntegerFilters::new(isa, &weights, [filters, channels], groups, window, &zero_points);
        let mut output = vec![7; expected.len()];
        integer_convolution(&Threads(threads), &input, batch, spatial, zero_point, &packed, &bias, &mut output);
        assert!(output == expected, "{isa:?} {window:?} {spatial:?} {channels} {filters}");
    }
    hash_bytes(expected.into_iter().flat_map(i32::to_le_bytes))
}

#[test]
fn convolutions_are_the_reference() {
    let mut random = Random::new(2);
    for turn in 0..40 {
        check_convolution::<u8, i8>(&mut random, 1 + turn % 3);
        check_convolution::<u8, u8>(&mut random, 1);
        check_convolution::<i8, i8>(&mut random, 1);
    }
}

#[test]
fn requantization_is_the_reference() {
    let mut random = Random::new(3);
    let mut sums: Vec<i32> = (0..600).map(|_| random.bits() as i32 >> random.below(32)).collect();
    sums[..5].copy_from_slice(&[i32::MIN, i32::MAX, 0, 1, 16_777_217]);
    let mut scales: Vec<f32> = (0..20).map(|_| 10f32.powi(random.below(11) as i32 - 10)).collect();
    scales[..3].copy_from_slice(&[0.0, f32::INFINITY, f32::NAN]);
    for zero_point in [0, 1, 127, 255] {
        let mut output = vec![0u8; 600];
        requantize(&sums, 20, Scales::Columns(&scales), zero_point, &mut output);
        for (index, output) in output.iter().enumerate() {
            assert_eq!(*output, reference::requantize(sums[index], scales[index % 20], zero_point));
        }
        let mut output = vec![0i8; 600];
        requantize(&sums, 30, Scales::Rows(&scales), zero_point as i8, &mut output);
        for (index, output) in output.iter().enumerate() {
            assert_eq!(*output, reference::requantize(sums[index], scales[index / 30], zero_point as i8));
        }
    }
    let mut halves = [0i8; 5];
    requantize(&[1, 3, 5, -1, -3], 5, Scales::One(0.5), 0, &mut halves);
    assert_eq!(halves, [0, 2, 2, 0, -2]);
}

fn check_quantization<T: Quantized + Into<i32> + PartialEq + std::fmt::Debug>(random: &mut Random) -> u64 {
    let mut hash = 0;
    for turn in 0..40 {
        let scale = if turn == 0 { 0.0 } else { 10f32.powi(random.below(8) as i32 - 4) };
        let mut x = random.extremes(200, 10);
        x.iter_mut().for_each(|x| *x *= 100.0);
        // Halves of the scale, which are ties.
        x.extend((0..50).map(|half| half as f32 * scale / 2.0));
        let zero_point = T::from_i32(T::LEAST + random.below((T::GREATEST - T::LEAST) as usize + 1) as i32);
        let mut output = vec![zero_point; x.len()];
        quantize(&x, scale, zero_point, &mut output);
        for (x, output) in x.iter().zip(&output) {
            assert_eq!(*output, reference::quantize(*x, scale, zero_point), "{x} {scale} {zero_point:?}");
        }
        let mut floats = vec![7.0; x.len()];
        dequantize(&output, scale, zero_point, &mut floats);
        for (x, float) in output.iter().zip(&floats) {
            assert_eq!(float.to_bits(), reference::dequantize((*x).into(), scale, zero_point.into()).to_bits());
        }
        hash ^= crate::samples::hash(&floats).rotate_left(turn);
    }
    hash
}

#[test]
fn quantization_is_the_reference() {
    let mut random = Random::new(5);
    let hashes = [
        check_quantization::<u8>(&mut random),
        check_quantization::<i8>(&mut random),
        check_quantization::<u16>(&mut random),
        check_quantization::<i16>(&mut random),
    ];
    assert_eq!(
        hashes,
        [0x2ab29464a018fff7, 0x21ea0970ed2af3d6, 0x94ed2764a44b80f7, 0xfbb24dcb7d90b4d5],
        "{hashes:#x?}"
    );
    for count in [0, 1, 2, 100] {
        for often in [1, 10, 1000] {
            let x = random.extremes(count, often);
            assert_eq!(bits_of(quantization_of(&x)), bits_of(reference::quantization_of(&x)), "{x:?}");
        }
    }
    for (x, expected) in [
        (&[0.0, 2.0, -3.0, -2.5, 1.34, 0.5][..], (0x3ca0_a0a1, 153)),
        (&[], (0x3f80_0000, 0)),
        (&[f32::NAN, f32::NEG_INFINITY], (0x7f80_0000, 0)),
        (&[-1e-45], (0, 255)),
    ] {
        assert_eq!(bits_of(quantization_of(x)), expected);
    }
}

fn bits_of((scale, zero_point): (f32, u8)) -> (u32, u8) {
    (scale.to_bits(), zero_point)
}

#[test]
fn golden() {
    let mut random = Random::new(4);
    let convolutions = (0..20).flat_map(|_| check_convolution::<u8, i8>(&mut random, 1).to_le_bytes());
    let hashes = [
        hash_bytes(convolutions),
        check_gemm::<u8, i8>(&mut random, [20, 600, 30], 1),
        check_gemm::<i8, u8>(&mut random, [20, 600, 30], 1),
    ];
    assert_eq!(hashes, [0x9d7f7a95d3014aeb, 0x4b5fc80e500d38ac, 0x393784ecf50ac556], "{hashes:#x?}");
}
