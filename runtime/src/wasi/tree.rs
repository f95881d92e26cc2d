//! The file system as data: inodes, directories, and how a path is walked. [`super::filesystem::FileSystem`] changes it.

use super::abi::{Errno, Filestat, Filetype, Times};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The number of an inode, given in the order of creation and never again.
pub(crate) type Ino = u64;

/// The root directory, which the guest finds opened as descriptor 3.
pub(crate) const ROOT: Ino = 1;

/// The directory below the root whose files are the run's output.
pub(crate) const OUTPUT_DIRECTORY: &str = "out";

/// Longest name in a directory, in bytes, as on common systems.
const MAX_NAME: usize = 255;
/// Longest path, be it from the root and walked in several steps, and all targets of the links followed on one walk together, in
/// bytes: bounds the work of a walk, the depth of directories, and what the paths of output take.
pub(crate) const MAX_PATH: usize = 4096;
/// Most symbolic links followed on one walk, as on Linux.
const MAX_LINKS: usize = 40;

#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) node: Node,
    /// Names that refer to it.
    pub(crate) links: u64,
    /// `None` for what the run started with and has not changed: the time of the start.
    pub(crate) times: Option<Times>,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(File),
    Directory(Directory),
    Symlink(String),
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) content: Content,
    /// How many of its names lie below the output directory.
    pub(crate) outputs: u64,
}

/// A file's bytes: shared with all runs of the job until the guest changes them.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Job(Bytes),
    Own(Vec<u8>),
}

impl Content {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Job(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Bytes that count against the run's limit.
    pub(crate) fn own_len(&self) -> u64 {
        match self {
            Self::Job(_) => 0,
            Self::Own(bytes) => bytes.len() as u64,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// Sorted by name, bytewise.
    pub(crate) entries: BTreeMap<String, Ino>,
    pub(crate) parent: Ino,
    /// Bytes of its path from the root, the slash behind it included.
    pub(crate) path_len: usize,
    /// Whether it is the output directory or lies below it.
    pub(crate) output: bool,
}

/// A tree of files.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) inodes: BTreeMap<Ino, Inode>,
    pub(crate) next: Ino,
    /// Names in all directories, the output directory's own not counted.
    pub(crate) names: u64,
    /// Bytes of all content that is not the job's.
    pub(crate) own_bytes: u64,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Place<'p> {
    /// The directory that has, or would get, the last name.
    pub(crate) parent: Ino,
    /// The last name; `None` if the path ends in a directory itself, as `.` does.
    pub(crate) name: Option<Cow<'p, str>>,
    /// What is there.
    pub(crate) found: Option<Ino>,
    /// Whether the path says that it must be a directory.
    pub(crate) slash: bool,
}

/// What a walk took, however it ended.
#[derive(Default, Debug)]
pub(crate) struct Walk {
    /// Names of the path and of links.
    pub(crate) names: usize,
    /// Bytes of the targets of links.
    pub(crate) expanded: usize,
}

impl Tree {
    /// The root and the output directory.
    pub(crate) fn empty() -> Self {
        let mut tree = Self { inodes: BTreeMap::new(), next: ROOT, names: 0, own_bytes: 0 };
        let mut directory = |parent, path_len, output| {
            tree.add(Node::Directory(Directory { entries: BTreeMap::new(), parent, path_len, output }), None)
        };
        let root = directory(ROOT, 0, false);
        let output = directory(root, OUTPUT_DIRECTORY.len() + 1, true);
        if let Some(directory) = tree.directory_mut(root) {
            directory.entries.insert(OUTPUT_DIRECTORY.to_owned(), output);
        }
        tree
    }

    /// A new inode with one name, which the caller gives it.
    pub(crate) fn add(&mut self, node: Node, times: Option<Times>) -> Ino {
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Inode { node, links: 1, times });
        ino
    }

    pub(crate) fn get(&self, ino: Ino) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::Badf)
    }

    pub(crate) fn directory(&self, ino: Ino) -> Option<&Directory> {
        match &self.inodes.get(&ino)?.node {
            Node::Directory(directory) => Some(directory),
            Node::File(_) | Node::Symlink(_) => None,
        }
    }

    pub(crate) fn directory_mut(&mut self, ino: Ino) -> Option<&mut Directory> {
        match &mut self.inodes.get_mut(&ino)?.node {
            Node::Directory(directory) => Some(directory),
            Node::File(_) | Node::Symlink(_) => None,
        }
    }

    pub(crate) fn file(&self, ino: Ino) -> Option<&File> {
        match &self.inodes.get(&ino)?.node {
            Node::File(file) => Some(file),
            Node::Directory(_) | Node::Symlink(_) => None,
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> Option<&mut File> {
        match &mut self.inodes.get_mut(&ino)?.node {
            Node::File(file) => Some(file),
            Node::Directory(_) | Node::Symlink(_) => None,
        }
    }

    pub(crate) fn filetype(&self, ino: Ino) -> Filetype {
        match self.inodes.get(&ino).map(|inode| &inode.node) {
            Some(Node::File(_)) => Filetype::RegularFile,
            Some(Node::Directory(_)) => Filetype::Directory,
            Some(Node::Symlink(_)) => Filetype::SymbolicLink,
            None => Filetype::Unknown,
        }
    }

    /// `start` stands in for times that nothing has changed.
    pub(crate) fn stat(&self, ino: Ino, start: u64) -> Result<Filestat, Errno> {
        let inode = self.get(ino)?;
        let size = match &inode.node {
            Node::File(file) => file.content.len(),
            Node::Directory(_) => 0,
            Node::Symlink(target) => target.len() as u64,
        };
        let times = inode.times.unwrap_or(Times::at(start));
        Ok(Filestat { ino, filetype: self.filetype(ino), links: inode.links, size, times })
    }

    /// Whether a directory with the name `name` in `parent` is, or lies below, the output directory.
    pub(crate) fn is_output(&self, parent: Ino, name: &str) -> bool {
        (parent == ROOT && name == OUTPUT_DIRECTORY) || self.is_output_parent(parent)
    }

    /// Whether a file with a name in `parent` is output.
    pub(crate) fn is_output_parent(&self, parent: Ino) -> bool {
        self.directory(parent).is_some_and(|parent| parent.output)
    }

    /// Walks `path` from the directory `base`, which it never leaves. A symbolic link at the end is followed if `follow`.
    pub(crate) fn resolve<'p>(
        &self,
        base: Ino,
        path: &'p str,
        follow: bool,
        walk: &mut Walk,
    ) -> Result<Place<'p>, Errno> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if path.len() > MAX_PATH {
            return Err(Errno::Nametoolong);
        }
        if path.starts_with('/') {
            return Err(Errno::Notcapable);
        }
        let mut walked = vec![base];
        let mut rest = Cow::Borrowed(path);
        let mut links = 0;
        loop {
            walk.names += 1;
            let here = walked.last().copied().unwrap_or(base);
            let (name, after) = split_first(&rest);
            let slash = !after.is_empty();
            let last = after.bytes().all(|byte| byte == b'/');
            match name {
                "" | "." => {}
                ".." => {
                    if walked.len() == 1 {
                        return Err(Errno::Notcapable);
                    }
                    walked.pop();
                }
                _ => {
                    if name.len() > MAX_NAME {
                        return Err(Errno::Nametoolong);
                    }
                    let found = self.directory(here).and_then(|directory| directory.entries.get(name)).copied();
                    let node = found.and_then(|ino| self.inodes.get(&ino)).map(|inode| &inode.node);
                    match node {
                        Some(Node::Symlink(target)) if !last || follow => {
                            links += 1;
                            walk.expanded += target.len();
                            if links > MAX_LINKS || walk.expanded > MAX_PATH {
                                return Err(Errno::Loop);
                            }
                            rest = Cow::Owned(format!("{target}{after}"));
                            continue;
                        }
                        Some(Node::File(_) | Node::Symlink(_)) if slash => return Err(Errno::Notdir),
                        None if !last => return Err(Errno::Noent),
                        _ if last => {
                            let name = Some(take_name(rest));
                            return Ok(Place { parent: here, name, found, slash });
                        }
                        _ => walked.extend(found),
                    }
                }
            }
            if last {
                let here = walked.last().copied().unwrap_or(base);
                return Ok(Place { parent: here, name: None, found: Some(here), slash });
            }
            rest = take_after(rest);
        }
    }
}

/// The first component of a path that has at least one, and what follows it, slashes included.
fn split_first(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_at(path.find('/').unwrap_or(path.len()))
}

fn take_name(path: Cow<'_, str>) -> Cow<'_, str> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(split_first(path).0),
        Cow::Owned(path) => Cow::Owned(split_first(&path).0.to_owned()),
    }
}

fn take_after(path: Cow<'_, str>) -> Cow<'_, str> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(split_first(path).1),
        Cow::Owned(path) => Cow::Owned(split_first(&path).1.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasi::Volume;

    fn tree(links: &[(&str, &str)]) -> Tree {
        let volume =
            Volume::new([("a/b/file".to_owned(), Bytes::new()), ("a/other".to_owned(), Bytes::new())]).unwrap();
        let mut tree = (*volume.tree).clone();
        for (path, target) in links {
            let place = tree.resolve(ROOT, path, false, &mut Walk::default()).unwrap();
            let (parent, name) = (place.parent, place.name.unwrap().into_owned());
            let ino = tree.add(Node::Symlink((*target).to_owned()), None);
            tree.directory_mut(parent).unwrap().entries.insert(name, ino);
        }
        tree
    }

    /// Where `path` leads: the last name, whether something is there, whether the path ends in a slash.
    fn walk(tree: &Tree, path: &str, follow: bool) -> Result<(Option<String>, bool, bool), Errno> {
        let place = tree.resolve(ROOT, path, follow, &mut Walk::default())?;
        Ok((place.name.map(Cow::into_owned), place.found.is_some(), place.slash))
    }

    #[test]
    fn paths_lead_where_they_say() {
        let tree = tree(&[]);
        let name = |name: &str| Some(name.to_owned());
        for (path, expected) in [
            ("a", Ok((name("a"), true, false))),
            ("a/", Ok((name("a"), true, true))),
            ("a//b///file", Ok((name("file"), true, false))),
            ("./a/./b/../other", Ok((name("other"), true, false))),
            ("a/new", Ok((name("new"), false, false))),
            ("a/new/", Ok((name("new"), false, true))),
            ("a/b/..", Ok((None, true, false))),
            ("a/..", Ok((None, true, false))),
            (".", Ok((None, true, false))),
            ("a/new/x", Err(Errno::Noent)),
            ("a/other/", Err(Errno::Notdir)),
            ("a/other/x", Err(Errno::Notdir)),
            ("a/other/..", Err(Errno::Notdir)),
            ("..", Err(Errno::Notcapable)),
            ("a/../..", Err(Errno::Notcapable)),
            ("/a", Err(Errno::Notcapable)),
            ("", Err(Errno::Noent)),
        ] {
            assert_eq!(walk(&tree, path, true), expected, "{path:?}");
        }
    }

    #[test]
    fn a_walk_that_starts_below_does_not_get_above() {
        let tree = tree(&[("a/up", "../a")]);
        let base = tree.resolve(ROOT, "a", false, &mut Walk::default()).unwrap().found.unwrap();
        assert!(tree.resolve(base, "b/../other", false, &mut Walk::default()).is_ok());
        for path in ["..", "b/../..", "up/other"] {
            assert_eq!(tree.resolve(base, path, true, &mut Walk::default()).err(), Some(Errno::Notcapable), "{path:?}");
        }
        assert!(walk(&tree, "a/up/other", false).unwrap().1);
    }

    #[test]
    fn work_on_links_is_bounded() {
        // Each link leads to the next, the last to the file.
        let chain = |length: usize| {
            let names: Vec<_> = (0..=length).map(|number| format!("l{number}")).collect();
            let mut links: Vec<_> = names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
            links.pop();
            links.push((&names[length - 1], "a/other"));
            walk(&tree(&links), "l0", true).map(|(_, found, _)| found)
        };
        assert_eq!(chain(MAX_LINKS), Ok(true));
        assert_eq!(chain(MAX_LINKS + 1), Err(Errno::Loop));
        let long = "./".repeat(1500) + "a";
        let tree = tree(&[("x", &long), ("y", "x")]);
        assert!(walk(&tree, "x/", true).is_ok());
        assert_eq!(walk(&tree, "x/../x", true), Err(Errno::Loop));
    }
}
