//! Loops of one host call each, until fuel ends: what does a unit take in the worst?

use crate::guests::wasi;

/// A host call that is made for ever.
pub struct Storm {
    /// What is called, and with what.
    pub name: &'static str,
    /// What happens before.
    before: &'static str,
    /// The call, within a loop.
    call: &'static str,
}

impl Storm {
    /// The module.
    pub fn module(&self) -> Vec<u8> {
        let Self { before, call, .. } = self;
        wasi(DATA, &format!("{before} (loop (drop {call}) (br 0))"))
    }
}

/// Names of one letter are at 3072, longer ones and lists at 8192.
const DATA: &str = r#"
    (data (i32.const 3072) "fdlm")
    (func $open (param $name i32) (param $length i32) (param $create i32) (result i32)
        (drop (call $path_open (i32.const 3) (i32.const 1) (local.get $name) (local.get $length) (local.get $create)
            (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 64)))
        (i32.load (i32.const 64)))
    (func $file (drop (call $open (i32.const 3072) (i32.const 1) (i32.const 1))))
    (func $fill (local $n i32)
        (loop
            (i32.store (i32.const 3200) (i32.add (i32.const 0x41414141) (local.get $n)))
            (drop (call $path_symlink (i32.const 3072) (i32.const 1) (i32.const 3) (i32.const 3200) (i32.const 4)))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4000)))))
    (func $chain (local $n i32)
        (i32.store8 (i32.const 3300) (i32.const 65))
        (drop (call $path_create_directory (i32.const 3) (i32.const 3300) (i32.const 1)))
        (loop
            (i32.store8 (i32.const 3301) (i32.add (i32.const 66) (local.get $n)))
            (drop (call $path_symlink (i32.const 3300) (i32.const 1) (i32.const 3) (i32.const 3301) (i32.const 1)))
            (i32.store8 (i32.const 3300) (i32.load8_u (i32.const 3301)))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 39)))))
    (func $dots (local $n i32)
        (loop
            (i32.store16 (i32.add (i32.const 8192) (i32.mul (i32.const 2) (local.get $n))) (i32.const 0x2f2e))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2047))))
        (i32.store8 (i32.const 12286) (i32.const 100))
        (drop (call $path_symlink (i32.const 8192) (i32.const 4095) (i32.const 3) (i32.const 3074) (i32.const 1))))
    (func $deep (local $n i32) (local $at i32)
        (local.set $at (i32.const 3))
        (loop
            (drop (call $path_create_directory (local.get $at) (i32.const 3073) (i32.const 1)))
            (drop (call $path_open (local.get $at) (i32.const 0) (i32.const 3073) (i32.const 1) (i32.const 2)
                (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 64)))
            (local.set $at (i32.load (i32.const 64)))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000)))))
    (func $subscriptions (local $n i32)
        (loop
            (i32.store (i32.add (i32.const 8208) (i32.mul (i32.const 48) (local.get $n))) (i32.const 1))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500)))))
    (func $buffers (local $n i32)
        (loop
            (i32.store (i32.add (i32.const 8192) (i32.mul (i32.const 8) (local.get $n))) (i32.const 2048))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1024)))))"#;

/// Every storm.
pub const STORMS: &[Storm] = &[
    storm("args_get", "", "(call $args_get (i32.const 0) (i32.const 64))"),
    storm("clock_time_get", "", "(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0))"),
    storm("sched_yield", "", "(call $sched_yield)"),
    storm("fd_write of nothing", "", "(call $fd_write (i32.const 1) (i32.const 1024) (i32.const 0) (i32.const 8))"),
    storm("fd_write to the log", "", "(call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 8))"),
    storm(
        "fd_write of 2^32-1 buffers",
        "",
        "(call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 8))",
    ),
    storm(
        "fd_write of 1,024 buffers of nothing",
        "(call $buffers)",
        "(call $fd_write (i32.const 2) (i32.const 8192) (i32.const 1024) (i32.const 8))",
    ),
    storm(
        "fd_pwrite to a file",
        "(call $file)",
        "(call $fd_pwrite (i32.const 4) (i32.const 1024) (i32.const 1) (i64.const 0) (i32.const 8))",
    ),
    storm(
        "fd_pwrite at the end of a large file",
        "(call $file)",
        "(call $fd_pwrite (i32.const 4) (i32.const 1024) (i32.const 1) (i64.const 8000000) (i32.const 8))",
    ),
    storm(
        "fd_filestat_set_size, up and down",
        "(call $file)",
        "(i32.or (call $fd_filestat_set_size (i32.const 4) (i64.const 8000000)) (call $fd_filestat_set_size (i32.const 4) (i64.const 0)))",
    ),
    storm(
        "fd_allocate",
        "(call $file)",
        "(i32.or (call $fd_allocate (i32.const 4) (i64.const 0) (i64.const 1000000)) (call $fd_filestat_set_size (i32.const 4) (i64.const 0)))",
    ),
    storm("fd_read at the end", "", "(call $fd_read (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 8))"),
    storm("fd_seek", "(call $file)", "(call $fd_seek (i32.const 4) (i64.const 5) (i32.const 0) (i32.const 8))"),
    storm("fd_renumber", "(call $file) (call $file)", "(call $fd_renumber (i32.const 4) (i32.const 5))"),
    storm(
        "fd_readdir of 4,000 names",
        "(call $fill)",
        "(call $fd_readdir (i32.const 3) (i32.const 8192) (i32.const 50000) (i64.const 0) (i32.const 8))",
    ),
    storm(
        "fd_readdir of one of 4,000 names",
        "(call $fill)",
        "(call $fd_readdir (i32.const 3) (i32.const 8192) (i32.const 30) (i64.const 3999) (i32.const 8))",
    ),
    storm("random_get of 4 KiB", "", "(call $random_get (i32.const 8192) (i32.const 4096))"),
    storm("random_get of 4 GiB", "", "(call $random_get (i32.const 0) (i32.const -1))"),
    storm(
        "poll_oneoff of 500 files",
        "(call $subscriptions)",
        "(call $poll_oneoff (i32.const 8192) (i32.const 33000) (i32.const 500) (i32.const 8))",
    ),
    storm(
        "poll_oneoff of 100,000",
        "",
        "(call $poll_oneoff (i32.const 8192) (i32.const 8192) (i32.const 100000) (i32.const 8))",
    ),
    storm(
        "path_open and fd_close",
        "(call $file)",
        "(call $fd_close (call $open (i32.const 3072) (i32.const 1) (i32.const 1)))",
    ),
    storm(
        "path_open until there are no descriptors",
        "(call $file)",
        "(call $open (i32.const 3072) (i32.const 1) (i32.const 1))",
    ),
    storm("path_open of a path of 64 KB", "", "(call $open (i32.const 0) (i32.const 65000) (i32.const 0))"),
    storm(
        "path_open and path_unlink_file",
        "",
        "(i32.or (call $fd_close (call $open (i32.const 3072) (i32.const 1) (i32.const 1))) (call $path_unlink_file (i32.const 3) (i32.const 3072) (i32.const 1)))",
    ),
    storm(
        "path_filestat_get of nothing",
        "",
        "(call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 3072) (i32.const 1) (i32.const 128))",
    ),
    storm(
        "path_filestat_get through 40 links",
        "(call $chain)",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 3300) (i32.const 1) (i32.const 128))",
    ),
    storm(
        "path_filestat_get through a link of 4,095 bytes",
        "(call $dots)",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 3074) (i32.const 1) (i32.const 128))",
    ),
    storm(
        "path_symlink that exists",
        "(call $dots)",
        "(call $path_symlink (i32.const 8192) (i32.const 4095) (i32.const 3) (i32.const 3074) (i32.const 1))",
    ),
    storm(
        "path_create_directory and path_remove_directory",
        "",
        "(i32.or (call $path_create_directory (i32.const 3) (i32.const 3073) (i32.const 1)) (call $path_remove_directory (i32.const 3) (i32.const 3073) (i32.const 1)))",
    ),
    storm(
        "path_rename into a directory 1,000 deep",
        "(call $deep)",
        "(call $path_rename (i32.const 3) (i32.const 3073) (i32.const 1) (i32.load (i32.const 64)) (i32.const 3075) (i32.const 1))",
    ),
    storm("load_by_name of 64 KB", "", "(call $load_by_name (i32.const 0) (i32.const 65000) (i32.const 0))"),
    storm("everything that is no call", "", "(i32.load (i32.const 0))"),
];

const fn storm(name: &'static str, before: &'static str, call: &'static str) -> Storm {
    Storm { name, before, call }
}
