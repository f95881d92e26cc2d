//! Models that were loaded, kept for the next job.

use crate::HostFault;
use crate::fault::bounded;
use depx_models::{Backend, LoadError, Model};
use depx_protocol::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Most models kept, and most bytes of their files together: a node mostly serves a few, and a loaded model takes about the
/// size of its file.
const MAX_MODELS: usize = 16;
const MAX_BYTES: usize = 2 << 30;

/// Loads models through one backend, each once while it is kept. The least recently used go first.
pub(crate) struct LoadedModels {
    backend: Arc<dyn Backend>,
    /// Most recently used last.
    kept: Mutex<Vec<Kept>>,
    /// Held while a model is loaded, so that jobs that start together load it once.
    loading: Mutex<()>,
}

struct Kept {
    hash: Hash,
    bytes: usize,
    model: Arc<dyn Model>,
}

/// Why a model could not be loaded.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// Every node refuses it.
    Invalid {
        reason: String,
    },
    Fault(HostFault),
}

impl LoadedModels {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, kept: Mutex::default(), loading: Mutex::default() }
    }

    /// The model in `onnx`, whose hash is `hash`.
    pub(crate) fn load(&self, hash: Hash, onnx: &[u8]) -> Result<Arc<dyn Model>, LoadFailure> {
        if let Some(model) = self.find(hash) {
            return Ok(model);
        }
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = self.find(hash) {
            return Ok(model);
        }
        let model = self.backend.load(onnx).map_err(|error| match error {
            LoadError::Invalid { reason } => LoadFailure::Invalid { reason: bounded(&reason) },
            LoadError::Backend { reason } => LoadFailure::Fault(HostFault::inference(reason)),
        })?;
        self.keep(Kept { hash, bytes: onnx.len(), model: model.clone() });
        Ok(model)
    }

    fn find(&self, hash: Hash) -> Option<Arc<dyn Model>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let position = kept.iter().position(|kept| kept.hash == hash)?;
        let found = kept.remove(position);
        let model = found.model.clone();
        kept.push(found);
        Some(model)
    }

    fn keep(&self, model: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(model);
        while kept.len() > MAX_MODELS || kept.iter().map(|kept| kept.bytes).sum::<usize>() > MAX_BYTES {
            kept.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_models::{RunError, Tensor, TensorSpec};
    use depx_protocol::blob_hash;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counting(AtomicUsize);
    struct Nothing;

    impl Backend for Counting {
        fn profile(&self) -> String {
            "counting".into()
        }

        fn load(&self, onnx: &[u8]) -> Result<Arc<dyn Model>, LoadError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match onnx {
                b"bad" => Err(LoadError::Invalid { reason: "bad".repeat(1000) }),
                b"broken" => Err(LoadError::Backend { reason: "broken".into() }),
                _ => Ok(Arc::new(Nothing)),
            }
        }
    }

    impl Model for Nothing {
        fn inputs(&self) -> &[TensorSpec] {
            &[]
        }

        fn outputs(&self) -> &[TensorSpec] {
            &[]
        }

        fn fuel(&self) -> u64 {
            0
        }

        fn run(&self, _: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn models_are_loaded_once_while_kept_and_the_least_recent_goes_first() {
        let backend = Arc::new(Counting::default());
        let models = LoadedModels::new(backend.clone());
        let load = |number: usize| {
            let onnx = number.to_be_bytes();
            assert!(models.load(blob_hash(&onnx), &onnx).is_ok());
            backend.0.load(Ordering::Relaxed)
        };
        for number in 0..MAX_MODELS {
            assert_eq!(load(number), number + 1);
        }
        assert_eq!(load(0), MAX_MODELS);
        assert_eq!(load(MAX_MODELS), MAX_MODELS + 1);
        // Model 1 had to go, model 0 had just been used.
        assert_eq!(load(0), MAX_MODELS + 1);
        assert_eq!(load(1), MAX_MODELS + 2);
    }

    #[test]
    fn threads_that_start_together_load_once() {
        let backend = Arc::new(Counting::default());
        let models = LoadedModels::new(backend.clone());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(models.load(blob_hash(b"model"), b"model").is_ok()));
            }
        });
        assert_eq!(backend.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn failures_say_whose_they_are_and_are_not_kept() {
        let models = LoadedModels::new(Arc::new(Counting::default()));
        for _ in 0..2 {
            let invalid = models.load(blob_hash(b"bad"), b"bad").err();
            assert!(matches!(invalid, Some(LoadFailure::Invalid { reason }) if reason.len() <= 500));
            let fault = models.load(blob_hash(b"broken"), b"broken").err();
            assert!(matches!(fault, Some(LoadFailure::Fault(HostFault::Inference { .. }))));
        }
    }
}
