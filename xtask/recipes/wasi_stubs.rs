//! What the standard library refers to and Debian's older wasi-libc lacks. Each answers as newer releases of wasi-libc
//! do: thread attributes are accepted, threads and file modes are not supported.

#![no_std]
#![feature(thread_local)]

const ENOTSUP: i32 = 58;

unsafe extern "C" {
    #[thread_local]
    static mut errno: i32;
}

fn refuse() -> i32 {
    // SAFETY: `errno` is the C library's own, and these modules have one thread.
    unsafe { errno = ENOTSUP };
    -1
}

#[unsafe(no_mangle)]
pub extern "C" fn chmod(_path: *const u8, _mode: u32) -> i32 {
    refuse()
}

#[unsafe(no_mangle)]
pub extern "C" fn fchmod(_file: i32, _mode: u32) -> i32 {
    refuse()
}

#[unsafe(no_mangle)]
pub extern "C" fn realpath(_path: *const u8, _resolved: *mut u8) -> *mut u8 {
    refuse();
    core::ptr::null_mut()
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_create(_: *mut u8, _: *const u8, _: *const u8, _: *mut u8) -> i32 {
    ENOTSUP
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_detach(_thread: usize) -> i32 {
    ENOTSUP
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_join(_thread: usize, _result: *mut *mut u8) -> i32 {
    ENOTSUP
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_attr_init(_attributes: *mut u8) -> i32 {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_attr_destroy(_attributes: *mut u8) -> i32 {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn pthread_attr_setstacksize(_attributes: *mut u8, _size: usize) -> i32 {
    0
}
