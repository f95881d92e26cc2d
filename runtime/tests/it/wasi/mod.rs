//! Every WASI function: what it does, and what it says to bad arguments.

mod paths;

use crate::script::Arg::{I, L, P};
use crate::script::{OUTSIDE, Script, longs, words};
use crate::support::{CREATED_MS, Guest};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use depx_host_abi::wasi::IMPORTS;
use depx_protocol::Status;
use std::collections::BTreeMap;

const BADF: u8 = 8;
const BUSY: u8 = 10;
const EXIST: u8 = 20;
const FAULT: u8 = 21;
const FBIG: u8 = 22;
const ILSEQ: u8 = 25;
const INVAL: u8 = 28;
const ISDIR: u8 = 31;
const LOOP: u8 = 32;
const MFILE: u8 = 33;
const NAMETOOLONG: u8 = 37;
const NOENT: u8 = 44;
const NOSPC: u8 = 51;
const NOTDIR: u8 = 54;
const NOTEMPTY: u8 = 55;
const NOTSOCK: u8 = 57;
const NOTSUP: u8 = 58;
const PERM: u8 = 63;
const SPIPE: u8 = 70;
const NOTCAPABLE: u8 = 76;

/// All rights there are.
const ALL: u64 = (1 << 30) - 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;
const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
const APPEND: u32 = 1;

impl Script {
    /// Opens a path below the root with all rights; the number should be `fd`.
    fn open(self, path: &'static str, flags: u32, fd: u32) -> Self {
        let rights = if flags & DIRECTORY == 0 { ALL } else { ALL & !WRITE };
        self.call("path_open", &[I(3), I(1), P(path), I(flags), L(rights), L(ALL), I(0), I(64)], 0)
            .holds(64, words(&[fd]))
    }

    fn open_fails(self, path: &'static str, flags: u32, errno: u8) -> Self {
        self.call("path_open", &[I(3), I(1), P(path), I(flags), L(ALL & !WRITE), L(ALL), I(0), I(64)], errno)
    }

    /// Writes `text` to a descriptor.
    fn write(self, fd: u32, text: &str) -> Self {
        let len = text.len() as u32;
        self.put_text(16, text).call("fd_write", &[I(fd), I(16), I(1), I(24)], 0).holds(24, words(&[len]))
    }

    /// Reads from a descriptor until `text` was read, in one call.
    fn read(self, fd: u32, text: &str) -> Self {
        let len = text.len() as u32;
        self.put(16, &[1024, 4096])
            .call("fd_read", &[I(fd), I(16), I(1), I(24)], 0)
            .holds(24, words(&[len]))
            .holds(1024, text)
    }

    /// A path's type and size.
    fn stat(self, path: &'static str, filetype: u64, size: u64) -> Self {
        self.call("path_filestat_get", &[I(3), I(0), P(path), I(128)], 0)
            .holds(144, longs(&[filetype]))
            .holds(160, longs(&[size]))
    }
}

fn arguments() -> Script {
    Script::new()
        .call("args_sizes_get", &[I(0), I(4)], 0)
        .holds(0, words(&[3, 10]))
        .call("args_get", &[I(0), I(100)], 0)
        .holds(0, words(&[100, 105, 108]))
        .holds(100, "task\0ab\0c\0\0")
        .call("environ_sizes_get", &[I(0), I(4)], 0)
        .holds(0, words(&[2, 11]))
        .call("environ_get", &[I(0), I(100)], 0)
        .holds(0, words(&[100, 104]))
        .holds(100, "A=1\0NAME=b\0")
        .call("args_sizes_get", &[I(OUTSIDE), I(4)], FAULT)
        .call("args_get", &[I(OUTSIDE), I(100)], FAULT)
        .call("args_get", &[I(0), I(OUTSIDE)], FAULT)
        .call("environ_sizes_get", &[I(0), I(OUTSIDE)], FAULT)
        .call("environ_get", &[I(0), I(OUTSIDE)], FAULT)
}

fn with_arguments(mut guest: Guest) -> Guest {
    guest.setting.args = vec!["ab".into(), "c".into()];
    guest.setting.env = vec![("A".into(), "1".into()), ("NAME".into(), "b".into())];
    guest
}

fn clocks() -> Script {
    // An absolute time in the past, and one that is 5 s after the start on the monotonic clock.
    let subscription = |script: Script, at: u32, user: u32, id: u32, timeout: u64, absolute: u32| {
        script.put(at, &[user, 0, 0, 0, id, 0, timeout as u32, (timeout >> 32) as u32, 0, 0, absolute, 0])
    };
    let mut script = Script::new()
        .call("clock_res_get", &[I(0), I(0)], 0)
        .holds(0, longs(&[1]))
        .call("clock_res_get", &[I(4), I(0)], INVAL)
        .call("clock_res_get", &[I(0), I(OUTSIDE)], FAULT)
        .call("clock_time_get", &[I(0), L(0), I(0)], 0)
        .call("clock_time_get", &[I(9), L(0), I(0)], INVAL)
        .call("clock_time_get", &[I(1), L(0), I(OUTSIDE)], FAULT);
    script = subscription(script, 512, 7, 1, 5_000_000_000, 0);
    script = subscription(script, 560, 8, 0, 9_000_000_000, 0);
    script = script
        .call("poll_oneoff", &[I(512), I(1024), I(2), I(0)], 0)
        .holds(0, words(&[1]))
        .holds(1024, longs(&[7, 0]))
        // Of a descriptor that is ready, an absolute time that has passed, and one that has not.
        .put(608, &[9, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    script = subscription(script, 656, 10, 1, 1_000, 1);
    script = subscription(script, 704, 11, 1, u64::MAX, 0);
    script
        .call("poll_oneoff", &[I(608), I(1024), I(3), I(0)], 0)
        .holds(0, words(&[2]))
        .holds(1024, longs(&[9, 2 << 16, 4096, 0]))
        .holds(1056, longs(&[10, 0, 0, 0]))
        // A descriptor that is not open is an event with an error; standard input at its end hangs up.
        .put(608, &[12, 0, 1, 0, 77, 0, 0, 0, 0, 0, 0, 0])
        .put(656, &[13, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .call("poll_oneoff", &[I(608), I(1024), I(2), I(0)], 0)
        .holds(0, words(&[2]))
        .holds(1024, longs(&[12, 8 | 1 << 16, 0, 0]))
        .holds(1056, longs(&[13, 1 << 16, 0, 1]))
        .call("poll_oneoff", &[I(608), I(1024), I(0), I(0)], INVAL)
        .call("poll_oneoff", &[I(608), I(1024), I(1025), I(0)], INVAL)
        .call("poll_oneoff", &[I(OUTSIDE), I(1024), I(1), I(0)], FAULT)
        .call("poll_oneoff", &[I(608), I(OUTSIDE), I(1), I(0)], FAULT)
        .put(616, &[3])
        .call("poll_oneoff", &[I(608), I(1024), I(1), I(0)], INVAL)
        .call("sched_yield", &[], 0)
}

fn randomness() -> Script {
    let mut stream = [0; 48];
    ChaCha20::new(&[7; 32].into(), &[0; 12].into()).apply_keystream(&mut stream);
    Script::new()
        .call("random_get", &[I(100), I(3)], 0)
        .call("random_get", &[I(103), I(0)], 0)
        .call("random_get", &[I(103), I(45)], 0)
        .holds(100, stream)
        .call("random_get", &[I(OUTSIDE), I(3)], FAULT)
        .call("random_get", &[I(0), I(u32::MAX)], FAULT)
}

fn nothing_to_talk_to() -> Script {
    Script::new()
        .call("proc_raise", &[I(9)], NOTSUP)
        .call("sock_accept", &[I(3), I(0), I(0)], NOTSOCK)
        .call("sock_accept", &[I(77), I(0), I(0)], BADF)
        .call("sock_recv", &[I(0), I(0), I(0), I(0), I(0), I(0)], NOTSOCK)
        .call("sock_recv", &[I(77), I(0), I(0), I(0), I(0), I(0)], BADF)
        .call("sock_send", &[I(1), I(0), I(0), I(0), I(0)], NOTSOCK)
        .call("sock_send", &[I(77), I(0), I(0), I(0), I(0)], BADF)
        .call("sock_shutdown", &[I(1), I(0)], NOTSOCK)
        .call("sock_shutdown", &[I(77), I(0)], BADF)
}

fn streams() -> Script {
    Script::new()
        .put(16, &[1024, 2, 1028, 3])
        .call("fd_read", &[I(0), I(16), I(2), I(0)], 0)
        .holds(0, words(&[5]))
        .holds(1024, "in\0\0put")
        .call("fd_read", &[I(0), I(16), I(2), I(0)], 0)
        .holds(0, words(&[0]))
        .write(1, "out")
        .write(2, "log")
        .call("fd_write", &[I(1), I(OUTSIDE), I(1), I(0)], FAULT)
        .call("fd_write", &[I(1), I(16), I(1), I(OUTSIDE)], FAULT)
        .call("fd_write", &[I(1), I(16), I(1025), I(0)], INVAL)
        .call("fd_write", &[I(0), I(16), I(1), I(0)], BADF)
        .call("fd_read", &[I(1), I(16), I(1), I(0)], BADF)
        .call("fd_read", &[I(77), I(16), I(1), I(0)], BADF)
        // One buffer that is within memory, and one that is not.
        .put(16, &[0, 131072, 0, u32::MAX])
        .call("fd_write", &[I(1), I(16), I(2), I(0)], FAULT)
        .call("fd_seek", &[I(0), L(0), I(0), I(0)], SPIPE)
        .call("fd_tell", &[I(1), I(0)], SPIPE)
        .call("fd_fdstat_get", &[I(1), I(128)], 0)
        .holds(128, [0; 8])
        .call("fd_fdstat_get", &[I(77), I(128)], BADF)
        .call("fd_fdstat_get", &[I(1), I(OUTSIDE)], FAULT)
        .call("fd_filestat_get", &[I(0), I(128)], 0)
        .holds(128, longs(&[1, 0, 0, 1, 0]))
        .call("fd_filestat_get", &[I(0), I(OUTSIDE)], FAULT)
        .call("fd_sync", &[I(1)], 0)
        .call("fd_sync", &[I(0)], NOTCAPABLE)
        .call("fd_datasync", &[I(1)], 0)
        .call("fd_datasync", &[I(77)], BADF)
        .call("fd_prestat_get", &[I(3), I(128)], 0)
        .holds(128, words(&[0, 1]))
        .call("fd_prestat_get", &[I(4), I(128)], BADF)
        .call("fd_prestat_get", &[I(3), I(OUTSIDE)], FAULT)
        .call("fd_prestat_dir_name", &[I(3), I(128), I(1)], 0)
        .holds(128, "/")
        .call("fd_prestat_dir_name", &[I(3), I(128), I(0)], NAMETOOLONG)
        .call("fd_prestat_dir_name", &[I(1), I(128), I(1)], BADF)
        .call("fd_close", &[I(0)], 0)
        .call("fd_close", &[I(0)], BADF)
        .call("fd_close", &[I(77)], BADF)
}

fn reading_and_writing() -> Script {
    Script::new()
        .open("data/in.txt", 0, 4)
        .read(4, "hello world")
        .call("fd_tell", &[I(4), I(0)], 0)
        .holds(0, longs(&[11]))
        .call("fd_seek", &[I(4), L(-5i64 as u64), I(2), I(0)], 0)
        .holds(0, longs(&[6]))
        .read(4, "world")
        .call("fd_seek", &[I(4), L(6), I(0), I(0)], 0)
        .call("fd_seek", &[I(4), L(-7i64 as u64), I(1), I(0)], INVAL)
        .call("fd_seek", &[I(4), L(i64::MAX as u64), I(1), I(0)], INVAL)
        .call("fd_seek", &[I(4), L(0), I(3), I(0)], INVAL)
        .call("fd_seek", &[I(4), L(0), I(0), I(OUTSIDE)], FAULT)
        .call("fd_tell", &[I(4), I(OUTSIDE)], FAULT)
        // The job's file is changed for this run alone.
        .write(4, "W")
        .put(16, &[1024, 5])
        .call("fd_pread", &[I(4), I(16), I(1), L(6), I(24)], 0)
        .holds(1024, "World")
        .call("fd_pread", &[I(4), I(16), I(1), L(u64::MAX), I(24)], 0)
        .holds(24, words(&[0]))
        .call("fd_pread", &[I(3), I(16), I(1), L(0), I(24)], ISDIR)
        .call("fd_pread", &[I(0), I(16), I(1), L(0), I(24)], SPIPE)
        .call("fd_pread", &[I(4), I(16), I(1), L(0), I(OUTSIDE)], FAULT)
        .put_text(16, "!")
        .call("fd_pwrite", &[I(4), I(16), I(1), L(13), I(24)], 0)
        .stat("data/in.txt", 4, 14)
        .put(16, &[1024, 4])
        .call("fd_pread", &[I(4), I(16), I(1), L(10), I(24)], 0)
        .holds(1024, b"d\0\0!")
        .call("fd_pwrite", &[I(4), I(16), I(1), L(u64::MAX), I(24)], FBIG)
        .call("fd_pwrite", &[I(4), I(16), I(1), L(1 << 40), I(24)], NOSPC)
        .call("fd_pwrite", &[I(3), I(16), I(1), L(0), I(24)], ISDIR)
        .call("fd_write", &[I(3), I(16), I(1), I(24)], ISDIR)
        .call("fd_read", &[I(3), I(16), I(1), I(24)], ISDIR)
        .call("fd_filestat_set_size", &[I(4), L(5)], 0)
        .stat("data/in.txt", 4, 5)
        .call("fd_filestat_set_size", &[I(4), L(1 << 40)], NOSPC)
        .call("fd_filestat_set_size", &[I(3), L(5)], ISDIR)
        .call("fd_allocate", &[I(4), L(3), L(1)], 0)
        .stat("data/in.txt", 4, 5)
        .call("fd_allocate", &[I(4), L(3), L(7)], 0)
        .stat("data/in.txt", 4, 10)
        .call("fd_allocate", &[I(4), L(0), L(0)], INVAL)
        .call("fd_allocate", &[I(4), L(u64::MAX), L(2)], FBIG)
        .call("fd_allocate", &[I(1), L(0), L(1)], SPIPE)
        .call("fd_advise", &[I(4), L(0), L(9), I(5)], 0)
        .call("fd_advise", &[I(4), L(0), L(9), I(6)], INVAL)
        .call("fd_advise", &[I(77), L(0), L(9), I(0)], BADF)
        // Appending, until the flag is taken away.
        .call("fd_fdstat_set_flags", &[I(4), I(APPEND)], 0)
        .call("fd_seek", &[I(4), L(0), I(0), I(0)], 0)
        .write(4, "++")
        .stat("data/in.txt", 4, 12)
        .call("fd_fdstat_set_flags", &[I(4), I(0)], 0)
        .call("fd_fdstat_set_flags", &[I(4), I(32)], INVAL)
        .call("fd_fdstat_set_flags", &[I(77), I(0)], BADF)
        .call("fd_seek", &[I(4), L(0), I(0), I(0)], 0)
        .write(4, "H")
        .stat("data/in.txt", 4, 12)
        // Rights can be given up and never come back.
        .call("fd_fdstat_set_rights", &[I(4), L(READ), L(0)], 0)
        .call("fd_fdstat_set_rights", &[I(4), L(READ | WRITE), L(0)], NOTCAPABLE)
        .call("fd_fdstat_set_rights", &[I(77), L(0), L(0)], BADF)
        .put_text(16, "x")
        .call("fd_write", &[I(4), I(16), I(1), I(24)], BADF)
        .call("fd_filestat_set_size", &[I(4), L(0)], NOTCAPABLE)
        .call("fd_fdstat_get", &[I(4), I(128)], 0)
        .holds(128, longs(&[4, READ, 0]))
        // Truncated, and still the file that another descriptor has open.
        .open("data/in.txt", TRUNCATE, 5)
        .stat("data/in.txt", 4, 0)
        .call("fd_renumber", &[I(5), I(4)], 0)
        .call("fd_close", &[I(5)], BADF)
        .call("fd_renumber", &[I(4), I(5)], BADF)
        .call("fd_renumber", &[I(4), I(4)], 0)
        .write(4, "new")
        // Removed, and still readable through the descriptor.
        .call("path_unlink_file", &[I(3), P("data/in.txt")], 0)
        .call("path_filestat_get", &[I(3), I(0), P("data/in.txt"), I(128)], NOENT)
        .put(16, &[1024, 9])
        .call("fd_pread", &[I(4), I(16), I(1), L(0), I(24)], 0)
        .holds(1024, "new")
        .call("fd_close", &[I(4)], 0)
}

fn times() -> Script {
    Script::new()
        .open("new", CREATE, 4)
        .call("fd_filestat_set_times", &[I(4), L(1), L(2), I(1 | 4)], 0)
        .call("fd_filestat_get", &[I(4), I(128)], 0)
        .holds(168, longs(&[1, 2]))
        .call("fd_filestat_set_times", &[I(4), L(5), L(6), I(4)], 0)
        .call("fd_filestat_get", &[I(4), I(128)], 0)
        .holds(168, longs(&[1, 6]))
        .call("fd_filestat_set_times", &[I(4), L(1), L(2), I(3)], INVAL)
        .call("fd_filestat_set_times", &[I(4), L(1), L(2), I(16)], INVAL)
        .call("fd_filestat_set_times", &[I(77), L(1), L(2), I(1)], BADF)
        .call("path_filestat_set_times", &[I(3), I(0), P("new"), L(3), L(4), I(1 | 4)], 0)
        .call("path_filestat_get", &[I(3), I(0), P("new"), I(128)], 0)
        .holds(168, longs(&[3, 4]))
        .call("path_filestat_set_times", &[I(3), I(0), P("new"), L(3), L(4), I(12)], INVAL)
        .call("path_filestat_set_times", &[I(3), I(0), P("none"), L(3), L(4), I(1)], NOENT)
        .call("path_filestat_get", &[I(3), I(0), P("new"), I(OUTSIDE)], FAULT)
        // What the job brought has the time of the start, and inodes in the order of paths.
        .call("path_filestat_get", &[I(3), I(0), P("data/in.txt"), I(128)], 0)
        .holds(128, longs(&[1, 6, 4, 1, 11, CREATED_MS * 1_000_000, CREATED_MS * 1_000_000, CREATED_MS * 1_000_000]))
}

fn with_files(mut guest: Guest) -> Guest {
    guest.input = "input".into();
    // Inodes: 1 the root, 2 `out`, 3 `data`, then its files.
    guest.files(&[("data/b", "B"), ("data/a", "A"), ("data/in.txt", "hello world")])
}

#[test]
fn arguments_and_environment() {
    arguments().check(with_arguments);
}

#[test]
fn clocks_and_waiting() {
    clocks().check(|guest| guest);
}

#[test]
fn randomness_is_the_keystream_of_the_seed() {
    randomness().check(|guest| guest);
}

#[test]
fn there_are_no_sockets_and_signals() {
    nothing_to_talk_to().check(|guest| guest);
}

#[test]
fn standard_streams() {
    assert_eq!(streams().check(with_files), b"out");
}

#[test]
fn files_are_read_and_written() {
    reading_and_writing().check(with_files);
}

#[test]
fn files_have_times_and_inodes() {
    times().check(with_files);
}

#[test]
fn no_more_than_1024_descriptors() {
    let mut script = Script::new();
    for fd in 4..1024 {
        script = script.open("data/in.txt", 0, fd);
    }
    script.call("path_open", &[I(3), I(0), P("data"), I(0), L(0), L(0), I(0), I(64)], MFILE).check(with_files);
}

#[test]
fn every_function_is_seen_to_succeed_and_to_fail() {
    let mut covered = BTreeMap::<String, (bool, bool)>::new();
    for script in [
        arguments(),
        clocks(),
        randomness(),
        nothing_to_talk_to(),
        streams(),
        reading_and_writing(),
        times(),
        paths::directories(),
        paths::opening(),
        paths::links(),
        paths::renaming(),
        paths::deep(),
    ] {
        for (name, (good, bad)) in script.covered {
            let all = covered.entry(name).or_default();
            *all = (all.0 || good, all.1 || bad);
        }
    }
    for import in IMPORTS {
        let expected = match import.name {
            "proc_raise" | "sock_accept" | "sock_recv" | "sock_send" | "sock_shutdown" => (false, true),
            "sched_yield" => (true, false),
            // Ends the guest: see `outcomes`.
            "proc_exit" => (false, false),
            _ => (true, true),
        };
        assert_eq!(covered.get(import.name).copied().unwrap_or_default(), expected, "{}", import.name);
    }
}

/// Time is fuel and sleep, nothing else.
#[test]
fn clocks_advance_with_fuel_and_sleep() {
    let guest = Guest::new(
        r#"(module
          (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "_start") (local $i i32)
            (drop (call $time (i32.const 1) (i64.const 0) (i32.const 0)))
            (drop (call $time (i32.const 0) (i64.const 0) (i32.const 8)))
            (local.set $i (i32.const 100000))
            (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
            (drop (call $time (i32.const 1) (i64.const 0) (i32.const 16)))
            (drop (call $time (i32.const 2) (i64.const 0) (i32.const 24)))
            (i32.store (i32.const 116) (i32.const 1))
            (i64.store (i32.const 124) (i64.const 3000000000))
            (drop (call $poll (i32.const 100) (i32.const 200) (i32.const 1) (i32.const 300)))
            (drop (call $time (i32.const 1) (i64.const 0) (i32.const 32)))
            (drop (call $time (i32.const 2) (i64.const 0) (i32.const 40)))
            (i32.store (i32.const 404) (i32.const 48))
            (drop (call $write (i32.const 1) (i32.const 400) (i32.const 1) (i32.const 300)))))"#,
    );
    let outcome = guest.run();
    assert_eq!(outcome.status, Status::Success);
    let times: Vec<u64> = outcome.stdout.chunks(8).map(|time| u64::from_le_bytes(time.try_into().unwrap())).collect();
    let [monotonic, realtime, later, cpu, after_sleep, cpu_after_sleep] = times[..] else { panic!("{times:?}") };
    // A few host calls in, the clocks have barely started.
    assert!(monotonic < 1_000, "{times:?}");
    assert!((1..1_000).contains(&(realtime - CREATED_MS * 1_000_000 - monotonic)), "{times:?}");
    // 100,000 rounds of some operators, two to the nanosecond.
    assert!((100_000..1_000_000).contains(&(later - monotonic)), "{times:?}");
    assert!((1..1_000).contains(&(cpu - later)), "{times:?}");
    assert!((3_000_000_000..3_000_010_000).contains(&(after_sleep - later)), "{times:?}");
    assert!(cpu_after_sleep < 10_000_000, "{times:?}");
    assert!(outcome.fuel_used >= 2 * cpu_after_sleep);
    assert_eq!(guest.run(), outcome);
}
