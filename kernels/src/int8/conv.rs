//! Convolutions of 8-bit integers.

use super::gemm::blocks;
use super::lanes::{lanes, pair, run};
use super::tile::{IntegerTiles, ROWS, columns};
use super::{Int8, zero_point};
use crate::conv::image::Layout;
use crate::parallel::{Parallel, Shared, part};
use crate::{Axes, Isa, Window};
use std::ops::Range;

/// Outputs that are packed at a time.
const OUTPUTS: usize = 224;

/// The filters of a convolution, less their zero points and packed.
pub struct PackedIntegerFilters {
    isa: Isa,
    window: Window,
    groups: usize,
    /// Input channels of a group.
    channels: usize,
    /// Filters of a group.
    filters: usize,
    /// Of each group the blocks of pairs, of each block the panels of filters.
    data: Vec<i32>,
}

impl PackedIntegerFilters {
    /// Packs `weights` of the shape `[filters, channels of a group, kernel…]`, the filters of the first group first, with one zero
    /// point for all or one for each filter.
    ///
    /// # Panics
    ///
    /// If there are more or fewer, or `groups` does not divide `filters`.
    pub fn new<T: Int8>(
        isa: Isa,
        weights: &[T],
        [filters, channels]: [usize; 2],
        groups: usize,
        window: Window,
        zero_points: &[T],
    ) -> Self {
        assert!(groups > 0 && filters.is_multiple_of(groups), "{filters} filters in {groups} groups");
        let depth = channels * window.taps();
        assert_eq!(weights.len(), filters * depth, "{filters} filters of {depth} elements");
        assert!(zero_points.len() == 1 || zero_points.len() == filters, "a zero point for all or for each filter");
        let filters = filters / groups;
        let element = |filter: usize, index: usize| {
            let inside = index < depth;
            if inside { weights[filter * depth + index].into() - zero_point(zero_points, filter) } else { 0 }
        };
        let mut data = Vec::with_capacity(groups * filters * depth.div_ceil(2));
        for group in 0..groups {
            let (start, end) = (group * filters, (group + 1) * filters);
            for block in blocks(depth.div_ceil(2)) {
                for first in (start..end).step_by(ROWS) {
                    for index in block.clone() {
                        for filter in first..end.min(first + ROWS) {
                            data.push(pair(element(filter, 2 * index), element(filter, 2 * index + 1)));
                        }
                    }
                }
            }
        }
        Self { isa, window, groups, channels, filters, data }
    }

    /// Pairs of elements of a filter.
    fn pairs(&self) -> usize {
        (self.channels * self.window.taps()).div_ceil(2)
    }
}

/// Convolves `input` of the shape `[batch, input channels, spatial…]`, less its zero point, into `output` of the shape
/// `[batch, output channels, window.output(spatial)…]`, wrapping: ConvInteger, and the sums of QLinearConv. What is padding is the
/// zero point. A `bias` for each output channel, which may be empty, is added to the sums.
///
/// # Panics
///
/// If a length is not what its shape says.
#[allow(clippy::too_many_arguments, reason = "its shape")]
pub fn integer_convolution<T: Int8>(
    parallel: &dyn Parallel,
    input: &[T],
    batch: usize,
    spatial: Axes,
    zero_point: T,
    filters: &PackedIntegerFilters,
    bias: &[i32],
    output: &mut [i32],
) {
    let layout = Layout::new(filters.window, spatial);
    let (channels, output_channels) = (filters.groups * filters.channels, filters.groups * filters.filters);
    let from_len = spatial.iter().product::<usize>();
    let outputs = layout.outputs();
    assert_eq!(input.len(), batch * channels * from_len, "the input's shape");
    assert_eq!(output.len(), batch * output_channels * outputs, "the output's shape");
    assert!(bias.is_empty() || bias.len() == output_channels, "a bias for each output channel");
    if output.is_empty() {
        return;
    }
    let to_len = layout.channel();
    let zero_point: i16 = zero_point.into();
    let mut image = vec![0i16; channels * to_len];
    for (index, output) in output.chunks_mut(output_channels * outputs).enumerate() {
        let input = &input[index * channels * from_len..][..channels * from_len];
        let laid_out = Shared::new(&mut image);
        let tasks = (4 * parallel.threads()).min(channels);
        parallel.run(tasks, &|task| {
            for channel in part(channels, 1, task, tasks) {
                let from = &input[channel * from_len..][..from_len];
                let less: Vec<i16> = from.iter().map(|element| (*element).into() - zero_point).collect();
                // SAFETY: every channel is in one part.
                layout.fill(&less, unsafe { laid_out.slice(channel * to_len, to_len) });
            }
        });
        multiply(parallel, &layout, &image, filters, bias, output);
    }
}

fn multiply(
    parallel: &dyn Parallel,
    layout: &Layout,
    image: &[i16],
    filters: &PackedIntegerFilters,
    bias: &[i32],
    output: &mut [i32],
) {
    let PackedIntegerFilters { isa, groups, channels, filters: rows, .. } = *filters;
    let outputs = layout.outputs();
    let width = columns(lanes(isa));
    let taps = layout.taps();
    let taps: Vec<usize> =
        (0..channels).flat_map(|channel| taps.iter().map(move |tap| channel * layout.channel() + tap)).collect();
    let chunks = outputs.div_ceil(OUTPUTS).max(if groups == 1 { parallel.threads() } else { 1 });
    let shared = Shared::new(output);
    parallel.run(groups * chunks, &|task| {
        let (group, chunk) = (task / chunks, part(outputs, width, task % chunks, chunks));
        if chunk.is_empty() {
            return;
        }
        let image = &image[group * channels * layout.channel()..][..channels * layout.channel()];
        let data = &filters.data[group * rows * filters.pairs()..];
        let start = group * rows * outputs + chunk.start;
        let mut packed = Vec::new();
        for block in blocks(filters.pairs()) {
            pack(layout, image, &taps, width, &chunk, &block, &mut packed);
            run(
                isa,
                IntegerTiles {
                    pairs: block.len(),
                    left: &data[rows * block.start..],
                    rows,
                    right: &packed,
                    columns: chunk.len(),
                    output: shared.pointer(start),
                    row_stride: outputs,
                    accumulate: block.start > 0,
                },
            );
        }
        for (row, bias) in bias.iter().skip(group * rows).take(rows).enumerate() {
            // SAFETY: every task has another group or other outputs.
            let sums = unsafe { shared.slice(start + row * outputs, chunk.len()) };
            sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(*bias));
        }
    });
}

/// Packs what some outputs read as the right operand.
fn pack(
    layout: &Layout,
    image: &[i16],
    taps: &[usize],
    width: usize,
    outputs: &Range<usize>,
    pairs: &Range<usize>,
    packed: &mut Vec<i32>,
) {
    packed.clear();
    packed.resize(outputs.len().next_multiple_of(width) * pairs.len(), 0);
    for column in (0..outputs.len()).step_by(width) {
        let panel_width = width.min(outputs.len() - column);
        let mut done = 0;
        while done < panel_width {
            let output = outputs.start + column + done;
            let (row, x) = (output / layout.row, output % layout.row);
            let len = (panel_width - done).min(layout.row - x);
            let source = layout.row_start(row) + x;
            for (index, now) in pairs.clone().enumerate() {
                let to = &mut packed[column * pairs.len() + index * width + done..][..len];
                let first = &image[source + taps[2 * now]..][..len];
                match taps.get(2 * now + 1) {
                    Some(tap) => {
                        let second = &image[source + tap..][..len];
                        for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
                            *to = pair(*first, *second);
                        }
                    }
                    None => to.iter_mut().zip(first).for_each(|(to, first)| *to = pair(*first, 0)),
                }
            }
            done += len;
        }
    }
}
