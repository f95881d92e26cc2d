//! What the store keeps, for how long, and what it gives.

use crate::{GROUP, content};
use bytes::Bytes;
use depx_protocol::Blob;
use depx_transport::{BlobError, BlobStore};
use std::path::PathBuf;
use tempfile::TempDir;

struct Kept {
    directory: TempDir,
    store: BlobStore,
}

impl Kept {
    fn new(quota: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let store = BlobStore::open(directory.path(), quota).unwrap();
        Self { directory, store }
    }

    /// The same directory in another process.
    fn reopened(&self) -> BlobStore {
        BlobStore::open(self.directory.path(), BlobStore::QUOTA).unwrap()
    }

    fn put(&self, content: &Bytes) -> Blob {
        let blob = Blob::of(content);
        self.store.put(&blob, content.clone()).unwrap();
        blob
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        self.directory.path().join(blob.hash.to_string())
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }

    fn flip(&self, blob: &Blob, at: usize) {
        let mut bytes = std::fs::read(self.path(blob)).unwrap();
        bytes[at] ^= 1;
        std::fs::write(self.path(blob), bytes).unwrap();
    }
}

#[test]
fn gives_what_was_put_also_after_a_restart() {
    let kept = Kept::new(BlobStore::QUOTA);
    for len in [0, 7, GROUP, GROUP + 1, 40 * GROUP + 5] {
        let content = content(len);
        let blob = Blob::of(&content);
        assert!(kept.store.get(&blob).unwrap().is_none() && !kept.store.contains(&blob));
        kept.put(&content);
        for store in [&kept.store, &kept.reopened()] {
            assert!(store.contains(&blob));
            assert_eq!(store.get(&blob).unwrap().unwrap(), content);
        }
        let another = Blob { len: blob.len + 1, ..blob };
        assert!(!kept.store.contains(&another) && kept.store.get(&another).unwrap().is_none());
    }
}

#[test]
fn refuses_other_content() {
    let kept = Kept::new(BlobStore::QUOTA);
    let blob = Blob::of(b"content");
    let error = kept.store.put(&blob, Bytes::from_static(b"forgery")).unwrap_err();
    assert!(error.to_string().contains(&blob.hash.to_string()));
    assert!(!kept.store.contains(&blob) && kept.files() == 0);
}

#[test]
fn any_range_is_read_and_verified() {
    let kept = Kept::new(BlobStore::QUOTA);
    let content = content(40 * GROUP + 5);
    let blob = kept.put(&content);
    let ranges = [
        (0, 1),
        (5, 3 * GROUP),
        (GROUP - 1, 2),
        (16 * GROUP - 1, 2),
        (39 * GROUP, 2 * GROUP),
        (0, 41 * GROUP),
        (41 * GROUP, 1),
    ];
    for store in [&kept.store, &kept.reopened()] {
        for (offset, len) in ranges {
            let end = (offset + len).min(content.len());
            let expected = content.get(offset..end).unwrap_or_default();
            assert_eq!(store.read(&blob, offset as u64, len as u64).unwrap().unwrap(), expected, "{offset} {len}");
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for (len, at) in
        [(7, 3), (GROUP, 0), (16 * GROUP, 5), (40 * GROUP + 5, 17 * GROUP), (40 * GROUP + 5, 40 * GROUP + 4)]
    {
        let kept = Kept::new(BlobStore::QUOTA);
        let content = content(len);
        let blob = kept.put(&content);
        kept.flip(&blob, at);
        assert!(kept.reopened().get(&blob).unwrap().is_none(), "whole, {len} {at}");

        let kept = Kept::new(BlobStore::QUOTA);
        let blob = kept.put(&content);
        kept.flip(&blob, at);
        let store = kept.reopened();
        assert!(store.read(&blob, at as u64, 1).unwrap().is_none(), "a range, {len} {at}");
        assert!(!store.contains(&blob));
        // All groups stay that are whole.
        if len > 16 * GROUP {
            let partial = store.partial(&blob).unwrap().unwrap();
            assert_eq!(partial.held(), blob.groups() - 1);
            assert_eq!((partial.missing()[0].first, partial.missing()[0].count), ((at / GROUP) as u64, 1));
        }
        store.put(&blob, content.clone()).unwrap();
        assert_eq!(kept.reopened().get(&blob).unwrap().unwrap(), content);
    }
}

#[test]
fn a_damaged_or_lost_tree_is_computed_again() {
    let kept = Kept::new(BlobStore::QUOTA);
    let content = content(40 * GROUP);
    let blob = kept.put(&content);
    let tree = kept.path(&blob).with_extension("tree");
    let whole = std::fs::read(&tree).unwrap();
    assert_eq!(whole.len(), 39 * 64);

    std::fs::remove_file(&tree).unwrap();
    assert_eq!(kept.reopened().read(&blob, 1, 2).unwrap().unwrap(), &content[1..3]);
    assert_eq!(std::fs::read(&tree).unwrap(), whole);

    let mut damaged = whole.clone();
    damaged[64] ^= 1;
    std::fs::write(&tree, damaged).unwrap();
    let store = kept.reopened();
    assert!(store.read(&blob, 1, 2).unwrap().is_none());
    assert_eq!(store.read(&blob, 1, 2).unwrap().unwrap(), &content[1..3], "nothing is missing");
    assert_eq!(std::fs::read(&tree).unwrap(), whole);
}

#[test]
fn the_longest_unused_goes_and_nothing_that_is_in_use() {
    let kept = Kept::new(10_000);
    let blobs: Vec<Blob> = (1..=9).map(|number| kept.put(&content(1000 + number))).collect();
    assert_eq!(kept.store.bytes(), 9045);
    let _pin = kept.store.pin(&blobs[0]);
    // Used again, so that the third is now the one longest unused.
    kept.store.cached(&blobs[1]).unwrap();
    kept.put(&content(1500));
    kept.put(&content(1501));
    let here: Vec<bool> = blobs.iter().map(|blob| kept.store.contains(blob)).collect();
    assert_eq!(here, [true, true, false, false, false, true, true, true, true]);
    assert!(kept.store.get(&blobs[2]).unwrap().is_none() && kept.store.bytes() <= 10_000);

    let pins: Vec<_> = blobs.iter().map(|blob| kept.store.pin(blob)).collect();
    let large = content(6000);
    let error = kept.store.put(&Blob::of(&large), large.clone()).unwrap_err();
    assert!(matches!(error, BlobError::Full { quota: 10_000, .. }), "{error}");
    assert!(!kept.store.contains(&Blob::of(&large)) && kept.store.bytes() <= 10_000);
    drop(pins);
    kept.store.put(&Blob::of(&large), large.clone()).unwrap();
    assert!(kept.store.contains(&blobs[0]), "one pin is left");
}

#[test]
fn a_lower_quota_is_kept_from_the_start_and_the_order_of_use_is_remembered() {
    let kept = Kept::new(BlobStore::QUOTA);
    let blobs: Vec<Blob> = (1..=4).map(|number| kept.put(&content(1000 + number))).collect();
    for (age, blob) in [3, 9, 1, 5].into_iter().zip(&blobs) {
        let used = std::time::SystemTime::now() - std::time::Duration::from_secs(age * 60);
        std::fs::File::open(kept.path(blob)).unwrap().set_modified(used).unwrap();
    }
    let store = BlobStore::open(kept.directory.path(), 2100).unwrap();
    let here: Vec<bool> = blobs.iter().map(|blob| store.contains(blob)).collect();
    assert_eq!(here, [true, false, true, false]);
}

#[test]
fn what_dead_processes_left_is_swept() {
    let kept = Kept::new(BlobStore::QUOTA);
    let blob = kept.put(&content(3 * GROUP));
    let partial = kept.store.partial(&Blob { hash: depx_protocol::Hash([7; 32]), len: 1 << 20 }).unwrap();
    assert!(partial.is_some() && kept.files() == 4);
    for name in ["incoming-0123456789abcdef", &format!("{}.tree", depx_protocol::Hash([8; 32]))] {
        std::fs::write(kept.directory.path().join(name), b"left").unwrap();
    }
    let stale = kept.directory.path().join(format!("{}-99.part", depx_protocol::Hash([9; 32])));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 60 * 60);
    std::fs::File::create(&stale).unwrap().set_modified(long_ago).unwrap();
    let store = kept.reopened();
    assert!(store.contains(&blob) && kept.files() == 4);
}
