//! Some of the kernels of `depx-kernels` for NVIDIA GPUs: the sequences of operations that `KERNELS.md` states, hence the same bits.
//!
//! Their sources are in `kernels/`, compiled for every GPU since Turing into `kernels.ptx`, which the driver compiles for the GPU at hand.
//! A [`Launch`] is one run of one of them, as data; a [`Device`] executes it. The driver is loaded when it is first needed.

#![allow(unsafe_code, reason = "the driver's functions are called")]

mod device;
mod driver;
#[cfg(feature = "interpreter")]
pub mod interpreter;
mod launch;
pub mod verify;

pub use device::{Device, Memory};
pub use driver::CudaError;
pub use launch::{Address, Elements, Gemm, Launch, LayerNorm, TooLarge, elements, gemm, layer_norm, softmax};

/// All kernels, in the driver's own language.
pub const PTX: &str = include_str!("../kernels/kernels.ptx");

/// Whatever runs kernels.
pub trait Kernels: Send + Sync {
    /// Starts a kernel; it runs after whatever was given to the stream before, of which null is one, too.
    ///
    /// # Safety
    ///
    /// The stream is one of the device's primary context, and all addresses in the launch are valid for what the kernel reads and writes
    /// there until it has ended.
    unsafe fn launch(&self, launch: &Launch, stream: *mut std::ffi::c_void) -> Result<(), CudaError>;
}
