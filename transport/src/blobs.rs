//! Content by hash: a bounded cache in memory over a directory.

use bytes::Bytes;
use depx_protocol::{Blob, Hash, blob_hash};
use lru::LruCache;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes that are kept in memory beside the directory.
const MEMORY: usize = 256 << 20;

/// A blob that could not be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not the content that the hash names.
    #[error("the content does not match its hash {expected}; it was damaged or forged on the way")]
    Mismatch {
        /// The name.
        expected: Hash,
    },
    /// The disk.
    #[error("the blob store at {} cannot be used", path.display())]
    Disk {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A content-addressed store in one directory. What it gives always matches its hash.
pub struct BlobStore {
    directory: PathBuf,
    memory: Mutex<Memory>,
}

struct Memory {
    blobs: LruCache<Hash, Bytes>,
    bytes: usize,
}

impl BlobStore {
    /// Opens the store in `directory`, which is made if it does not exist.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory).map_err(disk(&directory))?;
        Ok(Self { directory, memory: Mutex::new(Memory { blobs: LruCache::unbounded(), bytes: 0 }) })
    }

    /// The content of `hash` if it is in memory.
    pub fn cached(&self, hash: &Hash) -> Option<Bytes> {
        self.memory().blobs.get(hash).cloned()
    }

    /// The content of `hash`, or `None` if it is not here. A damaged file is removed and counts as not here. Waits for the disk.
    pub fn get(&self, hash: &Hash) -> Result<Option<Bytes>, BlobError> {
        if let Some(content) = self.cached(hash) {
            return Ok(Some(content));
        }
        let path = self.path(hash);
        let content = match std::fs::read(&path) {
            Ok(content) => Bytes::from(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(&path)(error)),
        };
        if blob_hash(&content) != *hash {
            std::fs::remove_file(&path).map_err(disk(&path))?;
            return Ok(None);
        }
        self.remember(*hash, content.clone());
        Ok(Some(content))
    }

    /// Whether the store has `hash`.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.memory().blobs.contains(hash) || self.path(hash).exists()
    }

    /// Stores `content`, which must be what `blob` names. Waits for the disk.
    pub fn put(&self, blob: &Blob, content: Bytes) -> Result<(), BlobError> {
        if !blob.matches(&content) {
            return Err(BlobError::Mismatch { expected: blob.hash });
        }
        if self.contains(&blob.hash) {
            return Ok(());
        }
        let path = self.path(&blob.hash);
        self.write(&path, &content).map_err(disk(&path))?;
        self.remember(blob.hash, content);
        Ok(())
    }

    /// Writes beside and renames, so that no file under its final name is ever incomplete.
    fn write(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let beside = self.directory.join(format!("incoming-{:016x}", u64::from_ne_bytes(crate::random())));
        let written = std::fs::File::create_new(&beside)
            .and_then(|mut file| file.write_all(content))
            .and_then(|()| std::fs::rename(&beside, path));
        if written.is_err() {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.directory.join(hash.to_string())
    }

    fn remember(&self, hash: Hash, content: Bytes) {
        let mut memory = self.memory();
        memory.bytes += content.len();
        if let Some((_, replaced)) = memory.blobs.push(hash, content) {
            memory.bytes -= replaced.len();
        }
        while memory.bytes > MEMORY {
            let Some((_, oldest)) = memory.blobs.pop_lru() else { break };
            memory.bytes -= oldest.len();
        }
    }

    /// A panic elsewhere cannot leave the cache inconsistent, so a poisoned lock is no reason to stop.
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn disk(path: &Path) -> impl Fn(std::io::Error) -> BlobError {
    let path = path.to_owned();
    move |source| BlobError::Disk { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path().join("blobs")).unwrap();
        (directory, store)
    }

    #[test]
    fn gives_what_was_put_also_after_a_restart() {
        let (directory, store) = store();
        let blob = Blob::of(b"content");
        assert!(store.get(&blob.hash).unwrap().is_none());
        store.put(&blob, Bytes::from_static(b"content")).unwrap();
        let reopened = BlobStore::open(directory.path().join("blobs")).unwrap();
        for store in [store, reopened] {
            assert!(store.contains(&blob.hash));
            assert_eq!(store.get(&blob.hash).unwrap().unwrap(), "content");
        }
    }

    #[test]
    fn refuses_other_content() {
        let (_directory, store) = store();
        let blob = Blob::of(b"content");
        let error = store.put(&blob, Bytes::from_static(b"forgery")).unwrap_err();
        assert!(error.to_string().contains(&blob.hash.to_string()));
        assert!(!store.contains(&blob.hash));
    }

    #[test]
    fn a_damaged_file_counts_as_missing() {
        let (directory, store) = store();
        let blob = Blob::of(b"content");
        store.put(&blob, Bytes::from_static(b"content")).unwrap();
        let reopened = BlobStore::open(directory.path().join("blobs")).unwrap();
        std::fs::write(store.path(&blob.hash), b"contenu").unwrap();
        assert!(reopened.get(&blob.hash).unwrap().is_none());
        reopened.put(&blob, Bytes::from_static(b"content")).unwrap();
        assert_eq!(reopened.get(&blob.hash).unwrap().unwrap(), "content");
    }

    #[test]
    fn memory_is_bounded() {
        let (_directory, store) = store();
        let large = Bytes::from(vec![0; MEMORY / 4]);
        for number in 0..6u8 {
            store.remember(Hash([number; 32]), large.clone());
        }
        let memory = store.memory();
        assert!(memory.bytes <= MEMORY && memory.blobs.len() == 4, "{} bytes", memory.bytes);
        assert!(memory.blobs.contains(&Hash([5; 32])) && !memory.blobs.contains(&Hash([0; 32])));
    }
}
