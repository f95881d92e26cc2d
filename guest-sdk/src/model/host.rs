//! The node's functions: `wasi_ephemeral_nn`, as its witx description defines them.

use super::Code;
use crate::Tensor;

pub(super) use functions::{compute, get_output, init_execution_context, load_by_name, set_input};

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the node's functions are imported, and take addresses")]
mod functions {
    use super::{Code, Tensor};

    /// A tensor as the node reads it.
    #[repr(C)]
    struct Record {
        shape: *const u32,
        rank: usize,
        element_type: u8,
        data: *const u8,
        length: usize,
    }

    mod imports {
        use super::Record;

        // `depx_host_abi::nn` says what they take.
        #[link(wasm_import_module = "wasi_ephemeral_nn")]
        unsafe extern "C" {
            pub(super) fn compute(context: u32) -> u32;
            pub(super) fn get_output(
                context: u32,
                index: u32,
                buffer: *mut u8,
                length: usize,
                written: *mut u32,
            ) -> u32;
            pub(super) fn init_execution_context(graph: u32, context: *mut u32) -> u32;
            pub(super) fn load_by_name(name: *const u8, length: usize, graph: *mut u32) -> u32;
            pub(super) fn set_input(context: u32, index: u32, tensor: *const Record) -> u32;
        }
    }

    fn checked(code: u32) -> Result<(), Code> {
        match code {
            0 => Ok(()),
            code => Err(Code(u16::try_from(code).unwrap_or(u16::MAX - 1))),
        }
    }

    pub(crate) fn load_by_name(name: &str) -> Result<u32, Code> {
        let mut graph = 0;
        // SAFETY: the name is readable and the graph writable for the call.
        checked(unsafe { imports::load_by_name(name.as_ptr(), name.len(), &mut graph) })?;
        Ok(graph)
    }

    pub(crate) fn init_execution_context(graph: u32) -> Result<u32, Code> {
        let mut context = 0;
        // SAFETY: the context is writable for the call.
        checked(unsafe { imports::init_execution_context(graph, &mut context) })?;
        Ok(context)
    }

    pub(crate) fn set_input(context: u32, index: u32, tensor: &Tensor<'_>) -> Result<(), Code> {
        let record = Record {
            shape: tensor.shape.as_ptr(),
            rank: tensor.shape.len(),
            element_type: tensor.element_type as u8,
            data: tensor.data.as_ptr(),
            length: tensor.data.len(),
        };
        // SAFETY: the record and what it points to are readable for the call, and the node copies them.
        checked(unsafe { imports::set_input(context, index, &record) })
    }

    pub(crate) fn compute(context: u32) -> Result<(), Code> {
        // SAFETY: it takes no addresses.
        checked(unsafe { imports::compute(context) })
    }

    pub(crate) fn get_output(context: u32, index: u32, buffer: &mut [u8]) -> Result<u32, Code> {
        let mut written = 0;
        // SAFETY: the buffer is writable in its length, and so is the number written.
        checked(unsafe { imports::get_output(context, index, buffer.as_mut_ptr(), buffer.len(), &mut written) })?;
        Ok(written)
    }
}

/// An ordinary build has no node to call.
#[cfg(not(target_family = "wasm"))]
mod functions {
    use super::{Code, Tensor};

    pub(crate) fn load_by_name(_: &str) -> Result<u32, Code> {
        Err(Code::OUTSIDE_NODE)
    }

    pub(crate) fn init_execution_context(_: u32) -> Result<u32, Code> {
        Err(Code::OUTSIDE_NODE)
    }

    pub(crate) fn set_input(_: u32, _: u32, _: &Tensor<'_>) -> Result<(), Code> {
        Err(Code::OUTSIDE_NODE)
    }

    pub(crate) fn compute(_: u32) -> Result<(), Code> {
        Err(Code::OUTSIDE_NODE)
    }

    pub(crate) fn get_output(_: u32, _: u32, _: &mut [u8]) -> Result<u32, Code> {
        Err(Code::OUTSIDE_NODE)
    }
}
