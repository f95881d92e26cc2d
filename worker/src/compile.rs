//! Compiled modules: each compiled once, in a process of its own, and kept on disk for all who execute it.
//!
//! A process compiles one module and is killed. What a hostile module makes of its compiler can spoil that module's artifact and
//! no other. The supervisor stores what comes, and does not look into it: only workers that are shut in execute it.

use crate::WorkerOptions;
use crate::layer::bounded;
use crate::message::{Answer, CompileMessage, Content, MAX_GREETING, MAX_INLINE};
use crate::pool::Pool;
use crate::process::{Process, Stop, unasked};
use crate::sealed::seal;
use crate::watch::Watch;
use bytes::Bytes;
use depx_protocol::{Blob, Hash};
use depx_runtime::{ArtifactStore, HostFault, Refusal, artifact_key};
use lru::LruCache;
use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Refusals that are remembered, of some hundred bytes each.
const MAX_REFUSALS: NonZeroUsize = NonZeroUsize::new(1000).expect("1,000 is not zero");

/// How often the processor time of a compiler is looked at, at least.
const PROCESSOR_GLANCE: Duration = Duration::from_millis(50);

/// How often who waits for another's compilation looks whether its own job is to go on.
const WAIT: Duration = Duration::from_millis(10);

/// A compiler that has not ended after so many times the processor time that it may take is stuck, on a machine however busy.
const PATIENCE: u32 = 60;

/// Bytes of an artifact that are stored at a time.
const CHUNK: u64 = 64 << 10;

/// What executing a module takes.
pub(crate) enum Compiled {
    /// Its artifact, verified, open for reading.
    Artifact(File),
    /// Nothing: no node can.
    Refused(Refusal),
}

/// Finds compiled modules, or has them compiled.
pub(crate) struct CompiledModules {
    store: ArtifactStore,
    /// Removed with what is in it.
    _temporary: Option<tempfile::TempDir>,
    compilers: Pool,
    compatibility: Hash,
    time: Duration,
    memory: u64,
    /// What is being compiled now, by the artifacts' names.
    attempts: Mutex<HashMap<Hash, Arc<Attempt>>>,
    refused: Mutex<LruCache<Hash, Refusal>>,
    compilations: AtomicU64,
}

/// One compilation, which all who want the module wait for.
#[derive(Default)]
struct Attempt {
    end: Mutex<Option<End>>,
    ended: Condvar,
}

/// How a compilation ended.
#[derive(Clone)]
enum End {
    /// It is known now what the module comes to.
    Known,
    /// This machine failed, for all who waited.
    Failed(String),
    /// The job for which it was begun did not want it any more; somebody else goes on.
    Abandoned,
}

impl CompiledModules {
    /// Those in the folder that `options` name, compiled by processes from `compilers`.
    pub(crate) fn open(options: &WorkerOptions, compilers: Pool) -> Result<Self, HostFault> {
        let temporary =
            if options.cache_dir.is_none() { Some(tempfile::tempdir().map_err(HostFault::Cache)?) } else { None };
        let directory = temporary.as_ref().map(tempfile::TempDir::path).or(options.cache_dir.as_deref());
        let directory = directory.ok_or_else(|| HostFault::Cache(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self {
            store: ArtifactStore::open(directory, options.cache_bytes)?,
            _temporary: temporary,
            compatibility: compilers.greeting().compatibility,
            compilers,
            time: options.compile_time,
            memory: options.compile_memory,
            attempts: Mutex::default(),
            refused: Mutex::new(LruCache::new(MAX_REFUSALS)),
            compilations: AtomicU64::new(0),
        })
    }

    /// What executing `module` takes, compiled now if it is not known. Whoever asks at the same time waits for the same.
    pub(crate) fn get(&self, module: &Blob, wasm: &Bytes, watch: &Watch<'_>) -> Result<Compiled, HostFault> {
        let key = artifact_key(module.hash, &self.compatibility);
        loop {
            if let Some(known) = self.find(&key) {
                return Ok(known);
            }
            match self.join(key) {
                Ok(lead) => return lead.compile(module, wasm, watch),
                Err(other) => other.wait(watch)?,
            }
        }
    }

    /// Modules that were compiled so far, or were tried to.
    pub(crate) fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }

    fn find(&self, key: &Hash) -> Option<Compiled> {
        let refused = lock(&self.refused).get(key).cloned();
        refused.map(Compiled::Refused).or_else(|| self.store.find(key).map(Compiled::Artifact))
    }

    /// The lead of a new compilation, or the one that is going on.
    fn join(&self, key: Hash) -> Result<Lead<'_>, Arc<Attempt>> {
        let mut attempts = lock(&self.attempts);
        match attempts.get(&key) {
            Some(attempt) => Err(attempt.clone()),
            None => {
                let attempt = attempts.entry(key).or_default().clone();
                Ok(Lead { modules: self, key, attempt })
            }
        }
    }

    /// Compiles a module in a process of its own, and keeps what it comes to.
    fn compile(&self, key: &Hash, module: &Blob, wasm: &Bytes, watch: &Watch<'_>) -> Result<(), HostFault> {
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let (content, sealed) = pack(module, wasm)?;
        let mut process = self.compilers.take()?;
        let done = self.converse(&mut process, key, content, sealed, watch);
        done.map_err(|stop| match process.fault(stop) {
            HostFault::WorkerDied { reason } => HostFault::Compile { reason },
            other => other,
        })
    }

    fn converse(
        &self,
        process: &mut Process,
        key: &Hash,
        module: Content,
        sealed: Option<OwnedFd>,
        watch: &Watch<'_>,
    ) -> Result<(), Stop> {
        let mut glance = self.limit(process, watch);
        process.link.send(&CompileMessage { module }, &mut glance)?;
        let sealed: Vec<_> = sealed.iter().map(AsFd::as_fd).collect();
        process.link.send_descriptors(&sealed, &mut glance)?;
        match process.link.receive(MAX_GREETING, &mut glance)? {
            Answer::Compiled(len) => {
                if len > self.memory {
                    let reason = format!("it says that it made {len} bytes where it has {}", self.memory);
                    return Err(Stop::Fault(HostFault::Compile { reason }));
                }
                let mut rest = len;
                let cache = |error| Stop::Fault(HostFault::Cache(error));
                let mut writer = self.store.begin(key, len).map_err(cache)?;
                while rest > 0 {
                    let some = process.link.receive_bytes(rest.min(CHUNK), CHUNK, &mut glance)?;
                    rest -= some.len() as u64;
                    writer.write(&some).map_err(cache)?;
                }
                writer.finish().map_err(cache)
            }
            Answer::Refused(refused) => {
                let lie = || Stop::Fault(HostFault::Compile { reason: unasked() });
                lock(&self.refused).put(*key, refused.into_refusal().ok_or_else(lie)?);
                Ok(())
            }
            Answer::Failed(failure) => Err(Stop::Fault(HostFault::Compile {
                reason: bounded(&failure.into_fault(watch.limit_ms()).to_string()),
            })),
            _ => Err(Stop::Fault(HostFault::Compile { reason: unasked() })),
        }
    }

    /// Looks whether a compiler may go on.
    fn limit<'w>(&self, process: &Process, watch: &'w Watch<'w>) -> impl FnMut() -> Result<(), Stop> + use<'w> {
        let (clock, started, time) = (process.clock(), Instant::now(), self.time);
        let before = clock.used();
        let mut next = started;
        move || {
            watch.check()?;
            let now = Instant::now();
            if now < next {
                return Ok(());
            }
            let used = clock.used().saturating_sub(before);
            let reason = if used > time {
                format!("compiling it took more than {time:?} of processor time")
            } else if now.duration_since(started) > PATIENCE * time.max(Duration::from_secs(1)) {
                format!(
                    "compiling it was stuck: it used {used:?} of processor time in {:?}",
                    now.duration_since(started)
                )
            } else {
                // One thread uses no more processor time than time goes by.
                next = now + time.saturating_sub(used).min(PROCESSOR_GLANCE);
                return Ok(());
            };
            Err(Stop::Fault(HostFault::Compile { reason }))
        }
    }
}

fn pack(module: &Blob, wasm: &Bytes) -> Result<(Content, Option<OwnedFd>), HostFault> {
    if wasm.len() <= MAX_INLINE {
        return Ok((Content::Inline { hash: module.hash, bytes: wasm.to_vec().into() }, None));
    }
    let sealed = seal(wasm).map_err(|error| {
        tracing::warn!(%error, "a module cannot be handed to a compiler");
        HostFault::Resources { resource: "memory or descriptors for a module" }
    })?;
    Ok((Content::Sealed(*module), Some(sealed)))
}

/// Whoever compiles for the others. However it ends, they are told.
struct Lead<'m> {
    modules: &'m CompiledModules,
    key: Hash,
    attempt: Arc<Attempt>,
}

impl Lead<'_> {
    fn compile(self, module: &Blob, wasm: &Bytes, watch: &Watch<'_>) -> Result<Compiled, HostFault> {
        // Another may have ended between the look and the lead.
        if let Some(known) = self.modules.find(&self.key) {
            self.end(End::Known);
            return Ok(known);
        }
        let compiled = self.modules.compile(&self.key, module, wasm, watch).and_then(|()| {
            let lost = || HostFault::Cache(std::io::Error::other("a compiled module was stored and is not there"));
            self.modules.find(&self.key).ok_or_else(lost)
        });
        self.end(match &compiled {
            Ok(_) => End::Known,
            Err(HostFault::Cancelled | HostFault::Timeout { .. }) => End::Abandoned,
            Err(HostFault::Compile { reason }) => End::Failed(reason.clone()),
            Err(fault) => End::Failed(bounded(&fault.to_string())),
        });
        compiled
    }

    fn end(&self, end: End) {
        lock(&self.attempt.end).get_or_insert(end);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        lock(&self.modules.attempts).remove(&self.key);
        self.end(End::Abandoned);
        self.attempt.ended.notify_all();
    }
}

impl Attempt {
    /// Waits until it ends. What it came to is to be looked up then.
    fn wait(&self, watch: &Watch<'_>) -> Result<(), HostFault> {
        let mut end = lock(&self.end);
        loop {
            match end.as_ref() {
                Some(End::Known | End::Abandoned) => return Ok(()),
                Some(End::Failed(reason)) => return Err(HostFault::Compile { reason: reason.clone() }),
                None => {}
            }
            watch.check()?;
            end = self.ended.wait_timeout(end, WAIT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
