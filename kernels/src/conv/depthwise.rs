//! Convolutions of one channel with one filter.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use super::image::Layout;
use crate::gemm::{Bias, Epilogue};
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// Vectors that are computed side by side, as many as hide how long one multiply-add takes.
const CHAINS: usize = 8;

/// Vectors of outputs.
pub(crate) struct Positions {
    /// Where they read and where they are written, in the order of the latter.
    pub(crate) vectors: Vec<[usize; 2]>,
    /// The end of what is read for the first element of the kernel.
    end: usize,
    outputs: usize,
}

impl Positions {
    pub(crate) fn new(layout: &Layout, lanes: usize) -> Self {
        let outputs = layout.outputs();
        let mut vectors = Vec::with_capacity(outputs.div_ceil(lanes));
        for row in 0..outputs / layout.row.max(1) {
            let (source, output) = (layout.row_start(row), row * layout.row);
            for x in (0..layout.row).step_by(lanes) {
                // The last vector of a row ends where the row ends, and computes some outputs again. Where rows are shorter, it
                // ends in the next row, which is written later.
                let x = x.min(layout.row.saturating_sub(lanes));
                vectors.push([source + x, output + x]);
            }
        }
        let end = vectors.last().map_or(0, |[source, _]| source + lanes);
        Self { vectors, end, outputs }
    }

    /// Checks that all of them lie in the image for every element of the kernel, and in the output.
    pub(crate) fn check(&self, taps: &[usize], image: &[f32], output: &[f32]) {
        assert!(self.end + taps.iter().max().unwrap_or(&0) <= image.len());
        assert_eq!(self.outputs, output.len());
    }
}

/// Writes a vector, or as much of it as there is room for.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
pub(crate) unsafe fn store<L: Lanes>(vector: L, at: usize, output: &mut [f32]) {
    // SAFETY: the caller's; what is not as long as a vector is copied from a buffer that is.
    unsafe {
        if at + L::LANES <= output.len() {
            vector.store(output.as_mut_ptr().add(at));
        } else {
            let mut edge = [0.0f32; 16];
            vector.store(edge.as_mut_ptr());
            let rest = &mut output[at..];
            rest.copy_from_slice(&edge[..rest.len()]);
        }
    }
}

/// Some channels with filters of their own.
pub(crate) struct Depthwise<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) channels: &'a [f32],
    /// Room for one channel, with its padding.
    pub(crate) laid_out: &'a mut [f32],
    pub(crate) taps: &'a [usize],
    /// How many filters each channel has.
    pub(crate) filters: usize,
    pub(crate) weights: &'a [f32],
    pub(crate) positions: &'a Positions,
    pub(crate) output: &'a mut [f32],
    /// Its first row is the first filter's.
    pub(crate) epilogue: Epilogue<'a>,
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { layout, channels, laid_out, taps, filters, weights, positions, output, epilogue } = self;
        let in_place = layout.is_input() && layout.row >= L::LANES;
        let filter_count = output.len() / positions.outputs;
        let channel_len = channels.len() / (filter_count / filters).max(1);
        let bounds = epilogue.bounds();
        for (filter, output) in output.chunks_exact_mut(positions.outputs).enumerate() {
            let weights = &weights[filter * taps.len()..][..taps.len()];
            let channel = &channels[filter / filters * channel_len..][..channel_len];
            // SAFETY: a kernel runs where its instructions are.
            unsafe {
                if !in_place && filter % filters == 0 {
                    layout.fill_lanes::<L>(0.0, channel, laid_out);
                }
                let image = if in_place { channel } else { &*laid_out };
                let bias = match epilogue.bias {
                    Bias::Rows(bias) if bounds.is_some() => Some(bias[filter]),
                    _ => None,
                };
                convolve::<L>(image, taps, weights, positions, output, bias, bounds);
                if bounds.is_none() {
                    // What registers do not do.
                    epilogue.apply_to_row::<L>(filter, output.len(), output.as_mut_ptr());
                }
            }
        }
    }
}

/// One channel with one filter.
///
/// # Safety
///
/// The processor has the lanes' instruction set.
#[inline(always)]
unsafe fn convolve<L: Lanes>(
    image: &[f32],
    taps: &[usize],
    weights: &[f32],
    positions: &Positions,
    output: &mut [f32],
    bias: Option<f32>,
    bounds: Option<(f32, f32)>,
) {
    positions.check(taps, image, output);
    for vectors in positions.vectors.chunks(CHAINS) {
        let mut group = [vectors[0]; CHAINS];
        group.iter_mut().zip(vectors).for_each(|(to, from)| *to = *from);
        // SAFETY: every position and tap was compared with the image, and every position is in the output.
        unsafe {
            let mut sums = [L::splat(0.0); CHAINS];
            let mut from = [image.as_ptr(); CHAINS];
            for chain in 0..CHAINS {
                from[chain] = image.as_ptr().add(group[chain][0]);
            }
            for (weight, tap) in weights.iter().zip(taps) {
                let weight = L::splat(*weight);
                for chain in 0..CHAINS {
                    sums[chain] = weight.fma(L::load(from[chain].add(*tap)), sums[chain]);
                }
            }
            if let Some(bias) = bias {
                for chain in 0..CHAINS {
                    sums[chain] = sums[chain].add(L::splat(bias));
                }
            }
            if let Some((low, high)) = bounds {
                for chain in 0..CHAINS {
                    sums[chain] = L::splat(high).min(L::splat(low).max(sums[chain]));
                }
            }
            for chain in 0..CHAINS {
                if chain < vectors.len() {
                    store(sums[chain], group[chain][1], output);
                }
            }
        }
    }
}
