//! Blobs in a directory, behind a bounded cache in memory.

use super::files::Files;
use super::index::{Index, State};
use super::partial::Partial;
use super::source::{Content, Source};
use super::{BlobError, SMALL, disk, tree};
use bytes::Bytes;
use depx_protocol::Blob;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// A content-addressed store in one directory, which belongs to one process. What it gives always matches its name. What was used
/// the longest ago goes when the quota is reached, but nothing that is in use ([`BlobStore::pin`]).
#[derive(Clone)]
pub struct BlobStore {
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    quota: u64,
    index: Mutex<Index>,
    /// Held while a partial blob is opened, which takes its time.
    opening: Mutex<()>,
}

/// While it lives, a blob is not evicted, whether it was there before or comes later.
pub struct Pin {
    shared: Arc<Shared>,
    blob: Blob,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.index().unpin(&self.blob);
    }
}

impl BlobStore {
    /// The quota unless told otherwise, in bytes.
    pub const QUOTA: u64 = 64 << 30;

    /// Opens the store in `directory`, which is made if it does not exist, and brings it under `quota` bytes.
    pub fn open(directory: impl Into<PathBuf>, quota: u64) -> Result<Self, BlobError> {
        let (files, found) = Files::open(directory.into())?;
        let shared = Shared { files, quota, index: Mutex::new(Index::new()), opening: Mutex::default() };
        let mut index = shared.index();
        for found in found {
            let state = if found.whole { State::Whole } else { State::Partial(None) };
            index.insert(found.blob, state, size(&found.blob));
        }
        shared.evict(&mut index)?;
        drop(index);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps `blob` from being evicted.
    pub fn pin(&self, blob: &Blob) -> Pin {
        self.shared.index().pin(*blob);
        Pin { shared: self.shared.clone(), blob: *blob }
    }

    /// Whether all of `blob` is here.
    pub fn contains(&self, blob: &Blob) -> bool {
        matches!(self.shared.index().state(blob), Some(State::Whole))
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.shared.index().bytes()
    }

    /// The content of `blob` if it is in memory.
    pub fn cached(&self, blob: &Blob) -> Option<Bytes> {
        let mut index = self.shared.index();
        let content = index.recall(blob)?;
        index.touch(blob);
        Some(content)
    }

    /// The content of `blob`, or `None` if it is not here. Of what is damaged only the whole groups stay. Waits for the disk.
    pub fn get(&self, blob: &Blob) -> Result<Option<Bytes>, BlobError> {
        if let Some(content) = self.cached(blob) {
            return Ok(Some(content));
        }
        let _pin = self.pin(blob);
        let Some(mut file) = self.file(blob)? else { return Ok(None) };
        let mut content = Vec::with_capacity(usize::try_from(blob.len).unwrap_or_default());
        if file.read_to_end(&mut content).is_err() || !blob.matches(&content) {
            self.doubt(blob)?;
            return Ok(None);
        }
        let content = Bytes::from(content);
        self.shared.index().remember(*blob, content.clone());
        Ok(Some(content))
    }

    /// Some of the bytes of `blob`, fewer at its end, or `None` if it is not here or these are damaged. Waits for the disk.
    pub fn read(&self, blob: &Blob, offset: u64, len: u64) -> Result<Option<Bytes>, BlobError> {
        let Some(source) = self.source(blob)? else { return Ok(None) };
        match source.read(offset, len) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => self.doubt(blob).map(|()| None),
        }
    }

    /// `blob`, to be given to others, or `None` if it is not here. Waits for the disk.
    pub fn source(&self, blob: &Blob) -> Result<Option<Source>, BlobError> {
        let pin = self.pin(blob);
        let content = match self.cached(blob) {
            Some(content) => Content::Memory(content),
            None => match self.file(blob)? {
                Some(file) => Content::File(file),
                None => return Ok(None),
            },
        };
        let mut tree = tree::unknown(blob);
        let path = Files::tree(&self.shared.files.whole(blob));
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut tree.data));
        if blob.groups() > 1 && read.is_err() {
            let Some(nodes) = self.mend(blob)? else { return Ok(None) };
            tree.data = nodes;
        }
        Ok(Some(Source::kept(*blob, content, tree, pin)))
    }

    /// Stores `content`, which must be what `blob` names. Waits for the disk.
    pub fn put(&self, blob: &Blob, content: Bytes) -> Result<(), BlobError> {
        let source = Source::of_bytes(content.clone());
        if source.blob() != blob {
            return Err(BlobError::Mismatch { expected: blob.hash });
        }
        if self.contains(blob) {
            return Ok(());
        }
        let _pin = self.pin(blob);
        let files = &self.shared.files;
        let path = files.whole(blob);
        if blob.groups() > 1 {
            files.write(&Files::tree(&path), source.nodes())?;
        }
        files.write(&path, &content)?;
        let mut index = self.shared.index();
        if let Some(State::Partial(_)) = index.state(blob) {
            Files::remove(&files.partial(blob))?;
        }
        index.insert(*blob, State::Whole, size(blob));
        index.remember(*blob, content);
        self.shared.make_room(&mut index, blob)
    }

    /// Forgets `blob`.
    pub fn remove(&self, blob: &Blob) -> Result<(), BlobError> {
        let mut index = self.shared.index();
        match index.state(blob) {
            Some(state) => self.shared.delete(&mut index, blob, &state),
            None => Ok(()),
        }
    }

    /// What is here of `blob`, to be completed, or `None` if nothing is missing. Waits for the disk.
    pub fn partial(&self, blob: &Blob) -> Result<Option<Arc<Partial>>, BlobError> {
        if size(blob) > self.shared.quota {
            return Err(BlobError::Full { blob: *blob, quota: self.shared.quota });
        }
        let _opening = self.shared.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match self.shared.index().state(blob) {
            Some(State::Whole) => return Ok(None),
            Some(State::Partial(Some(partial))) => return Ok(Some(partial)),
            Some(State::Partial(None)) | None => {}
        }
        let path = self.shared.files.partial(blob);
        let tree = Files::tree(&path);
        let partial = Arc::new(Partial::open(*blob, path, &tree)?);
        let state = State::Partial(Some(partial.clone()));
        self.shared.index().insert(*blob, state, partial.held() * depx_protocol::wire::GROUP);
        Ok(Some(partial))
    }

    /// Makes room for `bytes` more of a partial blob.
    pub(super) fn grow(&self, blob: &Blob, bytes: u64) -> Result<(), BlobError> {
        let mut index = self.shared.index();
        index.grow(blob, bytes);
        self.shared.make_room(&mut index, blob)
    }

    /// Makes a partial blob of which nothing is missing any more a whole one. Waits for the disk.
    pub(super) fn finish(&self, partial: &Partial) -> Result<(), BlobError> {
        let (files, blob) = (&self.shared.files, partial.blob());
        let mut index = self.shared.index();
        if partial.is_whole() && matches!(index.state(blob), Some(State::Partial(_))) {
            Files::rename(&files.partial(blob), &files.whole(blob))?;
            index.insert(*blob, State::Whole, size(blob));
            self.shared.make_room(&mut index, blob)?;
        }
        Ok(())
    }

    /// Looks at a blob that did not match its name where it was read: what is damaged is dropped, what is not stays, and the next
    /// transfer brings only what is missing. Waits for the disk.
    pub fn doubt(&self, blob: &Blob) -> Result<(), BlobError> {
        if self.mend(blob)?.is_some() {
            return Ok(());
        }
        let files = &self.shared.files;
        let mut index = self.shared.index();
        index.forget(blob);
        if !matches!(index.state(blob), Some(State::Whole)) {
            return Ok(());
        }
        if blob.len <= SMALL {
            return self.shared.delete(&mut index, blob, &State::Whole);
        }
        Files::rename(&files.whole(blob), &files.partial(blob))?;
        index.insert(*blob, State::Partial(None), size(blob));
        Ok(())
    }

    /// Computes and stores the tree of a whole blob again; `None` if the content does not match its name or is not there.
    fn mend(&self, blob: &Blob) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.shared.files.whole(blob);
        let computed = File::open(&path).and_then(|file| {
            let len = file.metadata()?.len();
            tree::compute(io::BufReader::with_capacity(1 << 18, file), len)
        });
        match computed {
            Ok((found, tree)) if found == *blob => {
                if !tree.data.is_empty() {
                    self.shared.files.write(&Files::tree(&path), &tree.data)?;
                }
                Ok(Some(tree.data))
            }
            _ => Ok(None),
        }
    }

    /// The file of a whole blob, with its use noted.
    fn file(&self, blob: &Blob) -> Result<Option<File>, BlobError> {
        let mut index = self.shared.index();
        if !matches!(index.state(blob), Some(State::Whole)) {
            return Ok(None);
        }
        let path = self.shared.files.whole(blob);
        match File::open(&path) {
            Ok(file) => {
                index.touch(blob);
                // So that the order of use outlives the process; without it blobs are only evicted in another.
                let _ = file.set_modified(SystemTime::now());
                Ok(Some(file))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                index.remove(blob);
                Ok(None)
            }
            Err(error) => Err(disk(&path)(error)),
        }
    }
}

impl Shared {
    /// Evicts what was used the longest ago until the quota is kept. Returns whether it is.
    fn evict(&self, index: &mut Index) -> Result<bool, BlobError> {
        while index.bytes() > self.quota {
            let Some((blob, state)) = index.oldest() else { return Ok(false) };
            self.delete(index, &blob, &state)?;
        }
        Ok(true)
    }

    /// As `evict`, for the sake of `blob`, which is in use.
    fn make_room(&self, index: &mut Index, blob: &Blob) -> Result<(), BlobError> {
        if self.evict(index)? {
            return Ok(());
        }
        if let Some(state @ State::Whole) = index.state(blob) {
            self.delete(index, blob, &state)?;
        }
        Err(BlobError::Full { blob: *blob, quota: self.quota })
    }

    fn delete(&self, index: &mut Index, blob: &Blob, state: &State) -> Result<(), BlobError> {
        index.remove(blob);
        Files::remove(&match state {
            State::Whole => self.files.whole(blob),
            State::Partial(_) => self.files.partial(blob),
        })
    }

    /// A panic elsewhere cannot leave the index inconsistent, so a poisoned lock is no reason to stop.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On the disk, with its tree.
fn size(blob: &Blob) -> u64 {
    blob.len.saturating_add(tree::shape(blob).outboard_size())
}
