//! Content in sealed memory: handed to workers by descriptor, never copied, and never changed by anyone.

use bytes::Bytes;
use depx_protocol::{Blob, Hash};
use lru::LruCache;
use memmap2::{Mmap, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// What makes a mapping of it safe to read for ever: it can neither change nor shrink, and that is for good.
fn seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// A sealed copy of `content`.
pub(crate) fn seal(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("depx-blob", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(content)?;
    fcntl_add_seals(&file, seals())?;
    Ok(file.into())
}

/// The content of a sealed descriptor, mapped. One that is not sealed, or has another length than announced, is refused.
pub(crate) fn open(descriptor: OwnedFd, len: u64) -> io::Result<Bytes> {
    if !fcntl_get_seals(&descriptor)?.contains(seals()) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a blob's descriptor is not sealed"));
    }
    let found = u64::try_from(fstat(&descriptor)?.st_size).unwrap_or(0);
    if found != len {
        let text = format!("a blob's descriptor holds {found} bytes where {len} were announced");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if len == 0 {
        return Ok(Bytes::new());
    }
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    Ok(Bytes::from_owner(map(&File::from(descriptor), len)?))
}

#[allow(unsafe_code, reason = "a mapping is only as constant as the file behind it")]
fn map(file: &File, len: usize) -> io::Result<Mmap> {
    // SAFETY: `open` has seen that the file is sealed against writing and shrinking, and that it has this length: what is
    // mapped neither changes nor goes away.
    unsafe { MmapOptions::new().len(len).map(file) }
}

/// The most bytes that are kept sealed for jobs to come: the modules and models of a busy node.
const MAX_CACHED: u64 = 256 << 20;

/// Sealed contents, those used last: a module that many jobs name is sealed once.
pub(crate) struct SealedBlobs(Mutex<Cached>);

struct Cached {
    blobs: LruCache<Hash, (u64, Arc<OwnedFd>)>,
    bytes: u64,
}

impl SealedBlobs {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Cached { blobs: LruCache::unbounded(), bytes: 0 }))
    }

    /// The sealed content of `blob`.
    pub(crate) fn get(&self, blob: &Blob, content: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if let Some((_, descriptor)) = self.lock().blobs.get(&blob.hash) {
            return Ok(descriptor.clone());
        }
        let descriptor = Arc::new(seal(content)?);
        if blob.len <= MAX_CACHED / 4 {
            let mut cached = self.lock();
            if let Some((len, _)) = cached.blobs.put(blob.hash, (blob.len, descriptor.clone())) {
                cached.bytes -= len;
            }
            cached.bytes += blob.len;
            while cached.bytes > MAX_CACHED {
                let Some((_, (len, _))) = cached.blobs.pop_lru() else { break };
                cached.bytes -= len;
            }
        }
        Ok(descriptor)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_read_and_never_written() {
        let descriptor = seal(b"content").unwrap();
        let copy = descriptor.try_clone().unwrap();
        assert_eq!(open(descriptor, 7).unwrap(), &b"content"[..]);
        assert!(File::from(copy.try_clone().unwrap()).write_all(b"x").is_err());
        assert!(File::from(copy).set_len(0).is_err());
        assert_eq!(open(seal(b"").unwrap(), 0).unwrap(), &b""[..]);
    }

    #[test]
    fn what_is_not_sealed_or_not_as_announced_is_refused() {
        let mut file = File::from(memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all(b"content").unwrap();
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        let error = open(file.into(), 7).unwrap_err().to_string();
        assert!(error.contains("not sealed"), "{error}");
        let error = open(seal(b"content").unwrap(), 8).unwrap_err().to_string();
        assert!(error.contains("7 bytes where 8 were announced"), "{error}");
    }

    #[test]
    fn the_contents_used_last_are_kept() {
        let blobs = SealedBlobs::new();
        let content = vec![7; 48 << 20];
        let blob = |number| Blob { hash: Hash([number; 32]), len: content.len() as u64 };
        let first = blobs.get(&blob(1), &content).unwrap();
        assert!(Arc::ptr_eq(&first, &blobs.get(&blob(1), &content).unwrap()));
        for number in 2..=6 {
            blobs.get(&blob(number), b"stands for as much").unwrap();
        }
        assert!(!Arc::ptr_eq(&first, &blobs.get(&blob(1), b"again").unwrap()));
        assert!(blobs.lock().bytes <= MAX_CACHED);
        let huge = Blob { hash: Hash([9; 32]), len: MAX_CACHED };
        blobs.get(&huge, b"too much to keep").unwrap();
        assert!(!blobs.lock().blobs.contains(&huge.hash));
    }
}
