//! Compiled modules on disk.
//!
//! 1. An artifact is named by its key: everything that decides its bytes.
//! 2. It is written beside its place and renamed, so that a reader finds all of it or nothing.
//! 3. Reading verifies the key and a checksum before anything in it is believed; what fails is removed and made again.
//! 4. What was verified is mapped, not copied: all who execute a module share its pages.
//! 5. When the files together grow beyond the limit, those used longest ago go first. Who has them mapped keeps them.
//!
//! Artifacts contain machine code that is executed as it is. The checksum, XXH3, guards against damage, not against malice:
//! whoever can write to the directory can run code in this process. The directory is therefore made accessible to its owner alone.

use crate::{HostFault, instrument};
use depx_host_abi::{fuel, snapshot};
use depx_protocol::Hash;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;
use twox_hash::XxHash3_128;
use wasmtime::{Engine, Module};

/// The name of the artifact of a module, named by its blob hash, on engines that are compatible with `compatibility`; see
/// [`crate::Compiler::compatibility`].
pub fn artifact_key(module: Hash, compatibility: &Hash) -> Hash {
    let (instrument, schedule, snapshot) = (instrument::VERSION, fuel::SCHEDULE_VERSION, snapshot::VERSION);
    ArtifactKey { module, instrument, schedule, snapshot, engine: compatibility }.hash()
}

/// Everything that decides an artifact's bytes.
struct ArtifactKey<'a> {
    /// The module's blob hash.
    module: Hash,
    /// The version of instrumentation.
    instrument: u32,
    /// The version of the fuel schedule.
    schedule: u32,
    /// The version of the rules for initialisations.
    snapshot: u32,
    /// The engine's version, target and settings.
    engine: &'a Hash,
}

impl ArtifactKey<'_> {
    /// The name of the artifact.
    fn hash(&self) -> Hash {
        let versions = [FORMAT, self.instrument, self.schedule, self.snapshot].map(u32::to_be_bytes);
        Hash(Sha256::digest([versions.as_flattened(), &self.module.0, &self.engine.0].concat()).into())
    }
}

/// What artifacts of this engine are compatible with: its version, target and settings.
pub(crate) fn compatibility(engine: &Engine) -> Hash {
    struct Collect(Vec<u8>);
    impl Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut collect = Collect(Vec::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut collect);
    Hash(Sha256::digest(collect.0).into())
}

/// The version of the file format.
const FORMAT: u32 = 2;
const MAGIC: &[u8; 8] = b"depx-art";
/// Magic, format, key, length, checksum. They come last, so that what is mapped starts with the compiled module.
const TRAILER: usize = 8 + 4 + 32 + 8 + 16;
const EXTENSION: &str = "artifact";

/// Bytes of all artifacts together: some hundred modules of usual size.
pub(crate) const MAX_BYTES: u64 = 4 << 30;

/// Bytes that are read or written at a time: few enough to stay in the processor's cache until their checksum is made.
const CHUNK: usize = 128 << 10;

/// Artifacts in a directory.
pub struct ArtifactStore {
    directory: PathBuf,
    max_bytes: u64,
}

impl ArtifactStore {
    /// Artifacts in `directory`, which is made if it is not there; `max_bytes` of them together.
    pub fn open(directory: &Path, max_bytes: u64) -> Result<Self, HostFault> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(HostFault::Cache)?;
        let mut permissions = fs::metadata(directory).map_err(HostFault::Cache)?.permissions();
        if permissions.mode() & 0o777 != 0o700 {
            permissions.set_mode(0o700);
            fs::set_permissions(directory, permissions).map_err(HostFault::Cache)?;
        }
        Ok(Self { directory: directory.to_owned(), max_bytes })
    }

    /// The artifact named `key`, open for reading and verified, or `None` if it has to be made (again).
    pub fn find(&self, key: &Hash) -> Option<File> {
        let path = self.path(key);
        match open_verified(&path, key) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%key, %error, "an artifact cannot be read and is made again");
                self.remove(&path);
                None
            }
        }
    }

    /// Begins the artifact named `key`, whose compiled module has `len` bytes.
    pub fn begin(&self, key: &Hash, len: u64) -> io::Result<ArtifactWriter<'_>> {
        let all = len.saturating_add(TRAILER as u64);
        if all > self.max_bytes {
            let text = format!("it has {all} bytes, and all artifacts together may have {}", self.max_bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.make_room(all)?;
        let file = tempfile::NamedTempFile::new_in(&self.directory)?;
        Ok(ArtifactWriter { store: self, key: *key, file, checksum: XxHash3_128::new(), len: 0, announced: len })
    }

    /// The module named `key`, mapped, or `None` if it has to be made (again).
    pub(crate) fn load(&self, engine: &Engine, key: &Hash) -> Option<Module> {
        let file = self.find(key)?;
        match deserialize(engine, file) {
            Ok(module) => Some(module),
            Err(error) => {
                tracing::warn!(%key, %error, "an artifact cannot be loaded and is made again");
                self.remove(&self.path(key));
                None
            }
        }
    }

    /// Keeps `module` under `key`. A cache that cannot be written costs time, not results, so it is only logged.
    pub(crate) fn store(&self, key: &Hash, module: &Module) {
        let stored = module.serialize().map_err(io::Error::other).and_then(|payload| {
            let mut writer = self.begin(key, payload.len() as u64)?;
            writer.write(&payload)?;
            writer.finish()
        });
        if let Err(error) = stored {
            tracing::warn!(%key, %error, "an artifact cannot be stored");
        }
    }

    fn path(&self, key: &Hash) -> PathBuf {
        self.directory.join(key.to_string()).with_extension(EXTENSION)
    }

    /// Removes the files used longest ago until there is room for `needed` bytes. What a crash left behind goes the same way.
    fn make_room(&self, needed: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A file that another process has just removed takes no room.
            let Ok(entry) = entry else { continue };
            let Ok(metadata) = entry.metadata() else { continue };
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if total + needed <= self.max_bytes {
                break;
            }
            self.remove(&path);
            total -= len;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "an artifact cannot be removed");
            }
            _ => {}
        }
    }
}

/// An artifact that is being written: nobody sees it before it is finished. Dropped before, it is removed.
pub struct ArtifactWriter<'s> {
    store: &'s ArtifactStore,
    key: Hash,
    file: NamedTempFile,
    checksum: XxHash3_128,
    len: u64,
    announced: u64,
}

impl ArtifactWriter<'_> {
    /// Appends some of the compiled module.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for chunk in bytes.chunks(CHUNK) {
            self.checksum.write(chunk);
            self.file.write_all(chunk)?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Puts it in its place, where it is found under its key. It must have as many bytes as were announced.
    pub fn finish(mut self) -> io::Result<()> {
        if self.len != self.announced {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.write_all(&trailer(&self.key, self.len, self.checksum.finish_128()))?;
        self.file.persist(self.store.path(&self.key)).map_err(|error| error.error)?;
        Ok(())
    }
}

/// The artifact at `path`, verified. It is marked as used.
fn open_verified(path: &Path, key: &Hash) -> io::Result<File> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len().checked_sub(TRAILER as u64).ok_or_else(|| io::Error::other("it is too short"))?;
    let mut checksum = XxHash3_128::new();
    let mut chunk = vec![0; CHUNK.min(usize::try_from(len).unwrap_or(CHUNK))];
    let mut rest = len;
    while rest > 0 {
        let some = chunk.len().min(usize::try_from(rest).unwrap_or(CHUNK));
        file.read_exact(&mut chunk[..some])?;
        checksum.write(&chunk[..some]);
        rest -= some as u64;
    }
    let mut found = [0; TRAILER];
    file.read_exact(&mut found)?;
    if found != trailer(key, len, checksum.finish_128()) {
        return Err(io::Error::other("it is damaged"));
    }
    // If that fails, it is merely evicted earlier.
    let _ = file.set_modified(SystemTime::now());
    Ok(file)
}

/// What comes after the compiled module in a file.
fn trailer(key: &Hash, len: u64, checksum: u128) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    let parts = [MAGIC.as_slice(), &FORMAT.to_be_bytes(), &key.0, &len.to_be_bytes(), &checksum.to_be_bytes()];
    let mut rest = trailer.as_mut_slice();
    for part in parts {
        let (start, end) = rest.split_at_mut(part.len());
        start.copy_from_slice(part);
        rest = end;
    }
    trailer
}

/// The module in the file of a verified artifact, mapped.
#[allow(unsafe_code, reason = "compiled code can only be loaded by trusting it")]
pub(crate) fn deserialize(engine: &Engine, file: File) -> wasmtime::Result<Module> {
    // SAFETY: whoever calls has the file from `ArtifactStore::find`: it was written by an `ArtifactWriter` into a directory that
    // only this user can write to, its checksum has just been verified, and nothing ever writes to it again: artifacts are
    // replaced by renaming, never in place. The engine checks that it was compatible.
    unsafe { Module::deserialize_open_file(engine, file) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineOptions, engine};

    fn fixture(max_bytes: u64) -> (tempfile::TempDir, ArtifactStore, Engine, Module) {
        let directory = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(&directory.path().join("artifacts"), max_bytes).unwrap();
        let engine = engine(&EngineOptions::default()).unwrap();
        let module = Module::new(&engine, wat::parse_str("(module (func (export \"f\")))").unwrap()).unwrap();
        (directory, store, engine, module)
    }

    fn files(store: &ArtifactStore) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&store.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let (_directory, store, engine, module) = fixture(MAX_BYTES);
        let key = Hash([7; 32]);
        assert!(store.load(&engine, &key).is_none());
        store.store(&key, &module);
        assert_eq!(store.load(&engine, &key).unwrap().exports().count(), 1);
        assert!(store.load(&engine, &Hash([8; 32])).is_none());
    }

    #[test]
    fn the_directory_belongs_to_its_owner_alone() {
        let (_directory, store, ..) = fixture(MAX_BYTES);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&store.directory) & 0o777, 0o700);
        fs::set_permissions(&store.directory, fs::Permissions::from_mode(0o755)).unwrap();
        ArtifactStore::open(&store.directory, MAX_BYTES).unwrap();
        assert_eq!(mode(&store.directory) & 0o777, 0o700);
    }

    #[test]
    fn damage_is_noticed_and_removed() {
        let (_directory, store, engine, module) = fixture(MAX_BYTES);
        let key = Hash([7; 32]);
        store.store(&key, &module);
        let path = store.path(&key);
        let good = fs::read(&path).unwrap();
        // Every byte of the trailer, and some of the payload.
        let payload = good.len() - TRAILER;
        let positions = (payload..good.len()).chain((0..payload).step_by(payload / 50));
        for position in positions {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(store.load(&engine, &key).is_none(), "byte {position}");
            assert!(!path.exists(), "byte {position}");
        }
        for len in [0, 1, TRAILER - 1, TRAILER, payload, good.len() - 1] {
            fs::write(&path, &good[..len]).unwrap();
            assert!(store.load(&engine, &key).is_none(), "cut to {len}");
        }
        fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
        assert!(store.load(&engine, &key).is_none());
        // An intact file under another name.
        fs::write(&path, &good).unwrap();
        fs::rename(&path, store.path(&Hash([8; 32]))).unwrap();
        assert!(store.load(&engine, &Hash([8; 32])).is_none());
        fs::write(&path, &good).unwrap();
        assert!(store.load(&engine, &key).is_some());
    }

    #[test]
    fn those_used_longest_ago_make_room() {
        let (_directory, mut store, engine, module) = fixture(MAX_BYTES);
        let len = (module.serialize().unwrap().len() + TRAILER) as u64;
        store.max_bytes = 3 * len;
        let age = |key: &Hash, seconds| {
            let file = fs::File::options().write(true).open(store.path(key)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        let [a, b, c, d] = [1, 2, 3, 4].map(|byte| Hash([byte; 32]));
        for (key, seconds) in [(a, 1), (b, 2), (c, 3)] {
            store.store(&key, &module);
            age(&key, seconds);
        }
        assert!(store.load(&engine, &a).is_some(), "loading makes it the one used last");
        store.store(&d, &module);
        assert_eq!(files(&store), [store.path(&a), store.path(&c), store.path(&d)]);
        store.max_bytes = len - 1;
        store.store(&b, &module);
        assert!(!store.path(&b).exists(), "what can never fit is not written");
    }

    #[test]
    fn another_engine_has_other_keys() {
        let slow = EngineOptions { optimize: crate::engine::Optimize::None, ..EngineOptions::default() };
        let portable = EngineOptions { interpreter: true, ..EngineOptions::default() };
        let all = [EngineOptions::default(), slow, portable].map(|options| compatibility(&engine(&options).unwrap()));
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(all[0], compatibility(&engine(&EngineOptions::default()).unwrap()));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_a_fault() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(ArtifactStore::open(file.path(), MAX_BYTES), Err(HostFault::Cache(_))));
    }
}
