//! Why a guest trapped.

crate::code::codes! {
    /// Why a guest trapped: the `code` of a result whose status is `Trap`.
    TrapCode {
        Unreachable = 1, "unreachable", "the guest executed `unreachable`, as a panic or an abort does";
        MemoryOutOfBounds = 2, "memory-out-of-bounds", "the guest accessed memory beyond its end";
        TableOutOfBounds = 3, "table-out-of-bounds", "the guest accessed a table beyond its end";
        IndirectCallToNull = 4, "indirect-call-to-null", "the guest called an empty table entry";
        BadSignature = 5, "bad-signature", "the guest called a function through a pointer of another type";
        IntegerOverflow = 6, "integer-overflow", "an integer division overflowed";
        DivisionByZero = 7, "integer-division-by-zero", "an integer was divided by zero";
        BadConversion = 8, "bad-conversion-to-integer", "a float that no integer can represent was converted to one";
        StackOverflow = 9, "stack-overflow", "the guest called functions more deeply than its stack allows";
        Misaligned = 10, "misaligned", "an atomic access was not aligned";
        AllocationTooLarge = 11, "allocation-too-large", "the guest attempted an allocation that can never succeed";
    }
}
