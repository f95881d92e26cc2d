//! WASI preview 1, deterministic: all 46 functions, on virtual clocks, seeded randomness and files in memory.
//!
//! - Clocks start at the job's time (the monotonic one at 0) and advance with fuel used and time slept: see [`clock`].
//! - Randomness is the ChaCha20 keystream of the run's seed.
//! - The one preopened directory is `/`, descriptor 3. It holds the job's files and `out`, whose files are the run's output.
//!   Nothing is below it that the job did not bring or the guest did not make; no path leads out of it.
//! - Standard input is the run's input. Standard output counts as output; standard error is a log, cut at its limit.
//! - There are no sockets, no signals and no other processes.
//!
//! A pointer outside the guest's memory gives `fault`, before anything else has happened. Every byte that a call touches is
//! paid for before the call has an effect.

mod abi;
mod clock;
mod descriptors;
mod fds;
mod filesystem;
mod paths;
mod poll;
mod process;
mod sockets;
mod tree;
mod volume;

pub use volume::{Volume, VolumeError};

use crate::execute::Task;
use crate::host::{Call, Host, Stop, import_number};
use bytes::Bytes;
use chacha20::ChaCha20;
use clock::Clock;
use depx_protocol::{Hash, OutputFile};
use descriptors::Descriptors;
use filesystem::FileSystem;
use std::sync::Arc;
use wasmtime::{Caller, Linker};

/// The name under which guests import these functions.
const MODULE: &str = depx_host_abi::wasi::MODULE;

/// What a guest sees of the world during one run.
pub(crate) struct Wasi {
    setting: Arc<crate::Setting>,
    input: Bytes,
    input_position: usize,
    pub(crate) stdout: Vec<u8>,
    log: Vec<u8>,
    log_len: u64,
    clock: Clock,
    seed: Hash,
    /// Made on first use.
    random: Option<ChaCha20>,
    descriptors: Descriptors,
    files: FileSystem,
}

/// What a run wrote.
pub(crate) struct Written {
    pub(crate) stdout: Vec<u8>,
    pub(crate) files: Vec<OutputFile>,
    pub(crate) log: Bytes,
    pub(crate) log_len: u64,
}

impl Wasi {
    /// The world at the start of `task`, which must be within its limits.
    pub(crate) fn new(task: &Task) -> Result<Self, Stop> {
        let setting = &task.setting;
        let clock = Clock::new(setting.created_ms);
        Ok(Self {
            input: task.input.clone(),
            input_position: 0,
            stdout: Vec::new(),
            log: Vec::new(),
            log_len: 0,
            seed: task.seed,
            random: None,
            descriptors: Descriptors::new(),
            files: FileSystem::new(&setting.files, &setting.limits, clock.start())?,
            clock,
            setting: setting.clone(),
        })
    }

    /// The models that the run may use.
    pub(crate) fn models(&self) -> &[crate::NamedModel] {
        &self.setting.models
    }

    /// What was written, once the guest has ended.
    pub(crate) fn into_written(self) -> Written {
        Written { files: self.files.output_files(), stdout: self.stdout, log: self.log.into(), log_len: self.log_len }
    }
}

/// Links functions that give an error code.
macro_rules! functions {
    ($linker:ident: $($name:ident($($argument:ident: $type:ty),*);)*) => {
        $(let number = import_number(MODULE, stringify!($name))?;
        $linker.func_wrap(MODULE, stringify!($name), move |mut caller: Caller<'_, Host>, $($argument: $type),*| {
            Call::enter(&mut caller, number, &[$($argument as u64),*], |call| call.$name($($argument),*))
        })?;)*
    };
}

/// Makes all functions available to guests.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    functions! { linker:
        args_get(list: u32, text: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(list: u32, text: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(id: u32, resolution: u32);
        clock_time_get(id: u32, precision: u64, time: u32);
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, len: u64);
        fd_close(fd: u32);
        fd_datasync(fd: u32);
        fd_fdstat_get(fd: u32, stat: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, rights: u64, inheriting: u64);
        fd_filestat_get(fd: u32, stat: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, accessed: u64, modified: u64, flags: u32);
        fd_pread(fd: u32, spans: u32, count: u32, offset: u64, read: u32);
        fd_prestat_get(fd: u32, stat: u32);
        fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        fd_pwrite(fd: u32, spans: u32, count: u32, offset: u64, written: u32);
        fd_read(fd: u32, spans: u32, count: u32, read: u32);
        fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, used: u32);
        fd_renumber(from: u32, to: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, position: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, position: u32);
        fd_write(fd: u32, spans: u32, count: u32, written: u32);
        path_create_directory(fd: u32, path: u32, len: u32);
        path_filestat_get(fd: u32, lookup: u32, path: u32, len: u32, stat: u32);
        path_filestat_set_times(fd: u32, lookup: u32, path: u32, len: u32, accessed: u64, modified: u64, flags: u32);
        path_link(fd: u32, lookup: u32, path: u32, len: u32, new_fd: u32, new_path: u32, new_len: u32);
        path_open(fd: u32, lookup: u32, path: u32, len: u32, open: u32, rights: u64, inheriting: u64, flags: u32, opened: u32);
        path_readlink(fd: u32, path: u32, len: u32, buffer: u32, size: u32, used: u32);
        path_remove_directory(fd: u32, path: u32, len: u32);
        path_rename(fd: u32, path: u32, len: u32, new_fd: u32, new_path: u32, new_len: u32);
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        path_unlink_file(fd: u32, path: u32, len: u32);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, happened: u32);
        proc_raise(signal: u32);
        random_get(buffer: u32, len: u32);
        sched_yield();
        sock_accept(fd: u32, flags: u32, accepted: u32);
        sock_recv(fd: u32, spans: u32, count: u32, flags: u32, received: u32, received_flags: u32);
        sock_send(fd: u32, spans: u32, count: u32, flags: u32, sent: u32);
        sock_shutdown(fd: u32, how: u32);
    }
    let number = import_number(MODULE, "proc_exit")?;
    linker.func_wrap(MODULE, "proc_exit", move |mut caller: Caller<'_, Host>, code: u32| {
        Call::enter(&mut caller, number, &[u64::from(code)], |call| call.proc_exit(code)).map(|_| ())
    })?;
    Ok(())
}
