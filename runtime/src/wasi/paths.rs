//! Functions on paths, each relative to an open directory that it cannot leave.

use super::abi::{
    CREATE, EXCLUSIVE, Errno, FDFLAGS, FOLLOW, Filetype, MUST_BE_DIRECTORY, Result, Rights, TRUNCATE, times_to_set,
};
use super::descriptors::{Descriptor, Kind, Listing};
use super::tree::{Ino, MAX_PATH, Node, Place, Walk};
use crate::host::Call;
use depx_host_abi::fuel::HostWork;

impl Call<'_> {
    pub(super) fn path_create_directory(&mut self, fd: u32, path: u32, len: u32) -> Result<()> {
        let base = self.wasi.descriptors.directory(fd, Rights::PATH_CREATE_DIRECTORY)?;
        let path = self.path(path, len)?;
        let now = self.now();
        let place = self.place(base, &path, false)?;
        self.pay_for_change()?;
        self.wasi.files.create_directory(&place, now)?;
        Ok(())
    }

    pub(super) fn path_filestat_get(&mut self, fd: u32, lookup: u32, path: u32, len: u32, stat: u32) -> Result<()> {
        let ino = self.find(fd, Rights::PATH_FILESTAT_GET, lookup, path, len)?;
        let filestat = self.wasi.files.stat(ino)?;
        self.memory.write(stat, &filestat.encode())?;
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_filestat_set_times(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<()> {
        let now = self.now();
        let (accessed, modified) = times_to_set(accessed, modified, flags, now)?;
        let ino = self.find(fd, Rights::PATH_FILESTAT_SET_TIMES, lookup, path, len)?;
        self.pay_for_change()?;
        self.wasi.files.set_times(ino, accessed, modified, now)
    }

    #[allow(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_link(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        new_fd: u32,
        new_path: u32,
        new_len: u32,
    ) -> Result<()> {
        let new_base = self.wasi.descriptors.directory(new_fd, Rights::PATH_LINK_TARGET)?;
        let ino = self.find(fd, Rights::PATH_LINK_SOURCE, lookup, path, len)?;
        let new_path = self.path(new_path, new_len)?;
        let now = self.now();
        let place = self.place(new_base, &new_path, false)?;
        self.pay_for_change()?;
        self.wasi.files.link(ino, &place, now)
    }

    #[allow(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_open(
        &mut self,
        fd: u32,
        lookup: u32,
        path: u32,
        len: u32,
        open: u32,
        rights: u64,
        inheriting: u64,
        flags: u32,
        opened: u32,
    ) -> Result<()> {
        self.memory.check(opened, 4)?;
        if open & !(CREATE | MUST_BE_DIRECTORY | EXCLUSIVE | TRUNCATE) != 0 || flags & !FDFLAGS != 0 {
            return Err(Errno::Inval.into());
        }
        let needed = Rights::all(&[
            Rights::PATH_OPEN,
            if open & CREATE != 0 { Rights::PATH_CREATE_FILE } else { Rights::NONE },
            if open & TRUNCATE != 0 { Rights::PATH_FILESTAT_SET_SIZE } else { Rights::NONE },
        ]);
        let base = self.wasi.descriptors.directory(fd, needed)?;
        let may_give = self.wasi.descriptors.get(fd)?.inheriting;
        let path = self.path(path, len)?;
        let rights = Rights(rights).and(may_give);
        let ino = self.open_or_create(base, &path, lookup, open, rights)?;
        // What was asked for and can be given; asking for more is no error, as no client expects it to be.
        let (kind, allowed) = match self.wasi.files.tree().filetype(ino) {
            Filetype::Directory => {
                (Kind::Directory { ino, preopened: false, listing: Listing::default() }, Rights::DIRECTORY)
            }
            _ => (Kind::File { ino, position: 0 }, Rights::FILE),
        };
        let descriptor = Descriptor {
            kind,
            rights: rights.and(allowed),
            inheriting: Rights(inheriting).and(may_give),
            flags: flags as u16,
        };
        let number = self.wasi.descriptors.open(descriptor)?;
        self.memory.write_u32(opened, number)?;
        Ok(())
    }

    fn open_or_create(&mut self, base: Ino, path: &str, lookup: u32, open: u32, rights: Rights) -> Result<Ino> {
        let exclusive = open & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE;
        let now = self.now();
        let place = self.place(base, path, lookup & FOLLOW != 0 && !exclusive)?;
        let Some(ino) = place.found else {
            return if open & CREATE == 0 {
                Err(Errno::Noent.into())
            } else if open & MUST_BE_DIRECTORY != 0 {
                Err(Errno::Inval.into())
            } else if place.slash {
                Err(Errno::Isdir.into())
            } else {
                self.pay_for_change()?;
                self.wasi.files.create_file(&place, now)
            };
        };
        if exclusive {
            return Err(Errno::Exist.into());
        }
        match self.wasi.files.tree().get(ino)?.node {
            Node::Symlink(_) => Err(Errno::Loop.into()),
            Node::Directory(_) if open & (TRUNCATE | CREATE) != 0 || rights.contain(Rights::FD_WRITE) => {
                Err(Errno::Isdir.into())
            }
            Node::Directory(_) => Ok(ino),
            Node::File(_) if open & MUST_BE_DIRECTORY != 0 => Err(Errno::Notdir.into()),
            Node::File(_) => {
                if open & TRUNCATE != 0 {
                    self.pay_for_change()?;
                    self.wasi.files.resize(ino, 0, now)?;
                }
                Ok(ino)
            }
        }
    }

    pub(super) fn path_readlink(
        &mut self,
        fd: u32,
        path: u32,
        len: u32,
        buffer: u32,
        size: u32,
        used: u32,
    ) -> Result<()> {
        self.memory.check(used, 4)?;
        let ino = self.find(fd, Rights::PATH_READLINK, 0, path, len)?;
        let Node::Symlink(target) = &self.wasi.files.tree().get(ino)?.node else { return Err(Errno::Inval.into()) };
        let part = &target.as_bytes()[..target.len().min(size as usize)];
        self.meter.charge_for(HostWork::CopiedByte, part.len() as u64)?;
        self.memory.write(buffer, part)?;
        self.memory.write_u32(used, part.len() as u32)?;
        Ok(())
    }

    pub(super) fn path_remove_directory(&mut self, fd: u32, path: u32, len: u32) -> Result<()> {
        let base = self.wasi.descriptors.directory(fd, Rights::PATH_REMOVE_DIRECTORY)?;
        let path = self.path(path, len)?;
        let now = self.now();
        let place = self.place(base, &path, false)?;
        self.pay_for_change()?;
        let descriptors = &self.wasi.descriptors;
        self.wasi.files.remove_directory(&place, |ino| descriptors.refer_to(ino), now)
    }

    pub(super) fn path_rename(
        &mut self,
        fd: u32,
        path: u32,
        len: u32,
        new_fd: u32,
        new_path: u32,
        new_len: u32,
    ) -> Result<()> {
        let base = self.wasi.descriptors.directory(fd, Rights::PATH_RENAME_SOURCE)?;
        let new_base = self.wasi.descriptors.directory(new_fd, Rights::PATH_RENAME_TARGET)?;
        let path = self.path(path, len)?;
        let new_path = self.path(new_path, new_len)?;
        let now = self.now();
        let from = self.place(base, &path, false)?;
        let to = self.place(new_base, &new_path, false)?;
        self.meter.charge_for(HostWork::Entry, self.wasi.files.rename_cost(&from, &to))?;
        self.pay_for_change()?;
        let descriptors = &self.wasi.descriptors;
        self.wasi.files.rename(&from, &to, |ino| descriptors.refer_to(ino), now)
    }

    pub(super) fn path_symlink(&mut self, target: u32, target_len: u32, fd: u32, path: u32, len: u32) -> Result<()> {
        let base = self.wasi.descriptors.directory(fd, Rights::PATH_SYMLINK)?;
        let target = self.path(target, target_len)?;
        let path = self.path(path, len)?;
        let now = self.now();
        let place = self.place(base, &path, false)?;
        self.pay_for_change()?;
        self.wasi.files.create_symlink(&place, &target, now)?;
        Ok(())
    }

    pub(super) fn path_unlink_file(&mut self, fd: u32, path: u32, len: u32) -> Result<()> {
        let base = self.wasi.descriptors.directory(fd, Rights::PATH_UNLINK_FILE)?;
        let path = self.path(path, len)?;
        let now = self.now();
        let place = self.place(base, &path, false)?;
        self.pay_for_change()?;
        let descriptors = &self.wasi.descriptors;
        self.wasi.files.unlink(&place, |ino| descriptors.refer_to(ino), now)
    }

    /// What a path leads to.
    fn find(&mut self, fd: u32, rights: Rights, lookup: u32, path: u32, len: u32) -> Result<Ino> {
        let base = self.wasi.descriptors.directory(fd, rights)?;
        let path = self.path(path, len)?;
        let place = self.place(base, &path, lookup & FOLLOW != 0)?;
        Ok(place.found.ok_or(Errno::Noent)?)
    }

    /// Where a path leads. Only the walk tells how long the way is, links and all; it is paid for before anything is done there.
    fn place<'p>(&mut self, base: Ino, path: &'p str, follow: bool) -> Result<Place<'p>> {
        let mut walk = Walk::default();
        let place = self.wasi.files.tree().resolve(base, path, follow, &mut walk);
        self.meter.charge_for(HostWork::PathByte, walk.expanded as u64)?;
        self.meter.charge_for(HostWork::Name, walk.names as u64)?;
        Ok(place?)
    }

    /// A path from the guest's memory.
    fn path(&mut self, path: u32, len: u32) -> Result<String> {
        self.memory.check(path, len)?;
        if len as usize > MAX_PATH {
            return Err(Errno::Nametoolong.into());
        }
        self.meter.charge_for(HostWork::PathByte, u64::from(len))?;
        let bytes = self.memory.read(path, len)?;
        let path = std::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)?;
        if path.contains('\0') {
            return Err(Errno::Inval.into());
        }
        Ok(path.to_owned())
    }
}
