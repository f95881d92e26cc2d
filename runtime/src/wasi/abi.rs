//! Numbers and layouts of WASI preview 1, as far as they are used.

use crate::host::{ErrorCode, Failure};
use crate::memory::OutOfBounds;

/// Error codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Errno {
    Badf = 8,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Inval = 28,
    Io = 29,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Notsup = 58,
    Overflow = 61,
    Perm = 63,
    Spipe = 70,
    Busy = 10,
    Notcapable = 76,
}

impl ErrorCode for Errno {
    fn number(self) -> i32 {
        i32::from(self as u16)
    }
}

impl From<OutOfBounds> for Errno {
    fn from(_: OutOfBounds) -> Self {
        Self::Fault
    }
}

impl From<Errno> for Failure<Errno> {
    fn from(errno: Errno) -> Self {
        Self::Code(errno)
    }
}

/// What most functions give.
pub(crate) type Result<T> = std::result::Result<T, Failure<Errno>>;

/// What may be done with a descriptor: a set of the constants here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights(pub(crate) u64);

impl Rights {
    pub(crate) const FD_DATASYNC: Self = Self(1 << 0);
    pub(crate) const FD_READ: Self = Self(1 << 1);
    pub(crate) const FD_SEEK: Self = Self(1 << 2);
    pub(crate) const FD_FDSTAT_SET_FLAGS: Self = Self(1 << 3);
    pub(crate) const FD_SYNC: Self = Self(1 << 4);
    pub(crate) const FD_TELL: Self = Self(1 << 5);
    pub(crate) const FD_WRITE: Self = Self(1 << 6);
    pub(crate) const FD_ADVISE: Self = Self(1 << 7);
    pub(crate) const FD_ALLOCATE: Self = Self(1 << 8);
    pub(crate) const PATH_CREATE_DIRECTORY: Self = Self(1 << 9);
    pub(crate) const PATH_CREATE_FILE: Self = Self(1 << 10);
    pub(crate) const PATH_LINK_SOURCE: Self = Self(1 << 11);
    pub(crate) const PATH_LINK_TARGET: Self = Self(1 << 12);
    pub(crate) const PATH_OPEN: Self = Self(1 << 13);
    pub(crate) const FD_READDIR: Self = Self(1 << 14);
    pub(crate) const PATH_READLINK: Self = Self(1 << 15);
    pub(crate) const PATH_RENAME_SOURCE: Self = Self(1 << 16);
    pub(crate) const PATH_RENAME_TARGET: Self = Self(1 << 17);
    pub(crate) const PATH_FILESTAT_GET: Self = Self(1 << 18);
    pub(crate) const PATH_FILESTAT_SET_SIZE: Self = Self(1 << 19);
    pub(crate) const PATH_FILESTAT_SET_TIMES: Self = Self(1 << 20);
    pub(crate) const FD_FILESTAT_GET: Self = Self(1 << 21);
    pub(crate) const FD_FILESTAT_SET_SIZE: Self = Self(1 << 22);
    pub(crate) const FD_FILESTAT_SET_TIMES: Self = Self(1 << 23);
    pub(crate) const PATH_SYMLINK: Self = Self(1 << 24);
    pub(crate) const PATH_REMOVE_DIRECTORY: Self = Self(1 << 25);
    pub(crate) const PATH_UNLINK_FILE: Self = Self(1 << 26);
    pub(crate) const POLL_FD_READWRITE: Self = Self(1 << 27);

    /// All that a file can have.
    pub(crate) const FILE: Self = Self::all(&[
        Self::FD_DATASYNC,
        Self::FD_READ,
        Self::FD_SEEK,
        Self::FD_FDSTAT_SET_FLAGS,
        Self::FD_SYNC,
        Self::FD_TELL,
        Self::FD_WRITE,
        Self::FD_ADVISE,
        Self::FD_ALLOCATE,
        Self::FD_FILESTAT_GET,
        Self::FD_FILESTAT_SET_SIZE,
        Self::FD_FILESTAT_SET_TIMES,
        Self::POLL_FD_READWRITE,
    ]);

    /// All that a directory can have.
    pub(crate) const DIRECTORY: Self = Self::all(&[
        Self::FD_DATASYNC,
        Self::FD_FDSTAT_SET_FLAGS,
        Self::FD_SYNC,
        Self::PATH_CREATE_DIRECTORY,
        Self::PATH_CREATE_FILE,
        Self::PATH_LINK_SOURCE,
        Self::PATH_LINK_TARGET,
        Self::PATH_OPEN,
        Self::FD_READDIR,
        Self::PATH_READLINK,
        Self::PATH_RENAME_SOURCE,
        Self::PATH_RENAME_TARGET,
        Self::PATH_FILESTAT_GET,
        Self::PATH_FILESTAT_SET_SIZE,
        Self::PATH_FILESTAT_SET_TIMES,
        Self::FD_FILESTAT_GET,
        Self::FD_FILESTAT_SET_TIMES,
        Self::PATH_SYMLINK,
        Self::PATH_REMOVE_DIRECTORY,
        Self::PATH_UNLINK_FILE,
    ]);

    /// Of standard input.
    pub(crate) const INPUT: Self = Self::all(&[Self::FD_READ, Self::FD_FILESTAT_GET, Self::POLL_FD_READWRITE]);

    /// Of standard output and standard error.
    pub(crate) const OUTPUT: Self = Self::all(&[
        Self::FD_WRITE,
        Self::FD_DATASYNC,
        Self::FD_SYNC,
        Self::FD_FILESTAT_GET,
        Self::FD_FDSTAT_SET_FLAGS,
        Self::POLL_FD_READWRITE,
    ]);

    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn all(parts: &[Self]) -> Self {
        let (mut union, mut at) = (0, 0);
        while at < parts.len() {
            union |= parts[at].0;
            at += 1;
        }
        Self(union)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `lookupflags`: follow a symbolic link at the end of the path.
pub(crate) const FOLLOW: u32 = 1;

/// `oflags`.
pub(crate) const CREATE: u32 = 1;
pub(crate) const MUST_BE_DIRECTORY: u32 = 2;
pub(crate) const EXCLUSIVE: u32 = 4;
pub(crate) const TRUNCATE: u32 = 8;

/// `fdflags`.
pub(crate) const APPEND: u16 = 1;
/// All of `fdflags` that are defined: append, dsync, nonblock, rsync, sync.
pub(crate) const FDFLAGS: u32 = 31;

/// `filetype`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Filetype {
    /// What the standard streams are: neither a terminal nor seekable.
    Unknown = 0,
    Directory = 3,
    RegularFile = 4,
    SymbolicLink = 7,
}

/// `filestat`, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Filestat {
    pub(crate) ino: u64,
    pub(crate) filetype: Filetype,
    pub(crate) links: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

/// Unix times in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    pub(crate) accessed: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl Times {
    pub(crate) const fn at(now: u64) -> Self {
        Self { accessed: now, modified: now, changed: now }
    }
}

impl Filestat {
    pub(crate) fn encode(&self) -> [u8; 64] {
        /// There is one device.
        const DEVICE: u64 = 1;
        let words = [
            DEVICE,
            self.ino,
            u64::from(self.filetype as u8),
            self.links,
            self.size,
            self.times.accessed,
            self.times.modified,
            self.times.changed,
        ];
        let mut bytes = [0; 64];
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// `fstflags`: which of the two times to set, and to what.
pub(crate) fn times_to_set(accessed: u64, modified: u64, flags: u32, now: u64) -> Result<(Option<u64>, Option<u64>)> {
    let choose = |flags: u32, given: u64| match flags & 3 {
        0 => Ok(None),
        1 => Ok(Some(given)),
        2 => Ok(Some(now)),
        _ => Err(Errno::Inval),
    };
    if flags > 15 {
        return Err(Errno::Inval.into());
    }
    Ok((choose(flags, accessed)?, choose(flags >> 2, modified)?))
}
