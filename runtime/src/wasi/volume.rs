//! The files that every run of a job starts with.

use super::tree::{Content, Directory, File, MAX_PATH, Node, OUTPUT_DIRECTORY, ROOT, Tree};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The files that a run starts with, shared between runs: each sees a copy that is made when it changes something. The
/// directory `out`, whose files become output, is always there.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(crate) tree: Arc<Tree>,
    /// Bytes below the output directory.
    pub(crate) output_len: u64,
}

/// A path that cannot be a file of a [`Volume`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{path:?} cannot be a file: paths are relative, without '.', '..' or empty parts, and none is below another file"
)]
pub struct VolumeError {
    /// The path, cut to a length fit for messages.
    pub path: String,
}

impl Default for Volume {
    fn default() -> Self {
        Self { tree: Arc::new(Tree::empty()), output_len: 0 }
    }
}

impl Volume {
    /// From relative paths, components joined by `/`, and their content. Inodes are numbered in the order of the paths.
    pub fn new(files: impl IntoIterator<Item = (String, Bytes)>) -> Result<Self, VolumeError> {
        let files: BTreeMap<String, Bytes> = files.into_iter().collect();
        let mut tree = Tree::empty();
        let mut output_len = 0;
        for (path, content) in files {
            let len = content.len() as u64;
            let Some(in_output) = place(&mut tree, &path, content) else {
                return Err(VolumeError { path: path.chars().take(200).collect() });
            };
            output_len += if in_output { len } else { 0 };
        }
        Ok(Self { tree: Arc::new(tree), output_len })
    }

    /// Names of files and directories, as counted against [`depx_protocol::Limits::files`].
    pub(crate) fn names(&self) -> u64 {
        self.tree.names
    }
}

/// Adds a file and the directories that lead to it, and says whether it lies below the output directory; `None` if the path
/// is impossible.
fn place(tree: &mut Tree, path: &str, content: Bytes) -> Option<bool> {
    let (directories, name) =
        path.rsplit_once('/').map_or((None, path), |(directories, name)| (Some(directories), name));
    let valid = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0') && part.len() <= 255;
    if path.len() > MAX_PATH || !path.split('/').all(valid) {
        return None;
    }
    let mut here = ROOT;
    for part in directories.into_iter().flat_map(|directories| directories.split('/')) {
        here = match tree.directory(here)?.entries.get(part) {
            Some(&ino) => ino,
            None => {
                let output = tree.is_output(here, part);
                let path_len = tree.directory(here)?.path_len + part.len() + 1;
                let directory = Directory { entries: BTreeMap::new(), parent: here, path_len, output };
                enter(tree, here, part, Node::Directory(directory))?
            }
        };
    }
    let output = tree.directory(here)?.output;
    if tree.directory(here)?.entries.contains_key(name) || (here == ROOT && name == OUTPUT_DIRECTORY) {
        return None;
    }
    let file = File { content: Content::Job(content), outputs: u64::from(output) };
    enter(tree, here, name, Node::File(file))?;
    Some(output)
}

fn enter(tree: &mut Tree, parent: u64, name: &str, node: Node) -> Option<u64> {
    let ino = tree.add(node, None);
    tree.names += 1;
    tree.directory_mut(parent)?.entries.insert(name.to_owned(), ino);
    Some(ino)
}

#[cfg(test)]
mod tests {
    use super::super::tree::Walk;
    use super::*;

    fn volume(paths: &[&str]) -> Result<Volume, VolumeError> {
        Volume::new(paths.iter().map(|path| ((*path).to_owned(), Bytes::from_static(b"1234"))))
    }

    #[test]
    fn paths_become_directories_and_files() {
        let volume = volume(&["b/c/d", "a", "b/e", "out/f"]).unwrap();
        // a, b, b/c, b/c/d, b/e, out/f.
        assert_eq!(volume.names(), 6);
        assert_eq!(volume.output_len, 4);
        let place = volume.tree.resolve(ROOT, "b/c/../e", false, &mut Walk::default()).unwrap();
        assert!(volume.tree.file(place.found.unwrap()).is_some());
    }

    #[test]
    fn impossible_paths_are_named() {
        for bad in ["", "/a", "a/", "a//b", "./a", "a/../b", "a\0", "out"] {
            assert_eq!(volume(&[bad]).map(|_| ()), Err(VolumeError { path: bad.to_owned() }));
        }
        assert!(volume(&["a", "a/b"]).is_err());
        assert!(volume(&[&"n".repeat(256)]).is_err());
    }
}
