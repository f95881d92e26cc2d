//! Operators that slide a window over images.

use super::operator::{Compute, Definition, Input, fail, floats, give, input, sizes};
use depx_kernels::{Axes, Bias, Epilogue, Isa, PackedFilters, Sequential, Window, convolution};
use ort::operator::KernelContext;
use ort::value::DynTensorValueType;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "Conv", inputs: &[Input::Floats, Input::Floats, Input::OptionalFloats], prepare: conv },
    Definition { name: "MaxPool", inputs: &[Input::Floats], prepare: max_pool },
];

/// The attributes that say how a window moves.
struct Motion {
    auto_pad: String,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
    /// Whether outputs are counted that begin inside the padded input and end outside.
    ceil: bool,
}

impl Motion {
    fn of(context: &KernelContext<'_>) -> Self {
        let list = |name| context.get::<Vec<i64>>(name).unwrap_or_default();
        Self {
            auto_pad: context.get("auto_pad").unwrap_or_default(),
            strides: list("strides"),
            dilations: list("dilations"),
            pads: list("pads"),
            ceil: context.get::<i64>("ceil_mode").unwrap_or(0) != 0,
        }
    }

    /// The window of this kernel over an image; dimensions that are not there come first and are 1 long.
    fn window(&self, kernel: &[usize], image: &[usize]) -> ort::Result<(Window, Axes)> {
        let rank = kernel.len();
        if rank == 0 || rank > 3 || image.len() != rank {
            return fail(format!("{rank} dimensions are too few or too many, or not those of the input"));
        }
        let mut window = Window::new([1; 3]);
        let mut axes: Axes = [1; 3];
        for axis in 0..rank {
            let at = 3 - rank + axis;
            let positive = |list: &[i64], default| match list.get(axis) {
                None => Ok(default),
                Some(&size @ 1..=0x7fff_ffff) => Ok(size as usize),
                Some(size) => fail(format!("{size} is not a step")),
            };
            (axes[at], window.kernel[at]) = (image[axis], kernel[axis]);
            window.strides[at] = positive(&self.strides, 1)?;
            window.dilations[at] = positive(&self.dilations, 1)?;
            if kernel[axis] == 0 {
                return fail("an empty kernel");
            }
            let span = (kernel[axis] - 1) * window.dilations[at] + 1;
            let stride = window.strides[at];
            (window.pads_begin[at], window.pads_end[at]) = match self.auto_pad.as_str() {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let outputs = image[axis].div_ceil(stride);
                    let total = (outputs.saturating_sub(1) * stride + span).saturating_sub(image[axis]);
                    let less = total / 2;
                    if self.auto_pad == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
                }
                "VALID" => (0, 0),
                _ => match (self.pads.get(axis), self.pads.get(rank + axis)) {
                    (None, None) => (0, 0),
                    (Some(&begin @ 0..=0x7fff_ffff), Some(&end @ 0..=0x7fff_ffff)) => (begin as usize, end as usize),
                    _ => return fail("pads must be two for each dimension and not negative"),
                },
            };
            if self.ceil {
                let begin = window.pads_begin[at];
                let padded = begin + image[axis] + window.pads_end[at];
                // An output more, unless it would begin in the padding at the end.
                let beyond = padded.saturating_sub(span) % stride;
                let next = padded.saturating_sub(span) / stride * stride + stride;
                if beyond > 0 && next < image[axis] + begin {
                    window.pads_end[at] += stride - beyond;
                }
            }
        }
        Ok((window, axes))
    }
}

/// A result's shape: the batch, channels, and the outputs along each of `rank` dimensions.
fn shape(outer: &[usize], outputs: Axes, rank: usize) -> Vec<usize> {
    outer.iter().copied().chain(outputs[3 - rank..].iter().copied()).collect()
}

fn conv(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let motion = Motion::of(context);
    let groups = usize::try_from(context.get::<i64>("group").unwrap_or(1)).unwrap_or(0);
    // Weights that change from run to run are not packed before.
    let mut packed: Option<(Window, PackedFilters)> = None;
    let constant = context.constant_input::<DynTensorValueType>(1).is_ok();
    Ok(Box::new(move |context| {
        let (x, w, bias) = (input(context, 0)?, input(context, 1)?, context.input(2)?);
        let ((x_shape, x), (w_shape, w)) = (floats(&x)?, floats(&w)?);
        let (&[batch, channels, ref image @ ..], &[filters, of_group, ref kernel @ ..]) = (&x_shape[..], &w_shape[..])
        else {
            return fail("its input and weights must have channels");
        };
        if groups == 0 || filters % groups != 0 || channels != of_group * groups {
            return fail(format!("{groups} groups of {of_group} channels do not fit {channels} and {filters} filters"));
        }
        let (window, axes) = motion.window(kernel, image)?;
        if packed.as_ref().is_none_or(|(known, _)| !constant || *known != window) {
            packed = Some((window, PackedFilters::new(isa, w, [filters, of_group], groups, window)));
        }
        let bias = bias.as_ref().map(floats).transpose()?;
        if bias.as_ref().is_some_and(|(_, bias)| bias.len() != filters) {
            return fail(format!("a bias for each of {filters} filters"));
        }
        let bias = bias.map_or(Bias::None, |(_, bias)| Bias::Rows(bias));
        give(context, &shape(&[batch, filters], window.output(axes), kernel.len()), |output| {
            let epilogue = Epilogue { bias, ..Epilogue::default() };
            if let Some((_, filters)) = &packed {
                convolution(&Sequential, x, batch, axes, filters, output, &epilogue);
            }
            Ok(())
        })
    }))
}

/// The largest element under the window, in the order of memory: `x > largest ? x : largest`, beginning with -∞; padding is not
/// looked at. Of zeros the first one stays. A NaN is passed by, as the library does.
fn max_pool(context: &KernelContext<'_>, _: Isa) -> ort::Result<Compute> {
    let motion = Motion::of(context);
    let kernel = sizes(&context.get::<Vec<i64>>("kernel_shape").unwrap_or_default())?;
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (x_shape, x) = floats(&x)?;
        let &[batch, channels, ref image @ ..] = &x_shape[..] else { return fail("its input must have channels") };
        let (window, axes) = motion.window(&kernel, image)?;
        let outputs = window.output(axes);
        give(context, &shape(&[batch, channels], outputs, kernel.len()), |output| {
            let (plane, plane_out) = (axes.iter().product::<usize>(), outputs.iter().product::<usize>());
            if plane_out > 0 {
                for (channel, output) in output.chunks_mut(plane_out).enumerate() {
                    largest(&x[channel * plane..][..plane], axes, &window, outputs, output);
                }
            }
            Ok(())
        })
    }))
}

fn largest(x: &[f32], axes: Axes, window: &Window, outputs: Axes, output: &mut [f32]) {
    // The positions under the window along an axis, for one output.
    let under = |axis: usize, output: usize| {
        let first = output * window.strides[axis];
        (0..window.kernel[axis])
            .filter_map(move |tap| (first + tap * window.dilations[axis]).checked_sub(window.pads_begin[axis]))
            .filter(move |&position| position < axes[axis])
    };
    let mut outputs_in_order = output.iter_mut();
    for i in 0..outputs[0] {
        for j in 0..outputs[1] {
            for k in 0..outputs[2] {
                let mut largest = f32::NEG_INFINITY;
                for a in under(0, i) {
                    for b in under(1, j) {
                        let row = &x[(a * axes[1] + b) * axes[2]..][..axes[2]];
                        for c in under(2, k) {
                            largest = if row[c] > largest { row[c] } else { largest };
                        }
                    }
                }
                if let Some(output) = outputs_in_order.next() {
                    *output = largest;
                }
            }
        }
    }
}
