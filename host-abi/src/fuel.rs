//! The fuel schedule: what each thing that a guest does costs.
//!
//! One unit is about the time of one simple operator on a modern processor, at most half a nanosecond; `cargo xtask bench
//! sandbox.fuel` compares the prices. Fuel is charged before the effect, for whole stretches of code that are always executed
//! together, and for all iterations of a loop at once where their number is known when it begins. So a run that ends early may have
//! paid for the rest of the stretch or loop that it was in, or, if it traps, not for the stretches since the last call, loop or iteration of
//! one. A run that returns has paid exactly for the operators that it executed.

/// The version of this schedule. It is part of the execution profile, so nodes with different schedules are never compared.
pub const SCHEDULE_VERSION: u32 = 4;

/// The largest amount that a run can be given; fuel is an `i64` inside the guest.
pub const MAX: u64 = i64::MAX as u64;

/// Units that pass in one nanosecond of the guest's clocks.
pub const UNITS_PER_NANOSECOND: u64 = 2;

/// What an operator costs depends on its class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperatorClass {
    /// No code is made for it: `block`, `loop`, `end`, `else`, `nop`, `drop`, `unreachable`.
    Free,
    /// Constants, locals, integer arithmetic, comparisons, `select`, references.
    Simple,
    /// Integer multiplication.
    Multiply,
    /// Integer division and remainder.
    Divide,
    /// Float arithmetic and comparisons.
    Float,
    /// Float division and square root.
    FloatDivide,
    /// Conversions between floats and integers.
    Convert,
    /// Access to a global.
    Global,
    /// A load from memory.
    Load,
    /// A store to memory.
    Store,
    /// A branch, conditional or not, `if` and `return`.
    Branch,
    /// `br_table`.
    BranchTable,
    /// A call, its prologue and epilogue included.
    Call,
    /// A call through a table.
    CallIndirect,
    /// Access to a table element.
    Table,
    /// An operator on vectors, except those below.
    Vector,
    /// Vector multiplication and float arithmetic.
    VectorMultiply,
    /// Vector division and square root.
    VectorDivide,
    /// A bulk operation, before its length is known.
    Bulk,
    /// `memory.grow`, `table.grow` and `table.fill`, before the number of pages or elements is known: the engine does not make
    /// code for them but calls its own.
    Grow,
}

impl OperatorClass {
    /// Every class, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Free,
        Self::Simple,
        Self::Multiply,
        Self::Divide,
        Self::Float,
        Self::FloatDivide,
        Self::Convert,
        Self::Global,
        Self::Load,
        Self::Store,
        Self::Branch,
        Self::BranchTable,
        Self::Call,
        Self::CallIndirect,
        Self::Table,
        Self::Vector,
        Self::VectorMultiply,
        Self::VectorDivide,
        Self::Bulk,
        Self::Grow,
    ];

    /// Units of fuel.
    pub const fn cost(self) -> u32 {
        match self {
            Self::Free => 0,
            Self::Simple | Self::Global => 1,
            Self::Store | Self::Multiply | Self::Branch | Self::Vector => 2,
            Self::Load | Self::Float => 3,
            Self::Table => 4,
            Self::Convert | Self::BranchTable => 8,
            Self::FloatDivide | Self::Call | Self::VectorMultiply => 12,
            Self::CallIndirect => 16,
            Self::VectorDivide => 24,
            Self::Divide | Self::Bulk => 32,
            Self::Grow => 256,
        }
    }
}

/// `memory.copy`, `memory.fill` and `memory.init` cost one unit for every so many bytes, rounded down; a power of two.
pub const BULK_BYTES_PER_UNIT: u64 = 4;

/// `table.copy`, `table.fill`, `table.init` and `table.grow` cost this many units per element.
pub const TABLE_ELEMENT: u64 = 8;

/// `memory.grow` costs this many units per page of 64 KiB, whether it succeeds or not; no more than
/// [`GROW_MAX_PAGES`] pages are counted. Most of it is for the first access to each part of the page, when the machine gives
/// it, cleared.
pub const MEMORY_PAGE: u64 = 65536;

/// A memory has at most this many pages, so that asking for more can only fail.
pub const GROW_MAX_PAGES: u64 = 1 << 16;

/// A host call, before what it does is known. Most of it is for its leaf in the log of calls.
pub const HOST_CALL: u64 = 1024;

/// What a host call costs beyond [`HOST_CALL`] depends on what it handles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostWork {
    /// Bytes copied into or out of the guest's memory: reads, writes, arguments, tensors.
    CopiedByte,
    /// Bytes of randomness.
    RandomByte,
    /// Bytes of a path that is looked up, and of the symbolic links that it leads through.
    PathByte,
    /// Names of such a path, `.` and `..` included: each is looked up in a directory.
    Name,
    /// Entries of a directory, of a list of arguments, buffers or subscriptions; files and directories that are visited.
    Entry,
}

impl HostWork {
    /// Units of fuel for each.
    pub const fn rate(self) -> u64 {
        match self {
            Self::CopiedByte => 1,
            Self::RandomByte => 4,
            Self::PathByte => 8,
            Self::Name | Self::Entry => 256,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::fmt::Write;
    use std::string::String;

    /// Changing a number here needs a new [`SCHEDULE_VERSION`].
    #[test]
    fn the_schedule_is_pinned() {
        let mut schedule = String::new();
        for class in OperatorClass::ALL {
            write!(schedule, "{class:?} {}, ", class.cost()).unwrap();
        }
        for work in [HostWork::CopiedByte, HostWork::RandomByte, HostWork::PathByte, HostWork::Name, HostWork::Entry] {
            write!(schedule, "{work:?} {}, ", work.rate()).unwrap();
        }
        write!(schedule, "{BULK_BYTES_PER_UNIT} {TABLE_ELEMENT} {MEMORY_PAGE} {HOST_CALL}, v{SCHEDULE_VERSION}")
            .unwrap();
        assert_eq!(
            schedule,
            "Free 0, Simple 1, Multiply 2, Divide 32, Float 3, FloatDivide 12, Convert 8, Global 1, Load 3, Store 2, \
             Branch 2, BranchTable 8, Call 12, CallIndirect 16, Table 4, Vector 2, VectorMultiply 12, VectorDivide 24, \
             Bulk 32, Grow 256, CopiedByte 1, RandomByte 4, PathByte 8, Name 256, Entry 256, 4 8 65536 1024, v4"
        );
    }

    #[test]
    fn bulk_units_are_a_shift() {
        assert!(BULK_BYTES_PER_UNIT.is_power_of_two());
    }
}
