//! What host calls cost: functions of WASI and wasi-nn in their cheap uses and in those that make the host work hardest.

use super::program::{ARENA, Form};

/// Where a form keeps the first path, the second, a list of buffers or subscriptions, and what is read and written.
const PATH: u32 = ARENA;
const OTHER: u32 = ARENA + (8 << 10);
const LIST: u32 = ARENA + (64 << 10);
const BUFFER: u32 = ARENA + (256 << 10);

/// Every form of every kind of work.
pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    simple(&mut forms);
    bytes(&mut forms);
    lists(&mut forms);
    descriptors(&mut forms);
    paths(&mut forms);
    trees(&mut forms);
    forms
}

/// A call that must succeed.
fn call(name: &str, args: &str) -> String {
    format!("(local.set $failed (i32.or (local.get $failed) (call ${name} {args})))")
}

/// 32-bit arguments.
fn i<const N: usize>(values: [u32; N]) -> String {
    values.map(|value| format!("(i32.const {value})")).concat()
}

fn l(value: u64) -> String {
    format!("(i64.const {value})")
}

/// A path in memory at `at`: the field that puts it there and the arguments that name it.
fn text(at: u32, text: &str) -> (String, String) {
    (format!(r#"(data (i32.const {at}) "{text}")"#), i([at, text.len() as u32]))
}

/// Opens `path` below the root, and puts the descriptor's number at [`BUFFER`]; `flags` are `oflags`.
fn open(path: &str, flags: u32) -> String {
    let rights = l(if flags & DIRECTORY == 0 { ALL } else { ALL & !FD_WRITE });
    call("path_open", &format!("{}{path}{}{rights}{rights}{}", i([3, 1]), i([flags]), i([0, BUFFER])))
}

const CREATE: u32 = 1;
const DIRECTORY: u32 = 2;
const ALL: u64 = (1 << 29) - 1;
const FD_WRITE: u64 = 1 << 6;

/// A file of 64 KiB, open as 4.
fn with_file(form: Form) -> Form {
    let (data, path) = text(PATH, "file");
    let setup = open(&path, CREATE) + &call("fd_filestat_set_size", &(i([4]) + &l(64 << 10)));
    form.fields(data).setup(setup)
}

/// Calls that do almost nothing.
fn simple(forms: &mut Vec<Form>) {
    for (name, args) in [
        ("sched_yield", String::new()),
        ("clock_time_get", i([1]) + &l(0) + &i([BUFFER])),
        ("clock_res_get", i([1, BUFFER])),
        ("args_sizes_get", i([BUFFER, BUFFER])),
        ("fd_fdstat_get", i([4, BUFFER])),
        ("fd_filestat_get", i([4, BUFFER])),
        ("fd_filestat_set_times", i([4]) + &l(1) + &l(2) + &i([5])),
        ("fd_seek", i([4]) + &l(10) + &i([0, BUFFER])),
        ("fd_tell", i([4, BUFFER])),
        ("fd_advise", i([4]) + &l(0) + &l(0) + &i([0])),
        ("fd_fdstat_set_flags", i([4, 1])),
        ("fd_datasync", i([4])),
        ("fd_prestat_get", i([3, BUFFER])),
        ("fd_prestat_dir_name", i([3, BUFFER, 1])),
        ("fd_renumber", i([4, 4])),
        ("random_get", i([BUFFER, 1])),
        ("fd_read", i([4, LIST, 0, BUFFER])),
        ("fd_pwrite", i([4, LIST, 0]) + &l(0) + &i([BUFFER])),
        ("fd_write", i([2, LIST, 0, BUFFER])),
    ] {
        forms.push(with_file(Form::new("host_call", name, call(name, &args))));
    }
    for (name, args) in [("sock_shutdown", i([4, 0])), ("proc_raise", i([9])), ("fd_close", i([99]))] {
        let body = format!("(drop (call ${name} {args}))");
        forms.push(Form::new("host_call", format!("{name}, which fails"), body));
    }
    for name in ["load_by_name", "load"] {
        let args = if name == "load" { i([0, 0, 0, 0, BUFFER]) } else { i([BUFFER, 4, BUFFER]) };
        forms.push(Form::new("host_call", format!("{name}, which fails"), format!("(drop (call ${name} {args}))")));
    }
    for (name, args) in [("args_sizes_get", i([BUFFER, BUFFER])), ("args_get", i([BUFFER, BUFFER + 65536]))] {
        let form = Form::new("entry", format!("{name} of 1,000 empty arguments"), call(name, &args));
        forms.push(form.args(1000));
    }
}

/// Calls that handle many bytes.
fn bytes(forms: &mut Vec<Form>) {
    let one = |len: u32| {
        format!(
            "(i32.store (i32.const {LIST}) (i32.const {BUFFER})) (i32.store offset=4 (i32.const {LIST}) (i32.const {len}))"
        )
    };
    let mut add = |payer, name: &str, len: u32, body: String, most| {
        let form = with_file(Form::new(payer, format!("{name} of {len} bytes"), one(len) + &body));
        forms.push(form.most(most));
    };
    for len in [1024, 64 << 10] {
        let most = (15 << 20) / len;
        add("copied_byte", "fd_write to standard output", len, call("fd_write", &i([1, LIST, 1, BUFFER - 8])), most);
        add("copied_byte", "fd_write to the log", len, call("fd_write", &i([2, LIST, 1, BUFFER - 8])), u32::MAX);
        let pwrite = call("fd_pwrite", &(i([4, LIST, 1]) + &l(0) + &i([BUFFER - 8])));
        add("copied_byte", "fd_pwrite", len, pwrite, u32::MAX);
        let pread = call("fd_pread", &(i([4, LIST, 1]) + &l(0) + &i([BUFFER - 8])));
        add("copied_byte", "fd_pread", len, pread, u32::MAX);
        add("random_byte", "random_get", len, call("random_get", &i([BUFFER, len])), u32::MAX);
    }
    let grow = 8 << 20;
    for (name, size) in [("fd_filestat_set_size", l(grow)), ("fd_allocate", l(0) + &l(grow))] {
        let body = call(name, &(i([4]) + &size)) + &call("fd_filestat_set_size", &(i([4]) + &l(0)));
        add("copied_byte", name, grow as u32, body, u32::MAX);
        // A file of its own each time, so that its memory is new.
        let body = open(&text(PATH, "file").1, CREATE)
            + &call("path_unlink_file", &(i([3]) + &text(PATH, "file").1))
            + &call(name, &format!("(i32.load (i32.const {BUFFER})){size}"))
            + &call("fd_close", &format!("(i32.load (i32.const {BUFFER}))"));
        add("copied_byte", &format!("{name} of a new file"), grow as u32, body, u32::MAX);
    }
}

/// Calls that are given lists.
fn lists(forms: &mut Vec<Form>) {
    let fill = |size: u32, stores: &str| {
        format!(
            "(loop $list (local.set $i0 (i32.add (i32.const {LIST}) (i32.mul (local.get $p) (i32.const {size})))) {stores}
            (br_if $list (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 1024))))"
        )
    };
    let buffers = fill(8, &format!("(i32.store (local.get $i0) (i32.const {BUFFER}))"));
    for (name, args) in [("fd_write", i([2, LIST, 1024, BUFFER])), ("fd_read", i([0, LIST, 1024, BUFFER]))] {
        let form = Form::new("entry", format!("{name} with 1,024 empty buffers"), call(name, &args));
        forms.push(form.fields("").setup(format!("(local.set $p (i32.const 0)) {buffers}")));
    }
    let clock =
        "(i32.store offset=16 (local.get $i0) (i32.const 1)) (i64.store offset=24 (local.get $i0) (i64.const 9))";
    let readable =
        "(i32.store8 offset=8 (local.get $i0) (i32.const 1)) (i32.store offset=16 (local.get $i0) (i32.const 0))";
    for (name, stores) in [("clocks", clock), ("descriptors", readable)] {
        let body = call("poll_oneoff", &i([LIST, BUFFER, 1024, PATH]));
        let form = Form::new("entry", format!("poll_oneoff of 1,024 {name}"), body);
        forms.push(form.setup(fill(48, stores)));
    }
}

/// Opening and closing.
fn descriptors(forms: &mut Vec<Form>) {
    let close = call("fd_close", &format!("(i32.load (i32.const {BUFFER}))"));
    let (data, path) = text(PATH, "n");
    let many = format!(
        "(local.set $p (i32.const 0)) (loop $open {}
        (br_if $open (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 1000))))",
        open(&path, CREATE)
    );
    let unlink = call("path_unlink_file", &(i([3]) + &path));
    let (other_data, other) = text(OTHER, "m");
    let unlink_other = call("path_unlink_file", &(i([3]) + &other));
    for (how, setup) in [("", String::new()), (", 1,000 others open", many)] {
        let mut add = |name: &str, body: String| {
            let form = Form::new("host_call", format!("{name}{how}"), body);
            forms.push(form.fields(format!("{data}{other_data}")).setup(setup.clone()));
        };
        add("path_open, fd_close", open(&path, CREATE) + &close);
        add("path_open, path_unlink_file, fd_close", open(&other, CREATE) + &unlink_other + &close);
        if setup.is_empty() {
            add("path_open, fd_close, path_unlink_file", open(&path, CREATE) + &close + &unlink);
        }
    }
}

/// Long ways.
fn paths(forms: &mut Vec<Form>) {
    let stat = |path: &str| call("path_filestat_get", &format!("{}{path}{}", i([3, 1]), i([BUFFER])));
    let deep = "a/".repeat(2000) + "a";
    for (name, way, files) in [
        ("/././.", "./".repeat(2000) + "n", vec!["n".into()]),
        ("//////", "a".to_owned() + &"/".repeat(4000) + "a", vec!["a/a".into()]),
        ("a/../a/..", "a/../".repeat(800) + "a", vec!["a/a".into()]),
        ("a/a/a/a", deep.clone(), vec![deep.clone()]),
        (
            "a long name",
            "x".repeat(255),
            (0..1000).map(|n| format!("{}{n:03}", "x".repeat(252))).chain(["x".repeat(255)]).collect(),
        ),
        ("a short name among 4,000", "2345".into(), (0..4000).map(|n| format!("{n:04}")).collect()),
        (
            "a name among 4,000 by ..",
            "3/../".repeat(800) + "2345",
            (0..4000)
                .map(|n| format!("{n:04}"))
                .chain(["3/3".into()])
                .take(4000)
                .chain(["3/3".into()])
                .skip(2)
                .collect(),
        ),
    ] {
        let (data, path) = text(PATH, &way);
        forms.push(
            Form::new("path_byte", format!("path_filestat_get of {name}"), stat(&path)).fields(data).files(files),
        );
    }
    // A path through a link is longer than it seems.
    for (name, target, way) in [
        ("a link to /././.", "./".repeat(2000) + "n", "link".to_owned()),
        ("/././. behind a link", ".".into(), "link/".to_owned() + &"./".repeat(2000) + "n"),
    ] {
        let ((data, target), (other, path)) = (text(PATH, &target), text(OTHER, &way));
        let setup = call("path_symlink", &format!("{target}{}{}", i([3]), i([OTHER, 4])));
        let form = Form::new("path_byte", format!("path_filestat_get of {name}"), stat(&path));
        forms.push(form.fields(format!("{data}{other}")).setup(setup).files(["n".into()]));
    }
}

/// Directories with many entries.
fn trees(forms: &mut Vec<Form>) {
    let files = || (0..4000).map(|n| format!("d/{n:04}"));
    let ((d, d_path), (to, to_path)) = (text(PATH, "d"), text(OTHER, "out/d"));
    let opened = open(&d_path, DIRECTORY);
    let list = |cookie: u64| call("fd_readdir", &format!("{}{}{}", i([4, BUFFER, 200_000]), l(cookie), i([PATH + 64])));
    let mut add = |payer, name: &str, body: String, setup: String, most: u32| {
        let form = Form::new(payer, name, body).fields(format!("{d}{to}")).setup(setup);
        forms.push(form.files(files()).most(most));
    };
    add("entry", "fd_readdir of 4,000 entries", list(0), opened.clone(), u32::MAX);
    add("entry", "fd_readdir of the last of 4,000 entries", list(4001), opened.clone(), u32::MAX);
    let rename = |from: &str, to: &str| call("path_rename", &format!("{}{from}{}{to}", i([3]), i([3])));
    let there_and_back = rename(&d_path, &to_path) + &rename(&to_path, &d_path);
    add("entry", "path_rename of 4,000 files", there_and_back, String::new(), u32::MAX);
    let touch = call("fd_filestat_set_times", &(i([4]) + &l(1) + &l(2) + &i([5])));
    add("entry", "fd_filestat_set_times, which is the first change", touch, opened, 1);

    // Moving a directory looks all the way up, for itself.
    let deep = "a/".repeat(2000) + "a";
    let ((deep_data, _), (moved, moved_path)) = (text(PATH, &deep), text(OTHER, "x"));
    let setup = open(&i([PATH, 4000]), DIRECTORY) + &call("path_create_directory", &(i([3]) + &moved_path));
    let body = call("path_rename", &format!("{}{moved_path}{}{moved_path}", i([3]), i([4])))
        + &call("path_rename", &format!("{}{moved_path}{}{moved_path}", i([4]), i([3])));
    let form = Form::new("entry", "path_rename into a deep directory", body).fields(format!("{deep_data}{moved}"));
    forms.push(form.setup(setup).files([deep]));
}
