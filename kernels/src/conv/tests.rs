use super::*;
use crate::parallel::tests::Threads;
use crate::samples::{Random, bits, hash, isas};
use crate::{Activation, Addend, Sequential, reference};

#[derive(Debug)]
struct Case {
    batch: usize,
    groups: usize,
    /// Of a group.
    channels: usize,
    /// Of a group.
    filters: usize,
    spatial: Axes,
    window: Window,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let groups = 1 + random.below(3);
        let axes = random.below(3);
        let mut axis = |least: usize, below: usize| -> Axes {
            std::array::from_fn(|axis| if axis < axes { 1.max(least) } else { least + random.below(below) })
        };
        let window = Window {
            kernel: axis(1, 4),
            strides: axis(1, 3),
            dilations: axis(1, 3),
            pads_begin: axis(0, 4),
            pads_end: axis(0, 4),
        };
        let spatial = axis(1, 19);
        let channels = if random.below(3) == 0 { 1 } else { 1 + random.below(9) };
        Self { batch: 1 + random.below(2), groups, channels, filters: 1 + random.below(20), spatial, window }
    }

    fn check(&self, random: &mut Random, parallel: &dyn Parallel, often: usize) -> u64 {
        let Self { batch, groups, channels, filters, spatial, window } = *self;
        let depth = channels * window.taps();
        let input = random.extremes(batch * groups * channels * spatial.iter().product::<usize>(), often);
        let weights = random.extremes(groups * filters * depth, often);
        let outputs: usize = window.output(spatial).iter().product();
        let len = batch * groups * filters * outputs;
        let (bias, addend) = (random.values(groups * filters), random.values(len));
        let bias = Bias::Rows(&bias);
        let addend = Addend { data: &addend, row_stride: outputs, column_stride: 1, beta: 1.0 };
        let ends = [
            Epilogue::default(),
            Epilogue { bias, activation: Activation::Relu, ..Default::default() },
            Epilogue { bias, addend: (len > 0).then_some(addend), activation: Activation::Relu, ..Default::default() },
        ];
        let end = &ends[random.below(3)];
        let expected = reference::convolution(
            &input,
            [batch, groups * channels],
            spatial,
            &weights,
            groups * filters,
            groups,
            &window,
            end,
        );
        for isa in isas() {
            let packed = PackedFilters::new(isa, &weights, [groups * filters, channels], groups, window);
            let mut output = vec![f32::NAN; len];
            convolution(parallel, &input, batch, spatial, &packed, &mut output, end);
            assert!(bits(&output) == bits(&expected), "{isa:?} {self:?}");
        }
        hash(&expected)
    }
}

/// As in networks for images.
fn square(kernel: usize, stride: usize, pad: usize) -> Window {
    Window {
        strides: [1, stride, stride],
        pads_begin: [0, pad, pad],
        pads_end: [0, pad, pad],
        ..Window::new([1, kernel, kernel])
    }
}

#[test]
fn random_shapes_are_the_reference() {
    let mut random = Random::new(1);
    for turn in 0..400 {
        let case = Case::random(&mut random);
        case.check(&mut random, &Sequential, [3, 20, 1000][turn % 3]);
    }
}

/// Shapes of networks, made narrower where only time would be lost.
fn layers() -> Vec<Case> {
    let layer = |groups, channels, filters, size, window| Case {
        batch: 1,
        groups,
        channels,
        filters,
        spatial: [1, size, size],
        window,
    };
    vec![
        layer(1, 3, 13, 56, square(7, 2, 3)),
        layer(1, 64, 20, 28, square(1, 1, 0)),
        layer(1, 300, 9, 15, square(1, 2, 0)),
        layer(1, 64, 24, 14, square(3, 1, 1)),
        layer(1, 40, 24, 14, square(3, 2, 1)),
        layer(1, 60, 49, 7, square(3, 1, 1)),
        layer(20, 1, 1, 31, square(3, 1, 1)),
        layer(20, 1, 1, 31, square(3, 2, 1)),
        layer(20, 1, 2, 28, square(5, 1, 2)),
        layer(20, 1, 1, 7, square(3, 1, 1)),
        layer(5, 1, 1, 40, square(17, 1, 8)),
        layer(2, 1, 30, 33, Window { dilations: [1, 2, 3], ..square(3, 2, 4) }),
    ]
}

#[test]
fn layers_are_the_reference() {
    let mut random = Random::new(2);
    for case in layers() {
        case.check(&mut random, &Sequential, 1000);
    }
}

/// Rows that are read where they are, inside and at their edges.
#[test]
fn filters_of_one_channel_with_a_stride_are_the_reference() {
    let mut random = Random::new(6);
    for (groups, filters, size, window) in [
        (3, 2, 78, square(3, 2, 1)),
        (3, 1, 67, square(3, 2, 0)),
        (2, 1, 80, square(3, 2, 4)),
        (7, 1, 14, square(3, 2, 1)),
        (5, 1, 1, square(3, 2, 9)),
    ] {
        let case = Case { batch: 2, groups, channels: 1, filters, spatial: [1, size, size], window };
        case.check(&mut random, &Sequential, 50);
        case.check(&mut random, &Threads(2), 1000);
    }
}

#[test]
fn threads_change_no_bit() {
    let mut random = Random::new(3);
    for case in layers() {
        for threads in [2, 5] {
            case.check(&mut random, &Threads(threads), 1000);
        }
    }
}

/// A transposed convolution, whose output may be any size.
fn check_transposed(random: &mut Random, parallel: &dyn Parallel) -> u64 {
    let axes = random.below(3);
    let mut axis = |least: usize, below: usize| -> Axes {
        std::array::from_fn(|axis| if axis < axes { 1.max(least) } else { least + random.below(below) })
    };
    let window = Window {
        kernel: axis(1, 5),
        strides: axis(1, 4),
        dilations: axis(1, 3),
        pads_begin: axis(0, 4),
        pads_end: [0; 3],
    };
    let (spatial, output_spatial) = (axis(1, 12), axis(1, 25));
    let (batch, groups, filters) = (1 + random.below(2), 1 + random.below(3), 1 + random.below(15));
    let channels = groups * (1 + random.below(9));
    let input = random.extremes(batch * channels * spatial.iter().product::<usize>(), 100);
    let weights = random.extremes(channels * filters * window.taps(), 100);
    let bias = random.values(groups * filters);
    let epilogue = Epilogue { bias: Bias::Rows(&bias), activation: Activation::Relu, ..Default::default() };
    let expected = reference::transposed_convolution(
        &input,
        [batch, channels],
        spatial,
        &weights,
        [filters, groups],
        &window,
        output_spatial,
        &epilogue,
    );
    for isa in isas() {
        let packed = PackedTransposedFilters::new(isa, &weights, [channels, filters], groups, window);
        let mut output = vec![f32::NAN; expected.len()];
        transposed_convolution(parallel, &input, batch, spatial, &packed, output_spatial, &mut output, &epilogue);
        assert!(bits(&output) == bits(&expected), "{isa:?} {window:?} {spatial:?} {output_spatial:?}");
    }
    hash(&expected)
}

#[test]
fn transposed_is_the_reference() {
    let mut random = Random::new(5);
    let hashes = (0..100).map(|turn| check_transposed(&mut random, &Threads(1 + turn % 2)));
    let hash = crate::samples::hash_bytes(hashes.flat_map(u64::to_le_bytes));
    assert_eq!(hash, 0xb9fc7f91e549934b, "{hash:#x}");
}

#[test]
fn golden() {
    let mut random = Random::new(4);
    let hashes: Vec<u64> = layers().iter().map(|case| case.check(&mut random, &Sequential, 1000)).collect();
    assert_eq!(
        hashes,
        [
            0x42de8c77817d1432,
            0x6fff8b75c7ab86aa,
            0xb3f878ac6b9348fc,
            0xb074e15c1beb4007,
            0x397e1326e20bcb15,
            0xbb1adc8b734f76dc,
            0xc063355d31a437dc,
            0xbd949455ad33ddaf,
            0x50831a98ea41634a,
            0x537af8eed13fdb63,
            0xb7ece74debf7e023,
            0xba0cf41967661882,
        ],
        "{hashes:#x?}"
    );
}
