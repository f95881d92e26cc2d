//! Convolutions of one channel with one filter.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over registers, which iterators and closures might not keep in them"
)]

use super::image::Layout;
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// Vectors that are computed side by side, as many as hide how long one multiply-add takes.
const CHAINS: usize = 8;

/// Vectors of outputs.
pub(crate) struct Positions {
    /// Where they read and where they are written, in the order of the latter.
    vectors: Vec<[usize; 2]>,
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
}

/// One channel.
pub(crate) struct Depthwise<'a> {
    pub(crate) image: &'a [f32],
    pub(crate) taps: &'a [usize],
    pub(crate) weights: &'a [f32],
    pub(crate) positions: &'a Positions,
    pub(crate) output: &'a mut [f32],
    pub(crate) bias: Option<f32>,
    pub(crate) bounds: Option<(f32, f32)>,
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { image, taps, weights, positions, output, bias, bounds } = self;
        assert_eq!(taps.len(), weights.len());
        assert!(positions.end + taps.iter().max().unwrap_or(&0) <= image.len());
        assert_eq!(positions.outputs, output.len());
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
                    let to = group[chain][1];
                    if chain >= vectors.len() {
                        continue;
                    }
                    if to + L::LANES <= output.len() {
                        sums[chain].store(output.as_mut_ptr().add(to));
                    } else {
                        let mut edge = [0.0f32; 16];
                        sums[chain].store(edge.as_mut_ptr());
                        let rest = &mut output[to..];
                        rest.copy_from_slice(&edge[..rest.len()]);
                    }
                }
            }
        }
    }
}

/// What registers do not do at the end, see `Epilogue`.
pub(crate) struct Finish<'a> {
    pub(crate) epilogue: crate::Epilogue<'a>,
    pub(crate) output: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        // SAFETY: as many as the output has.
        unsafe { self.epilogue.apply_to_row::<L>(0, self.output.len(), self.output.as_mut_ptr()) };
    }
}
