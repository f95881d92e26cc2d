//! Operators that slide a window over images.

use super::finish::{Finish, whole};
use super::operator::{
    Compute, Definition, FLOATS, Input, Output, fail, fill_parts, floats, give, give_at, input, optional, sizes,
};
use depx_kernels::{Addend, Axes, Bias, Epilogue, Isa, PackedFilters, Window, convolution};
use ort::operator::{ComputeContext, KernelContext};
use ort::value::{DynTensorValueType, PrimitiveTensorElementType, TensorElementType};

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "Conv", inputs: CONV, outputs: FLOATS, prepare: conv },
    Definition { name: "AveragePool", inputs: &[Input::Floats], outputs: FLOATS, prepare: average_pool },
    Definition {
        name: "MaxPool",
        inputs: &[Input::Floats],
        outputs: &[Output::Of(TensorElementType::Float32), Output::OptionalOf(TensorElementType::Int64)],
        prepare: max_pool,
    },
];

/// An image, filters, their biases, what is added to the result, and the parameters of a normalisation: scale, bias, mean and variance.
const CONV: &[Input] = &[
    Input::Floats,
    Input::Floats,
    Input::OptionalFloats,
    Input::OptionalFloats,
    Input::OptionalFloats,
    Input::OptionalFloats,
    Input::OptionalFloats,
    Input::OptionalFloats,
];

/// The attributes that say how a window moves.
pub(super) struct Motion {
    pub(super) auto_pad: String,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    pads: Vec<i64>,
    /// Whether outputs are counted that begin inside the padded input and end outside.
    ceil: bool,
}

impl Motion {
    pub(super) fn of(context: &KernelContext<'_>) -> Self {
        let list = |name| context.get::<Vec<i64>>(name).unwrap_or_default();
        Self {
            auto_pad: context.get("auto_pad").unwrap_or_default(),
            strides: list("strides"),
            dilations: list("dilations"),
            pads: list("pads"),
            ceil: context.get::<i64>("ceil_mode").unwrap_or(0) != 0,
        }
    }

    /// The window of this kernel over an image, the image's size, and its padding at the end of each axis without what outputs need that
    /// end outside; dimensions that are not there come first and are 1 long.
    pub(super) fn window(&self, kernel: &[usize], image: &[usize]) -> ort::Result<(Window, Axes, Axes)> {
        let rank = kernel.len();
        if rank == 0 || rank > 3 || image.len() != rank {
            return fail(format!("{rank} dimensions are too few or too many, or not those of the input"));
        }
        let mut window = Window::new([1; 3]);
        let (mut axes, mut ends): (Axes, Axes) = ([1; 3], [0; 3]);
        for axis in 0..rank {
            let at = 3 - rank + axis;
            (axes[at], window.kernel[at]) = (image[axis], kernel[axis]);
            window.strides[at] = step(&self.strides, axis)?;
            window.dilations[at] = step(&self.dilations, axis)?;
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
                _ => self.pads(axis, rank)?,
            };
            ends[at] = window.pads_end[at];
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
        Ok((window, axes, ends))
    }

    /// Before and after one of `rank` axes.
    pub(super) fn pads(&self, axis: usize, rank: usize) -> ort::Result<(usize, usize)> {
        match (self.pads.get(axis), self.pads.get(rank + axis)) {
            (None, None) => Ok((0, 0)),
            (Some(&begin @ 0..=0x7fff_ffff), Some(&end @ 0..=0x7fff_ffff)) => Ok((begin as usize, end as usize)),
            _ => fail("pads must be two for each dimension and not negative"),
        }
    }
}

/// A stride or dilation, 1 if none is given.
pub(super) fn step(list: &[i64], axis: usize) -> ort::Result<usize> {
    match list.get(axis) {
        None => Ok(1),
        Some(&size @ 1..=0x7fff_ffff) => Ok(size as usize),
        Some(size) => fail(format!("{size} is not a step")),
    }
}

/// A result's shape: the batch, channels, and the outputs along each of `rank` dimensions.
pub(super) fn shape(outer: &[usize], outputs: Axes, rank: usize) -> Vec<usize> {
    outer.iter().copied().chain(outputs[3 - rank..].iter().copied()).collect()
}

fn conv(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let motion = Motion::of(context);
    let groups = usize::try_from(context.get::<i64>("group").unwrap_or(1)).unwrap_or(0);
    let finish = Finish::of(context, isa)?;
    let epsilon = context.get("epsilon").unwrap_or(1e-5);
    // Weights that change from run to run are not packed before.
    let mut packed: Option<(Window, PackedFilters, Option<Vec<f32>>)> = None;
    let constant = context.constant_input::<DynTensorValueType>(1).is_ok();
    Ok(Box::new(move |context| {
        let (x, w) = (input(context, 0)?, input(context, 1)?);
        let ((x_shape, x), (w_shape, w)) = (floats(&x)?, floats(&w)?);
        let (&[batch, channels, ref image @ ..], &[filters, of_group, ref kernel @ ..]) = (&x_shape[..], &w_shape[..])
        else {
            return fail("its input and weights must have channels");
        };
        if groups == 0 || filters % groups != 0 || channels != of_group * groups {
            return fail(format!("{groups} groups of {of_group} channels do not fit {channels} and {filters} filters"));
        }
        let (window, axes, _) = motion.window(kernel, image)?;
        if packed.as_ref().is_none_or(|(known, ..)| !constant || *known != window) {
            let (weights, bias) = match Normalization::of(context, filters, epsilon)? {
                Some(normalization) => {
                    let (weights, bias) = normalization.folded(w);
                    (Some(weights), Some(bias))
                }
                None => (None, None),
            };
            let weights = weights.as_deref().unwrap_or(w);
            packed = Some((window, PackedFilters::new(isa, weights, [filters, of_group], groups, window), bias));
        }
        let Some((_, packed, folded)) = &packed else { return fail("its weights are not packed") };
        let (bias, addend) = (optional(context, 2)?, optional(context, 3)?);
        let bias = match folded {
            Some(folded) => Some(&folded[..]),
            None => bias.as_ref().map(floats).transpose()?.map(|(_, bias)| bias),
        };
        if bias.is_some_and(|bias| bias.len() != filters) {
            return fail(format!("a bias for each of {filters} filters"));
        }
        let shape = shape(&[batch, filters], window.output(axes), kernel.len());
        let outputs = shape[2..].iter().product();
        let addend = whole(addend.as_ref().map(floats).transpose()?, &shape)?;
        let addend = addend.map(|addend| Addend { row_stride: outputs, ..addend });
        let bias = bias.map_or(Bias::None, Bias::Rows);
        let epilogue = Epilogue { bias, addend, activation: finish.activation, ..Epilogue::default() };
        give(context, &shape, |output| {
            convolution(context.parallel, x, batch, axes, packed, output, &epilogue);
            finish.apply(context, output);
        })
    }))
}

/// A normalisation of channels that follows a convolution, and the biases that are added before it.
struct Normalization {
    biases: Option<Vec<f32>>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    epsilon: f32,
}

impl Normalization {
    /// That of these inputs, which have an element for each filter; none if they are left out.
    fn of(context: &ComputeContext, filters: usize, epsilon: f32) -> ort::Result<Option<Self>> {
        let parameters = |position| match optional(context, position)? {
            None => Ok(None),
            Some(value) => match floats(&value)?.1 {
                parameters if parameters.len() == filters => Ok(Some(parameters.to_vec())),
                _ => fail(format!("a parameter for each of {filters} filters")),
            },
        };
        match (parameters(4)?, parameters(5)?, parameters(6)?, parameters(7)?) {
            (Some(scale), Some(bias), Some(mean), Some(variance)) => {
                Ok(Some(Self { biases: parameters(2)?, scale, bias, mean, variance, epsilon }))
            }
            _ => Ok(None),
        }
    }

    /// Weights and biases with which a convolution is followed by none.
    fn folded(&self, weights: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let filters = self.scale.len();
        let mut folded = weights.to_vec();
        let of_filter = folded.chunks_mut((weights.len() / filters).max(1));
        let biases = of_filter.zip(0..filters).map(|(weights, filter)| {
            let a = self.scale[filter] / (self.variance[filter] + self.epsilon).sqrt();
            weights.iter_mut().for_each(|weight| *weight *= a);
            let b = (-self.mean[filter]).mul_add(a, self.bias[filter]);
            self.biases.as_ref().map_or(b, |biases| biases[filter].mul_add(a, b))
        });
        let biases = biases.collect();
        (folded, biases)
    }
}

fn max_pool(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let mut largest =
        pool(context, 0, move |_, x, spatial, window, _, y| depx_kernels::max_pool(isa, x, spatial, window, y))?;
    let mut positions = pool(context, 1, |first, x, spatial, window, _, y| {
        depx_kernels::max_pool_positions(x, spatial, window, y);
        y.iter_mut().filter(|position| **position >= 0).for_each(|position| *position += first as i64);
    })?;
    Ok(Box::new(move |context| {
        largest(context)?;
        if context.num_outputs()? == 1 { Ok(()) } else { positions(context) }
    }))
}

fn average_pool(context: &KernelContext<'_>, isa: Isa) -> ort::Result<Compute> {
    let padding = context.get::<i64>("count_include_pad").unwrap_or(0) != 0;
    pool(context, 0, move |_, x, spatial, window, ends, y| {
        depx_kernels::average_pool(isa, x, spatial, window, padding.then_some(ends), y);
    })
}

/// An output of what `kernel` makes of planes, of this size, under windows, without what windows look beyond the padding; where in the input
/// the planes begin comes first, how much padding there is at the end of each axis last.
pub(super) fn pool<T: PrimitiveTensorElementType + Send + 'static>(
    context: &KernelContext<'_>,
    position: usize,
    kernel: impl Fn(usize, &[f32], Axes, Window, Axes, &mut [T]) + Send + Sync + 'static,
) -> ort::Result<Compute> {
    let motion = Motion::of(context);
    let size = sizes(&context.get::<Vec<i64>>("kernel_shape").unwrap_or_default())?;
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (x_shape, x) = floats(&x)?;
        let &[batch, channels, ref image @ ..] = &x_shape[..] else { return fail("its input must have channels") };
        let (window, axes, ends) = motion.window(&size, image)?;
        give_at(context, position, &shape(&[batch, channels], window.output(axes), size.len()), |output| {
            let (plane, outputs) = (axes.iter().product::<usize>(), window.output(axes).iter().product::<usize>());
            fill_parts(context.parallel, output, outputs, |part, output| {
                let planes = part.start / outputs * plane..part.end / outputs * plane;
                kernel(planes.start, &x[planes], axes, window, ends, output);
            });
        })
    }))
}
