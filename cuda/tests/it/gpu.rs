//! A real GPU gives the same bits. Without one this says that it is skipped, and fails if `REQUIRE_GPU=1`.

use depx_cuda::verify::{bits, cases};
use depx_cuda::{CudaError, Device, Kernels, Memory};

fn device() -> Option<Device> {
    match Device::open(0) {
        Ok(device) => Some(device),
        Err(error @ (CudaError::NoDriver { .. } | CudaError::NoDevice))
            if std::env::var_os("REQUIRE_GPU").is_none_or(|value| value != "1") =>
        {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[allow(unsafe_code, reason = "kernels are launched on addresses")]
fn a_gpu_gives_the_bits_of_the_reference() {
    let Some(device) = device() else { return };
    for case in cases(16) {
        let memory: Vec<_> = case.numbers.iter().map(|numbers| device.memory(numbers).unwrap()).collect();
        let addresses: Vec<_> = memory.iter().map(Memory::address).collect();
        for launch in (case.launches)(&addresses).unwrap() {
            // SAFETY: the case asks for the memory that it uses, which is read, hence waited for, below.
            unsafe { device.launch(&launch, std::ptr::null_mut()) }.unwrap();
        }
        for (memory, expected) in memory.iter().zip(&case.expected) {
            assert_eq!(bits(&memory.read().unwrap()), bits(expected), "{}", case.name);
        }
    }
}
