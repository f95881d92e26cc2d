//! A driver for tests of `Device`: it has memory, and its kernels are what `setLaunch` was given, or do nothing. COUNT, MAJOR and MINOR are replaced by numbers.
#![allow(non_snake_case, unused_variables)]

use std::alloc::{Layout, alloc_zeroed};
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

type Status = i32;

/// A kernel's name, the grid, the threads of a block, and the parameters.
type Launch = unsafe extern "C" fn(*const c_char, &[u32; 3], u32, *const u8, usize) -> Status;

static LAUNCH: OnceLock<Launch> = OnceLock::new();

#[unsafe(no_mangle)]
extern "C" fn setLaunch(launch: Launch) {
    let _ = LAUNCH.set(launch);
}

/// What follows a marker in a list that ends with zero.
unsafe fn after(marker: usize, mut list: *const usize) -> usize {
    unsafe {
        while *list != marker {
            assert_ne!(*list, 0);
            list = list.add(2);
        }
        *list.add(1)
    }
}

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
    cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) {
        *function = CStr::from_ptr(name).to_owned().into_raw() as usize
    }
    cuLaunchKernel(
        function: usize, x: u32, y: u32, z: u32, threads_x: u32, threads_y: u32, threads_z: u32, shared: u32, stream: usize,
        parameters: usize, extra: *const usize
    ) {
        assert_eq!((threads_y, threads_z, shared, stream, parameters), (1, 1, 0, 0, 0));
        if let Some(launch) = LAUNCH.get() {
            let (buffer, size) = (after(1, extra) as *const u8, *(after(2, extra) as *const usize));
            return launch(function as *const c_char, &[x, y, z], threads_x, buffer, size);
        }
    }
    cuMemAlloc_v2(address: *mut u64, size: usize) {
        *address = alloc_zeroed(Layout::from_size_align(size, 8).unwrap()) as u64
    }
    cuMemFree_v2(address: u64) {}
    cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) { std::ptr::copy(from, to as *mut c_void, size) }
    cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) { std::ptr::copy(from as *const c_void, to, size) }
}
