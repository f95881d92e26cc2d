//! What the outputs of a convolution read, packed as the right operand of a product.

use super::image::Layout;
use crate::isa::Kernel;
use crate::lanes::Lanes;
use std::ops::Range;

/// Packs a block of elements of the kernel, for some outputs.
pub(crate) struct Patches<'a> {
    pub(crate) layout: &'a Layout,
    /// The channels.
    pub(crate) image: &'a [f32],
    /// Where the first output reads, for every element of the block.
    pub(crate) taps: &'a [usize],
    pub(crate) outputs: Range<usize>,
    /// Its last panel may be followed by anything up to the width of a panel.
    pub(crate) packed: &'a mut [f32],
}

/// Outputs of one panel that are next to each other in memory.
#[derive(Clone, Copy, Default)]
struct Run {
    source: usize,
    len: usize,
    /// Where they go for the first element of the block, and how much farther for each next one.
    to: usize,
    step: usize,
}

/// Panels that are packed together, so that what is read for one element of the kernel is longer.
const PANELS: usize = 4;
const MAX_RUNS: usize = PANELS * 32;

impl Kernel for Patches<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Some((last, taps)) = self.taps.split_last() else { return };
        let width = 2 * L::LANES;
        let depth = self.taps.len();
        let columns = self.outputs.len();
        assert!(columns.next_multiple_of(L::LANES) * depth + width <= self.packed.len());
        let mut runs = [Run::default(); MAX_RUNS];
        let mut done = 0;
        while done < columns {
            let mut count = 0;
            let end = columns.min((done / width + PANELS) * width);
            while done < end {
                let panel = done / width * width;
                let step = width.min(columns - panel).next_multiple_of(L::LANES);
                let output = self.outputs.start + done;
                let (row, x) = (output / self.layout.row, output % self.layout.row);
                let len = (panel + width - done).min(end - done).min(self.layout.row - x);
                let source = self.layout.row_start(row) + x;
                runs[count] = Run { source, len, to: panel * depth + done - panel, step };
                count += 1;
                done += len;
            }
            let runs = &mut runs[..count];
            let first = runs[0];
            let follows = |(index, run): (usize, &Run)| run.len == width && run.source == first.source + index * width;
            if count == PANELS && runs.iter().enumerate().all(follows) {
                copy_panels::<L>(self.image, self.taps, first, self.packed);
                continue;
            }
            for tap in taps {
                // Whole vectors are copied, from left to right: what is too much is overwritten by what follows in the panel.
                for run in &mut *runs {
                    let (from, to) = (run.source + tap, run.to);
                    if from + width <= self.image.len() {
                        // SAFETY: reads were just compared, and writes end within a panel's width of the last panel.
                        unsafe {
                            let from = self.image.as_ptr().add(from);
                            let to = self.packed.as_mut_ptr().add(to);
                            L::load(from).store(to);
                            if run.len > L::LANES {
                                L::load(from.add(L::LANES)).store(to.add(L::LANES));
                            }
                        }
                    } else {
                        self.packed[to..to + run.len].copy_from_slice(&self.image[from..from + run.len]);
                    }
                    run.to += run.step;
                }
            }
            // After the last there is another panel.
            for run in &*runs {
                let from = run.source + last;
                self.packed[run.to..run.to + run.len].copy_from_slice(&self.image[from..from + run.len]);
            }
        }
    }
}

/// Copies whole panels whose outputs all follow each other in memory.
#[inline(always)]
fn copy_panels<L: Lanes>(image: &[f32], taps: &[usize], first: Run, packed: &mut [f32]) {
    let width = 2 * L::LANES;
    let panel = width * taps.len();
    let packed = &mut packed[first.to..first.to + PANELS * panel];
    for (index, tap) in taps.iter().enumerate() {
        let from = &image[first.source + tap..][..PANELS * width];
        // SAFETY: reads are within `from`, and writes within the panels.
        unsafe {
            let (from, to) = (from.as_ptr(), packed.as_mut_ptr().add(index * width));
            for at in 0..PANELS {
                let (from, to) = (from.add(at * width), to.add(at * panel));
                L::load(from).store(to);
                L::load(from.add(L::LANES)).store(to.add(L::LANES));
            }
        }
    }
}
