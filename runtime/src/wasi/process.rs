//! Arguments, environment, randomness, the end of the run.

use super::abi::{Errno, Result};
use crate::host::{Call, Failure, Stop};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use depx_host_abi::fuel::HostWork;

/// The guest's first argument: programs expect to be told their own name.
pub(crate) const PROGRAM: &str = "task";

impl Call<'_> {
    pub(super) fn args_get(&mut self, list: u32, text: u32) -> Result<()> {
        let setting = self.wasi.setting.clone();
        let args = std::iter::once(PROGRAM).chain(setting.args.iter().map(String::as_str));
        self.strings(args.map(|arg| [arg, "", ""]), list, text)
    }

    pub(super) fn args_sizes_get(&mut self, count: u32, size: u32) -> Result<()> {
        let args = &self.wasi.setting.args;
        let bytes = PROGRAM.len() + 1 + args.iter().map(|arg| arg.len() + 1).sum::<usize>();
        let args = args.len() + 1;
        self.sizes(args, bytes, count, size)
    }

    pub(super) fn environ_get(&mut self, list: u32, text: u32) -> Result<()> {
        let setting = self.wasi.setting.clone();
        self.strings(setting.env.iter().map(|(name, value)| [name.as_str(), "=", value.as_str()]), list, text)
    }

    pub(super) fn environ_sizes_get(&mut self, count: u32, size: u32) -> Result<()> {
        let env = &self.wasi.setting.env;
        let bytes = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let variables = env.len();
        self.sizes(variables, bytes, count, size)
    }

    fn sizes(&mut self, strings: usize, bytes: usize, count: u32, size: u32) -> Result<()> {
        // Each was looked at.
        self.meter.charge_for(HostWork::CopiedByte, strings as u64)?;
        let word = |value: usize| u32::try_from(value).map_err(|_| Errno::Overflow);
        self.memory.write_u32(count, word(strings)?)?;
        self.memory.write_u32(size, word(bytes)?)?;
        Ok(())
    }

    /// Writes NUL-terminated strings one after the other at `text`, and their addresses at `list`.
    fn strings<'s>(&mut self, strings: impl Iterator<Item = [&'s str; 3]>, mut list: u32, mut text: u32) -> Result<()> {
        for parts in strings {
            let len = parts.iter().map(|part| part.len()).sum::<usize>() as u64 + 1;
            self.meter.charge_for(HostWork::Entry, 1)?;
            self.meter.charge_for(HostWork::CopiedByte, len)?;
            self.memory.write_u32(list, text)?;
            list = list.checked_add(4).ok_or(Errno::Fault)?;
            for part in parts.map(str::as_bytes).into_iter().chain([&b"\0"[..]]) {
                self.memory.write(text, part)?;
                text = text.checked_add(part.len() as u32).ok_or(Errno::Fault)?;
            }
        }
        Ok(())
    }

    /// The next bytes of the ChaCha20 keystream (RFC 8439, nonce 0, counter from 0) with the run's seed as the key.
    pub(super) fn random_get(&mut self, buffer: u32, len: u32) -> Result<()> {
        self.memory.check(buffer, len)?;
        self.meter.charge_for(HostWork::RandomByte, u64::from(len))?;
        let seed = &self.wasi.seed.0;
        let stream = self.wasi.random.get_or_insert_with(|| ChaCha20::new(seed.into(), &[0; 12].into()));
        let filled = self.memory.fill(buffer, len, |target| {
            target.fill(0);
            stream.try_apply_keystream(target)
        })?;
        // 256 GiB of randomness is all there is.
        Ok(filled.map_err(|_| Errno::Io)?)
    }

    pub(super) fn proc_exit(&mut self, code: u32) -> Result<()> {
        Err(Failure::Stop(Stop::Exit(code)))
    }

    pub(super) fn proc_raise(&mut self, _signal: u32) -> Result<()> {
        Err(Errno::Notsup.into())
    }

    pub(super) fn sched_yield(&mut self) -> Result<()> {
        Ok(())
    }
}
