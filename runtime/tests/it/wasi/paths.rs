//! Directories, paths, links and names.

use super::{
    ALL, BADF, BUSY, CREATE, DIRECTORY, EXCLUSIVE, EXIST, FAULT, ILSEQ, INVAL, ISDIR, LOOP, NAMETOOLONG, NOENT,
    NOTCAPABLE, NOTDIR, NOTEMPTY, PERM, READ, TRUNCATE, WRITE, with_files,
};
use crate::script::Arg::{I, L, P};
use crate::script::{OUTSIDE, Script, longs, words};

pub(super) fn directories() -> Script {
    let entry = |next: u64, ino: u64, filetype: u32, name: &str| {
        [longs(&[next, ino]), words(&[name.len() as u32, filetype]), name.as_bytes().to_vec()].concat()
    };
    let listing = [entry(1, 3, 3, "."), entry(2, 1, 3, ".."), entry(3, 4, 4, "a"), entry(4, 5, 4, "b")].concat();
    let len = listing.len() as u32;
    Script::new()
        .open("data", DIRECTORY, 4)
        .call("fd_readdir", &[I(4), I(1024), I(len), L(0), I(0)], 0)
        .holds(0, words(&[len]))
        .holds(1024, &listing)
        // The rest: one entry of three, and a full buffer again until the last.
        .call("fd_readdir", &[I(4), I(1024), I(512), L(4), I(0)], 0)
        .holds(0, words(&[30]))
        .holds(1024, entry(5, 6, 4, "in.txt"))
        .call("fd_readdir", &[I(4), I(1024), I(26), L(2), I(0)], 0)
        .holds(0, words(&[26]))
        // What was listed is removed; the listing goes on behind it.
        .call("path_unlink_file", &[I(3), P("data/a")], 0)
        .call("fd_readdir", &[I(4), I(1024), I(25), L(3), I(0)], 0)
        .holds(1024, entry(4, 5, 4, "b"))
        .call("fd_readdir", &[I(4), I(1024), I(512), L(77), I(0)], 0)
        .holds(0, words(&[0]))
        .call("fd_readdir", &[I(4), I(1024), I(512), L(u64::MAX), I(0)], 0)
        .call("fd_readdir", &[I(4), I(OUTSIDE), I(512), L(0), I(0)], FAULT)
        .call("fd_readdir", &[I(4), I(1024), I(512), L(0), I(OUTSIDE)], FAULT)
        .call("fd_readdir", &[I(1), I(1024), I(512), L(0), I(0)], NOTDIR)
        .call("path_create_directory", &[I(3), P("made")], 0)
        .call("path_create_directory", &[I(3), P("made")], EXIST)
        .call("path_create_directory", &[I(3), P("none/made")], NOENT)
        .call("path_create_directory", &[I(1), P("made")], NOTDIR)
        .call("path_create_directory", &[I(3), P("made/below/")], 0)
        .call("path_remove_directory", &[I(3), P("made")], NOTEMPTY)
        .call("path_remove_directory", &[I(3), P("data/b")], NOTDIR)
        .call("path_remove_directory", &[I(3), P("made/below/.")], INVAL)
        .call("path_remove_directory", &[I(3), P("made/below")], 0)
        .call("path_remove_directory", &[I(3), P("made/below")], NOENT)
        .call("path_unlink_file", &[I(3), P("made")], ISDIR)
        .call("path_unlink_file", &[I(3), P("none")], NOENT)
        .call("path_unlink_file", &[I(3), P("data/b/")], NOTDIR)
        // A directory that was removed takes no more files.
        .open("made", DIRECTORY, 5)
        .call("path_remove_directory", &[I(3), P("made")], 0)
        .call("path_open", &[I(5), I(0), P("x"), I(CREATE), L(ALL), L(ALL), I(0), I(64)], NOENT)
}

pub(super) fn opening() -> Script {
    let long: &'static str = Box::leak("n".repeat(256).into_boxed_str());
    let endless: &'static str = Box::leak("./".repeat(2049).into_boxed_str());
    Script::new()
        .open_fails("none", 0, NOENT)
        .open_fails("none/", CREATE, ISDIR)
        .open_fails("none", CREATE | DIRECTORY, INVAL)
        .open_fails("data", CREATE, ISDIR)
        .open_fails("data/in.txt", CREATE | EXCLUSIVE, EXIST)
        .open_fails("data/in.txt", DIRECTORY, NOTDIR)
        .open_fails("data/in.txt/", 0, NOTDIR)
        .open_fails("data/in.txt/x", 0, NOTDIR)
        .open_fails("data", TRUNCATE, ISDIR)
        .open_fails("data", 16, INVAL)
        .open_fails("", 0, NOENT)
        .open_fails("/data", 0, NOTCAPABLE)
        .open_fails("..", 0, NOTCAPABLE)
        .open_fails("data/../../x", 0, NOTCAPABLE)
        .open_fails("a\0b", 0, INVAL)
        .open_fails(long, 0, NAMETOOLONG)
        .open_fails(endless, 0, NAMETOOLONG)
        .call("path_open", &[I(3), I(0), P("data"), I(0), L(WRITE), L(0), I(0), I(64)], ISDIR)
        .call("path_open", &[I(3), I(0), P("data"), I(0), L(0), L(0), I(32), I(64)], INVAL)
        .call("path_open", &[I(3), I(0), P("data"), I(0), L(0), L(0), I(0), I(OUTSIDE)], FAULT)
        .call("path_open", &[I(3), I(0), I(OUTSIDE), I(4), I(0), L(0), L(0), I(0), I(64)], FAULT)
        .call("path_open", &[I(1), I(0), P("data"), I(0), L(0), L(0), I(0), I(64)], NOTDIR)
        .call("path_open", &[I(77), I(0), P("data"), I(0), L(0), L(0), I(0), I(64)], BADF)
        .put(512, &[0x00ff_fe80])
        .call("path_open", &[I(3), I(0), I(512), I(3), I(0), L(0), L(0), I(0), I(64)], ILSEQ)
        .open("./data//../data/./in.txt", 0, 4)
        .open("new", CREATE | EXCLUSIVE, 5)
        .call("fd_close", &[I(4)], 0)
        // The lowest free number again; below this directory its root cannot be left.
        .call("path_open", &[I(3), I(0), P("data"), I(DIRECTORY), L(1 << 13), L(READ), I(0), I(64)], 0)
        .holds(64, words(&[4]))
        .call("path_open", &[I(4), I(0), P("../new"), I(0), L(READ), L(0), I(0), I(64)], NOTCAPABLE)
        .call("path_open", &[I(4), I(0), P("x"), I(CREATE), L(READ), L(0), I(0), I(64)], NOTCAPABLE)
        // No more rights than the directory passes on.
        .call("path_open", &[I(4), I(0), P("in.txt"), I(0), L(ALL), L(ALL), I(0), I(64)], 0)
        .call("fd_fdstat_get", &[I(6), I(128)], 0)
        .holds(128, longs(&[4, READ, READ]))
}

pub(super) fn links() -> Script {
    Script::new()
        .call("path_symlink", &[P("data/in.txt"), I(3), P("to-file")], 0)
        .call("path_symlink", &[P("data"), I(3), P("to-dir")], 0)
        .call("path_symlink", &[P("loop"), I(3), P("loop")], 0)
        .call("path_symlink", &[P("../out"), I(3), P("data/up")], 0)
        .call("path_symlink", &[P("../.."), I(3), P("data/escape")], 0)
        .call("path_symlink", &[P("none"), I(3), P("dangling")], 0)
        .call("path_symlink", &[P("x"), I(3), P("dangling")], EXIST)
        .call("path_symlink", &[P("x"), I(3), P("none/")], NOENT)
        .call("path_symlink", &[P("/x"), I(3), P("y")], NOTCAPABLE)
        .call("path_symlink", &[P(""), I(3), P("y")], NOENT)
        .stat("to-file", 7, 11)
        .open("to-file", 0, 4)
        .read(4, "hello world")
        .open("to-dir/in.txt", 0, 5)
        .open("data/up/../data/in.txt", 0, 6)
        .open_fails("data/escape/x", 0, NOTCAPABLE)
        .open_fails("loop", 0, LOOP)
        .open_fails("loop/x", 0, LOOP)
        .call("path_open", &[I(3), I(0), P("to-file"), I(0), L(READ), L(0), I(0), I(64)], LOOP)
        .open_fails("dangling", 0, NOENT)
        // Creating through a link that leads nowhere creates what it names.
        .open("dangling", CREATE, 7)
        .stat("none", 4, 0)
        .call("path_readlink", &[I(3), P("to-file"), I(128), I(4), I(0)], 0)
        .holds(0, words(&[4]))
        .holds(128, "data\0")
        .call("path_readlink", &[I(3), P("data"), I(128), I(4), I(0)], INVAL)
        .call("path_readlink", &[I(3), P("to-file"), I(OUTSIDE), I(4), I(0)], FAULT)
        .call("path_link", &[I(3), I(0), P("data/in.txt"), I(3), P("hard")], 0)
        .call("path_filestat_get", &[I(3), I(0), P("hard"), I(128)], 0)
        .holds(152, longs(&[2, 11]))
        .call("path_link", &[I(3), I(0), P("data"), I(3), P("hard2")], PERM)
        .call("path_link", &[I(3), I(0), P("data/in.txt"), I(3), P("hard")], EXIST)
        .call("path_link", &[I(3), I(0), P("data/in.txt"), I(3), P("hard2/")], NOENT)
        .call("path_link", &[I(3), I(0), P("gone"), I(3), P("hard2")], NOENT)
        .call("path_link", &[I(3), I(0), P("data/in.txt"), I(77), P("hard2")], BADF)
        .call("path_unlink_file", &[I(3), P("data/in.txt")], 0)
        .stat("hard", 4, 11)
        .call("path_unlink_file", &[I(3), P("to-dir")], 0)
}

pub(super) fn renaming() -> Script {
    let rename = |script: Script, from: &'static str, to: &'static str, errno: u8| {
        script.call("path_rename", &[I(3), P(from), I(3), P(to)], errno)
    };
    let mut script = Script::new().open("a", CREATE, 4).write(4, "a").open("b", CREATE, 5);
    for (from, to, errno) in [
        ("none", "x", NOENT),
        ("a", "b", 0),
        ("b", "b", 0),
        ("b", "data", ISDIR),
        ("b", "x/", NOTDIR),
        ("data", "b", NOTDIR),
        ("data", "data/below", INVAL),
        ("data", "data/below/", INVAL),
        (".", "x", BUSY),
        ("b", ".", BUSY),
        ("data", "other", 0),
    ] {
        script = rename(script, from, to, errno);
    }
    script = script
        .stat("b", 4, 1)
        .stat("other/in.txt", 4, 11)
        .call("path_filestat_get", &[I(3), I(0), P("data"), I(128)], NOENT)
        .call("path_create_directory", &[I(3), P("empty")], 0);
    script = rename(script, "other", "empty", 0);
    script = script.call("path_create_directory", &[I(3), P("another")], 0);
    script = rename(script, "another", "empty", NOTEMPTY);
    script
        .open("empty", DIRECTORY, 6)
        .call("path_rename", &[I(3), P("b"), I(6), P("b")], 0)
        .call("path_rename", &[I(3), P("b"), I(1), P("b")], NOTDIR)
        .stat("empty/b", 4, 1)
        .stat("empty/../empty/in.txt", 4, 11)
}

/// Directories in each other, as deep as a path can be long, made and moved one step at a time.
pub(super) fn deep() -> Script {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let name = leak("n".repeat(255));
    let paths: Vec<_> = (1..=16).map(|depth| leak(vec![name; depth].join("/"))).collect();
    let create = |script: Script, path: &&'static str| script.call("path_create_directory", &[I(3), P(path)], 0);
    paths
        .iter()
        .fold(Script::new(), create)
        .open(paths[15], DIRECTORY, 4)
        .call("path_create_directory", &[I(4), P("x")], NAMETOOLONG)
        .call("path_open", &[I(4), I(0), P("x"), I(CREATE), L(ALL), L(ALL), I(0), I(64)], NAMETOOLONG)
        .call("path_link", &[I(3), I(0), P("data/a"), I(4), P("x")], NAMETOOLONG)
        .call("path_rename", &[I(3), P("data/a"), I(4), P("x")], NAMETOOLONG)
        .call("path_rename", &[I(3), P(name), I(3), P(leak(format!("data/{name}")))], NAMETOOLONG)
        // Nearer to the root there is room below again.
        .call("path_rename", &[I(3), P(name), I(3), P("m")], 0)
        .call("path_create_directory", &[I(4), P("x")], 0)
        .call("path_rename", &[I(3), P("m"), I(3), P(name)], NAMETOOLONG)
}

#[test]
fn the_whole_path_is_bounded_however_it_is_walked() {
    deep().check(with_files);
}

#[test]
fn directories_are_made_listed_and_removed() {
    directories().check(with_files);
}

#[test]
fn paths_are_opened_and_never_leave_their_root() {
    opening().check(with_files);
}

#[test]
fn links_are_made_and_followed() {
    links().check(with_files);
}

#[test]
fn names_are_moved() {
    renaming().check(with_files);
}
