//! Resizing.

use super::operator::{Compute, Definition, FLOATS, Input, axis, fail, floats, give, input};
use depx_kernels::{Coordinates, Interpolation, Nearest, Resize, ResizedAxis};
use ort::operator::{ComputeContext, KernelContext};

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "Resize",
    inputs: &[Input::Floats, Input::OptionalFloats, Input::OptionalFloats, Input::OptionalIntegers],
    outputs: FLOATS,
    prepare: |context, _| resize(context),
}];

/// What the attributes say.
fn rule(context: &KernelContext<'_>) -> ort::Result<Resize> {
    let text = |name: &str| context.get::<String>(name).unwrap_or_default();
    let flag = |name: &str| context.get::<i64>(name).unwrap_or(0) != 0;
    let interpolation = match text("mode").as_str() {
        "" | "nearest" => Interpolation::Nearest(match text("nearest_mode").as_str() {
            "" | "round_prefer_floor" => Nearest::RoundPreferFloor,
            "round_prefer_ceil" => Nearest::RoundPreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return fail(format!("{other} chooses no element")),
        }),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic { a: context.get("cubic_coeff_a").unwrap_or(-0.75) },
        other => return fail(format!("{other} is no interpolation")),
    };
    let coordinates = match text("coordinate_transformation_mode").as_str() {
        "" | "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => Coordinates::CropAndResize,
        other => return fail(format!("{other} are no coordinates")),
    };
    Ok(Resize {
        interpolation,
        coordinates,
        antialias: flag("antialias"),
        exclude_outside: flag("exclude_outside"),
        extrapolation: context.get("extrapolation_value").unwrap_or(0.0),
    })
}

fn resize(context: &KernelContext<'_>) -> ort::Result<Compute> {
    let rule = rule(context)?;
    let named = context.get::<Vec<i64>>("axes").filter(|named| !named.is_empty());
    Ok(Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        let axes = axes(context, &shape, named.as_deref())?;
        let resized = axes.iter().map(|axis| axis.output).collect::<Vec<_>>();
        give(context, &resized, |y| depx_kernels::resize(rule, x, &axes, y))
    }))
}

/// All axes, of which those that are named, or all, are resized.
fn axes(context: &ComputeContext, shape: &[usize], named: Option<&[i64]>) -> ort::Result<Vec<ResizedAxis>> {
    let given = |position| if position < context.num_inputs()? { context.input(position) } else { Ok(None) };
    let (regions, scales, sizes) = (given(1)?, given(2)?, given(3)?);
    let regions = regions.as_ref().map(floats).transpose()?.map_or(&[][..], |(_, regions)| regions);
    let scales = scales.as_ref().map(floats).transpose()?.map_or(&[][..], |(_, scales)| scales);
    let sizes =
        sizes.as_ref().map(|sizes| sizes.try_extract_tensor::<i64>()).transpose()?.map_or(&[][..], |(_, sizes)| sizes);
    let unchanged = |&size: &usize| ResizedAxis { input: size, output: size, scale: None, region: [0.0, 1.0] };
    let mut axes = shape.iter().map(unchanged).collect::<Vec<_>>();
    let named = match named {
        Some(named) => named.iter().map(|&named| axis(named, shape.len())).collect::<ort::Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    if scales.len().max(sizes.len()) != named.len() {
        return fail("it needs one size or scale for each dimension");
    }
    for (number, &position) in named.iter().enumerate() {
        let resized = &mut axes[position];
        match sizes.get(number) {
            Some(&size) => resized.output = usize::try_from(size).or_else(|_| fail(format!("{size} is not a size")))?,
            None => {
                // As many as ONNX says; the model was checked with the same.
                resized.output = (resized.input as f32 * scales[number]).floor() as usize;
                resized.scale = Some(scales[number]);
            }
        }
        if let (Some(&start), Some(&end)) = (regions.get(number), regions.get(named.len() + number)) {
            resized.region = [start, end];
        }
    }
    Ok(axes)
}
