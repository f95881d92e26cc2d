//! Modules that another process has compiled, for one that executes only.

use crate::artifact::{self, compatibility};
use crate::engine::{self, EngineOptions};
use crate::host::Host;
use crate::prepare::{PrepareError, Prepared};
use crate::{Executable, HostFault, Refusal};
use depx_protocol::Hash;
use memmap2::Mmap;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection};
use rustix::mm::{MapFlags, ProtFlags};
use std::collections::HashMap;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::{CustomCodeMemory, Engine, Linker};

/// What a runtime executes that compiles nothing itself. Whoever gives also forgets: nothing goes by itself. Clones share it.
#[derive(Clone, Default)]
pub struct GivenModules(Arc<Mutex<HashMap<Hash, Given>>>);

/// What is known of one module.
enum Given {
    /// It was compiled, and not yet asked for.
    Artifact(File),
    Loaded(Executable),
    Refused(Refusal),
}

impl GivenModules {
    /// `artifact`, as [`crate::ArtifactStore::find`] gives it, is the module whose hash is `module`. It must never change.
    pub fn give(&self, module: Hash, artifact: File) {
        lock(&self.0).insert(module, Given::Artifact(artifact));
    }

    /// No node can execute `module`.
    pub fn refuse(&self, module: Hash, refusal: Refusal) {
        lock(&self.0).insert(module, Given::Refused(refusal));
    }

    /// `module` will not be asked for any more.
    pub fn forget(&self, module: &Hash) {
        lock(&self.0).remove(module);
    }
}

/// Executes given modules on an engine of its own.
pub(crate) struct Executor {
    given: GivenModules,
    engine: Engine,
    text: Arc<MappedText>,
    compatibility: Hash,
}

impl Executor {
    pub(crate) fn new(options: &EngineOptions, given: GivenModules) -> Result<Self, HostFault> {
        let text = Arc::new(MappedText { loading: Mutex::default(), page: rustix::param::page_size() });
        let engine = engine::engine_with(options, text.clone())?;
        Ok(Self { given, compatibility: compatibility(&engine), engine, text })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn compatibility(&self) -> Hash {
        self.compatibility
    }

    /// The module named `module`, ready to run.
    pub(crate) fn find(&self, linker: &Linker<Host>, module: &Hash) -> Result<Executable, PrepareError> {
        let mut given = lock(&self.given.0);
        match given.get(module) {
            Some(Given::Loaded(executable)) => return Ok(executable.clone()),
            Some(Given::Refused(refusal)) => return Err(PrepareError::Refused(refusal.clone())),
            Some(Given::Artifact(_)) | None => {}
        }
        let Some(Given::Artifact(file)) = given.remove(module) else {
            return Err(HostFault::engine(format_args!("module {module} was not given")).into());
        };
        let loaded =
            self.text.load(&self.engine, file).map_err(|error| HostFault::engine(format_args!("{error:#}")))?;
        let executable = Executable::link(linker, &Prepared { module: loaded })?;
        given.insert(*module, Given::Loaded(executable.clone()));
        Ok(executable)
    }
}

/// Makes compiled code executable by mapping it once more from the file in which it is: no page that was ever writable becomes
/// executable, so that a process needs no right to do that.
struct MappedText {
    /// What is being loaded now.
    loading: Mutex<Option<Text>>,
    /// Bytes of a page of this machine. Asked for early: a process that is shut in may not be able to find out.
    page: usize,
}

/// Where the code is in the file that is being loaded.
struct Text {
    file: File,
    offset: u64,
    len: u64,
}

impl MappedText {
    fn load(&self, engine: &Engine, file: File) -> wasmtime::Result<wasmtime::Module> {
        let (offset, len) = text(&file)?;
        *lock(&self.loading) = Some(Text { file: file.try_clone()?, offset, len });
        let module = artifact::deserialize(engine, file);
        *lock(&self.loading) = None;
        module
    }
}

/// Where the code is in an artifact: offset and length, in bytes.
fn text(file: &File) -> io::Result<(u64, u64)> {
    let artifact = map(file)?;
    let elf = ElfFile64::<Endianness>::parse(&artifact[..]).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(elf.section_by_name(".text").and_then(|section| section.file_range()).unwrap_or((0, 0)))
}

#[allow(unsafe_code, reason = "a mapping is only as constant as the file behind it")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: nothing writes to artifacts; see `artifact::deserialize`.
    unsafe { Mmap::map(file) }
}

impl CustomCodeMemory for MappedText {
    fn required_alignment(&self) -> usize {
        self.page
    }

    fn publish_executable(&self, code: *const u8, len: usize) -> wasmtime::Result<()> {
        let loading = lock(&self.loading);
        let text = loading.as_ref().ok_or_else(|| wasmtime::format_err!("this process does not compile"))?;
        wasmtime::ensure!(
            text.len == len as u64,
            "the code of a compiled module has another length than its file says"
        );
        map_executable(text, code.cast_mut().cast(), len)?;
        Ok(())
    }

    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        // Called only before the whole mapping goes.
        Ok(())
    }
}

#[allow(unsafe_code, reason = "a mapping is replaced by another of the same bytes")]
fn map_executable(text: &Text, code: *mut c_void, len: usize) -> io::Result<()> {
    // SAFETY: the engine gives the range of the code within its own private mapping of this file, page for page, which nobody
    // else refers to and nobody has written to; what takes its place are the same bytes of the same file, executable. Nothing
    // writes to artifacts; see `artifact::deserialize`.
    unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        rustix::mm::mmap(code, len, ProtFlags::READ | ProtFlags::EXEC, flags, &text.file, text.offset)?;
    }
    Ok(())
}

/// The lock of a mutex. A panic while it was held leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
