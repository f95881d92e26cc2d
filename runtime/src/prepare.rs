//! From bytes to a module that can be instantiated: validate, instrument, initialise, compile; once.

use crate::artifact::{self, ArtifactStore, artifact_key};
use crate::engine::{self, EngineOptions};
use crate::instrument::instrument;
use crate::validate::validate;
use crate::{HostFault, Refusal, snapshot};
use depx_protocol::Hash;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::{Engine, Module};

/// Why there is no prepared module.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// No node can execute this module; that is the job's result.
    #[error(transparent)]
    Refused(Refusal),
    /// This node failed.
    #[error(transparent)]
    Fault(#[from] HostFault),
}

/// A module that can be instantiated on the [`Preparer`]'s engine. It meters itself; see `depx_host_abi::exports`.
pub(crate) struct Prepared {
    pub(crate) module: Module,
}

/// Modules, prepared or refused, that are kept in memory. Compiled code of one is usually below 10 MiB.
const MAX_RECENT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// What is known of one module. Locked while it is being prepared, so that all who want it wait for one.
type Slot = Arc<Mutex<Option<Result<Arc<Prepared>, Refusal>>>>;

/// Prepares modules for one engine, each once.
pub(crate) struct Preparer {
    engine: Engine,
    /// The hash of what makes the engine's artifacts differ from those of others.
    compatibility: Hash,
    store: Option<ArtifactStore>,
    recent: Mutex<LruCache<Hash, Slot>>,
}

impl Preparer {
    /// A preparer; compiled modules are kept in `cache_dir` if there is one.
    pub(crate) fn new(options: EngineOptions, cache_dir: Option<PathBuf>) -> Result<Self, HostFault> {
        let engine = engine::engine(&options)?;
        let open = |directory: PathBuf| ArtifactStore::open(&directory, artifact::MAX_BYTES);
        Ok(Self {
            compatibility: artifact::compatibility(&engine),
            engine,
            store: cache_dir.map(open).transpose()?,
            recent: Mutex::new(LruCache::new(MAX_RECENT)),
        })
    }

    /// The engine on which prepared modules can be instantiated.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What its artifacts are compatible with.
    pub(crate) fn compatibility(&self) -> Hash {
        self.compatibility
    }

    /// Prepares a module whose hash is `module`, or finds it prepared. What is found out about a module is remembered; faults are
    /// not.
    pub(crate) fn prepare_named(&self, module: Hash, wasm: &[u8]) -> Result<Arc<Prepared>, PrepareError> {
        let key = artifact_key(module, &self.compatibility);
        let slot = Arc::clone(lock(&self.recent).get_or_insert(key, Slot::default));
        let mut slot = lock(&slot);
        if let Some(known) = slot.as_ref() {
            return known.clone().map_err(PrepareError::Refused);
        }
        let prepared = self.load_or_build(&key, module, wasm).map(Arc::new);
        match &prepared {
            Ok(prepared) => *slot = Some(Ok(Arc::clone(prepared))),
            Err(PrepareError::Refused(refusal)) => *slot = Some(Err(refusal.clone())),
            Err(PrepareError::Fault(_)) => {}
        }
        prepared
    }

    fn load_or_build(&self, key: &Hash, name: Hash, wasm: &[u8]) -> Result<Prepared, PrepareError> {
        if let Some(module) = self.store.as_ref().and_then(|store| store.load(&self.engine, key)) {
            return Ok(Prepared { module });
        }
        let ready = snapshot::ready(|| Ok(self.engine.clone()), name, wasm)?;
        let module = Module::new(&self.engine, ready).map_err(|error| HostFault::engine(format_args!("{error:#}")))?;
        if let Some(store) = &self.store {
            store.store(key, &module);
        }
        Ok(Prepared { module })
    }
}

/// A valid module made to meter itself: all of preparation but initialising and compiling.
pub fn instrumented(wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    let outline = validate(wasm)?;
    instrument(wasm, &outline)
}

/// The lock of a mutex. A panic while it was held leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::blob_hash;
    use std::path::Path;
    use std::thread;

    fn preparer(cache: Option<&Path>) -> Preparer {
        Preparer::new(EngineOptions::default(), cache.map(Path::to_owned)).unwrap()
    }

    fn prepare(preparer: &Preparer, wasm: &[u8]) -> Result<Arc<Prepared>, PrepareError> {
        preparer.prepare_named(blob_hash(wasm), wasm)
    }

    fn wasm(constant: usize) -> Vec<u8> {
        let text = format!(r#"(module (memory (export "memory") {constant}) (func (export "_start")))"#);
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn concurrent_requests_compile_once() {
        let preparer = preparer(None);
        let wasm = wasm(1);
        let prepared: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| prepare(&preparer, &wasm).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(prepared.iter().all(|other| Arc::ptr_eq(other, &prepared[0])));
    }

    #[test]
    fn memory_is_bounded() {
        let preparer = preparer(None);
        let first = prepare(&preparer, &wasm(0)).unwrap();
        for constant in 1..=MAX_RECENT.get() {
            prepare(&preparer, &wasm(constant)).unwrap();
        }
        assert_eq!(lock(&preparer.recent).len(), MAX_RECENT.get());
        assert!(!Arc::ptr_eq(&first, &prepare(&preparer, &wasm(0)).unwrap()));
    }

    #[test]
    fn refusals_are_remembered() {
        let preparer = preparer(None);
        for _ in 0..2 {
            assert!(matches!(prepare(&preparer, b"not wasm"), Err(PrepareError::Refused(_))));
        }
        let key = *lock(&preparer.recent).iter().next().unwrap().0;
        let slot = Arc::clone(lock(&preparer.recent).get(&key).unwrap());
        assert!(matches!(*lock(&slot), Some(Err(_))));
    }

    #[test]
    fn artifacts_survive_the_process_and_damage_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        prepare(&preparer(Some(directory.path())), &wasm(1)).unwrap();
        let files = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let artifact = files().next().unwrap();
        let good = std::fs::read(&artifact).unwrap();
        let made = std::fs::metadata(&artifact).unwrap();
        prepare(&preparer(Some(directory.path())), &wasm(1)).unwrap();
        assert_eq!(
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&artifact).unwrap()),
            std::os::unix::fs::MetadataExt::ino(&made),
            "it was loaded, not written again"
        );
        std::fs::write(&artifact, &good[..good.len() / 2]).unwrap();
        prepare(&preparer(Some(directory.path())), &wasm(1)).unwrap();
        assert_eq!(std::fs::metadata(&artifact).unwrap().len(), good.len() as u64);
        assert_eq!(files().count(), 1);
    }
}
