//! Transposed convolutions: of outputs with the same remainder of their position divided by the stride, each set is a convolution
//! with the elements of the kernel that meet it.

use super::image::Layout;
use super::{Convolution, PackedFilters};
use crate::aligned::with_scratch;
use crate::parallel::Parallel;
use crate::{Axes, Bias, Epilogue, Isa, Window};

/// The filters of a transposed convolution, packed once for many inputs.
pub struct PackedTransposedFilters {
    window: Window,
    /// In the order of the remainders, the last axis fastest.
    phases: Vec<Phase>,
}

/// One set of outputs.
struct Phase {
    remainder: Axes,
    /// Along each axis, how far before the output each element of the kernel reads, in inputs.
    distances: [Vec<usize>; 3],
    filters: PackedFilters,
}

/// Elements of the kernel along an axis that meet a remainder.
fn elements(window: &Window, axis: usize, remainder: usize) -> Vec<usize> {
    let meets = |element: &usize| element * window.dilations[axis] % window.strides[axis] == remainder;
    (0..window.kernel[axis]).filter(meets).collect()
}

/// All positions in a box, the last axis fastest.
fn positions(size: Axes) -> impl Iterator<Item = Axes> {
    let [depth, height, width] = size;
    (0..depth * height * width).map(move |index| [index / width / height, index / width % height, index % width])
}

impl PackedTransposedFilters {
    /// Packs `weights` of the shape `[input channels, filters of a group, kernel…]`. The window's `pads_begin` are outputs that are
    /// left out at the beginning; its `pads_end` are not used, because outputs end where a caller says.
    ///
    /// # Panics
    ///
    /// If there are more or fewer, or `groups` does not divide `channels`.
    pub fn new(isa: Isa, weights: &[f32], [channels, filters]: [usize; 2], groups: usize, window: Window) -> Self {
        assert!(groups > 0 && channels.is_multiple_of(groups), "{channels} channels in {groups} groups");
        assert!([window.kernel, window.strides, window.dilations].as_flattened().iter().all(|size| *size > 0));
        let taps = window.taps();
        assert_eq!(weights.len(), channels * filters * taps, "{channels} channels of {filters} filters");
        let channels = channels / groups;
        let phases = positions(window.strides).map(|remainder| {
            let elements: [Vec<usize>; 3] = std::array::from_fn(|axis| elements(&window, axis, remainder[axis]));
            let distances = std::array::from_fn(|axis| {
                let distance = |element: &usize| (element * window.dilations[axis]) / window.strides[axis];
                elements[axis].iter().map(distance).collect()
            });
            let kernel = elements.each_ref().map(Vec::len);
            let mut chosen = Vec::with_capacity(groups * filters * channels * kernel.iter().product::<usize>());
            for filter in 0..groups * filters {
                for channel in 0..channels {
                    let row = ((filter / filters * channels + channel) * filters + filter % filters) * taps;
                    for [z, y, x] in positions(kernel) {
                        let [z, y, x] = [elements[0][z], elements[1][y], elements[2][x]];
                        chosen.push(weights[row + (z * window.kernel[1] + y) * window.kernel[2] + x]);
                    }
                }
            }
            let shape = [groups * filters, channels];
            Phase {
                remainder,
                distances,
                filters: PackedFilters::new(isa, &chosen, shape, groups, Window::new(kernel)),
            }
        });
        Self { window, phases: phases.collect() }
    }
}

impl Phase {
    /// The first output of the phase along an axis, how many there are, and how far after the first input the first reads.
    fn outputs(&self, window: &Window, axis: usize, len: usize) -> (usize, usize, usize) {
        let (stride, pad, remainder) = (window.strides[axis], window.pads_begin[axis], self.remainder[axis]);
        let input = pad.saturating_sub(remainder).div_ceil(stride);
        let first = input * stride + remainder - pad;
        (first, len.saturating_sub(first).div_ceil(stride), input)
    }
}

/// Transposed convolution of `input` of the shape `[batch, input channels, spatial…]` into `output` of the shape
/// `[batch, filters, output_spatial…]`. An output at y meets the elements ky of the kernel for which y + pad − ky × dilation is a
/// multiple of the stride; the quotient is where it reads, and what is not in the input is +0.0, and multiplied as any other.
///
/// Each output is a sum of products as of [`gemm`](crate::gemm()), in blocks of 256, over the elements of its filter that it meets in
/// the order of memory: input channel of the group, then kernel position. Elements that it does not meet are not counted.
///
/// # Panics
///
/// If a length is not what its shape says, or the epilogue has a bias for each column or an addend.
#[allow(clippy::too_many_arguments, reason = "its shape")]
pub fn transposed_convolution(
    parallel: &dyn Parallel,
    input: &[f32],
    batch: usize,
    spatial: Axes,
    filters: &PackedTransposedFilters,
    output_spatial: Axes,
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let Some(any) = filters.phases.first() else { return };
    let (channels, output_channels) = (any.filters.input_channels(), any.filters.output_channels());
    let image_len = channels * spatial.iter().product::<usize>();
    let outputs = output_spatial.iter().product::<usize>();
    assert_eq!(input.len(), batch * image_len, "the input's shape");
    assert_eq!(output.len(), batch * output_channels * outputs, "the output's shape");
    assert!(!matches!(epilogue.bias, Bias::Columns(_)), "a bias for each output channel");
    assert!(epilogue.addend.is_none(), "outputs are not computed in the order of memory");
    epilogue.check(output_channels, outputs);
    if output.is_empty() {
        return;
    }
    for phase in &filters.phases {
        let axes: [_; 3] = std::array::from_fn(|axis| phase.outputs(&filters.window, axis, output_spatial[axis]));
        let count = axes.map(|(_, count, _)| count);
        let len = output_channels * count.iter().product::<usize>();
        if len == 0 {
            continue;
        }
        // The layout is that of a window from the farthest element to the nearest.
        let reach = phase.distances.each_ref().map(|distances| distances.last().copied().unwrap_or(0));
        let pads = std::array::from_fn(|axis| reach[axis] as isize - axes[axis].2 as isize);
        let window = Window::new(reach.map(|reach| reach + 1));
        let layout = Layout::with_output(window, pads, spatial, count);
        let taps = positions(phase.distances.each_ref().map(Vec::len))
            .map(|element| layout.tap(std::array::from_fn(|axis| reach[axis] - phase.distances[axis][element[axis]])))
            .collect();
        let convolution = Convolution { filters: &phase.filters, layout: &layout, taps, parallel };
        with_scratch(len, |results| {
            for image in 0..batch {
                convolution.run(&input[image * image_len..][..image_len], results, epilogue);
                let output = &mut output[image * output_channels * outputs..][..output_channels * outputs];
                for (index, row) in results.chunks_exact(count[2]).enumerate() {
                    let (channel, z, y) = (index / count[1] / count[0], index / count[1] % count[0], index % count[1]);
                    let at = |axis: usize, position: usize| axes[axis].0 + position * filters.window.strides[axis];
                    let start =
                        ((channel * output_spatial[0] + at(0, z)) * output_spatial[1] + at(1, y)) * output_spatial[2];
                    let to = output[start + axes[2].0..].iter_mut().step_by(filters.window.strides[2]);
                    to.zip(row).for_each(|(to, from)| *to = *from);
                }
            }
        });
    }
}
