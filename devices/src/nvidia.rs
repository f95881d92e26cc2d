//! NVIDIA's management library, which comes with the driver.

use crate::{Gpu, ProbeError};
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::error::NvmlError;
use std::ffi::OsStr;

/// All GPUs, by the library of this name or the usual one. Without a library there are none.
pub(crate) fn gpus(library: Option<&OsStr>) -> Result<Vec<Gpu>, ProbeError> {
    let mut builder = Nvml::builder();
    if let Some(library) = library {
        builder.lib_path(library);
    }
    let nvml = match builder.init() {
        Ok(nvml) => nvml,
        Err(NvmlError::LibloadingError(_)) => return Ok(Vec::new()),
        Err(error) => return Err(ProbeError::Driver(error)),
    };
    let driver = nvml.sys_driver_version().map_err(ProbeError::Driver)?;
    let count = nvml.device_count().map_err(ProbeError::Driver)?;
    (0..count).map(|number| gpu(&nvml, number, &driver).map_err(|source| ProbeError::Gpu { number, source })).collect()
}

fn gpu(nvml: &Nvml, number: u32, driver: &str) -> Result<Gpu, NvmlError> {
    let device = nvml.device_by_index(number)?;
    let memory = device.memory_info()?;
    let capability = measured(device.cuda_compute_capability())?;
    let utilisation = measured(device.utilization_rates())?;
    Ok(Gpu {
        name: device.name()?,
        uuid: device.uuid()?,
        driver: driver.to_owned(),
        capability: capability.and_then(|of| Some((of.major.try_into().ok()?, of.minor.try_into().ok()?))),
        memory: memory.total,
        memory_free: memory.free,
        temperature: measured(device.temperature(TemperatureSensor::Gpu))?,
        power: measured(device.power_usage())?,
        power_limit: measured(device.enforced_power_limit())?,
        utilisation: utilisation.map(|rates| rates.gpu),
        corrects_errors: measured(device.is_ecc_enabled())?.map(|state| state.currently_enabled),
        uncorrected_errors: measured(device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile))?,
        divided: measured(device.mig_mode())?.map(|mode| mode.current == 1),
    })
}

/// What this GPU, or this driver, can say.
fn measured<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(NvmlError::NotSupported | NvmlError::NoPermission | NvmlError::FailedToLoadSymbol(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// Compiles a management library; see there.
    fn library(folder: &Path, count: u32, init: u32) -> PathBuf {
        let source = include_str!("../tests/data/nvml.rs");
        let source = source.replace("COUNT", &count.to_string()).replace("INIT", &init.to_string());
        let (input, output) = (folder.join("nvml.rs"), folder.join("libnvidia-ml.so"));
        std::fs::write(&input, source).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compile = Command::new(rustc);
        compile.args(["--edition", "2024", "--crate-type", "cdylib", "-o"]).arg(&output).arg(&input);
        assert!(compile.status().unwrap().success());
        output
    }

    #[test]
    fn gpus_are_what_the_library_says_and_what_it_leaves_out_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let gpus = gpus(Some(library(folder.path(), 2, 0).as_os_str())).unwrap();
        let expected = |uuid: &str| Gpu {
            name: "Test GPU".to_owned(),
            uuid: uuid.to_owned(),
            driver: "580.65.06".to_owned(),
            capability: Some((9, 0)),
            memory: 8 << 30,
            memory_free: 5 << 30,
            temperature: Some(41),
            power: Some(75_000),
            utilisation: Some(12),
            corrects_errors: Some(true),
            uncorrected_errors: Some(7),
            // The test's library has no limit and no division.
            power_limit: None,
            divided: None,
        };
        assert_eq!(gpus, [expected("GPU-0"), expected("GPU-1")]);
    }

    #[test]
    fn no_library_is_no_gpu_and_a_library_that_fails_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(gpus(Some(folder.path().join("absent.so").as_os_str())).unwrap(), []);
        // The driver is installed, and not loaded.
        let error = gpus(Some(library(folder.path(), 1, 9).as_os_str())).unwrap_err();
        assert!(matches!(error, ProbeError::Driver(NvmlError::DriverNotLoaded)), "{error}");
    }
}
