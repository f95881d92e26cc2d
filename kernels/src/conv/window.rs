//! Where a convolution reads.

/// Up to three spatial axes, the fastest in memory last; axes that are not there are 1 long.
pub type Axes = [usize; 3];

/// What a convolution slides over its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Its size.
    pub kernel: Axes,
    /// From one output to the next.
    pub strides: Axes,
    /// From one element of the kernel to the next.
    pub dilations: Axes,
    /// Zeros before the input.
    pub pads_begin: Axes,
    /// Zeros after the input.
    pub pads_end: Axes,
}

impl Window {
    /// One that moves by one element, without padding.
    pub fn new(kernel: Axes) -> Self {
        Self { kernel, strides: [1; 3], dilations: [1; 3], pads_begin: [0; 3], pads_end: [0; 3] }
    }

    /// How many outputs there are along each axis: none where the padded input is shorter than the window.
    ///
    /// # Panics
    ///
    /// If a size, stride or dilation is 0.
    pub fn output(&self, input: Axes) -> Axes {
        std::array::from_fn(|axis| {
            assert!(self.kernel[axis] > 0 && self.strides[axis] > 0 && self.dilations[axis] > 0, "{self:?}");
            let padded = self.pads_begin[axis] + input[axis] + self.pads_end[axis];
            let window = (self.kernel[axis] - 1) * self.dilations[axis] + 1;
            if padded < window { 0 } else { (padded - window) / self.strides[axis] + 1 }
        })
    }

    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }
}
