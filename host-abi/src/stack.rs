//! How deep a guest may call.
//!
//! Native frames differ between compilers, so depth is counted in *slots*, from the module alone. While it is active, a
//! function takes
//!
//! ```text
//! FRAME_BASE + width × (parameters + locals + highest operand stack) + operators ÷ OPERATORS_PER_SLOT
//! ```
//!
//! slots, where width is 2 in functions that handle vectors and 1 elsewhere. The last term is for compilers that keep
//! intermediate values alive across calls. Functions that call nothing and take at most [`LEAF_SLOTS`] are not counted: only
//! one can be active at a time.

/// Slots that calls may take together. A small function takes about ten, so recursion of about 100,000 calls works.
pub const DEPTH_LIMIT: u32 = 1 << 20;

/// Slots for return address, frame pointer and saved registers.
pub const FRAME_BASE: u32 = 4;

/// Operators of a function's body that add one slot.
pub const OPERATORS_PER_SLOT: u32 = 8;

/// Functions that call nothing are not counted up to this size.
pub const LEAF_SLOTS: u32 = 1024;

/// The native stack has this many bytes for each slot, so that it never ends before the slots do: a slot stands for one value of
/// 8 bytes, or for 8 operators, each of whose results may have to be kept in 8 bytes.
pub const NATIVE_BYTES_PER_SLOT: u32 = 64;
