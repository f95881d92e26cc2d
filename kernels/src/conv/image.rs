//! The input of a convolution laid out so that what one element of the kernel meets is contiguous along a row of outputs.

use super::window::{Axes, Window};

/// A channel with its padding, split by the remainder of positions divided by the stride: every output of a row, for one element of
/// the kernel, then reads the element after the one that the output before it read, whatever the stride.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    window: Window,
    /// Padding before the input; if negative, what is left out of it.
    pads: [isize; 3],
    input: Axes,
    output: Axes,
    /// Remainders along each axis. A kernel of one element meets only one of them.
    phases: Axes,
    /// Positions along each axis of one remainder.
    extent: Axes,
    /// Outputs that follow each other in memory as well as in the input.
    pub(crate) row: usize,
}

impl Layout {
    pub(crate) fn new(window: Window, input: Axes) -> Self {
        Self::with_output(window, window.pads_begin.map(|pad| pad as isize), input, window.output(input))
    }

    /// One that has these outputs, whatever padding they need at the end.
    pub(crate) fn with_output(window: Window, pads: [isize; 3], input: Axes, output: Axes) -> Self {
        let phases = std::array::from_fn(|axis| if window.kernel[axis] == 1 { 1 } else { window.strides[axis] });
        let extent: Axes = std::array::from_fn(|axis| {
            let reach = (window.kernel[axis] - 1) * window.dilations[axis];
            output[axis] + reach / window.strides[axis]
        });
        let mut row = output[2];
        if extent[2] == output[2] {
            row *= output[1];
            if extent[1] == output[1] {
                row *= output[0];
            }
        }
        Self { window, pads, input, output, phases, extent, row }
    }

    /// Whether it is the input as it is.
    pub(crate) fn is_input(&self) -> bool {
        self.window.strides == [1; 3] && self.pads == [0; 3] && self.extent == self.input
    }

    /// Elements of one channel.
    pub(crate) fn channel(&self) -> usize {
        self.phases.iter().chain(&self.extent).product()
    }

    /// How many outputs there are.
    pub(crate) fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// Where the first output of a row reads, apart from the element of the kernel.
    pub(crate) fn row_start(&self, row: usize) -> usize {
        let [_, height, width] = self.extent;
        let [_, output_height, output_width] = self.output;
        let first = row * self.row;
        let (plane, y) = (first / (output_height * output_width), first / output_width % output_height);
        (plane * height + y) * width
    }

    /// The same for each element of the kernel, in the order of memory.
    pub(crate) fn taps(&self) -> Vec<usize> {
        let [depth, height, width] = self.window.kernel;
        let mut taps = Vec::with_capacity(self.window.taps());
        for z in 0..depth {
            for y in 0..height {
                for x in 0..width {
                    taps.push(self.tap([z, y, x]));
                }
            }
        }
        taps
    }

    /// Where the first output reads for an element of the kernel.
    pub(crate) fn tap(&self, element: Axes) -> usize {
        let (mut phase, mut position) = (0, 0);
        for (axis, element) in element.into_iter().enumerate() {
            let distance = element * self.window.dilations[axis];
            let stride = self.window.strides[axis];
            phase = phase * self.phases[axis] + distance % stride;
            position = position * self.extent[axis] + distance / stride;
        }
        phase * self.extent.iter().product::<usize>() + position
    }

    /// Lays out a channel where there are zeros, or another channel was.
    pub(crate) fn fill<T: Copy>(&self, channel: &[T], laid_out: &mut [T]) {
        let [depth_phases, height_phases, width_phases] = self.phases;
        let [depth, height, width] = self.extent;
        let mut rows = laid_out.chunks_exact_mut(width.max(1));
        for phase_z in 0..depth_phases {
            for phase_y in 0..height_phases {
                for phase_x in 0..width_phases {
                    for z in 0..depth {
                        let z = self.source(0, z, phase_z);
                        for (y, row) in rows.by_ref().take(height).enumerate() {
                            if let (Some(z), Some(y)) = (z, self.source(1, y, phase_y)) {
                                let from = &channel[(z * self.input[1] + y) * self.input[2]..][..self.input[2]];
                                self.fill_row(from, phase_x, row);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where in the input a position is, if it is not padding.
    fn source(&self, axis: usize, position: usize, phase: usize) -> Option<usize> {
        let padded = position * self.window.strides[axis] + phase;
        padded.checked_add_signed(-self.pads[axis]).filter(|source| *source < self.input[axis])
    }

    fn fill_row<T: Copy>(&self, from: &[T], phase: usize, row: &mut [T]) {
        let stride = self.window.strides[2];
        let pad = self.pads[2].max(0).unsigned_abs();
        let from = &from[from.len().min((-self.pads[2]).max(0).unsigned_abs())..];
        // The first position that is not before the input, and the first that is after it.
        let first = pad.saturating_sub(phase).div_ceil(stride).min(row.len());
        let end = (from.len() + pad).saturating_sub(phase).div_ceil(stride).clamp(first, row.len());
        if first == end {
            return;
        }
        let from = &from[first * stride + phase - pad..];
        let row = &mut row[first..end];
        match stride {
            1 => row.copy_from_slice(&from[..row.len()]),
            2 => {
                // Of pairs, so that it becomes shuffles of vectors; of the last there may be only the first element.
                let last = row.len() - 1;
                let (pairs, _) = from.as_chunks::<2>();
                row[..last].iter_mut().zip(pairs).for_each(|(to, from)| *to = from[0]);
                row[last] = from[2 * last];
            }
            _ => row.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
        }
    }
}
