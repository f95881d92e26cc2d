//! Where NaNs are made canonical.
//!
//! Which NaN an arithmetic operator gives is up to the processor. Until somebody can see the bits it does not matter: any NaN
//! among the operands of arithmetic makes the result a NaN, and no comparison tells one from another. So a NaN that
//! arithmetic made is replaced by the canonical one where its bits are about to be seen: in memory, as an integer, in a global,
//! by another function, as the sign of something. What follows is to the bit what it would be if every result of arithmetic were made
//! canonical at once. Other NaNs are left alone: loads, constants, moves, and operators on the sign alone keep all bits.
//!
//! Vectors are made canonical lane by lane right after arithmetic, because their lanes can be seen in many ways.

mod flow;
mod graph;

pub(super) use flow::Flow;
use wasmparser::Operator;

/// A place where the topmost operand, of this shape, is made canonical: before the operator at `offset`, in bytes from the beginning
/// of the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Site {
    pub(super) offset: usize,
    pub(super) shape: Shape,
}

/// What an operand is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Shape {
    F32,
    F64,
    F32x4,
    F64x2,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [Self::F32, Self::F64, Self::F32x4, Self::F64x2];
}

/// The shape of what an operator gives if that is the result of float arithmetic: if the processor chooses among NaNs.
#[inline(always)]
pub(super) fn arithmetic(operator: &Operator<'_>) -> Option<Shape> {
    use Operator::*;
    match operator {
        F32Add | F32Sub | F32Mul | F32Div | F32Min | F32Max | F32Sqrt => Some(Shape::F32),
        F32Ceil | F32Floor | F32Trunc | F32Nearest | F32DemoteF64 => Some(Shape::F32),
        F64Add | F64Sub | F64Mul | F64Div | F64Min | F64Max | F64Sqrt => Some(Shape::F64),
        F64Ceil | F64Floor | F64Trunc | F64Nearest | F64PromoteF32 => Some(Shape::F64),
        F32x4Add | F32x4Sub | F32x4Mul | F32x4Div | F32x4Min | F32x4Max | F32x4Sqrt => Some(Shape::F32x4),
        F32x4Ceil | F32x4Floor | F32x4Trunc | F32x4Nearest | F32x4DemoteF64x2Zero => Some(Shape::F32x4),
        F64x2Add | F64x2Sub | F64x2Mul | F64x2Div | F64x2Min | F64x2Max | F64x2Sqrt => Some(Shape::F64x2),
        F64x2Ceil | F64x2Floor | F64x2Trunc | F64x2Nearest | F64x2PromoteLowF32x4 => Some(Shape::F64x2),
        _ => None,
    }
}

/// Whether an operator takes floats without showing their bits: NaNs are all the same to it.
fn is_blind(operator: &Operator<'_>) -> bool {
    use Operator::*;
    match operator {
        Drop | F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge | F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => true,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U => true,
        I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U => true,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => true,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => true,
        operator => arithmetic(operator).is_some(),
    }
}

/// Whether an operator gives a float that is no NaN.
fn is_number(operator: &Operator<'_>) -> bool {
    use Operator::*;
    match operator {
        F32Const { value } => !f32::from_bits(value.bits()).is_nan(),
        F64Const { value } => !f64::from_bits(value.bits()).is_nan(),
        F32ConvertI32S | F32ConvertI32U | F32ConvertI64S | F32ConvertI64U => true,
        F64ConvertI32S | F64ConvertI32U | F64ConvertI64S | F64ConvertI64U => true,
        _ => false,
    }
}

macro_rules! fixed_arity {
    (arity custom) => {
        None
    };
    (arity $operands:literal -> $results:literal) => {
        Some(($operands, $results))
    };
}

macro_rules! define_arity {
    ($( @$proposal:ident $operator:ident $({ $($field:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        /// How many operands an operator takes and how many results it gives, unless that depends on a type.
        pub(super) fn arity(operator: &Operator<'_>) -> Option<(u32, u32)> {
            match operator {
                $(Operator::$operator { .. } => fixed_arity!($($arity)*),)*
                _ => None,
            }
        }
    };
}
wasmparser::for_each_operator!(define_arity);
