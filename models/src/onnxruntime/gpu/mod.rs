//! ONNX Runtime's CUDA provider on one GPU, with nothing left to chance, and our own kernels there.

mod assigned;
mod versions;

use super::reproducible::on_gpu;
use super::{OnnxRuntime, guarded, library, settings};
use crate::onnx::reproducible::{DOMAIN, LIBRARY};
use crate::text::bounded;
use assigned::{Assigned, assigned};
use depx_cuda::{CudaError, Device, Kernels};
use depx_kernels::Threads;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};
use ort::operator::OperatorDomain;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The provider's library, which is beside that of ONNX Runtime.
const PROVIDER_FILE: &str =
    if cfg!(windows) { "onnxruntime_providers_cuda.dll" } else { "libonnxruntime_providers_cuda.so" };

/// What the provider is told, besides the device and its memory. All of it is in the profile.
const OPTIONS: [(&str, &str); 11] = [
    ("arena_extend_strategy", "kSameAsRequested"),
    // One algorithm, not the fastest of several.
    ("cudnn_conv_algo_search", "DEFAULT"),
    ("cudnn_conv_use_max_workspace", "1"),
    ("cudnn_conv1d_pad_to_nc1d", "0"),
    ("do_copy_in_default_stream", "1"),
    ("enable_cuda_graph", "0"),
    ("fuse_conv_bias", "0"),
    ("prefer_nhwc", "0"),
    // Products of matrices, whatever environment variables say.
    ("sdpa_kernel", "16"),
    ("tunable_op_enable", "0"),
    ("use_tf32", "0"),
];

/// Which GPU, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct GpuOptions {
    /// Its number, from 0, as the driver counts them.
    pub ordinal: u32,
    /// Bytes of memory that the provider's arena may take.
    pub memory: u64,
}

/// A GPU that models can be run on. Clones are the same one.
#[derive(Clone)]
pub struct Gpu {
    kernels: Arc<dyn Kernels>,
    provider: Option<GpuOptions>,
    description: Arc<str>,
    broken: Arc<AtomicBool>,
}

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// A library for processors alone.
    #[error(
        "{path} is ONNX Runtime without CUDA; set ORT_DYLIB_PATH to the libonnxruntime.so of onnxruntime-gpu {}",
        library::ONNX_RUNTIME_VERSION
    )]
    NoProvider {
        /// The library.
        path: PathBuf,
    },
    /// The provider's part of the library is missing.
    #[error(
        "{path} is missing; it belongs to onnxruntime-gpu {} and lies beside its libonnxruntime.so",
        library::ONNX_RUNTIME_VERSION
    )]
    NoProviderFile {
        /// The file.
        path: PathBuf,
    },
    /// The provider's part of the library cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The driver or the device cannot be used.
    #[error(transparent)]
    Device(#[from] CudaError),
    /// The driver does not say which version it is.
    #[error("the version of the NVIDIA driver is not in {path}")]
    DriverVersion {
        /// Where it should be.
        path: PathBuf,
    },
    /// The provider does not start: one of NVIDIA's libraries may be missing.
    #[error("the CUDA provider of ONNX Runtime does not start: {reason}")]
    Start {
        /// What the library says, bounded.
        reason: String,
    },
    /// One of NVIDIA's libraries does not say which version it is.
    #[error("the version of {library} cannot be read")]
    LibraryVersion {
        /// Its name.
        library: &'static str,
    },
}

impl Gpu {
    /// Starts the provider of this library on a GPU. Whatever is missing is an error that names it.
    pub fn open(runtime: &OnnxRuntime, options: GpuOptions) -> Result<Self, GpuError> {
        let path = runtime.library_path();
        let start = |failure: super::Failure| GpuError::Start { reason: failure.reason };
        if !guarded(ep::CUDA::is_available).map_err(start)? {
            return Err(GpuError::NoProvider { path: path.to_owned() });
        }
        let file = path.with_file_name(PROVIDER_FILE);
        if !file.is_file() {
            return Err(GpuError::NoProviderFile { path: file });
        }
        let device = Device::open(options.ordinal)?;
        let driver = versions::driver(Path::new(versions::DRIVER))?;
        let build = library::hash(&file).map_err(|source| GpuError::Read { path: file, source })?;
        let name = bounded(device.name(), 96);
        let ((major, minor), cuda) = (device.capability(), device.cuda());
        let mut gpu =
            Self { kernels: Arc::new(device), provider: Some(options), description: "".into(), broken: Arc::default() };
        let environment = &runtime.library.environment;
        guarded(|| settings::builder(environment, Some(&gpu))?.commit_from_memory(TRIAL)).map_err(start)?;
        let libraries = versions::libraries()?;
        gpu.description = format!(
            "cuda {build}; {}; {name}, compute capability {major}.{minor}, driver {driver} with cuda {}.{}; {libraries}{}",
            described(&options),
            cuda.0,
            cuda.1,
            versions::environment(std::env::vars_os()),
        )
        .into();
        Ok(gpu)
    }

    /// Kernels of ours that work on this process's memory, as those of an interpreter do: for tests without a GPU. The library's provider
    /// is not used.
    pub fn simulated(kernels: Arc<dyn Kernels>) -> Self {
        Self { kernels, provider: None, description: "simulated".into(), broken: Arc::default() }
    }

    pub(super) fn description(&self) -> &str {
        &self.description
    }

    pub(super) fn provider(&self) -> Option<ExecutionProviderDispatch> {
        let provider = options(&self.provider?)
            .fold(ep::CUDA::default(), |provider, (key, value)| provider.with_arbitrary_config(key, value));
        Some(provider.build().error_on_failure())
    }

    /// The provider whose operators are ours on the GPU; none if that is simulated on the processor.
    pub(super) fn provider_name(&self) -> Option<&'static str> {
        self.provider.map(|_| ep::CUDA::NAME)
    }

    /// A kernel could not be run. From then on no failure is believed to be that of an input.
    pub(super) fn set_broken(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    pub(super) fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }

    /// Whether an operator of the processor gives way to one of the GPU, so that not both are for one provider.
    pub(super) fn replaces(&self, name: &str) -> bool {
        self.provider.is_none() && on_gpu::has(name)
    }

    pub(super) fn add_operators(&self, domain: OperatorDomain, threads: &Arc<Threads>) -> ort::Result<OperatorDomain> {
        on_gpu::add(domain, self, threads)
    }

    /// A session in which the GPU computes operators of ours and nothing else.
    pub(super) fn reproducible_session(&self, builder: SessionBuilder, onnx: &[u8]) -> ort::Result<Session> {
        let session = builder
            .with_config_entry("session.layer_assignment_settings", format!("cpu(={LIBRARY})"))?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?
            .commit_from_memory(onnx)?;
        for Assigned { provider, domain, operator } in assigned(&session)? {
            // What copies between memories has no domain.
            if provider == ep::CUDA::NAME && domain != DOMAIN && !operator.starts_with("Memcpy") {
                return Err(ort::Error::new(format!(
                    "the library computes {operator} on the GPU, with kernels of its own"
                )));
            }
        }
        Ok(session)
    }
}

/// All that the provider is told.
fn options(options: &GpuOptions) -> impl Iterator<Item = (&'static str, String)> {
    let memory = options.memory.to_string();
    let fixed = OPTIONS.into_iter().map(|(key, value)| (key, value.to_owned()));
    [("device_id", options.ordinal.to_string()), ("gpu_mem_limit", memory)].into_iter().chain(fixed)
}

/// The same for the profile; which number a device has decides nothing.
fn described(of: &GpuOptions) -> String {
    let options = options(of).filter(|(key, _)| *key != "device_id");
    options.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// `y = -x` of one number.
const TRIAL: &[u8] = b"\x08\x08\x3a\x32\x0a\x0b\x0a\x01x\x12\x01y\x22\x03Neg\x12\x01t\
    \x5a\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\
    \x62\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01\x42\x02\x10\x11";

#[cfg(test)]
mod tests {
    use super::super::reproducible::domain;
    use super::*;
    use crate::OpenError;

    /// The library, or `None` where it is not installed.
    fn runtime() -> Option<OnnxRuntime> {
        match OnnxRuntime::open(None) {
            Ok(runtime) => Some(runtime),
            Err(error @ OpenError::NotFound { .. })
                if std::env::var_os("DEPX_REQUIRE_ORT").is_none_or(|value| value != "1") =>
            {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_profile_names_all_options_but_the_number() {
        let described = described(&GpuOptions { ordinal: 3, memory: 1 << 30 });
        let options = "gpu_mem_limit=1073741824 arena_extend_strategy=kSameAsRequested cudnn_conv_algo_search=DEFAULT \
            cudnn_conv_use_max_workspace=1 cudnn_conv1d_pad_to_nc1d=0 do_copy_in_default_stream=1 enable_cuda_graph=0 \
            fuse_conv_bias=0 prefer_nhwc=0 sdpa_kernel=16 tunable_op_enable=0 use_tf32=0";
        assert_eq!(described, options);
    }

    /// In one library or the other: both name what is missing.
    #[test]
    fn without_a_gpu_something_is_missing_by_name() {
        let Some(runtime) = runtime() else { return };
        match Gpu::open(&runtime, GpuOptions { ordinal: 0, memory: 1 << 30 }).map(|_| ()) {
            Ok(()) => {}
            Err(GpuError::NoProvider { path }) => assert_eq!(path, runtime.library_path()),
            Err(GpuError::Device(CudaError::NoDriver { library, .. })) => assert_eq!(library, "libcuda.so.1"),
            Err(GpuError::Device(CudaError::NoDevice)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// A GPU whose kernels nobody launches.
    fn never_launched() -> Gpu {
        let kernels = Arc::new(depx_cuda::interpreter::Interpreted::new().unwrap_or_else(|reason| panic!("{reason}")));
        Gpu { provider: Some(GpuOptions { ordinal: 0, memory: 1 << 30 }), ..Gpu::simulated(kernels) }
    }

    #[test]
    fn a_provider_that_does_not_start_is_an_error() {
        let Some(runtime) = runtime() else { return };
        let environment = &runtime.library.environment;
        let started = guarded(|| settings::builder(environment, Some(&never_launched()))?.commit_from_memory(TRIAL));
        let reason = started.map_or_else(|failure| failure.reason, |_| "a GPU is here".to_owned());
        assert!(reason.contains("CUDA") || reason.contains("cuda") || reason == "a GPU is here", "{reason}");
    }

    /// The library takes operators of one name for both providers, and the processor computes them where the other one is not.
    #[test]
    fn operators_for_both_providers_are_registered_side_by_side() {
        let Some(runtime) = runtime() else { return };
        let digits = include_bytes!("../../../zoo/digits/digits.onnx");
        let (_, onnx) = crate::onnx::reproducible::rewrite(digits, |_| Some(1)).unwrap();
        let session = guarded(|| {
            let threads = Arc::new(Threads::new(1));
            let domain = domain(depx_kernels::Isa::PORTABLE, &threads, Some(&never_launched()))?;
            let builder = settings::builder(&runtime.library.environment, None)?.with_operators(domain)?;
            never_launched().reproducible_session(builder, &onnx)
        });
        let session = session.unwrap_or_else(|failure| panic!("{}", failure.reason));
        let assigned = assigned(&session).unwrap();
        assert!(assigned.iter().any(|node| node.domain == DOMAIN && node.operator == "Gemm"), "{assigned:?}");
        assert!(assigned.iter().all(|node| node.provider == "CPUExecutionProvider"), "{assigned:?}");
    }

    #[test]
    fn the_library_says_who_computes_what() {
        let Some(runtime) = runtime() else { return };
        let session = guarded(|| {
            settings::builder(&runtime.library.environment, None)?
                .with_config_entry("session.layer_assignment_settings", format!("cpu(={LIBRARY})"))?
                .with_config_entry("session.record_ep_graph_assignment_info", "1")?
                .commit_from_memory(TRIAL)
        });
        let session = session.unwrap_or_else(|failure| panic!("{}", failure.reason));
        let expected =
            Assigned { provider: "CPUExecutionProvider".to_owned(), domain: String::new(), operator: "Neg".to_owned() };
        assert_eq!(assigned(&session).unwrap(), [expected]);
    }
}
