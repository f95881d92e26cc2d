//! Conversions of floats, for which `Cast` is rewritten.

use super::operator::{Compute, Definition, FLOATS, Input, Output, elements, floats, give, give_at, input};
use depx_kernels::{narrow_bf16, narrow_f16, widen_bf16, widen_f16};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ort::value::{PrimitiveTensorElementType, TensorElementType};

const F16: TensorElementType = TensorElementType::Float16;
const BF16: TensorElementType = TensorElementType::Bfloat16;

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "ToFloat",
        inputs: &[Input::Of(F16)],
        outputs: FLOATS,
        prepare: |_, _| Ok(widening::<f16>(widen_f16)),
    },
    Definition {
        name: "ToFloat",
        inputs: &[Input::Of(BF16)],
        outputs: FLOATS,
        prepare: |_, _| Ok(widening::<bf16>(widen_bf16)),
    },
    Definition {
        name: "ToFloat",
        inputs: &[Input::Of(TensorElementType::Float64)],
        outputs: FLOATS,
        prepare: |_, _| Ok(of_doubles()),
    },
    Definition {
        name: "ToFloat16",
        inputs: &[Input::Floats],
        outputs: &[Output::Of(F16)],
        prepare: |_, _| Ok(narrowing::<f16>(narrow_f16)),
    },
    Definition {
        name: "ToFloat16",
        inputs: &[Input::Of(BF16)],
        outputs: &[Output::Of(F16)],
        prepare: |_, _| Ok(between::<bf16, f16>(widen_bf16, narrow_f16)),
    },
    Definition {
        name: "ToBFloat16",
        inputs: &[Input::Floats],
        outputs: &[Output::Of(BF16)],
        prepare: |_, _| Ok(narrowing::<bf16>(narrow_bf16)),
    },
    Definition {
        name: "ToBFloat16",
        inputs: &[Input::Of(F16)],
        outputs: &[Output::Of(BF16)],
        prepare: |_, _| Ok(between::<f16, bf16>(widen_f16, narrow_bf16)),
    },
];

type Widen = fn(&[u16], &mut [f32]);
type Narrow = fn(&[f32], &mut [u16]);

/// A float whose slices are also slices of bits.
trait Half: PrimitiveTensorElementType + Sized + 'static {
    fn bits(slice: &[Self]) -> &[u16];
    fn bits_mut(slice: &mut [Self]) -> &mut [u16];
}

macro_rules! half {
    ($($half:ident)*) => {
        $(impl Half for $half {
            fn bits(slice: &[Self]) -> &[u16] {
                slice.reinterpret_cast()
            }

            fn bits_mut(slice: &mut [Self]) -> &mut [u16] {
                slice.reinterpret_cast_mut()
            }
        })*
    };
}

half!(f16 bf16);

fn of_doubles() -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = elements::<f64>(&x)?;
        give(context, &shape, |y| y.iter_mut().zip(x).for_each(|(y, x)| *y = *x as f32))
    })
}

fn widening<T: Half>(widen: Widen) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = elements::<T>(&x)?;
        give(context, &shape, |y| widen(T::bits(x), y))
    })
}

fn narrowing<T: Half>(narrow: Narrow) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = floats(&x)?;
        give_at(context, 0, &shape, |y: &mut [T]| narrow(x, T::bits_mut(y)))
    })
}

fn between<T: Half, U: Half>(widen: Widen, narrow: Narrow) -> Compute {
    Box::new(move |context| {
        let x = input(context, 0)?;
        let (shape, x) = elements::<T>(&x)?;
        let mut wide = vec![0.0; x.len()];
        widen(T::bits(x), &mut wide);
        give_at(context, 0, &shape, |y: &mut [U]| narrow(&wide, U::bits_mut(y)))
    })
}
