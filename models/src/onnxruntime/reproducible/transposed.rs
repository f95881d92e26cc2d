//! Transposed convolutions.

use super::operator::{Compute, Definition, FLOATS, Input, fail, floats, give, input, sizes};
use super::windows::{Motion, shape, step};
use depx_kernels::{Axes, Bias, Epilogue, Isa, PackedTransposedFilters, Window, transposed_convolution};
use ort::operator::KernelContext;
use ort::value::DynTensorValueType;

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "ConvTranspose",
    inputs: &[Input::Floats, Input::Floats, Input::OptionalFloats],
    outputs: FLOATS,
    prepare: conv_transpose,
}];

/// What decides where outputs begin and end.
struct Outputs {
    motion: Motion,
    /// How many there are along each axis, if that is given.
    sizes: Vec<usize>,
    /// Further ones at the end of each axis.
    padding: Vec<usize>,
}

impl Outputs {
    /// The window of this kernel, the image's size and that of the result; dimensions that are not there come first and are 1 long.
    fn of(&self, kernel: &[usize], image: &[usize]) -> ort::Result<(Window, Axes, Axes)> {
        let rank = kernel.len();
        if rank == 0 || rank > 3 || image.len() != rank || kernel.contains(&0) {
            return fail(format!("a kernel of {rank} dimensions does not fit its input"));
        }
        let mut window = Window::new([1; 3]);
        let (mut axes, mut outputs): (Axes, Axes) = ([1; 3], [1; 3]);
        for axis in 0..rank {
            let at = 3 - rank + axis;
            (axes[at], window.kernel[at]) = (image[axis], kernel[axis]);
            let (stride, dilation) = (step(&self.motion.strides, axis)?, step(&self.motion.dilations, axis)?);
            (window.strides[at], window.dilations[at]) = (stride, dilation);
            let reach = (kernel[axis] - 1) * dilation + 1;
            let extra = self.padding.get(axis).copied().unwrap_or(0);
            let whole = image[axis].saturating_sub(1) * stride + extra + reach;
            let same = self.motion.auto_pad.starts_with("SAME");
            (window.pads_begin[at], outputs[at]) = match self.sizes.get(axis) {
                None if !same => {
                    let (begin, end) =
                        if self.motion.auto_pad == "VALID" { (0, 0) } else { self.motion.pads(axis, rank)? };
                    (begin, whole.saturating_sub(begin + end))
                }
                size => {
                    let size = size.copied().unwrap_or(image[axis] * stride);
                    let left_out = whole.saturating_sub(size);
                    let upper = self.motion.auto_pad == "SAME_UPPER";
                    (if upper { left_out / 2 } else { left_out - left_out / 2 }, size)
                }
            };
        }
        Ok((window, axes, outputs))
    }
}

fn conv_transpose(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let list = |name| sizes(&context.get::<Vec<i64>>(name).unwrap_or_default());
    let outputs =
        Outputs { motion: Motion::of(context), sizes: list("output_shape")?, padding: list("output_padding")? };
    let groups = usize::try_from(context.get::<i64>("group").unwrap_or(1)).unwrap_or(0);
    // Weights that change from run to run are not packed before.
    let mut packed: Option<(Window, PackedTransposedFilters)> = None;
    let constant = context.constant_input::<DynTensorValueType>(1).is_ok();
    Ok(Box::new(move |context| {
        let (x, w, bias) = (input(context, 0)?, input(context, 1)?, context.input(2)?);
        let ((x_shape, x), (w_shape, w)) = (floats(&x)?, floats(&w)?);
        let (&[batch, channels, ref image @ ..], &[depth, of_group, ref kernel @ ..]) = (&x_shape[..], &w_shape[..])
        else {
            return fail("its input and weights must have channels");
        };
        if groups == 0 || channels % groups != 0 || channels != depth {
            return fail(format!("{groups} groups of {depth} channels do not fit {channels}"));
        }
        let (window, axes, outputs) = outputs.of(kernel, image)?;
        if packed.as_ref().is_none_or(|(known, _)| !constant || *known != window) {
            packed = Some((window, PackedTransposedFilters::new(isa, w, [channels, of_group], groups, window)));
        }
        let filters = groups * of_group;
        let bias = bias.as_ref().map(floats).transpose()?;
        if bias.as_ref().is_some_and(|(_, bias)| bias.len() != filters) {
            return fail(format!("a bias for each of {filters} filters"));
        }
        let bias = bias.map_or(Bias::None, |(_, bias)| Bias::Rows(bias));
        give(context, &shape(&[batch, filters], outputs, kernel.len()), |output| {
            let epilogue = Epilogue { bias, ..Epilogue::default() };
            if let Some((_, filters)) = &packed {
                transposed_convolution(context.parallel, x, batch, axes, filters, outputs, output, &epilogue);
            }
        })
    }))
}
