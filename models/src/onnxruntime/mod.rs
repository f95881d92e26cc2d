//! ONNX Runtime, on the processor or on a GPU.
//!
//! Its results are the same bits wherever [`OnnxRuntime::profile`](crate::Backend::profile) is the same: the same build of the
//! library, the same kind of processor, the same settings. Settings that could make two runs differ are off: one thread, no
//! parallel branches, no layouts that depend on the width of vectors, subnormal numbers kept.

#[cfg_attr(not(feature = "cuda"), path = "no_gpu.rs")]
mod gpu;
mod library;
mod processor;
mod reproducible;
mod session;
mod settings;

#[cfg(feature = "cuda")]
pub use gpu::{Gpu, GpuError, GpuOptions};
pub use library::{ONNX_RUNTIME_VERSION, OpenError};
pub use reproducible::Reproducible;

use crate::text::{MAX_REASON, bounded};
use crate::{Backend, LoadError, Model, onnx};
use library::Library;
use session::{Kind, Sessions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// The backend that runs models in ONNX Runtime. Clones share the library.
#[derive(Clone)]
pub struct OnnxRuntime {
    library: Library,
    gpu: Option<gpu::Gpu>,
}

impl OnnxRuntime {
    /// Finds and loads the library: where `ORT_DYLIB_PATH` says, else beside the executable, else in `data_dir`.
    ///
    /// A process holds one library: once a call has succeeded, later calls give the same one, wherever they point. A call that
    /// fails may be repeated.
    pub fn open(data_dir: Option<&Path>) -> Result<Self, OpenError> {
        Ok(Self { library: library::open(data_dir)?, gpu: None })
    }

    /// The same on a GPU. What has no kernel there is computed on the processor.
    #[cfg(feature = "cuda")]
    pub fn with_gpu(self, gpu: Gpu) -> Self {
        Self { gpu: Some(gpu), ..self }
    }

    /// The file that was loaded.
    pub fn library_path(&self) -> &Path {
        &self.library.path
    }

    /// For programs that use the binding themselves, too: it allows one environment per process.
    pub fn environment(&self) -> &ort::environment::Environment {
        &self.library.environment
    }
}

impl Backend for OnnxRuntime {
    fn profile(&self) -> String {
        let provider = self.gpu.as_ref().map_or("cpu", gpu::Gpu::description);
        format!(
            "models {}, {}; provider {provider}; {}; {}",
            onnx::VERSION,
            self.library.build,
            settings::DESCRIPTION,
            processor::description()
        )
    }

    fn load(&self, model: &[u8]) -> Result<Arc<dyn Model>, LoadError> {
        let info = onnx::inspect(model)?;
        let sessions =
            Sessions::new(self.clone(), Kind::Pinned, info, model).map_err(|reason| LoadError::Backend { reason })?;
        Ok(Arc::new(sessions))
    }
}

/// Calls into the library; what goes wrong there comes back as bounded text, a panic of its binding included.
fn guarded<T>(call: impl FnOnce() -> ort::Result<T>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure { code: error.code(), reason: bounded(error.message(), MAX_REASON) }),
        Err(_) => Err(Failure {
            code: ort::ErrorCode::GenericFailure,
            reason: "the binding to ONNX Runtime panicked".to_owned(),
        }),
    }
}

struct Failure {
    code: ort::ErrorCode,
    reason: String,
}
