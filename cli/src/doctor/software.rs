//! The kernel, libraries and drivers.

use super::{Check, causes};
use crate::{Global, local};
use depx_devices::{DeviceProbe, ThisMachine};
use depx_models::ONNX_RUNTIME_VERSION;
use depx_protocol::Blob;

pub(super) fn kernel() -> Check {
    const RELEASE: &str = "/proc/sys/kernel/osrelease";
    match std::fs::read_to_string(RELEASE) {
        Ok(release) => Check::ok("kernel", format!("Linux {}", release.trim())),
        Err(error) => Check::failed("kernel", format!("cannot read {RELEASE}: {error}"), "mount /proc"),
    }
}

pub(super) fn onnx_runtime(global: &Global) -> Check {
    const NAME: &str = "onnx runtime";
    let remedy = "`cargo xtask ort` fetches it and prints its path; name that in ORT_DYLIB_PATH, or put the library beside depx. \
                  Until then this node gets jobs without models only";
    match local::library(global) {
        Err(error) => Check::warning(NAME, causes(&error), remedy),
        Ok(library) => {
            let path = library.library_path();
            match std::fs::read(path) {
                Ok(bytes) => {
                    let hash = Blob::of(&bytes).hash;
                    Check::ok(NAME, format!("{ONNX_RUNTIME_VERSION}, {}, blake3 {}", path.display(), hash.short()))
                }
                Err(error) => Check::warning(NAME, format!("cannot read {}: {error}", path.display()), remedy),
            }
        }
    }
}

pub(super) fn gpus() -> Check {
    const NAME: &str = "gpu";
    match ThisMachine.gpus() {
        Ok(gpus) if gpus.is_empty() => Check::ok(NAME, "no NVIDIA driver; models are computed on the processor"),
        Ok(gpus) => Check::ok(NAME, gpus.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        Err(error) => Check::warning(
            NAME,
            causes(&error.into()),
            "see whether `nvidia-smi` works; install the driver anew, or remove it if there is no GPU",
        ),
    }
}
