//! Convolutions.

pub(crate) mod depthwise;
mod direct;
pub(crate) mod image;
mod patches;
mod transposed;
mod window;

pub use transposed::{PackedTransposedFilters, transposed_convolution};
pub use window::{Axes, Window};

use crate::aligned::{Aligned, with_scratch};
use crate::gemm::tile::{BLOCK, Output, Resident, TileShape, Tiles, block_range, blocks};
use crate::gemm::{Matrix, pack_left};
use crate::parallel::{Parallel, Shared, part};
use crate::{Bias, Epilogue, Isa};
use depthwise::{Depthwise, Positions};
use direct::Direct;
use image::{Fill, Layout};
use patches::Patches;
use std::ops::Range;

/// Outputs that are packed at a time: with 256 elements of the kernel they half fill a second-level cache of 512 KiB.
const OUTPUTS: usize = 224;

/// The filters of a convolution, packed once for many inputs.
pub struct PackedFilters {
    isa: Isa,
    window: Window,
    groups: usize,
    /// Input channels of a group.
    channels: usize,
    /// Filters of a group.
    filters: usize,
    /// Of each group the blocks, of each block the panels; or, for [`is_depthwise`](Self::is_depthwise), as they came.
    data: Aligned,
}

impl PackedFilters {
    /// Packs `weights` of the shape `[filters, channels of a group, kernel…]`, the filters of the first group first.
    ///
    /// # Panics
    ///
    /// If there are more or fewer, or `groups` does not divide `filters`.
    pub fn new(isa: Isa, weights: &[f32], [filters, channels]: [usize; 2], groups: usize, window: Window) -> Self {
        assert!(groups > 0 && filters.is_multiple_of(groups), "{filters} filters in {groups} groups");
        let depth = channels * window.taps();
        assert_eq!(weights.len(), filters * depth, "{filters} filters of {depth} elements");
        let filters = filters / groups;
        let mut packed = Self { isa, window, groups, channels, filters, data: Aligned::new(weights.len()) };
        let data = &mut packed.data.as_mut_slice()[..weights.len()];
        if depth > 0 && channels == 1 && depth <= BLOCK {
            data.copy_from_slice(weights);
        } else if !weights.is_empty() {
            let groups = weights.chunks(filters * depth).zip(data.chunks_mut(filters * depth));
            for (weights, mut data) in groups {
                let matrix = Matrix::new(weights, filters, depth);
                for block in 0..blocks(depth) {
                    let range = block_range(depth, block);
                    let (now, rest) = data.split_at_mut(filters * range.len());
                    pack_left(TileShape::of(isa), &matrix, 0..filters, range, now);
                    data = rest;
                }
            }
        }
        packed
    }

    /// Every filter meets one channel, in one block.
    fn is_depthwise(&self) -> bool {
        self.channels == 1 && self.window.taps() <= BLOCK
    }

    /// Elements of a filter.
    fn depth(&self) -> usize {
        self.channels * self.window.taps()
    }

    /// What slides over the input.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Input channels.
    pub fn input_channels(&self) -> usize {
        self.groups * self.channels
    }

    /// Output channels.
    pub fn output_channels(&self) -> usize {
        self.groups * self.filters
    }
}

/// Convolves `input` of the shape `[batch, input channels, spatial…]` into `output` of the shape
/// `[batch, output channels, window.output(spatial)…]`.
///
/// Each output is a sum of products as of [`gemm`](crate::gemm()), in blocks of 256, over the elements of its filter in the order of
/// memory: input channel of the group, then kernel position; what is padding is +0.0, and multiplied as any other element. A row of
/// the [`Epilogue`] is an output channel, and a column a position; rows of its addend go on from one image to the next.
///
/// # Panics
///
/// If a length is not what its shape says, or the epilogue has a bias for each column.
pub fn convolution(
    parallel: &dyn Parallel,
    input: &[f32],
    batch: usize,
    spatial: Axes,
    filters: &PackedFilters,
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let layout = Layout::new(filters.window, spatial);
    let channels = filters.output_channels();
    let image_len = filters.input_channels() * spatial.iter().product::<usize>();
    let outputs = layout.outputs();
    assert_eq!(input.len(), batch * image_len, "the input's shape");
    assert_eq!(output.len(), batch * channels * outputs, "the output's shape");
    assert!(!matches!(epilogue.bias, Bias::Columns(_)), "a bias for each output channel");
    Epilogue { bias: Bias::None, ..*epilogue }.check(batch * channels, outputs);
    Epilogue { addend: None, ..*epilogue }.check(channels, outputs);
    if output.is_empty() {
        return;
    }
    let convolution = Convolution { filters, taps: layout.taps(), layout: &layout, parallel };
    for (image, output) in output.chunks_mut(channels * outputs).enumerate() {
        let input = &input[image * image_len..][..image_len];
        let addend = epilogue.addend.map(|addend| addend.starting_at(image * channels));
        let epilogue = Epilogue { addend, ..*epilogue };
        convolution.run(input, output, &epilogue);
    }
}

/// A convolution of images of one size.
struct Convolution<'a> {
    filters: &'a PackedFilters,
    layout: &'a Layout,
    taps: Vec<usize>,
    parallel: &'a dyn Parallel,
}

impl Convolution<'_> {
    /// One image.
    fn run(&self, input: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
        if self.filters.is_depthwise() {
            self.depthwise(input, output, epilogue);
        } else {
            self.image(input, output, epilogue);
        }
    }

    /// Lays the input out, and multiplies.
    fn image(&self, input: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
        if self.layout.is_input() {
            return self.multiply(input, output, epilogue);
        }
        let channels = self.filters.input_channels();
        let (from_len, to_len) = (input.len() / channels.max(1), self.layout.channel());
        with_scratch(channels * to_len, |image| {
            let shared = Shared::new(image);
            let tasks = (4 * self.parallel.threads()).min(channels);
            self.parallel.run(tasks, &|task| {
                let part = part(channels, 1, task, tasks);
                // SAFETY: every channel is in one part.
                let laid_out = unsafe { shared.slice(part.start * to_len, part.len() * to_len) };
                laid_out.fill(0.0);
                let channels = &input[part.start * from_len..part.end * from_len];
                self.filters.isa.run(Fill { layout: self.layout, channels, laid_out });
            });
            self.multiply(image, output, epilogue);
        });
    }

    fn multiply(&self, image: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
        let PackedFilters { isa, groups, channels, filters, .. } = *self.filters;
        let shape = TileShape::of(isa);
        let channel = self.layout.channel();
        let outputs = self.layout.outputs();
        let taps: Vec<usize> =
            (0..channels).flat_map(|index| self.taps.iter().map(move |tap| index * channel + tap)).collect();
        let parts = self.parts(shape, outputs);
        let shared = Shared::new(output);
        self.parallel.run(groups * parts.iter().product::<usize>(), &|task| {
            let [row_parts, column_parts] = parts;
            let (group, task) = (task / (row_parts * column_parts), task % (row_parts * column_parts));
            let rows = part(filters, shape.rows, task / column_parts, row_parts);
            let columns = part(outputs, shape.columns, task % column_parts, column_parts);
            if rows.is_empty() || columns.is_empty() {
                return;
            }
            let start = (group * filters + rows.start) * outputs + columns.start;
            // SAFETY: every task has other rows or columns.
            let output = unsafe { Output::new(shared.pointer(start), outputs) };
            let image = &image[group * channels * channel..][..channels * channel];
            self.multiply_part(image, &taps, group, rows, columns, output, epilogue);
        });
    }

    /// How many parts rows and columns are divided into. Tasks with the same outputs pack them once each, which costs less than a
    /// thread that waits because outputs are not divided evenly.
    fn parts(&self, shape: TileShape, outputs: usize) -> [usize; 2] {
        let threads = self.parallel.threads();
        let row_panels = self.filters.filters.div_ceil(shape.rows);
        let column_panels = outputs.div_ceil(shape.columns);
        if threads == 1 || self.filters.groups >= 4 * threads {
            [1, 1]
        } else if column_panels >= 16 * threads || row_panels < 4 * threads {
            [1, threads.min(column_panels)]
        } else {
            [threads, 1]
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a part of the product and its operands")]
    fn multiply_part(
        &self,
        image: &[f32],
        taps: &[usize],
        group: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output,
        epilogue: &Epilogue<'_>,
    ) {
        let PackedFilters { isa, filters, ref data, .. } = *self.filters;
        let depth = self.filters.depth();
        let shape = TileShape::of(isa);
        let data = &data.as_slice()[group * filters * depth..][..filters * depth];
        let chunks = columns.len().div_ceil(OUTPUTS);
        let blocks = blocks(depth);
        with_scratch((OUTPUTS + 2 * shape.columns) * BLOCK.min(depth) + shape.columns, |packed| {
            for chunk in 0..chunks {
                let chunk = part(columns.len(), shape.columns, chunk, chunks);
                let outputs = columns.start + chunk.start..columns.start + chunk.end;
                for block in 0..blocks {
                    let range = block_range(depth, block);
                    isa.run(Patches {
                        layout: self.layout,
                        image,
                        taps: &taps[range.clone()],
                        outputs: outputs.clone(),
                        packed,
                    });
                    isa.run(Tiles {
                        depth: range.len(),
                        left: &data[filters * range.start + rows.start * range.len()..],
                        rows: rows.len(),
                        right: packed,
                        columns: outputs.len(),
                        resident: Resident::Right,
                        output: output.column(chunk.start),
                        accumulate: block > 0,
                        epilogue: (block + 1 == blocks)
                            .then(|| epilogue.part(group * filters + rows.start, outputs.start)),
                    });
                }
            }
        });
    }

    /// Channel by channel.
    fn depthwise(&self, input: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
        let PackedFilters { isa, filters, .. } = *self.filters;
        let lanes = TileShape::of(isa).lanes;
        let channels = self.filters.input_channels();
        let from_len = input.len() / channels.max(1);
        let direct = Direct::suits(self.layout);
        let positions = (!direct).then(|| Positions::new(self.layout, lanes));
        let outputs = self.layout.outputs();
        let shared = Shared::new(output);
        let tasks = (4 * self.parallel.threads()).min(channels);
        self.parallel.run(tasks, &|task| {
            let part = part(channels, 1, task, tasks);
            let first = part.start * filters;
            // SAFETY: every channel is in one part.
            let output = unsafe { shared.slice(first * outputs, part.len() * filters * outputs) };
            let channels = &input[part.start * from_len..part.end * from_len];
            let weights = &self.filters.data.as_slice()[first * self.taps.len()..];
            let epilogue = epilogue.part(first, 0);
            let layout = self.layout;
            let Some(positions) = &positions else {
                return with_scratch(Direct::scratch(layout, lanes), |scratch| {
                    isa.run(Direct { layout, channels, filters, weights, scratch, output, epilogue });
                });
            };
            // Vectors may end after the last row.
            with_scratch(layout.channel() + lanes, |laid_out| {
                laid_out.fill(0.0);
                let taps = &self.taps;
                isa.run(Depthwise { layout, channels, laid_out, taps, filters, weights, positions, output, epilogue });
            });
        });
    }
}

#[cfg(test)]
mod tests;
