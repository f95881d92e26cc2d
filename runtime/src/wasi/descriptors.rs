//! Open files: what each descriptor refers to and may do.

use super::abi::{Errno, Filetype, Rights};
use super::tree::{Ino, ROOT};
use std::collections::{BTreeMap, BTreeSet};

/// Most descriptors open at a time, as is usual.
const MAX_OPEN: usize = 1024;

#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) kind: Kind,
    pub(crate) rights: Rights,
    pub(crate) inheriting: Rights,
    /// `fdflags` as given; only `append` has an effect.
    pub(crate) flags: u16,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Stdin,
    Stdout,
    Stderr,
    File { ino: Ino, position: u64 },
    Directory { ino: Ino, preopened: bool, listing: Listing },
}

/// Where the last listing of a directory ended, so that the next one goes on behind the same name whatever was removed in
/// between.
#[derive(Clone, Default, Debug)]
pub(crate) struct Listing {
    pub(crate) cookie: u64,
    pub(crate) after: Option<String>,
}

impl Kind {
    pub(crate) fn ino(&self) -> Option<Ino> {
        match self {
            Self::File { ino, .. } | Self::Directory { ino, .. } => Some(*ino),
            Self::Stdin | Self::Stdout | Self::Stderr => None,
        }
    }

    pub(crate) fn filetype(&self) -> Filetype {
        match self {
            Self::File { .. } => Filetype::RegularFile,
            Self::Directory { .. } => Filetype::Directory,
            Self::Stdin | Self::Stdout | Self::Stderr => Filetype::Unknown,
        }
    }
}

/// The lowest free number is given first.
#[derive(Debug)]
pub(crate) struct Descriptors {
    open: Vec<Option<Descriptor>>,
    /// Numbers below the length of `open` that are free.
    free: BTreeSet<u32>,
    /// How many refer to each inode but the root, which cannot go away.
    referring: BTreeMap<Ino, u32>,
}

impl Descriptors {
    /// The standard streams, and the root directory as 3.
    pub(crate) fn new() -> Self {
        let stream = |kind, rights| Some(Descriptor { kind, rights, inheriting: Rights::NONE, flags: 0 });
        let root = Kind::Directory { ino: ROOT, preopened: true, listing: Listing::default() };
        let open = vec![
            stream(Kind::Stdin, Rights::INPUT),
            stream(Kind::Stdout, Rights::OUTPUT),
            stream(Kind::Stderr, Rights::OUTPUT),
            Some(Descriptor {
                kind: root,
                rights: Rights::DIRECTORY,
                inheriting: Rights::all(&[Rights::DIRECTORY, Rights::FILE]),
                flags: 0,
            }),
        ];
        Self { open, free: BTreeSet::new(), referring: BTreeMap::new() }
    }

    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.open.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.open.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    pub(crate) fn open(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let number = self.free.first().copied().unwrap_or(self.open.len() as u32);
        if number as usize >= MAX_OPEN {
            return Err(Errno::Mfile);
        }
        if !self.free.remove(&number) {
            self.open.push(None);
        }
        self.count(descriptor.kind.ino(), true);
        self.open[number as usize] = Some(descriptor);
        Ok(number)
    }

    pub(crate) fn close(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let closed = self.open.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)?;
        self.free.insert(fd);
        self.count(closed.kind.ino(), false);
        Ok(closed)
    }

    /// Moves `from` to `to`, both open, and gives what `to` was.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(to)?;
        self.get(from)?;
        if from == to {
            return Ok(None);
        }
        let moved = self.open[from as usize].take();
        self.free.insert(from);
        let replaced = std::mem::replace(&mut self.open[to as usize], moved);
        self.count(replaced.as_ref().and_then(|replaced| replaced.kind.ino()), false);
        Ok(replaced)
    }

    /// Whether any descriptor refers to an inode.
    pub(crate) fn refer_to(&self, ino: Ino) -> bool {
        self.referring.contains_key(&ino)
    }

    fn count(&mut self, ino: Option<Ino>, opened: bool) {
        let Some(ino) = ino.filter(|ino| *ino != ROOT) else { return };
        let count = self.referring.entry(ino).or_default();
        *count = if opened { *count + 1 } else { *count - 1 };
        if *count == 0 {
            self.referring.remove(&ino);
        }
    }

    /// The inode of a directory with all of `rights`.
    pub(crate) fn directory(&self, fd: u32, rights: Rights) -> Result<Ino, Errno> {
        let descriptor = self.get(fd)?;
        let Kind::Directory { ino, .. } = descriptor.kind else { return Err(Errno::Notdir) };
        if descriptor.rights.contain(rights) { Ok(ino) } else { Err(Errno::Notcapable) }
    }

    /// The inode of a file with all of `rights`; without them, reading and writing is as wrong as on a closed descriptor.
    pub(crate) fn file(&self, fd: u32, rights: Rights) -> Result<Ino, Errno> {
        let descriptor = self.get(fd)?;
        match descriptor.kind {
            Kind::Directory { .. } => Err(Errno::Isdir),
            Kind::Stdin | Kind::Stdout | Kind::Stderr => Err(Errno::Spipe),
            Kind::File { .. } if !descriptor.rights.contain(rights) => {
                let badf = Rights::all(&[Rights::FD_READ, Rights::FD_WRITE]);
                Err(if rights.and(badf) == Rights::NONE { Errno::Notcapable } else { Errno::Badf })
            }
            Kind::File { ino, .. } => Ok(ino),
        }
    }

    /// Whether a descriptor is open and has all of `rights`.
    pub(crate) fn check(&self, fd: u32, rights: Rights) -> Result<&Descriptor, Errno> {
        let descriptor = self.get(fd)?;
        if descriptor.rights.contain(rights) { Ok(descriptor) } else { Err(Errno::Notcapable) }
    }
}
