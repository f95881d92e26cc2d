//! One run's view of its files: every change, and what it counts against.

use super::abi::{Errno, Filestat, Result, Times};
use super::tree::{Content, Directory, File, Ino, Inode, MAX_PATH, Node, OUTPUT_DIRECTORY, Place, ROOT, Tree};
use super::volume::Volume;
use crate::host::Stop;
use depx_host_abi::limit::LimitCode;
use depx_protocol::{Limits, OutputFile};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of output so far: standard output and the files below the output directory.
#[derive(Debug)]
pub(crate) struct Output {
    used: u64,
    limit: u64,
}

impl Output {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Counts `bytes` before they are written; beyond the limit the run is over.
    pub(crate) fn add(&mut self, bytes: u64) -> std::result::Result<(), Stop> {
        let used = self.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Stop::Limit(LimitCode::OutputBytes));
        }
        self.used = used;
        Ok(())
    }

    fn remove(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// The tree as this run sees it. It is the job's own until the first change.
#[derive(Debug)]
pub(crate) struct FileSystem {
    tree: Arc<Tree>,
    /// Whether the copy that the first change makes was asked for.
    copied: bool,
    /// When the run started, in Unix nanoseconds.
    start: u64,
    max_names: u64,
    max_own_bytes: u64,
    pub(crate) output: Output,
}

impl FileSystem {
    /// The volume must be within the limits.
    pub(crate) fn new(volume: &Volume, limits: &Limits, start: u64) -> std::result::Result<Self, Stop> {
        if volume.names() > u64::from(limits.files) {
            return Err(Stop::Limit(LimitCode::Files));
        }
        let mut output = Output::new(limits.output_bytes);
        output.add(volume.output_len)?;
        Ok(Self {
            tree: volume.tree.clone(),
            copied: false,
            start,
            max_names: u64::from(limits.files),
            max_own_bytes: limits.file_bytes,
            output,
        })
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Inodes that the first change copies; 0 for all others.
    pub(crate) fn first_change_cost(&mut self) -> u64 {
        if std::mem::replace(&mut self.copied, true) { 0 } else { self.tree.inodes.len() as u64 }
    }

    pub(crate) fn stat(&self, ino: Ino) -> Result<Filestat> {
        Ok(self.tree.stat(ino, self.start)?)
    }

    /// A file's content from `offset` on, at most `len` bytes.
    pub(crate) fn read(&self, ino: Ino, offset: u64, len: u64) -> Result<&[u8]> {
        let bytes = self.tree.file(ino).ok_or(Errno::Isdir)?.content.bytes();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len() - from);
        Ok(&bytes[from..from + len])
    }

    /// Bytes that [`FileSystem::write`] would touch: those written, those filled with zeros before them, and the job's own
    /// content where it must be copied first. Fails where there is no room for them.
    pub(crate) fn write_cost(&self, ino: Ino, offset: u64, len: u64) -> Result<u64> {
        let file = self.tree.file(ino).ok_or(Errno::Isdir)?;
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        self.check_room(file, file.content.len().max(end))?;
        let gap = offset.saturating_sub(file.content.len());
        let copied = file.content.len() - file.content.own_len();
        Ok(len + gap + copied)
    }

    /// What all files would hold, the job's not counted, if `file` had `own` bytes of its own; fails beyond the limit.
    fn check_room(&self, file: &File, own: u64) -> Result<u64> {
        let old = file.content.own_len();
        let all = (self.tree.own_bytes - old).checked_add(own).ok_or(Errno::Fbig)?;
        if own > old && all > self.max_own_bytes { Err(Errno::Nospc.into()) } else { Ok(all) }
    }

    /// `len` bytes, at least one, of a file at `offset` to be written to; the file grows as needed.
    pub(crate) fn write(&mut self, ino: Ino, offset: u64, len: u64, now: u64) -> Result<&mut [u8]> {
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        let size = self.tree.file(ino).ok_or(Errno::Isdir)?.content.len();
        self.set_size(ino, size.max(end), true, now)?;
        let file = Arc::make_mut(&mut self.tree).file_mut(ino).ok_or(Errno::Isdir)?;
        match &mut file.content {
            Content::Own(bytes) => Ok(&mut bytes[offset as usize..end as usize]),
            Content::Job(_) => Err(Errno::Io.into()),
        }
    }

    /// Cuts a file, or fills it up with zeros.
    pub(crate) fn resize(&mut self, ino: Ino, size: u64, now: u64) -> Result<()> {
        let grows = size > self.tree.file(ino).ok_or(Errno::Isdir)?.content.len();
        self.set_size(ino, size, grows, now)
    }

    /// Gives a file its size, and bytes of its own if it is to be `written`.
    fn set_size(&mut self, ino: Ino, size: u64, written: bool, now: u64) -> Result<()> {
        let file = self.tree.file(ino).ok_or(Errno::Isdir)?;
        let (old, names) = (file.content.len(), file.outputs);
        let becomes_own = written || matches!(file.content, Content::Own(_));
        let own_bytes = self.check_room(file, if becomes_own { size } else { 0 })?;
        let length = usize::try_from(size).map_err(|_| Errno::Fbig)?;
        if size > old {
            self.output.add((size - old).saturating_mul(names))?;
        } else {
            self.output.remove((old - size) * names);
        }
        let start = self.start;
        let tree = Arc::make_mut(&mut self.tree);
        tree.own_bytes = own_bytes;
        let inode = tree.inodes.get_mut(&ino).ok_or(Errno::Badf)?;
        touch(inode, start, now);
        if let Node::File(file) = &mut inode.node {
            match &mut file.content {
                Content::Own(bytes) => bytes.resize(length, 0),
                Content::Job(bytes) if becomes_own => {
                    let mut own = Vec::with_capacity(length);
                    own.extend_from_slice(&bytes[..bytes.len().min(length)]);
                    own.resize(length, 0);
                    file.content = Content::Own(own);
                }
                Content::Job(bytes) => bytes.truncate(length),
            }
        }
        Ok(())
    }

    pub(crate) fn set_times(&mut self, ino: Ino, accessed: Option<u64>, modified: Option<u64>, now: u64) -> Result<()> {
        let start = self.start;
        let inode = Arc::make_mut(&mut self.tree).inodes.get_mut(&ino).ok_or(Errno::Badf)?;
        let times = inode.times.get_or_insert(Times::at(start));
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = now;
        Ok(())
    }

    /// Creates an empty file where `place` leads and nothing is.
    pub(crate) fn create_file(&mut self, place: &Place<'_>, now: u64) -> Result<Ino> {
        let outputs = self.tree.directory(place.parent).is_some_and(|parent| parent.output);
        let file = File { content: Content::Own(Vec::new()), outputs: u64::from(outputs) };
        self.create(place, Node::File(file), now)
    }

    pub(crate) fn create_directory(&mut self, place: &Place<'_>, now: u64) -> Result<Ino> {
        let name = place.name.as_deref().ok_or(Errno::Exist)?;
        let output = self.tree.is_output(place.parent, name);
        let path_len = self.path_len(place) + 1;
        let directory = Directory { entries: BTreeMap::new(), parent: place.parent, path_len, output };
        self.create(place, Node::Directory(directory), now)
    }

    /// Creates a symbolic link to a relative path.
    pub(crate) fn create_symlink(&mut self, place: &Place<'_>, target: &str, now: u64) -> Result<Ino> {
        if target.starts_with('/') {
            return Err(Errno::Notcapable.into());
        }
        if target.is_empty() {
            return Err(Errno::Noent.into());
        }
        if target.len() > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        if place.slash && place.found.is_none() {
            return Err(Errno::Noent.into());
        }
        let own_bytes = self.tree.own_bytes.saturating_add(target.len() as u64);
        if own_bytes > self.max_own_bytes {
            return Err(Errno::Nospc.into());
        }
        let ino = self.create(place, Node::Symlink(target.to_owned()), now)?;
        Arc::make_mut(&mut self.tree).own_bytes = own_bytes;
        Ok(ino)
    }

    fn create(&mut self, place: &Place<'_>, node: Node, now: u64) -> Result<Ino> {
        self.check_free(place)?;
        let tree = Arc::make_mut(&mut self.tree);
        let ino = tree.add(node, Some(Times::at(now)));
        self.enter(place, ino, now);
        Ok(ino)
    }

    /// Whether a new name may be made at `place`.
    fn check_free(&self, place: &Place<'_>) -> Result<()> {
        if place.found.is_some() {
            return Err(Errno::Exist.into());
        }
        if self.tree.get(place.parent)?.links == 0 {
            return Err(Errno::Noent.into());
        }
        if self.tree.names >= self.max_names {
            return Err(Errno::Nospc.into());
        }
        if self.path_len(place) > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        Ok(())
    }

    /// Bytes of the path from the root to `place`.
    fn path_len(&self, place: &Place<'_>) -> usize {
        let parent = self.tree.directory(place.parent).map_or(0, |parent| parent.path_len);
        parent + place.name.as_deref().map_or(0, str::len)
    }

    /// Whether what is moved to `to`, with all names below it, has short enough paths there.
    fn check_moved(&self, ino: Ino, to: &Place<'_>) -> Result<()> {
        let becomes = self.path_len(to);
        let before = self.tree.directory(ino).map_or(0, |directory| directory.path_len);
        let below = self.below(ino).into_iter().filter_map(|ino| self.tree.directory(ino));
        let longest = below.filter_map(|directory| {
            let name = directory.entries.keys().map(String::len).max()?;
            Some(becomes + 1 + (directory.path_len - before) + name)
        });
        let longest = longest.max().unwrap_or(0).max(becomes);
        if longest > MAX_PATH { Err(Errno::Nametoolong.into()) } else { Ok(()) }
    }

    /// Writes a name into its directory.
    fn enter(&mut self, place: &Place<'_>, ino: Ino, now: u64) {
        let start = self.start;
        let tree = Arc::make_mut(&mut self.tree);
        let Some(name) = &place.name else { return };
        tree.names += u64::from(is_counted(place.parent, name));
        if let Some(parent) = tree.directory_mut(place.parent) {
            parent.entries.insert(name.clone().into_owned(), ino);
        }
        if let Some(parent) = tree.inodes.get_mut(&place.parent) {
            touch(parent, start, now);
        }
    }

    /// Removes a name from its directory.
    fn leave(&mut self, place: &Place<'_>, now: u64) {
        let start = self.start;
        let tree = Arc::make_mut(&mut self.tree);
        let Some(name) = place.name.as_deref() else { return };
        tree.names -= u64::from(is_counted(place.parent, name));
        if let Some(parent) = tree.directory_mut(place.parent) {
            parent.entries.remove(name);
        }
        if let Some(parent) = tree.inodes.get_mut(&place.parent) {
            touch(parent, start, now);
        }
    }

    /// Gives a file or symbolic link another name.
    pub(crate) fn link(&mut self, ino: Ino, place: &Place<'_>, now: u64) -> Result<()> {
        if self.tree.directory(ino).is_some() {
            return Err(Errno::Perm.into());
        }
        if place.slash && place.found.is_none() {
            return Err(Errno::Noent.into());
        }
        self.check_free(place)?;
        self.count_output_name(ino, place.parent, true)?;
        self.enter(place, ino, now);
        self.change_links(ino, 1, now);
        Ok(())
    }

    /// Removes a name of a file or symbolic link. What has no name left and is not `open` is gone.
    pub(crate) fn unlink(&mut self, place: &Place<'_>, open: impl Fn(Ino) -> bool, now: u64) -> Result<()> {
        let ino = place.found.ok_or(Errno::Noent)?;
        if place.name.is_none() || self.tree.directory(ino).is_some() {
            return Err(Errno::Isdir.into());
        }
        self.count_output_name(ino, place.parent, false)?;
        self.leave(place, now);
        self.change_links(ino, -1, now);
        self.release(ino, open(ino));
        Ok(())
    }

    pub(crate) fn remove_directory(&mut self, place: &Place<'_>, open: impl Fn(Ino) -> bool, now: u64) -> Result<()> {
        let ino = place.found.ok_or(Errno::Noent)?;
        let directory = self.tree.directory(ino).ok_or(Errno::Notdir)?;
        if place.name.is_none() {
            return Err(Errno::Inval.into());
        }
        if !directory.entries.is_empty() {
            return Err(Errno::Notempty.into());
        }
        self.leave(place, now);
        self.change_links(ino, -1, now);
        self.release(ino, open(ino));
        Ok(())
    }

    /// Frees an inode that has no name and that nobody has open.
    pub(crate) fn release(&mut self, ino: Ino, open: bool) {
        if open || self.tree.inodes.get(&ino).is_none_or(|inode| inode.links > 0) {
            return;
        }
        let tree = Arc::make_mut(&mut self.tree);
        match tree.inodes.remove(&ino).map(|inode| inode.node) {
            Some(Node::File(file)) => tree.own_bytes -= file.content.own_len(),
            Some(Node::Symlink(target)) => tree.own_bytes -= target.len() as u64,
            Some(Node::Directory(_)) | None => {}
        }
    }

    /// How many inodes [`FileSystem::rename`] visits: those below what moves, to count them and to change them, and the way up
    /// from where a directory goes.
    pub(crate) fn rename_cost(&self, from: &Place<'_>, to: &Place<'_>) -> u64 {
        let Some(ino) = from.found else { return 0 };
        let up = if self.tree.directory(ino).is_some() { self.above(to.parent).count() } else { 0 };
        2 * self.below(ino).len() as u64 + up as u64
    }

    /// Moves a name, replacing what may be replaced.
    pub(crate) fn rename(
        &mut self,
        from: &Place<'_>,
        to: &Place<'_>,
        open: impl Fn(Ino) -> bool,
        now: u64,
    ) -> Result<()> {
        let ino = from.found.ok_or(Errno::Noent)?;
        let (Some(_), Some(to_name)) = (&from.name, &to.name) else { return Err(Errno::Busy.into()) };
        let is_directory = self.tree.directory(ino).is_some();
        if to.slash && !is_directory {
            return Err(Errno::Notdir.into());
        }
        if to.found == Some(ino) {
            return Ok(());
        }
        if self.tree.get(to.parent)?.links == 0 {
            return Err(Errno::Noent.into());
        }
        if is_directory && self.is_within(to.parent, ino) {
            return Err(Errno::Inval.into());
        }
        match (to.found, to.found.and_then(|found| self.tree.directory(found))) {
            (None, _) if !is_counted(from.parent, from.name.as_deref().unwrap_or_default()) => {
                // The output directory's own name is not counted; as another name it is.
                self.check_free(to)?;
            }
            (None, _) => {}
            (Some(_), Some(target)) if is_directory => {
                if !target.entries.is_empty() {
                    return Err(Errno::Notempty.into());
                }
            }
            (Some(_), Some(_)) => return Err(Errno::Isdir.into()),
            (Some(_), None) if is_directory => return Err(Errno::Notdir.into()),
            (Some(_), None) => {}
        }
        self.check_moved(ino, to)?;
        let (was, becomes) = match self.tree.directory(ino) {
            Some(directory) => (directory.output, self.tree.is_output(to.parent, to_name)),
            None => (self.tree.is_output_parent(from.parent), self.tree.is_output_parent(to.parent)),
        };
        match to.found {
            Some(target) if self.tree.directory(target).is_some() => self.remove_directory(to, &open, now)?,
            Some(_) => self.unlink(to, &open, now)?,
            None => {}
        }
        if was != becomes {
            self.move_output(ino, becomes)?;
        }
        let path_len = self.path_len(to) + 1;
        self.leave(from, now);
        self.enter(to, ino, now);
        self.move_directories(ino, path_len);
        let start = self.start;
        let tree = Arc::make_mut(&mut self.tree);
        if let Some(directory) = tree.directory_mut(ino) {
            directory.parent = to.parent;
        }
        if let Some(inode) = tree.inodes.get_mut(&ino) {
            inode.times.get_or_insert(Times::at(start)).changed = now;
        }
        Ok(())
    }

    /// The files written below the output directory, sorted by path.
    pub(crate) fn output_files(&self) -> Vec<OutputFile> {
        let mut files = Vec::new();
        let top = self.tree.directory(ROOT).and_then(|root| root.entries.get(OUTPUT_DIRECTORY)).copied();
        let mut open = Vec::from_iter(top.map(|ino| (String::new(), ino)));
        while let Some((path, ino)) = open.pop() {
            let Some(directory) = self.tree.directory(ino) else { continue };
            for (name, &ino) in &directory.entries {
                match self.tree.inodes.get(&ino).map(|inode| &inode.node) {
                    Some(Node::File(file)) => files.push(OutputFile {
                        path: format!("{path}{name}"),
                        content: file.content.bytes().to_vec().into(),
                    }),
                    Some(Node::Directory(_)) => open.push((format!("{path}{name}/"), ino)),
                    Some(Node::Symlink(_)) | None => {}
                }
            }
        }
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Counts a name of a file below the output directory, made or removed in `parent`.
    fn count_output_name(&mut self, ino: Ino, parent: Ino, made: bool) -> Result<()> {
        if !self.tree.is_output_parent(parent) {
            return Ok(());
        }
        let Some(len) = self.tree.file(ino).map(|file| file.content.len()) else { return Ok(()) };
        if made {
            self.output.add(len)?;
        } else {
            self.output.remove(len);
        }
        if let Some(file) = Arc::make_mut(&mut self.tree).file_mut(ino) {
            file.outputs = if made { file.outputs + 1 } else { file.outputs - 1 };
        }
        Ok(())
    }

    /// Counts what moves into or out of the output directory: a file, or a directory with everything below.
    fn move_output(&mut self, ino: Ino, into: bool) -> Result<()> {
        let moved = self.below(ino);
        let files = moved.iter().filter_map(|ino| self.tree.file(*ino));
        let bytes = files.map(|file| file.content.len()).fold(0, u64::saturating_add);
        if into {
            self.output.add(bytes)?;
        } else {
            self.output.remove(bytes);
        }
        let tree = Arc::make_mut(&mut self.tree);
        for ino in moved {
            match tree.inodes.get_mut(&ino).map(|inode| &mut inode.node) {
                Some(Node::File(file)) => file.outputs = if into { file.outputs + 1 } else { file.outputs - 1 },
                Some(Node::Directory(directory)) => directory.output = into,
                Some(Node::Symlink(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Notes the paths of a directory, which now has `path_len`, and of those below it.
    fn move_directories(&mut self, ino: Ino, path_len: usize) {
        let Some(before) = self.tree.directory(ino).map(|directory| directory.path_len) else { return };
        for ino in self.below(ino) {
            if let Some(directory) = Arc::make_mut(&mut self.tree).directory_mut(ino) {
                directory.path_len = directory.path_len - before + path_len;
            }
        }
    }

    /// An inode and, once per name, everything below it.
    fn below(&self, ino: Ino) -> Vec<Ino> {
        let mut found = vec![ino];
        let mut next = 0;
        while let Some(&ino) = found.get(next) {
            next += 1;
            if let Some(directory) = self.tree.directory(ino) {
                found.extend(directory.entries.values());
            }
        }
        found
    }

    /// Whether `directory` is `ancestor` or lies below it.
    fn is_within(&self, directory: Ino, ancestor: Ino) -> bool {
        self.above(directory).any(|above| above == ancestor)
    }

    /// A directory and those that it lies in.
    fn above(&self, directory: Ino) -> impl Iterator<Item = Ino> {
        let parent = |ino: &Ino| self.tree.directory(*ino).filter(|_| *ino != ROOT).map(|directory| directory.parent);
        std::iter::successors(Some(directory), parent)
    }

    fn change_links(&mut self, ino: Ino, by: i64, now: u64) {
        let start = self.start;
        if let Some(inode) = Arc::make_mut(&mut self.tree).inodes.get_mut(&ino) {
            inode.links = inode.links.saturating_add_signed(by);
            inode.times.get_or_insert(Times::at(start)).changed = now;
        }
    }
}

/// All names count against the limit but that of the output directory, which is there from the start.
fn is_counted(parent: Ino, name: &str) -> bool {
    parent != ROOT || name != OUTPUT_DIRECTORY
}

fn touch(inode: &mut Inode, start: u64, now: u64) {
    let times = inode.times.get_or_insert(Times::at(start));
    times.modified = now;
    times.changed = now;
}
