//! A management library for tests of `nvidia`: COUNT GPUs, of which it measures not everything; INIT is what starting it gives.
#![allow(non_snake_case, unused_variables)]

type Status = u32;

const NOT_SUPPORTED: Status = 3;

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) $body:block)*) => {
        $(#[unsafe(no_mangle)] unsafe extern "C" fn $name($($argument: $type),*) -> Status {
            #[allow(unused_unsafe)]
            unsafe { $body }
        })*
    };
}

unsafe fn text(text: &str, to: *mut u8) -> Status {
    unsafe {
        std::ptr::copy(text.as_ptr(), to, text.len());
        *to.add(text.len()) = 0;
    }
    0
}

unsafe fn give<T>(value: T, to: *mut T) -> Status {
    unsafe { *to = value };
    0
}

#[repr(C)]
struct Memory {
    version: u32,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

functions! {
    nvmlInit_v2() { INIT }
    nvmlShutdown() { 0 }
    nvmlSystemGetDriverVersion(to: *mut u8, len: u32) { text("580.65.06", to) }
    nvmlDeviceGetCount_v2(to: *mut u32) { give(COUNT, to) }
    nvmlDeviceGetHandleByIndex_v2(index: u32, to: *mut usize) { give(index as usize, to) }
    nvmlDeviceGetName(device: usize, to: *mut u8, len: u32) { text("Test GPU", to) }
    nvmlDeviceGetUUID(device: usize, to: *mut u8, len: u32) { text(&format!("GPU-{device}"), to) }
    nvmlDeviceGetMemoryInfo_v2(device: usize, to: *mut Memory) {
        let version = (*to).version;
        give(Memory { version, total: 8 << 30, reserved: 1 << 30, free: 5 << 30, used: 2 << 30 }, to)
    }
    nvmlDeviceGetCudaComputeCapability(device: usize, major: *mut i32, minor: *mut i32) {
        give(9, major);
        give(0, minor)
    }
    nvmlDeviceGetTemperature(device: usize, sensor: u32, to: *mut u32) { give(41, to) }
    nvmlDeviceGetPowerUsage(device: usize, to: *mut u32) { give(75_000, to) }
    nvmlDeviceGetEnforcedPowerLimit(device: usize, to: *mut u32) { NOT_SUPPORTED }
    nvmlDeviceGetUtilizationRates(device: usize, to: *mut [u32; 2]) { give([12, 3], to) }
    nvmlDeviceGetEccMode(device: usize, current: *mut u32, pending: *mut u32) {
        give(1, current);
        give(1, pending)
    }
    nvmlDeviceGetTotalEccErrors(device: usize, kind: u32, counter: u32, to: *mut u64) {
        give(if (kind, counter) == (1, 0) { 7 } else { 0 }, to)
    }
}
