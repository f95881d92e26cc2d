//! The kernels' code, executed by an interpreter of the driver's language, and, where there is one, by a GPU.

mod compile;
mod gpu;
mod kernels;
