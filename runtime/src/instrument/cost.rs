//! Which class of the fuel schedule an operator belongs to.

use depx_host_abi::fuel::OperatorClass;
use wasmparser::Operator;

/// The class of an operator of [`crate::validate::FEATURES`].
#[inline(always)]
pub(super) fn class(operator: &Operator<'_>) -> OperatorClass {
    use Operator::*;
    match operator {
        Block { .. } | Loop { .. } | Else | End | Nop | Drop | Unreachable => OperatorClass::Free,
        Br { .. } | BrIf { .. } | If { .. } | Return => OperatorClass::Branch,
        BrTable { .. } => OperatorClass::BranchTable,
        Call { .. } => OperatorClass::Call,
        CallIndirect { .. } => OperatorClass::CallIndirect,
        GlobalGet { .. } | GlobalSet { .. } => OperatorClass::Global,
        TableGet { .. } | TableSet { .. } | TableSize { .. } => OperatorClass::Table,
        MemoryGrow { .. } | TableGrow { .. } | TableFill { .. } => OperatorClass::Grow,
        MemoryCopy { .. } | MemoryFill { .. } | MemoryInit { .. } | DataDrop { .. } => OperatorClass::Bulk,
        TableCopy { .. } | TableInit { .. } | ElemDrop { .. } => OperatorClass::Bulk,

        I32Load { .. } | I32Load8S { .. } | I32Load8U { .. } | I32Load16S { .. } | I32Load16U { .. } => {
            OperatorClass::Load
        }
        I64Load { .. } | I64Load8S { .. } | I64Load8U { .. } | I64Load16S { .. } | I64Load16U { .. } => {
            OperatorClass::Load
        }
        I64Load32S { .. } | I64Load32U { .. } | F32Load { .. } | F64Load { .. } => OperatorClass::Load,
        V128Load { .. } | V128Load8x8S { .. } | V128Load8x8U { .. } | V128Load16x4S { .. } => OperatorClass::Load,
        V128Load16x4U { .. } | V128Load32x2S { .. } | V128Load32x2U { .. } => OperatorClass::Load,
        V128Load8Splat { .. } | V128Load16Splat { .. } | V128Load32Splat { .. } => OperatorClass::Load,
        V128Load64Splat { .. } | V128Load32Zero { .. } | V128Load64Zero { .. } => OperatorClass::Load,
        V128Load8Lane { .. } | V128Load16Lane { .. } | V128Load32Lane { .. } => OperatorClass::Load,
        V128Load64Lane { .. } => OperatorClass::Load,
        I32Store { .. } | I32Store8 { .. } | I32Store16 { .. } | F32Store { .. } => OperatorClass::Store,
        I64Store { .. } | I64Store8 { .. } | I64Store16 { .. } | I64Store32 { .. } => OperatorClass::Store,
        F64Store { .. } | V128Store { .. } | V128Store8Lane { .. } | V128Store16Lane { .. } => OperatorClass::Store,
        V128Store32Lane { .. } | V128Store64Lane { .. } => OperatorClass::Store,

        I32Mul | I64Mul => OperatorClass::Multiply,
        I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU => OperatorClass::Divide,
        F32Div | F64Div | F32Sqrt | F64Sqrt => OperatorClass::FloatDivide,
        F32Abs | F32Neg | F32Ceil | F32Floor | F32Trunc | F32Nearest | F32Copysign => OperatorClass::Float,
        F64Abs | F64Neg | F64Ceil | F64Floor | F64Trunc | F64Nearest | F64Copysign => OperatorClass::Float,
        F32Add | F32Sub | F32Mul | F32Min | F32Max => OperatorClass::Float,
        F64Add | F64Sub | F64Mul | F64Min | F64Max => OperatorClass::Float,
        F32Eq | F32Ne | F32Lt | F32Gt | F32Le | F32Ge => OperatorClass::Float,
        F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge => OperatorClass::Float,
        I32TruncF32S | I32TruncF32U | I32TruncF64S | I32TruncF64U => OperatorClass::Convert,
        I64TruncF32S | I64TruncF32U | I64TruncF64S | I64TruncF64U => OperatorClass::Convert,
        I32TruncSatF32S | I32TruncSatF32U | I32TruncSatF64S | I32TruncSatF64U => OperatorClass::Convert,
        I64TruncSatF32S | I64TruncSatF32U | I64TruncSatF64S | I64TruncSatF64U => OperatorClass::Convert,
        F32ConvertI32S | F32ConvertI32U | F32ConvertI64S | F32ConvertI64U => OperatorClass::Convert,
        F64ConvertI32S | F64ConvertI32U | F64ConvertI64S | F64ConvertI64U => OperatorClass::Convert,
        F32DemoteF64 | F64PromoteF32 => OperatorClass::Convert,

        F32x4Div | F64x2Div | F32x4Sqrt | F64x2Sqrt => OperatorClass::VectorDivide,
        F32x4Add | F32x4Sub | F32x4Mul | F32x4Min | F32x4Max | F32x4PMin | F32x4PMax => OperatorClass::VectorMultiply,
        F64x2Add | F64x2Sub | F64x2Mul | F64x2Min | F64x2Max | F64x2PMin | F64x2PMax => OperatorClass::VectorMultiply,
        I16x8Mul | I32x4Mul | I64x2Mul | I32x4DotI16x8S | I16x8Q15MulrSatS => OperatorClass::VectorMultiply,
        I16x8ExtMulLowI8x16S | I16x8ExtMulHighI8x16S | I16x8ExtMulLowI8x16U => OperatorClass::VectorMultiply,
        I16x8ExtMulHighI8x16U | I32x4ExtMulLowI16x8S | I32x4ExtMulHighI16x8S => OperatorClass::VectorMultiply,
        I32x4ExtMulLowI16x8U | I32x4ExtMulHighI16x8U | I64x2ExtMulLowI32x4S => OperatorClass::VectorMultiply,
        I64x2ExtMulHighI32x4S | I64x2ExtMulLowI32x4U | I64x2ExtMulHighI32x4U => OperatorClass::VectorMultiply,
        I32x4TruncSatF32x4S | I32x4TruncSatF32x4U | I32x4TruncSatF64x2SZero => OperatorClass::VectorMultiply,
        I32x4TruncSatF64x2UZero | F32x4ConvertI32x4S | F32x4ConvertI32x4U => OperatorClass::VectorMultiply,

        operator if is_vector(operator) => OperatorClass::Vector,
        _ => OperatorClass::Simple,
    }
}

macro_rules! define_is_vector {
    ($( @$proposal:ident $operator:ident $({ $($field:ident: $ty:ty),* })? => $visit:ident ($($arity:tt)*) )*) => {
        /// Whether an operator belongs to the SIMD proposal.
        #[inline(always)]
        fn is_vector(operator: &Operator<'_>) -> bool {
            match operator {
                $(Operator::$operator { .. } => matches!(stringify!($proposal).as_bytes(), b"simd"),)*
                _ => false,
            }
        }
    };
}
wasmparser::for_each_operator!(define_is_vector);
