//! Resizing, one axis after the other.

/// How a tensor is resized. `KERNELS.md` states what each means.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Resize {
    /// What an element is made of.
    pub interpolation: Interpolation,
    /// Where in the input it lies.
    pub coordinates: Coordinates,
    /// Where a tensor shrinks, more elements make up one.
    pub antialias: bool,
    /// Elements outside the input have no weight, instead of being those at its edge.
    pub exclude_outside: bool,
    /// What lies outside the input with [`Coordinates::CropAndResize`].
    pub extrapolation: f32,
}

/// What an element is made of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Interpolation {
    /// The nearest element.
    Nearest(Nearest),
    /// The two nearest elements.
    Linear,
    /// The four nearest elements.
    Cubic {
        /// The coefficient of the polynomial.
        a: f32,
    },
}

/// Which element is the nearest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of the operator's attribute")]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Where in the input an element lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names of the operator's attribute")]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

/// One axis of the tensors.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ResizedAxis {
    /// Elements of the input along it.
    pub input: usize,
    /// Elements of the output along it.
    pub output: usize,
    /// How much longer it becomes, if that is given: the output may be a little shorter.
    pub scale: Option<f32>,
    /// The part of the input with [`Coordinates::CropAndResize`], from 0 to 1.
    pub region: [f32; 2],
}

/// Resizes `input` along all its axes.
///
/// # Panics
///
/// If an axis of the input is empty, or lengths are not those of the axes.
pub fn resize(rule: Resize, input: &[f32], axes: &[ResizedAxis], output: &mut [f32]) {
    assert_eq!(input.len(), axes.iter().map(|axis| axis.input).product::<usize>(), "the input's shape");
    assert_eq!(output.len(), axes.iter().map(|axis| axis.output).product::<usize>(), "the output's shape");
    if output.is_empty() {
        return;
    }
    assert!(!input.is_empty(), "an axis that is empty cannot be resized");
    let (shrinking, growing): (Vec<_>, Vec<_>) =
        (0..axes.len()).partition(|&axis| axes[axis].output <= axes[axis].input);
    let mut sizes: Vec<usize> = axes.iter().map(|axis| axis.input).collect();
    let mut elements = input.to_vec();
    for axis in shrinking.into_iter().chain(growing.into_iter().rev()) {
        let table: Vec<Sources> = (0..axes[axis].output).map(|index| rule.sources(&axes[axis], index)).collect();
        let unchanged = |(index, sources): (usize, &Sources)| sources.as_deref() == Some(&[(index, 1.0)]);
        if table.len() != sizes[axis] || !table.iter().enumerate().all(unchanged) {
            let inner = sizes[axis + 1..].iter().product();
            elements = along(&table, rule.extrapolation, &elements, sizes[axis], inner);
            sizes[axis] = table.len();
        }
    }
    output.copy_from_slice(&elements);
}

/// What an element is made of along one axis: elements of the input with their weights, or nothing if it lies outside.
type Sources = Option<Vec<(usize, f32)>>;

/// Tensors are `[outer, axis, inner]`.
fn along(table: &[Sources], outside: f32, input: &[f32], axis: usize, inner: usize) -> Vec<f32> {
    let mut output = vec![0.0; input.len() / axis * table.len()];
    for (input, output) in input.chunks_exact(axis * inner).zip(output.chunks_exact_mut(table.len() * inner)) {
        for (sources, output) in table.iter().zip(output.chunks_exact_mut(inner)) {
            let Some(sources) = sources else {
                output.fill(outside);
                continue;
            };
            let Some((&(source, weight), rest)) = sources.split_first() else { continue };
            if let [y] = output {
                *y = rest.iter().fold(weight * input[source], |sum, &(source, weight)| sum + weight * input[source]);
                continue;
            }
            output.iter_mut().zip(&input[source * inner..]).for_each(|(y, x)| *y = weight * x);
            for &(source, weight) in rest {
                output.iter_mut().zip(&input[source * inner..]).for_each(|(y, x)| *y += weight * x);
            }
        }
    }
    output
}

impl Resize {
    fn sources(&self, axis: &ResizedAxis, index: usize) -> Sources {
        let last = axis.input - 1;
        let scale = axis.scale.unwrap_or(axis.output as f32 / axis.input as f32);
        let at = self.coordinate(axis, scale, index as f32);
        if self.coordinates == Coordinates::CropAndResize && !(0.0..=last as f32).contains(&at) {
            return None;
        }
        let (reach, weight): (f64, &dyn Fn(f64) -> f64) = match self.interpolation {
            Interpolation::Nearest(nearest) => {
                let nearest = match nearest {
                    Nearest::RoundPreferFloor => (at - 0.5).ceil(),
                    Nearest::RoundPreferCeil => (at + 0.5).floor(),
                    Nearest::Floor => at.floor(),
                    Nearest::Ceil => at.ceil(),
                };
                return Some(vec![((nearest as usize).min(last), 1.0)]);
            }
            Interpolation::Linear => (1.0, &|distance| 1.0 - distance),
            Interpolation::Cubic { a } => (2.0, &move |distance| cubic(a.into(), distance)),
        };
        let (at, scale) = (f64::from(at), if self.antialias { f64::from(scale).min(1.0) } else { 1.0 });
        let mut sources: Vec<(usize, f64)> = Vec::new();
        for source in (at - reach / scale).floor() as i64..=(at + reach / scale).ceil() as i64 {
            let distance = ((source as f64 - at) * scale).abs();
            if distance >= reach {
                continue;
            }
            let clamped = usize::try_from(source).unwrap_or(0).min(last);
            match sources.last_mut() {
                _ if self.exclude_outside && source != clamped as i64 => {}
                Some((known, sum)) if *known == clamped => *sum += weight(distance),
                _ => sources.push((clamped, weight(distance))),
            }
        }
        if self.antialias || self.exclude_outside {
            let sum: f64 = sources.iter().map(|(_, weight)| weight).sum();
            sources.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        sources.retain(|(_, weight)| *weight != 0.0);
        Some(sources.into_iter().map(|(source, weight)| (source, weight as f32)).collect())
    }

    /// Where an element of the output lies in the input.
    fn coordinate(&self, axis: &ResizedAxis, scale: f32, index: f32) -> f32 {
        let length = axis.scale.map_or(axis.output as f32, |scale| scale * axis.input as f32);
        let last = axis.input as f32 - 1.0;
        let half_pixel = (index + 0.5) / scale;
        match self.coordinates {
            Coordinates::PytorchHalfPixel | Coordinates::AlignCorners if length <= 1.0 => 0.0,
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => half_pixel - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let offset = axis.input as f32 / 2.0 * (1.0 - axis.output as f32 / length);
                offset + half_pixel - 0.5
            }
            Coordinates::AlignCorners => index * last / (length - 1.0),
            Coordinates::Asymmetric => index / scale,
            Coordinates::CropAndResize => {
                let [start, end] = axis.region;
                if length > 1.0 {
                    start * last + index * (end - start) * last / (length - 1.0)
                } else {
                    0.5 * (start + end) * last
                }
            }
        }
    }
}

/// The weight of an element at this distance, less than 2.
fn cubic(a: f64, distance: f64) -> f64 {
    if distance <= 1.0 {
        ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1.0
    } else {
        ((a * distance - 5.0 * a) * distance + 8.0 * a) * distance - 4.0 * a
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Random, hash};

    const ASYMMETRIC: Resize = Resize {
        interpolation: Interpolation::Linear,
        coordinates: Coordinates::Asymmetric,
        antialias: false,
        exclude_outside: false,
        extrapolation: 7.0,
    };

    fn axis(input: usize, output: usize) -> ResizedAxis {
        ResizedAxis { input, output, scale: None, region: [0.0, 1.0] }
    }

    fn line(rule: Resize, output: usize) -> Vec<f32> {
        let mut results = vec![0.0; output];
        resize(rule, &[1.0, 2.0, 4.0, f32::INFINITY], &[axis(4, output)], &mut results);
        results
    }

    #[test]
    fn elements_without_weight_are_not_multiplied() {
        assert_eq!(line(ASYMMETRIC, 8), [1.0, 1.5, 2.0, 3.0, 4.0, f32::INFINITY, f32::INFINITY, f32::INFINITY]);
        assert_eq!(line(Resize { interpolation: Interpolation::Cubic { a: -0.75 }, ..ASYMMETRIC }, 2), [1.0, 4.0]);
    }

    #[test]
    fn nearest_elements_are_chosen_as_the_names_say() {
        for (nearest, expected) in [
            (Nearest::RoundPreferFloor, [1.0, 1.0, 2.0, 2.0]),
            (Nearest::RoundPreferCeil, [1.0, 2.0, 2.0, 4.0]),
            (Nearest::Floor, [1.0, 1.0, 2.0, 2.0]),
            (Nearest::Ceil, [1.0, 2.0, 2.0, 4.0]),
        ] {
            let rule = Resize { interpolation: Interpolation::Nearest(nearest), ..ASYMMETRIC };
            assert_eq!(line(rule, 8)[..4], expected, "{nearest:?}");
        }
    }

    #[test]
    fn what_lies_outside_is_the_given_number() {
        let rule = Resize { coordinates: Coordinates::CropAndResize, ..ASYMMETRIC };
        let mut results = [0.0; 3];
        let outside = ResizedAxis { region: [-0.5, 0.5], ..axis(3, 3) };
        resize(rule, &[1.0, 2.0, 3.0], &[outside], &mut results);
        assert_eq!(results, [7.0, 1.0, 2.0]);
    }

    #[test]
    fn golden() {
        let mut random = Random::new(9);
        let input = random.values(2 * 7 * 9);
        let axes = [axis(2, 3), axis(7, 11), ResizedAxis { scale: Some(0.6), ..axis(9, 5) }];
        let mut results = Vec::new();
        for interpolation in [
            Interpolation::Nearest(Nearest::RoundPreferFloor),
            Interpolation::Linear,
            Interpolation::Cubic { a: -0.75 },
        ] {
            for coordinates in [
                Coordinates::HalfPixel,
                Coordinates::HalfPixelSymmetric,
                Coordinates::PytorchHalfPixel,
                Coordinates::AlignCorners,
                Coordinates::Asymmetric,
                Coordinates::CropAndResize,
            ] {
                for antialias in [false, true] {
                    let rule = Resize {
                        interpolation,
                        coordinates,
                        antialias,
                        exclude_outside: antialias,
                        extrapolation: 0.0,
                    };
                    let mut output = vec![0.0; 3 * 11 * 5];
                    resize(rule, &input, &axes, &mut output);
                    results.extend(output);
                }
            }
        }
        assert_eq!(hash(&results), 0x11c0_7875_7a49_e559, "{:#x}", hash(&results));
    }
}
