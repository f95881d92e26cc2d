//! The files of a store. `HASH` is a whole blob, `HASH.tree` the inner nodes of its tree; `HASH-LENGTH.part` and `HASH-LENGTH.part.tree` are
//! those of one of which not everything is here yet; `incoming-…` is being written.

use super::{BlobError, disk};
use depx_protocol::Blob;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is left of a transfer is given up after so long.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Files {
    directory: PathBuf,
}

/// What was found under a blob's name.
pub(super) struct Found {
    pub(super) blob: Blob,
    pub(super) whole: bool,
    used: SystemTime,
}

impl Files {
    /// Makes the directory, clears it of what dead processes left, and gives what it has, longest unused first.
    pub(super) fn open(directory: PathBuf) -> Result<(Self, Vec<Found>), BlobError> {
        std::fs::create_dir_all(&directory).map_err(disk(&directory))?;
        let files = Self { directory };
        let mut found = files.list().map_err(disk(&files.directory))?;
        found.sort_by_key(|found| found.used);
        Ok((files, found))
    }

    fn list(&self) -> std::io::Result<Vec<Found>> {
        let (mut found, mut trees) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let (name, about) = (entry.file_name(), entry.metadata()?);
            let Some(name) = name.to_str() else { continue };
            let used = about.modified()?;
            let is_stale = used.elapsed().unwrap_or_default() > STALE;
            match name.strip_suffix(".part").and_then(|name| name.split_once('-')) {
                _ if name.starts_with("incoming-") => std::fs::remove_file(entry.path())?,
                _ if name.ends_with(".tree") => trees.push(entry.path()),
                Some(_) if is_stale => std::fs::remove_file(entry.path())?,
                Some((hash, len)) => {
                    let (Ok(hash), Ok(len)) = (hash.parse(), len.parse()) else { continue };
                    found.push(Found { blob: Blob { hash, len }, whole: false, used });
                }
                None => {
                    let Ok(hash) = name.parse() else { continue };
                    found.push(Found { blob: Blob { hash, len: about.len() }, whole: true, used });
                }
            }
        }
        for tree in trees.iter().filter(|tree| !tree.with_extension("").exists()) {
            std::fs::remove_file(tree)?;
        }
        Ok(found)
    }

    pub(super) fn whole(&self, blob: &Blob) -> PathBuf {
        self.directory.join(blob.hash.to_string())
    }

    pub(super) fn partial(&self, blob: &Blob) -> PathBuf {
        self.directory.join(format!("{}-{}.part", blob.hash, blob.len))
    }

    /// Where the tree is of what is at `path`.
    pub(super) fn tree(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".tree");
        name.into()
    }

    /// Renames content and tree. The tree goes first: without it a whole blob's can be computed again.
    pub(super) fn rename(from: &Path, to: &Path) -> Result<(), BlobError> {
        match std::fs::rename(Self::tree(from), Self::tree(to)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(disk(to)(error)),
            _ => {}
        }
        std::fs::rename(from, to).map_err(disk(to))
    }

    /// Removes content and tree, if they are there.
    pub(super) fn remove(path: &Path) -> Result<(), BlobError> {
        for path in [path, &Self::tree(path)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(disk(path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes beside and renames, so that no file under its final name is ever incomplete.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), BlobError> {
        let beside = self.directory.join(format!("incoming-{:016x}", u64::from_ne_bytes(crate::random())));
        let written = File::create_new(&beside)
            .and_then(|mut file| file.write_all(content))
            .and_then(|()| std::fs::rename(&beside, path));
        written.map_err(|error| {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&beside);
            disk(path)(error)
        })
    }
}
