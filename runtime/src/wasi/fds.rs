//! Functions on descriptors.

use super::abi::{APPEND, Errno, FDFLAGS, Filestat, Result, Rights, Times, times_to_set};
use super::descriptors::{Kind, Listing};
use super::tree::{Ino, ROOT};
use crate::host::Call;
use crate::memory::{GuestMemory, Span};
use depx_host_abi::fuel::HostWork;
use std::ops::Bound;

/// Most buffers of one read or write, as `IOV_MAX` is elsewhere.
const MAX_SPANS: u32 = 1024;

/// `whence`.
const SET: u32 = 0;
const CURRENT: u32 = 1;
const END: u32 = 2;

/// Bytes of a `dirent` before its name.
const DIRENT: usize = 24;

impl Call<'_> {
    pub(super) fn fd_advise(&mut self, fd: u32, _offset: u64, _len: u64, advice: u32) -> Result<()> {
        if advice > 5 {
            return Err(Errno::Inval.into());
        }
        self.wasi.descriptors.file(fd, Rights::FD_ADVISE)?;
        Ok(())
    }

    pub(super) fn fd_allocate(&mut self, fd: u32, offset: u64, len: u64) -> Result<()> {
        let ino = self.wasi.descriptors.file(fd, Rights::FD_ALLOCATE)?;
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        if len == 0 {
            return Err(Errno::Inval.into());
        }
        if end > self.wasi.files.stat(ino)?.size {
            self.resize(ino, end)?;
        }
        Ok(())
    }

    pub(super) fn fd_close(&mut self, fd: u32) -> Result<()> {
        let closed = self.wasi.descriptors.close(fd)?;
        self.release(closed.kind.ino());
        Ok(())
    }

    pub(super) fn fd_datasync(&mut self, fd: u32) -> Result<()> {
        self.wasi.descriptors.check(fd, Rights::FD_DATASYNC)?;
        Ok(())
    }

    pub(super) fn fd_sync(&mut self, fd: u32) -> Result<()> {
        self.wasi.descriptors.check(fd, Rights::FD_SYNC)?;
        Ok(())
    }

    pub(super) fn fd_fdstat_get(&mut self, fd: u32, stat: u32) -> Result<()> {
        let descriptor = self.wasi.descriptors.get(fd)?;
        let mut bytes = [0; 24];
        bytes[0] = descriptor.kind.filetype() as u8;
        bytes[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&descriptor.rights.0.to_le_bytes());
        bytes[16..].copy_from_slice(&descriptor.inheriting.0.to_le_bytes());
        self.memory.write(stat, &bytes)?;
        Ok(())
    }

    pub(super) fn fd_fdstat_set_flags(&mut self, fd: u32, flags: u32) -> Result<()> {
        self.wasi.descriptors.check(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
        if flags & !FDFLAGS != 0 {
            return Err(Errno::Inval.into());
        }
        self.wasi.descriptors.get_mut(fd)?.flags = flags as u16;
        Ok(())
    }

    /// Rights can be given up, never gained.
    pub(super) fn fd_fdstat_set_rights(&mut self, fd: u32, rights: u64, inheriting: u64) -> Result<()> {
        let (rights, inheriting) = (Rights(rights), Rights(inheriting));
        let descriptor = self.wasi.descriptors.get_mut(fd)?;
        if !descriptor.rights.contain(rights) || !descriptor.inheriting.contain(inheriting) {
            return Err(Errno::Notcapable.into());
        }
        descriptor.rights = rights;
        descriptor.inheriting = inheriting;
        Ok(())
    }

    pub(super) fn fd_filestat_get(&mut self, fd: u32, stat: u32) -> Result<()> {
        let descriptor = self.wasi.descriptors.check(fd, Rights::FD_FILESTAT_GET)?;
        let filestat = match descriptor.kind.ino() {
            Some(ino) => self.wasi.files.stat(ino)?,
            None => Filestat {
                ino: 0,
                filetype: descriptor.kind.filetype(),
                links: 1,
                size: 0,
                times: Times::at(self.wasi.clock.start()),
            },
        };
        self.memory.write(stat, &filestat.encode())?;
        Ok(())
    }

    pub(super) fn fd_filestat_set_size(&mut self, fd: u32, size: u64) -> Result<()> {
        let ino = self.wasi.descriptors.file(fd, Rights::FD_FILESTAT_SET_SIZE)?;
        self.resize(ino, size)
    }

    pub(super) fn fd_filestat_set_times(&mut self, fd: u32, accessed: u64, modified: u64, flags: u32) -> Result<()> {
        let now = self.now();
        let (accessed, modified) = times_to_set(accessed, modified, flags, now)?;
        let descriptor = self.wasi.descriptors.check(fd, Rights::FD_FILESTAT_SET_TIMES)?;
        let ino = descriptor.kind.ino().ok_or(Errno::Badf)?;
        self.pay_for_change()?;
        self.wasi.files.set_times(ino, accessed, modified, now)
    }

    pub(super) fn fd_read(&mut self, fd: u32, spans: u32, count: u32, read: u32) -> Result<()> {
        let (spans, total) = self.buffers(spans, count)?;
        self.memory.check(read, 4)?;
        let descriptor = self.wasi.descriptors.get(fd)?;
        let copied = match descriptor.kind {
            Kind::Stdin => {
                self.wasi.descriptors.check(fd, Rights::FD_READ)?;
                let input = &self.wasi.input[self.wasi.input_position..];
                let source = &input[..input.len().min(total as usize)];
                self.meter.charge_for(HostWork::CopiedByte, source.len() as u64)?;
                scatter(&mut self.memory, &spans, source)?;
                self.wasi.input_position += source.len();
                source.len() as u32
            }
            Kind::Stdout | Kind::Stderr => return Err(Errno::Badf.into()),
            Kind::Directory { .. } => return Err(Errno::Isdir.into()),
            Kind::File { position, .. } => {
                let copied = self.read_at(fd, &spans, total, position)?;
                self.move_to(fd, position + u64::from(copied))?;
                copied
            }
        };
        self.memory.write_u32(read, copied)?;
        Ok(())
    }

    pub(super) fn fd_pread(&mut self, fd: u32, spans: u32, count: u32, offset: u64, read: u32) -> Result<()> {
        let (spans, total) = self.buffers(spans, count)?;
        self.memory.check(read, 4)?;
        let copied = self.read_at(fd, &spans, total, offset)?;
        self.memory.write_u32(read, copied)?;
        Ok(())
    }

    fn read_at(&mut self, fd: u32, spans: &[Span], total: u32, offset: u64) -> Result<u32> {
        let ino = self.wasi.descriptors.file(fd, Rights::FD_READ)?;
        let source = self.wasi.files.read(ino, offset, u64::from(total))?;
        self.meter.charge_for(HostWork::CopiedByte, source.len() as u64)?;
        scatter(&mut self.memory, spans, source)?;
        Ok(source.len() as u32)
    }

    pub(super) fn fd_write(&mut self, fd: u32, spans: u32, count: u32, written: u32) -> Result<()> {
        let (spans, total) = self.buffers(spans, count)?;
        self.memory.check(written, 4)?;
        let descriptor = self.wasi.descriptors.get(fd)?;
        let append = descriptor.flags & APPEND != 0;
        match descriptor.kind {
            Kind::Stdin => return Err(Errno::Badf.into()),
            Kind::Stdout => {
                self.wasi.descriptors.check(fd, Rights::FD_WRITE)?;
                self.meter.charge_for(HostWork::CopiedByte, u64::from(total))?;
                self.wasi.files.output.add(u64::from(total))?;
                gather(&mut self.memory, &spans, |part| self.wasi.stdout.extend_from_slice(part))?;
            }
            Kind::Stderr => {
                self.wasi.descriptors.check(fd, Rights::FD_WRITE)?;
                self.meter.charge_for(HostWork::CopiedByte, u64::from(total))?;
                self.wasi.log_len = self.wasi.log_len.saturating_add(u64::from(total));
                let limit = usize::try_from(self.wasi.setting.limits.log_bytes).unwrap_or(usize::MAX);
                gather(&mut self.memory, &spans, |part| {
                    let left = limit.saturating_sub(self.wasi.log.len());
                    self.wasi.log.extend_from_slice(&part[..part.len().min(left)]);
                })?;
            }
            Kind::Directory { .. } => return Err(Errno::Isdir.into()),
            Kind::File { ino, position } => {
                let position = if append { self.wasi.files.stat(ino)?.size } else { position };
                self.write_at(fd, &spans, total, position)?;
                self.move_to(fd, position + u64::from(total))?;
            }
        }
        self.memory.write_u32(written, total)?;
        Ok(())
    }

    pub(super) fn fd_pwrite(&mut self, fd: u32, spans: u32, count: u32, offset: u64, written: u32) -> Result<()> {
        let (spans, total) = self.buffers(spans, count)?;
        self.memory.check(written, 4)?;
        // As everywhere: at a position of its own, `append` has no effect.
        self.write_at(fd, &spans, total, offset)?;
        self.memory.write_u32(written, total)?;
        Ok(())
    }

    fn write_at(&mut self, fd: u32, spans: &[Span], total: u32, offset: u64) -> Result<()> {
        let ino = self.wasi.descriptors.file(fd, Rights::FD_WRITE)?;
        if total == 0 {
            return Ok(());
        }
        let now = self.now();
        let len = u64::from(total);
        let touched = self.wasi.files.write_cost(ino, offset, len)?;
        self.meter.charge_for(HostWork::CopiedByte, touched)?;
        self.pay_for_change()?;
        let mut target = self.wasi.files.write(ino, offset, len, now)?;
        gather(&mut self.memory, spans, |part| {
            let (here, rest) = std::mem::take(&mut target).split_at_mut(part.len());
            here.copy_from_slice(part);
            target = rest;
        })
    }

    pub(super) fn fd_seek(&mut self, fd: u32, offset: i64, whence: u32, position: u32) -> Result<()> {
        // Asking where one is needs no right to move.
        let needed = if whence == CURRENT && offset == 0 { Rights::NONE } else { Rights::FD_SEEK };
        let ino = self.wasi.descriptors.file(fd, needed)?;
        let base = match whence {
            SET => 0,
            CURRENT => self.position(fd)?,
            END => self.wasi.files.stat(ino)?.size,
            _ => return Err(Errno::Inval.into()),
        };
        let target = base.checked_add_signed(offset).filter(|target| i64::try_from(*target).is_ok());
        let target = target.ok_or(Errno::Inval)?;
        self.memory.write_u64(position, target)?;
        self.move_to(fd, target)
    }

    pub(super) fn fd_tell(&mut self, fd: u32, position: u32) -> Result<()> {
        self.wasi.descriptors.file(fd, Rights::NONE)?;
        let at = self.position(fd)?;
        self.memory.write_u64(position, at)?;
        Ok(())
    }

    pub(super) fn fd_prestat_get(&mut self, fd: u32, stat: u32) -> Result<()> {
        self.preopened(fd)?;
        // Tag 0, a directory; then the length of its name, `/`.
        self.memory.write(stat, &[0, 0, 0, 0, 1, 0, 0, 0])?;
        Ok(())
    }

    pub(super) fn fd_prestat_dir_name(&mut self, fd: u32, path: u32, len: u32) -> Result<()> {
        self.preopened(fd)?;
        if len == 0 {
            return Err(Errno::Nametoolong.into());
        }
        self.memory.write(path, b"/")?;
        Ok(())
    }

    fn preopened(&self, fd: u32) -> Result<()> {
        match self.wasi.descriptors.get(fd)?.kind {
            Kind::Directory { preopened: true, .. } => Ok(()),
            _ => Err(Errno::Badf.into()),
        }
    }

    pub(super) fn fd_renumber(&mut self, from: u32, to: u32) -> Result<()> {
        let replaced = self.wasi.descriptors.renumber(from, to)?;
        self.release(replaced.and_then(|replaced| replaced.kind.ino()));
        Ok(())
    }

    /// Lists a directory from `cookie` on: `.`, `..`, then its names in bytewise order. The last entry may be cut; a buffer
    /// that is not filled says that there are no more.
    pub(super) fn fd_readdir(&mut self, fd: u32, buffer: u32, len: u32, cookie: u64, used: u32) -> Result<()> {
        let ino = self.wasi.descriptors.directory(fd, Rights::FD_READDIR)?;
        self.memory.check(buffer, len)?;
        self.memory.check(used, 4)?;
        let tree = self.wasi.files.tree();
        let directory = tree.directory(ino).ok_or(Errno::Notdir)?;
        let Kind::Directory { listing, .. } = &self.wasi.descriptors.get(fd)?.kind else {
            return Err(Errno::Notdir.into());
        };
        let (from, skip) = match &listing.after {
            Some(after) if listing.cookie == cookie => (Bound::Excluded(after.as_str()), 0),
            _ => (Bound::Unbounded, cookie.saturating_sub(2)),
        };
        // Skipping walks over the names.
        self.meter.charge_for(HostWork::Entry, skip.min(directory.entries.len() as u64))?;
        let dots = [(".", ino), ("..", if ino == ROOT { ROOT } else { directory.parent })];
        let dots = dots.into_iter().skip(usize::try_from(cookie).unwrap_or(usize::MAX));
        let names = directory.entries.range::<str, _>((from, Bound::Unbounded));
        let names = names.map(|(name, ino)| (name.as_str(), *ino)).skip(usize::try_from(skip).unwrap_or(usize::MAX));

        let mut out = Vec::new();
        let mut listed = Listing { cookie, after: None };
        for (name, ino) in dots.chain(names) {
            let next = listed.cookie.saturating_add(1);
            self.meter.charge_for(HostWork::Entry, 1)?;
            self.meter.charge_for(HostWork::CopiedByte, (DIRENT + name.len()) as u64)?;
            out.extend_from_slice(&next.to_le_bytes());
            out.extend_from_slice(&ino.to_le_bytes());
            out.extend_from_slice(&(name.len() as u32).to_le_bytes());
            out.extend_from_slice(&[tree.filetype(ino) as u8, 0, 0, 0]);
            out.extend_from_slice(name.as_bytes());
            if out.len() > len as usize {
                out.truncate(len as usize);
                break;
            }
            listed = Listing { cookie: next, after: (next > 2).then(|| name.to_owned()) };
        }
        self.memory.write(buffer, &out)?;
        self.memory.write_u32(used, out.len() as u32)?;
        if let Kind::Directory { listing, .. } = &mut self.wasi.descriptors.get_mut(fd)?.kind {
            *listing = listed;
        }
        Ok(())
    }

    /// The buffers of a read or write, and their length together.
    fn buffers(&mut self, spans: u32, count: u32) -> Result<(Vec<Span>, u32)> {
        if count > MAX_SPANS {
            return Err(Errno::Inval.into());
        }
        self.meter.charge_for(HostWork::Entry, u64::from(count))?;
        let spans = self.memory.spans(spans, count)?;
        let total = spans.iter().try_fold(0u32, |total, span| total.checked_add(span.len)).ok_or(Errno::Inval)?;
        Ok((spans, total))
    }

    fn resize(&mut self, ino: Ino, size: u64) -> Result<()> {
        let now = self.now();
        let grown = size.saturating_sub(self.wasi.files.stat(ino)?.size);
        if grown > 0 {
            let touched = self.wasi.files.write_cost(ino, size - grown, grown)?;
            self.meter.charge_for(HostWork::CopiedByte, touched)?;
        }
        self.pay_for_change()?;
        self.wasi.files.resize(ino, size, now)
    }

    /// Before every change of the file system: the first of a run copies the job's tree.
    pub(super) fn pay_for_change(&mut self) -> Result<()> {
        let copied = self.wasi.files.first_change_cost();
        Ok(self.meter.charge_for(HostWork::Entry, copied)?)
    }

    fn position(&self, fd: u32) -> Result<u64> {
        match self.wasi.descriptors.get(fd)?.kind {
            Kind::File { position, .. } => Ok(position),
            _ => Err(Errno::Spipe.into()),
        }
    }

    fn move_to(&mut self, fd: u32, target: u64) -> Result<()> {
        if let Kind::File { position, .. } = &mut self.wasi.descriptors.get_mut(fd)?.kind {
            *position = target;
        }
        Ok(())
    }

    /// After a descriptor was closed.
    fn release(&mut self, ino: Option<Ino>) {
        if let Some(ino) = ino {
            let open = self.wasi.descriptors.refer_to(ino);
            self.wasi.files.release(ino, open);
        }
    }
}

/// Copies `source` into the buffers, in order.
fn scatter(memory: &mut GuestMemory<'_>, spans: &[Span], mut source: &[u8]) -> Result<()> {
    for span in spans {
        let (part, rest) = source.split_at(source.len().min(span.len as usize));
        memory.write(span.at, part)?;
        source = rest;
    }
    Ok(())
}

/// Gives the buffers' contents to `take`, in order.
fn gather(memory: &mut GuestMemory<'_>, spans: &[Span], mut take: impl FnMut(&[u8])) -> Result<()> {
    for span in spans {
        take(memory.read(span.at, span.len)?);
    }
    Ok(())
}
