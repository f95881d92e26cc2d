//! What decides bits besides the library itself: NVIDIA's driver and libraries, and what the environment tells them.

use super::GpuError;
use crate::text::bounded;
use std::collections::BTreeMap;
use std::ffi::{OsString, c_int};
use std::path::Path;

/// Where the driver's kernel module says which version it is.
pub(super) const DRIVER: &str = "/proc/driver/nvidia/version";

/// Environment variables that choose kernels begin like this; the profile names those that are set.
const CHOOSING: [&str; 5] = ["ORT_", "CUBLAS_", "CUBLASLT_", "CUDNN_", "NVIDIA_TF32_OVERRIDE"];
/// These begin so, too, and choose none.
const NOT_CHOOSING: [&str; 2] = ["ORT_DYLIB_PATH", "ORT_DISABLE_TELEMETRY"];

/// Those environment variables that choose kernels.
pub(super) fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> String {
    let named = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let choosing = named.filter(|(name, _)| {
        CHOOSING.iter().any(|start| name.starts_with(start)) && !NOT_CHOOSING.contains(&name.as_str())
    });
    let sorted: BTreeMap<_, _> =
        choosing.map(|(name, value)| (bounded(&name, 64), bounded(&value.to_string_lossy(), 64))).collect();
    sorted.iter().map(|(name, value)| format!("; {name}={value}")).collect()
}

/// The driver's own version; that of CUDA is the same for many.
pub(super) fn driver(path: &Path) -> Result<String, GpuError> {
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let version = text.lines().next().and_then(|line| line.split_whitespace().find(is_version));
    let version = version.ok_or_else(|| GpuError::DriverVersion { path: path.to_owned() })?;
    Ok(bounded(version, 32))
}

/// Those of NVIDIA's libraries, which the provider has loaded.
pub(super) fn libraries() -> Result<String, GpuError> {
    let runtime = version("libcudart.so.13", runtime_version)?;
    let cublas = version("libcublasLt.so.13", |library| number(library, b"cublasLtGetVersion\0"))?;
    let cudnn = version("libcudnn.so.9", |library| number(library, b"cudnnGetVersion\0"))?;
    Ok(format!("cuda runtime {runtime}, cublas {cublas}, cudnn {cudnn}"))
}

#[allow(unsafe_code, reason = "a library is opened")]
fn version(name: &'static str, ask: impl FnOnce(&libloading::Library) -> Option<i64>) -> Result<i64, GpuError> {
    // SAFETY: the provider has loaded this library, so that nothing of it runs now.
    let library = unsafe { libloading::Library::new(name) };
    library.ok().and_then(|library| ask(&library)).ok_or(GpuError::LibraryVersion { library: name })
}

#[allow(unsafe_code, reason = "a function of a library is called")]
fn runtime_version(library: &libloading::Library) -> Option<i64> {
    let mut version: c_int = 0;
    // SAFETY: the function has this signature, writes a number, and gives 0 if it did.
    let status = unsafe {
        let ask = library.get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cudaRuntimeGetVersion\0").ok()?;
        ask(&raw mut version)
    };
    (status == 0).then_some(i64::from(version))
}

#[allow(unsafe_code, reason = "a function of a library is called")]
fn number(library: &libloading::Library, function: &[u8]) -> Option<i64> {
    // SAFETY: the functions that are named here take nothing and give a number.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> usize>(function).ok()?() };
    i64::try_from(version).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_version_is_read_or_missing_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("version");
        let error = driver(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder@1.2)";
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  575.57.08  Sat May 24 05:46:24 UTC 2025";
        for (text, expected) in [(open, "580.65.06"), (closed, "575.57.08")] {
            std::fs::write(&path, format!("{text}\nGCC version:  gcc version 12.2.0\n")).unwrap();
            assert_eq!(driver(&path).unwrap(), expected);
        }
    }

    #[test]
    fn variables_that_choose_kernels_are_named() {
        let variables = [
            ("PATH", "/bin"),
            ("ORT_DYLIB_PATH", "there"),
            ("ORT_ENABLE_SMALL_N_GEMV", "1"),
            ("NVIDIA_TF32_OVERRIDE", "1"),
            ("CUBLAS_WORKSPACE_CONFIG", ":16:8"),
        ];
        let named = environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(named, "; CUBLAS_WORKSPACE_CONFIG=:16:8; NVIDIA_TF32_OVERRIDE=1; ORT_ENABLE_SMALL_N_GEMV=1");
        assert_eq!(environment(std::iter::empty()), "");
    }
}
