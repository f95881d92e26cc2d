//! `depx verify` and `depx replay`.

use crate::support::{DIGITS, ECHO, MODEL, Machine, has_onnx_runtime};
use depx_protocol::{Canonical, blob_hash};

/// A machine that has run `echo.wasm` on `input` and a file, and keeps the receipt.
fn machine_with_receipt() -> Machine {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.write("input", "some input");
    machine.write("data", "some data");
    let done = machine.run(["run", "--receipt", "receipt", "--stdin", "input", "--file", "lib/data=data", "echo.wasm"]);
    assert_eq!((done.code, &*done.stdout), (0, "some input"), "{}", done.stderr);
    machine
}

#[test]
fn a_local_receipt_says_that_nobody_else_vouches_for_it() {
    let machine = machine_with_receipt();
    let done = machine.run(["verify", "receipt"]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let first = done.stdout.lines().next();
    assert_eq!(first, Some("valid: signed by the machine that ran it for itself, and all parts agree"));
    let told = machine.json(["verify", "receipt"]);
    let executor = machine.json(["keygen"])["address"].clone();
    assert_eq!((&told["verified"], &told["local"], &told["executor"]), (&true.into(), &true.into(), &executor));
    let bundle = machine.receipt("receipt");
    assert_eq!(told["result"], bundle.result.hash().to_string());
    assert!(done.stdout.contains(&bundle.result.hash().to_string()));
}

#[test]
fn replay_needs_every_blob_and_says_which() {
    let machine = machine_with_receipt();
    let hash = |name: &str| blob_hash(&std::fs::read(machine.path(name)).expect("it is there"));
    let needs = |role: &str, name: &str| {
        let length = std::fs::metadata(machine.path(name)).expect("it is there").len();
        let hash = hash(name);
        format!(
            "error: the job needs its {role}, the file with BLAKE3 hash {hash} ({length} bytes); give it with --blob\n"
        )
    };
    let cases: [(&[&str], _, _); 3] = [
        (&[], "module", "echo.wasm"),
        (&["echo.wasm"], "file \"lib/data\"", "data"),
        (&["echo.wasm", "data"], "input", "input"),
    ];
    for (given, role, name) in cases {
        let blobs = given.iter().flat_map(|name| ["--blob", name]);
        let done = machine.run(["replay", "receipt"].into_iter().chain(blobs));
        assert_eq!((done.code, done.stderr), (1, needs(role, name)));
    }
    // What was not asked for does not help.
    let done = machine.run(["replay", "receipt", "--blob", "receipt"]);
    assert_eq!((done.code, done.stderr), (1, needs("module", "echo.wasm")));

    let done = machine.run(["replay", "receipt", "--blob", "echo.wasm", "--blob", "data", "--blob", "input"]);
    let result = machine.receipt("receipt").result.hash();
    let same = format!("same: executing the job again gives result {result}\n");
    assert_eq!((done.code, done.stdout, &*done.stderr), (0, same, ""));

    // By hash, beside the receipt; one of them damaged.
    std::fs::create_dir(machine.path("blobs")).expect("a directory");
    for name in ["echo.wasm", "data", "input"] {
        std::fs::copy(machine.path(name), machine.path("blobs").join(hash(name).to_string())).expect("a copy");
    }
    assert_eq!(machine.json(["replay", "receipt"])["same"], true);
    let input = hash("input");
    std::fs::write(machine.path("blobs").join(input.to_string()), "other input").expect("it is written");
    let done = machine.run(["replay", "receipt"]);
    let damaged = format!("error: the file named {input} is damaged: its content has another hash; fetch it again\n");
    assert_eq!((done.code, done.stderr), (1, damaged));
}

#[test]
fn host_calls_are_written_a_line_for_each() {
    let machine = machine_with_receipt();
    let done = machine.run(["run", "--host-calls", "calls", "--stdin", "input", "echo.wasm"]);
    assert_eq!((done.code, &*done.stdout), (0, "some input"), "{}", done.stderr);
    let text = std::fs::read_to_string(machine.path("calls")).expect("it is there");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 2, "{text}");
    for (index, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("0 {index} fd_")) && line.contains(") = 0, fuel "), "{line}");
    }
    let again = machine.run(["run", "--host-calls", "again", "--interpret", "--stdin", "input", "echo.wasm"]);
    assert_eq!((again.code, std::fs::read_to_string(machine.path("again")).expect("it is there")), (0, text));
    machine.write("lines", "one\ntwo\n");
    machine.run(["run", "--host-calls", "batch", "--batch", "lines", "echo.wasm"]);
    let text = std::fs::read_to_string(machine.path("batch")).expect("it is there");
    let items: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(items, ["0", "0", "1", "1"], "{text}");
    let nowhere = machine.run(["run", "--host-calls", "no/where", "--stdin", "input", "echo.wasm"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.starts_with("error: cannot write host calls to no/where"), "{}", nowhere.stderr);
}

#[test]
fn no_byte_of_a_receipt_file_can_be_changed() {
    let machine = machine_with_receipt();
    let good = machine.receipt("receipt").to_bytes();
    // A prime step, so that all parts are hit; the protocol's own tests change every byte.
    for position in (0..good.len()).step_by(41) {
        let mut bad = good.clone();
        bad[position] ^= 1;
        machine.write("bad", bad);
        let done = machine.run(["verify", "bad"]);
        assert_eq!((done.code, &*done.stdout), (1, ""), "byte {position}");
        assert!(done.stderr.starts_with("error: bad proves nothing\n  because: "), "byte {position}: {}", done.stderr);
    }
    for length in [0, 1, good.len() - 1] {
        machine.write("bad", &good[..length]);
        assert_eq!(machine.run(["verify", "bad"]).code, 1, "{length} bytes");
    }
    machine.write("bad", [&good[..], b"\0"].concat());
    assert_eq!(machine.run(["verify", "bad"]).code, 1, "a byte more");
}

#[test]
fn models_replay_too_and_only_with_the_library() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    machine.write("image", [8; 64]);
    let model = format!("digits={MODEL}");
    let done = machine.run(["run", "--receipt", "receipt", "--stdin", "image", "--model", &model, DIGITS]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let replay = ["replay", "receipt", "--blob", "image", "--blob", DIGITS, "--blob", MODEL];
    assert_eq!(machine.json(replay)["same"], true);
    for options in [["--optimize", "none"], ["--allocation", "pooling"]] {
        assert_eq!(machine.json(replay.into_iter().chain(options))["same"], true, "{options:?}");
    }
    let without = machine.depx(replay).env("ORT_DYLIB_PATH", "/nowhere").output().expect("it runs");
    let stderr = String::from_utf8_lossy(&without.stderr);
    assert!(
        stderr.starts_with("error: models cannot be run on this machine\n  because: ORT_DYLIB_PATH names"),
        "{stderr}"
    );
    assert_eq!(without.status.code(), Some(1));
}
