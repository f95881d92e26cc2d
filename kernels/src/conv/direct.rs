//! Convolutions of one channel with one filter, three elements wide and two apart, which read rows where they are: to lay them out takes longer.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use super::depthwise::store;
use super::image::Layout;
use crate::gemm::{Bias, Epilogue};
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// Elements of a row of the kernel.
const WIDTH: usize = 3;
/// Vectors that are computed side by side.
const TOGETHER: usize = 4;

/// Some channels with filters of their own.
pub(crate) struct Direct<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) channels: &'a [f32],
    /// How many filters each channel has.
    pub(crate) filters: usize,
    pub(crate) weights: &'a [f32],
    /// As long as [`scratch`](Self::scratch) says.
    pub(crate) scratch: &'a mut [f32],
    pub(crate) output: &'a mut [f32],
    /// Its first row is the first filter's.
    pub(crate) epilogue: Epilogue<'a>,
}

/// A vector of outputs.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The first row that it meets, with the padding counted.
    row: usize,
    /// The first element of that.
    column: usize,
    output: usize,
}

impl Direct<'_> {
    /// Whether there is a kernel for it.
    pub(crate) fn suits(layout: &Layout) -> bool {
        let window = &layout.window;
        let flat = layout.input[0] == 1 && layout.input[2] > 0 && window.kernel[0] == 1 && window.pads_begin[0] == 0;
        flat && window.strides[2] == 2 && window.dilations == [1; 3] && window.kernel[2] == WIDTH
    }

    /// How much room it needs.
    pub(crate) fn scratch(layout: &Layout, lanes: usize) -> usize {
        (2 + copies(layout, lanes)) * pitch(layout, lanes)
    }
}

/// The end of what is read of a row.
fn end(layout: &Layout, lanes: usize) -> usize {
    let last = layout.output[2].saturating_sub(lanes);
    let end = 2 * (last + lanes) + WIDTH - 1;
    end.saturating_sub(layout.window.pads_begin[2]).max(layout.input[2])
}

/// The length of a row with what is read before and after it.
fn pitch(layout: &Layout, lanes: usize) -> usize {
    layout.window.pads_begin[2] + end(layout, lanes)
}

/// How many rows are so near to the first or the last element that what is read before or after them is not there.
fn copies(layout: &Layout, lanes: usize) -> usize {
    let width = layout.input[2].max(1);
    layout.window.pads_begin[2].div_ceil(width) + (end(layout, lanes) - layout.input[2]).div_ceil(width)
}

/// All vectors of outputs: those that meet nothing but the input, and those that meet padding or what is after a row.
fn places(layout: &Layout, lanes: usize) -> [Vec<Place>; 2] {
    let ([_, _, width], [_, output_rows, output_width]) = (layout.input, layout.output);
    let ([_, stride, _], [_, _, pad]) = (layout.window.strides, layout.window.pads_begin);
    let mut places = [Vec::new(), Vec::new()];
    for y in 0..output_rows {
        for x in (0..output_width).step_by(lanes) {
            // The last vector of a row ends where the row ends. Where rows are shorter, it ends in the next row, which is written later.
            let x = x.min(output_width.saturating_sub(lanes));
            let edge = 2 * x < pad || 2 * (x + lanes - 1) + WIDTH > width + pad;
            places[usize::from(edge)].push(Place { row: y * stride, column: 2 * x, output: y * output_width + x });
        }
    }
    places
}

impl Kernel for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { layout, channels, filters, weights, scratch, output, epilogue } = self;
        let ([_, rows, width], [_, output_rows, output_width]) = (layout.input, layout.output);
        let ([_, height, _], [_, pad_rows, pad]) = (layout.window.kernel, layout.window.pads_begin);
        let (end, pitch, [inner, edges]) = (end(layout, L::LANES), pitch(layout, L::LANES), places(layout, L::LANES));
        scratch.fill(0.0);
        let (mask, rest) = scratch.split_at_mut(pitch);
        let (zeros, copies) = rest.split_at_mut(pitch);
        mask[pad..pad + width].fill(f32::from_bits(u32::MAX));
        // Where rows begin, with the padding before them.
        let mut table = vec![zeros.as_ptr(); (output_rows - 1) * layout.window.strides[1] + height];
        let bounds = epilogue.bounds();
        for (filter, output) in output.chunks_exact_mut(output_rows * output_width).enumerate() {
            let weights = &weights[filter * height * WIDTH..][..height * WIDTH];
            let mut copies = copies.chunks_exact_mut(pitch);
            for (row, from) in table.iter_mut().skip(pad_rows).take(rows).enumerate() {
                let start = (filter / filters * rows + row) * width;
                *from = if start >= pad && start + end <= channels.len() {
                    channels[start - pad..].as_ptr()
                } else {
                    let copy = copies.next().expect("as many as are needed");
                    copy[pad..pad + width].copy_from_slice(&channels[start..start + width]);
                    copy.as_ptr()
                };
            }
            let bias = match epilogue.bias {
                Bias::Rows(bias) if bounds.is_some() => Some(bias[filter]),
                _ => None,
            };
            let last = Last { bias, bounds };
            // SAFETY: a kernel runs where its instructions are; rows can be read from the padding before them to the end of the last
            // vector, and so can the mask.
            unsafe {
                convolve::<L, false>(&inner, &table, weights, mask.as_ptr(), last, output);
                convolve::<L, true>(&edges, &table, weights, mask.as_ptr(), last, output);
                if bounds.is_none() {
                    // What registers do not do.
                    epilogue.apply_to_row::<L>(filter, output.len(), output.as_mut_ptr());
                }
            }
        }
    }
}

/// What becomes of a sum in registers.
#[derive(Clone, Copy)]
struct Last {
    bias: Option<f32>,
    bounds: Option<(f32, f32)>,
}

/// Vectors of sums. At an edge only those elements of a row are read that the mask has.
///
/// # Safety
///
/// The processor has the lanes' instruction set; rows are as long as is read of them, and so is the mask for an edge.
#[inline(always)]
unsafe fn convolve<L: Lanes, const EDGE: bool>(
    places: &[Place],
    table: &[*const f32],
    weights: &[f32],
    mask: *const f32,
    last: Last,
    output: &mut [f32],
) {
    let (weights, _) = weights.as_chunks::<WIDTH>();
    for places in places.chunks(TOGETHER) {
        let mut group = [places[0]; TOGETHER];
        group[..places.len()].copy_from_slice(places);
        let rows = group.map(|place| table[place.row..][..weights.len()].as_ptr());
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [L::splat(0.0); TOGETHER];
            for (y, weights) in weights.iter().enumerate() {
                for n in 0..TOGETHER {
                    let row = (*rows[n].add(y)).add(group[n].column);
                    let mask = mask.add(group[n].column);
                    // What the second element meets lies between what the first meets.
                    for pair in 0..WIDTH.div_ceil(2) {
                        let element = 2 * pair;
                        let mut first = L::load(row.add(element));
                        let mut next = L::load(row.add(element + L::LANES));
                        if EDGE {
                            first = first.and(L::load(mask.add(element)));
                            next = next.and(L::load(mask.add(element + L::LANES)));
                        }
                        let [even, odd] = first.even_odd(next);
                        sums[n] = L::splat(weights[element]).fma(even, sums[n]);
                        if element + 1 < WIDTH {
                            sums[n] = L::splat(weights[element + 1]).fma(odd, sums[n]);
                        }
                    }
                }
            }
            for n in 0..places.len() {
                let mut sum = sums[n].in_order();
                if let Some(bias) = last.bias {
                    sum = sum.add(L::splat(bias));
                }
                if let Some((low, high)) = last.bounds {
                    sum = L::splat(high).min(L::splat(low).max(sum));
                }
                store(sum, group[n].output, output);
            }
        }
    }
}
