//! What a machine has: processor, memory, disk, and GPUs by way of NVIDIA's management library.
//!
//! [`DeviceProbe`] is how programs ask; [`ThisMachine`] asks the system. A machine without an NVIDIA driver has no GPUs, which is no error.

mod linux;
mod nvidia;
mod tier;

pub use tier::Tier;

use std::fmt;
use std::path::{Path, PathBuf};

/// Finds out what there is. Each call asks anew.
pub trait DeviceProbe: Send + Sync {
    /// The processor and its memory.
    fn machine(&self) -> Result<Machine, ProbeError>;

    /// What the processors have done since the machine was started.
    fn processors(&self) -> Result<ProcessorTime, ProbeError>;

    /// The file system that holds this path.
    fn disk(&self, path: &Path) -> Result<Disk, ProbeError>;

    /// All NVIDIA GPUs, numbered from 0.
    fn gpus(&self) -> Result<Vec<Gpu>, ProbeError>;
}

/// Processor and memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// What the processor calls itself; empty if it does not say.
    pub processor: String,
    /// How many cores it has.
    pub cores: usize,
    /// How many threads run at the same time.
    pub threads: usize,
    /// Instructions that it has and kernels make use of, as Linux names them.
    pub features: Vec<String>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that programs can have now.
    pub memory_available: u64,
}

/// Time of all processors together, in ticks of the system's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessorTime {
    /// At work.
    pub busy: u64,
    /// In all.
    pub total: u64,
}

impl ProcessorTime {
    /// How busy they were since `before`, in thousandths.
    pub fn load_since(self, before: Self) -> u16 {
        let (busy, total) = (self.busy.saturating_sub(before.busy), self.total.saturating_sub(before.total));
        u16::try_from(busy.min(total) * 1000 / total.max(1)).unwrap_or(1000)
    }
}

/// Space on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that this user can write.
    pub available: u64,
}

/// A GPU. What a model of GPU does not measure is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gpu {
    /// Its model.
    pub name: String,
    /// What tells it from all others.
    pub uuid: String,
    /// The version of the driver.
    pub driver: String,
    /// Its compute capability.
    pub capability: Option<(u32, u32)>,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that nobody uses.
    pub memory_free: u64,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Milliwatts that it draws.
    pub power: Option<u32>,
    /// Milliwatts that it may draw.
    pub power_limit: Option<u32>,
    /// Per cent of the last moments in which it computed.
    pub utilisation: Option<u32>,
    /// Whether it corrects errors of its memory.
    pub corrects_errors: Option<bool>,
    /// Errors of its memory since the driver was loaded that it could not correct.
    pub uncorrected_errors: Option<u64>,
    /// Whether it is divided into several (MIG).
    pub divided: Option<bool>,
}

/// One line for people.
impl fmt::Display for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = |bytes: u64| bytes as f64 / f64::from(1u32 << 30);
        write!(formatter, "{}, driver {}", self.name, self.driver)?;
        write!(formatter, ", {:.1} of {:.1} GiB free", gibibytes(self.memory_free), gibibytes(self.memory))?;
        if let Some((major, minor)) = self.capability {
            write!(formatter, ", compute capability {major}.{minor}")?;
        }
        if let Some(degrees) = self.temperature {
            write!(formatter, ", {degrees} °C")?;
        }
        if let Some(milliwatts) = self.power {
            write!(formatter, ", {} W", milliwatts / 1000)?;
        }
        if let Some(per_cent) = self.utilisation {
            write!(formatter, ", {per_cent}% busy")?;
        }
        if let Some(errors @ 1..) = self.uncorrected_errors {
            write!(formatter, ", {errors} uncorrected errors of memory")?;
        }
        if self.divided == Some(true) {
            write!(formatter, ", divided (MIG)")?;
        }
        Ok(())
    }
}

/// Something could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The system does not say how much memory there is.
    #[error("the size of the memory is not in {path}")]
    Memory {
        /// Where it should be.
        path: PathBuf,
    },
    /// The system does not say what its processors do.
    #[error("the time that processors were busy is not in {path}")]
    Processors {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file system gives no answer.
    #[error("the space on the disk of {path} is not known")]
    Disk {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is an NVIDIA driver, and it gives no answer.
    #[error("the NVIDIA driver does not answer")]
    Driver(#[source] nvml_wrapper::error::NvmlError),
    /// A GPU gives no answer.
    #[error("GPU {number} does not answer")]
    Gpu {
        /// Its number.
        number: u32,
        /// Why.
        #[source]
        source: nvml_wrapper::error::NvmlError,
    },
}

/// This machine, by its operating system and drivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl DeviceProbe for ThisMachine {
    fn machine(&self) -> Result<Machine, ProbeError> {
        linux::machine(Path::new("/proc"))
    }

    fn processors(&self) -> Result<ProcessorTime, ProbeError> {
        linux::processors(Path::new("/proc"))
    }

    fn disk(&self, path: &Path) -> Result<Disk, ProbeError> {
        let found = rustix::fs::statvfs(path)
            .map_err(|error| ProbeError::Disk { path: path.to_owned(), source: error.into() })?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Disk { total: bytes(found.f_blocks), available: bytes(found.f_bavail) })
    }

    fn gpus(&self) -> Result<Vec<Gpu>, ProbeError> {
        nvidia::gpus(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_memory_and_a_disk() {
        let machine = ThisMachine.machine().unwrap();
        assert!(machine.threads > 0 && machine.memory > 1 << 20, "{machine:?}");
        assert!(machine.memory_available <= machine.memory, "{machine:?}");
        let folder = tempfile::tempdir().unwrap();
        let disk = ThisMachine.disk(folder.path()).unwrap();
        assert!(disk.total > 0 && disk.available <= disk.total, "{disk:?}");
        let absent = folder.path().join("absent");
        let error = ThisMachine.disk(&absent).unwrap_err().to_string();
        assert!(error.contains(&absent.display().to_string()), "{error}");
    }

    /// Where there is a driver, with what it finds; else with none.
    #[test]
    fn asking_for_gpus_is_no_error_without_a_driver() {
        let gpus = ThisMachine.gpus().unwrap();
        match std::env::var_os("REQUIRE_GPU") {
            Some(value) if value == "1" => assert!(!gpus.is_empty(), "REQUIRE_GPU=1, and no GPU is here"),
            _ if gpus.is_empty() => eprintln!("skipped: there is no GPU to look at"),
            _ => {}
        }
        for gpu in gpus {
            assert!(!gpu.name.is_empty() && !gpu.driver.is_empty() && gpu.memory_free <= gpu.memory, "{gpu}");
        }
    }

    #[test]
    fn a_gpu_is_one_line() {
        let gpu = Gpu { name: "Test".to_owned(), driver: "580.65".to_owned(), memory: 3 << 30, ..Gpu::default() };
        assert_eq!(gpu.to_string(), "Test, driver 580.65, 0.0 of 3.0 GiB free");
        let gpu = Gpu {
            capability: Some((9, 0)),
            temperature: Some(41),
            power: Some(75_900),
            utilisation: Some(3),
            uncorrected_errors: Some(2),
            divided: Some(true),
            ..gpu
        };
        let rest = ", compute capability 9.0, 41 °C, 75 W, 3% busy, 2 uncorrected errors of memory, divided (MIG)";
        assert_eq!(gpu.to_string(), format!("Test, driver 580.65, 0.0 of 3.0 GiB free{rest}"));
    }
}
