//! The input of a convolution laid out so that what one element of the kernel meets is contiguous along a row of outputs.

use super::window::{Axes, Window};
use crate::isa::Kernel;
use crate::lanes::Lanes;

/// A channel with its padding, split by the remainder of positions divided by the stride: every output of a row, for one element of
/// the kernel, then reads the element after the one that the output before it read, whatever the stride.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(super) window: Window,
    /// Padding before the input; if negative, what is left out of it.
    pads: [isize; 3],
    pub(super) input: Axes,
    pub(super) output: Axes,
    /// Remainders along each axis. A kernel of one element meets only one of them.
    phases: Axes,
    /// Positions along each axis of one remainder.
    extent: Axes,
    /// Outputs that follow each other in memory as well as in the input.
    pub(crate) row: usize,
    /// What of the input goes where, in the order of the latter.
    rows: Vec<Row>,
}

/// Elements a stride apart that become neighbours.
#[derive(Clone, Copy, Debug)]
struct Row {
    from: usize,
    to: usize,
    len: usize,
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
        let mut layout = Self { window, pads, input, output, phases, extent, row, rows: Vec::new() };
        layout.rows = layout.rows();
        layout
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

    fn rows(&self) -> Vec<Row> {
        let [depth_phases, height_phases, width_phases] = self.phases;
        let [depth, height, width] = self.extent;
        let (mut rows, mut to) = (Vec::new(), 0);
        for phase_z in 0..depth_phases {
            for phase_y in 0..height_phases {
                for phase_x in 0..width_phases {
                    let (first, end) = self.within(phase_x);
                    for z in 0..depth {
                        let z = self.source(0, z, phase_z);
                        for y in 0..height {
                            if let (Some(z), Some(y), true) = (z, self.source(1, y, phase_y), first < end) {
                                let x = (first * self.window.strides[2] + phase_x).strict_add_signed(-self.pads[2]);
                                let from = (z * self.input[1] + y) * self.input[2] + x;
                                rows.push(Row { from, to: to + first, len: end - first });
                            }
                            to += width;
                        }
                    }
                }
            }
        }
        rows
    }

    /// The first position of a row that is not before the input, and the first that is after it.
    fn within(&self, phase: usize) -> (usize, usize) {
        let stride = self.window.strides[2];
        let end = self.input[2].saturating_add_signed(self.pads[2]).saturating_sub(phase).div_ceil(stride);
        let first = 0usize.saturating_add_signed(self.pads[2]).saturating_sub(phase).div_ceil(stride);
        (first, end.min(self.extent[2]))
    }

    /// Lays out a channel where there is padding, or another channel was.
    #[inline(always)]
    pub(crate) fn fill<T: Copy>(&self, channel: &[T], laid_out: &mut [T]) {
        for row in &self.rows {
            self.copy(row, channel, laid_out);
        }
    }

    /// The same with vectors, where padding is of this number.
    ///
    /// # Safety
    ///
    /// The processor has the lanes' instruction set.
    #[inline(always)]
    pub(crate) unsafe fn fill_lanes<L: Lanes>(&self, padding: f32, channel: &[f32], laid_out: &mut [f32]) {
        let Some((last, rows)) = self.rows.split_last() else { return };
        if self.window.strides[2] != 1 {
            return self.fill(channel, laid_out);
        }
        for row in rows {
            let from = &channel[row.from..row.from + row.len];
            // The last vector ends in padding, or where the next rows will be.
            let to = &mut laid_out[row.to..][..row.len.next_multiple_of(L::LANES).min(last.to + last.len - row.to)];
            // SAFETY: the caller's; vectors are within both, as was just checked.
            unsafe {
                for at in (0..row.len).step_by(L::LANES) {
                    let (from, left) = (from.as_ptr().add(at), row.len - at);
                    if left >= L::LANES {
                        L::load(from).store(to.as_mut_ptr().add(at));
                    } else if to.len() >= at + L::LANES {
                        let rest = L::load_first(from, left).first_or(left, L::splat(padding));
                        rest.store(to.as_mut_ptr().add(at));
                    } else {
                        L::load_first(from, left).store_first(to.as_mut_ptr().add(at), left);
                    }
                }
            }
        }
        self.copy(last, channel, laid_out);
    }

    /// Where in the input a position is, if it is not padding.
    fn source(&self, axis: usize, position: usize, phase: usize) -> Option<usize> {
        let padded = position * self.window.strides[axis] + phase;
        padded.checked_add_signed(-self.pads[axis]).filter(|source| *source < self.input[axis])
    }

    #[inline(always)]
    fn copy<T: Copy>(&self, row: &Row, channel: &[T], laid_out: &mut [T]) {
        let (from, to) = (&channel[row.from..], &mut laid_out[row.to..][..row.len]);
        match self.window.strides[2] {
            1 => to.copy_from_slice(&from[..row.len]),
            2 => {
                // Of pairs, so that it becomes shuffles of vectors; of the last there may be only the first element.
                let last = row.len - 1;
                let (pairs, _) = from.as_chunks::<2>();
                to[..last].iter_mut().zip(pairs).for_each(|(to, from)| *to = from[0]);
                to[last] = from[2 * last];
            }
            stride => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
        }
    }
}

/// Lays out some channels, one after another, where there are zeros.
pub(crate) struct Fill<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) channels: &'a [f32],
    pub(crate) laid_out: &'a mut [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { layout, channels, laid_out } = self;
        let len = layout.input.iter().product::<usize>().max(1);
        for (channel, laid_out) in channels.chunks_exact(len).zip(laid_out.chunks_exact_mut(layout.channel().max(1))) {
            // SAFETY: a kernel runs where its instructions are.
            unsafe { layout.fill_lanes::<L>(0.0, channel, laid_out) };
        }
    }
}
