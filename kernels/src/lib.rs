//! Kernels of neural networks whose results are the same bits on every processor.
//!
//! Each is a fixed sequence of IEEE 754 operations for every element of its result, written down in `KERNELS.md` and, literally, in
//! `reference`. Faster ones compute several elements side by side ([`Isa`] says how many) or on several threads, which changes
//! no bit.

#![allow(unsafe_code, reason = "vector instructions")]

mod isa;
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "each is one instruction, for which its trait states what it needs"
)]
mod lanes;

pub use isa::Isa;
