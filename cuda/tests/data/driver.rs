//! A driver for tests of `Device`: it has memory, and its kernels do nothing. COUNT, MAJOR and MINOR are replaced by numbers.
#![allow(non_snake_case, unused_variables)]

use std::alloc::{Layout, alloc_zeroed};
use std::ffi::c_void;

type Status = i32;

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) $body:block)*) => {
        $(#[unsafe(no_mangle)] unsafe extern "system" fn $name($($argument: $type),*) -> Status {
            #[allow(unused_unsafe)]
            unsafe { $body }
            0
        })*
    };
}

functions! {
    cuInit(flags: u32) {}
    cuGetErrorName(status: Status, name: *mut *const u8) { *name = c"CUDA_ERROR_TEST".as_ptr().cast() }
    cuDriverGetVersion(version: *mut i32) { *version = 13010 }
    cuDeviceGetCount(count: *mut i32) { *count = COUNT }
    cuDeviceGet(device: *mut i32, ordinal: i32) { *device = ordinal }
    cuDeviceGetName(name: *mut u8, len: i32, device: i32) { std::ptr::copy(c"Test GPU".as_ptr().cast(), name, 9) }
    cuDeviceGetAttribute(value: *mut i32, which: i32, device: i32) { *value = if which == 75 { MAJOR } else { MINOR } }
    cuDevicePrimaryCtxRetain(context: *mut usize, device: i32) { *context = 1 }
    cuDevicePrimaryCtxRelease_v2(device: i32) {}
    cuCtxPushCurrent_v2(context: usize) {}
    cuCtxPopCurrent_v2(context: *mut usize) { *context = 1 }
    cuCtxSynchronize() {}
    cuModuleLoadData(module: *mut usize, image: *const u8) { *module = 1 }
    cuModuleUnload(module: usize) {}
    cuModuleGetFunction(function: *mut usize, module: usize, name: *const u8) { *function = 1 }
    cuLaunchKernel(
        function: usize, x: u32, y: u32, z: u32, threads_x: u32, threads_y: u32, threads_z: u32, shared: u32, stream: usize,
        parameters: usize, extra: usize
    ) {}
    cuMemAlloc_v2(address: *mut u64, size: usize) {
        *address = alloc_zeroed(Layout::from_size_align(size, 8).unwrap()) as u64
    }
    cuMemFree_v2(address: u64) {}
    cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) { std::ptr::copy(from, to as *mut c_void, size) }
    cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) { std::ptr::copy(from as *const c_void, to, size) }
}
