//! Values in scripts.

use wasmtime::{Func, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// A value, bit by bit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    NullFunction,
    /// The function that stands for an external reference, by its number, or another one.
    Function(Option<u32>),
    /// Of a type that is off.
    Other,
}

impl Value {
    /// `number` tells which functions stand for external references.
    pub(super) fn of(value: &Val, number: impl FnOnce(&Func) -> Option<u32>) -> Self {
        match value {
            Val::I32(value) => Self::I32(*value),
            Val::I64(value) => Self::I64(*value),
            Val::F32(bits) => Self::F32(*bits),
            Val::F64(bits) => Self::F64(*bits),
            Val::V128(bits) => Self::V128(bits.as_u128()),
            Val::FuncRef(None) => Self::NullFunction,
            Val::FuncRef(Some(function)) => Self::Function(number(function)),
            _ => Self::Other,
        }
    }

    /// Whether it is what the script expects.
    pub(super) fn is(&self, expected: &WastRet<'_>) -> bool {
        let WastRet::Core(expected) = expected else { return false };
        self.is_core(expected)
    }

    fn is_core(&self, expected: &WastRetCore<'_>) -> bool {
        match (self, expected) {
            (Self::I32(value), WastRetCore::I32(expected)) => value == expected,
            (Self::I64(value), WastRetCore::I64(expected)) => value == expected,
            (Self::F32(bits), WastRetCore::F32(pattern)) => is_f32(*bits, pattern),
            (Self::F64(bits), WastRetCore::F64(pattern)) => is_f64(*bits, pattern),
            (Self::V128(bits), WastRetCore::V128(pattern)) => is_v128(bits.to_le_bytes(), pattern),
            (Self::NullFunction, WastRetCore::RefNull(ty)) => ty.as_ref().is_none_or(is_function),
            (Self::Function(None), WastRetCore::RefFunc(_)) => true,
            (Self::Function(Some(number)), WastRetCore::RefExtern(expected)) => expected.is_none_or(|it| it == *number),
            (value, WastRetCore::Either(cases)) => cases.iter().any(|case| value.is_core(case)),
            _ => false,
        }
    }
}

/// The argument that the script gives, if its type is on. `external` gives the functions that stand for external references.
pub(super) fn argument(argument: &WastArg<'_>, external: impl FnOnce(u32) -> Option<Func>) -> Option<Val> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(ty) if is_function(ty) => Val::FuncRef(None),
        WastArgCore::RefExtern(number) => Val::FuncRef(Some(external(*number)?)),
        _ => return None,
    })
}

/// Or is represented by one.
fn is_function(ty: &HeapType<'_>) -> bool {
    use AbstractHeapType::{Extern, Func, NoFunc};
    matches!(ty, HeapType::Abstract { ty: Extern | Func | NoFunc, .. })
}

/// The specification leaves the bits of some NaNs open. Here they are not: each is the positive canonical one.
fn is_f32(bits: u32, pattern: &NanPattern<F32>) -> bool {
    match pattern {
        NanPattern::CanonicalNan | NanPattern::ArithmeticNan => bits == 0x7fc0_0000,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn is_f64(bits: u64, pattern: &NanPattern<F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan | NanPattern::ArithmeticNan => bits == 0x7ff8_0000_0000_0000,
        NanPattern::Value(value) => bits == value.bits,
    }
}

fn is_v128(bytes: [u8; 16], pattern: &V128Pattern) -> bool {
    fn all<T, const N: usize>(bytes: [u8; 16], lanes: &[T], same: impl Fn([u8; N], &T) -> bool) -> bool {
        let (found, _) = bytes.as_chunks::<N>();
        found.len() == lanes.len() && found.iter().zip(lanes).all(|(found, lane)| same(*found, lane))
    }
    match pattern {
        V128Pattern::I8x16(lanes) => all(bytes, lanes, |lane, value| i8::from_le_bytes(lane) == *value),
        V128Pattern::I16x8(lanes) => all(bytes, lanes, |lane, value| i16::from_le_bytes(lane) == *value),
        V128Pattern::I32x4(lanes) => all(bytes, lanes, |lane, value| i32::from_le_bytes(lane) == *value),
        V128Pattern::I64x2(lanes) => all(bytes, lanes, |lane, value| i64::from_le_bytes(lane) == *value),
        V128Pattern::F32x4(lanes) => all(bytes, lanes, |lane, pattern| is_f32(u32::from_le_bytes(lane), pattern)),
        V128Pattern::F64x2(lanes) => all(bytes, lanes, |lane, pattern| is_f64(u64::from_le_bytes(lane), pattern)),
    }
}
