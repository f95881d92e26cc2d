//! A blob of which not everything is here yet.

use super::groups::Groups;
use super::tree::{self, Tree};
use super::{BlobError, disk};
use depx_protocol::Blob;
use depx_protocol::wire::{GROUP, GroupRange};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A blob of which not everything is here yet, in two files that any number of transfers may fill at once: only what was verified is
/// ever written. What of it is here follows from the files themselves, so that whatever interrupts a transfer, the next goes on.
pub struct Partial {
    blob: Blob,
    content: File,
    nodes: File,
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    held: Groups,
    /// Bytes of groups of which the store was told.
    told: u64,
    tree: Tree<Vec<u8>>,
}

impl Partial {
    /// Opens or makes both files, and finds out what of the blob they hold.
    pub(super) fn open(blob: Blob, path: PathBuf, nodes_path: &Path) -> Result<Self, BlobError> {
        let open = |path: &Path, len: usize| {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
            let sized = file.and_then(|file| {
                let old = file.metadata()?.len();
                file.set_len(len as u64)?;
                Ok((file, old > 0))
            });
            sized.map_err(disk(path))
        };
        let mut tree = tree::unknown(&blob);
        let (content, has_content) = open(&path, usize::try_from(blob.len).unwrap_or(usize::MAX))?;
        let (nodes, has_nodes) = open(nodes_path, tree.data.len())?;
        let mut held = Groups::none(blob.groups());
        if has_content && (has_nodes || blob.groups() == 1) {
            nodes.read_exact_at(&mut tree.data, 0).map_err(disk(nodes_path))?;
            let whole = (0..blob.groups()).filter(|group| tree::holds(&content, &tree, *group));
            whole.for_each(|group| held.insert(group));
        }
        Ok(Self { blob, content, nodes, path, state: Mutex::new(State { told: held.count() * GROUP, held, tree }) })
    }

    /// Its name.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// What to ask for next; empty if everything is here.
    pub fn missing(&self) -> Vec<GroupRange> {
        self.state().held.missing()
    }

    /// How many groups are here.
    pub fn held(&self) -> u64 {
        self.state().held.count()
    }

    /// Bytes that have come since this was asked last.
    pub(super) fn grown(&self) -> u64 {
        let mut state = self.state();
        let held = state.held.count() * GROUP;
        held - std::mem::replace(&mut state.told, held)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state().held.is_full()
    }

    /// Verifies and stores what came of groups within one window. At the first part that does not match it stops; what came before
    /// is kept. Waits for the disk.
    pub(super) fn accept(&self, pieces: &[GroupRange], encoded: &[u8]) -> Result<(), BlobError> {
        let decoded = tree::decode(
            &self.blob,
            pieces,
            encoded,
            |at, pair| {
                let mut state = self.state();
                let place = usize::try_from(at).ok().and_then(|at| state.tree.data.get_mut(at..at + pair.len()));
                match place {
                    Some(kept) if kept != pair => {
                        kept.copy_from_slice(&pair);
                        self.nodes.write_all_at(&pair, at)
                    }
                    _ => Ok(()),
                }
            },
            |offset, group| {
                self.content.write_all_at(group, offset)?;
                self.state().held.insert(offset / GROUP);
                Ok(())
            },
        );
        decoded.map_err(|error| match tree::place(error) {
            Ok(offset) => BlobError::Damaged { blob: self.blob, offset },
            Err(error) => disk(&self.path)(error),
        })
    }

    /// A panic elsewhere cannot leave the state inconsistent, so a poisoned lock is no reason to stop.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
