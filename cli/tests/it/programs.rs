//! Ordinary programs under `depx run`.

use crate::support::{DIGITS, Done, ECHO, IMAGES, LABELS, MODEL, Machine, built_guest, finish, has_onnx_runtime};
use std::path::Path;

#[test]
fn standard_streams_and_exit_codes_are_the_programs_own() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    for (input, code) in [("plain text", 0), ("0", 0), ("3 words", 3), ("9", 9)] {
        let done = finish(machine.depx(["run", "echo.wasm"]), input.as_bytes());
        assert_eq!((done.code, &*done.stdout, &*done.stderr), (code, input, ""), "{input}");
        machine.write("input", input);
        let done = machine.run(["run", "--stdin", "input", "echo.wasm"]);
        assert_eq!((done.code, &*done.stdout), (code, input));
    }
}

#[test]
fn a_batch_is_lines_files_or_records() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.write("lines", "one\ntwo\nthree");
    std::fs::create_dir(machine.path("files")).expect("a directory");
    for (name, content) in [("b", "second\n"), ("a", "first\n")] {
        machine.write(&format!("files/{name}"), content);
    }
    let cases: [(&[&str], &[&str]); 3] = [
        (&["--batch", "lines"], &["one\n", "two\n", "three"]),
        (&["--batch", "files"], &["first\n", "second\n"]),
        (&["--batch", "lines", "--record-bytes", "13"], &["one\ntwo\nthree"]),
    ];
    for (options, expected) in cases {
        let told = machine.json([&["run", "echo.wasm"], options].concat());
        let items = told["output"].as_array().expect("items").iter().map(|item| item["stdout"]["text"].as_str());
        assert!(items.eq(expected.iter().map(|text| Some(*text))), "{options:?}: {told}");
    }
}

#[test]
fn a_batch_on_standard_input_is_that_of_a_file() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    let content = "one\ntwo\nthree\nfour";
    machine.write("lines", content);
    let run = |batch: &str, options: &[&str]| {
        let mut command = machine.depx(["run", "--json", "--batch", batch, "--receipt", "receipt"]);
        command.args(options).arg("echo.wasm");
        let done = finish(command, content.as_bytes());
        let told = done.lines().pop().unwrap_or_else(|| panic!("{batch} {options:?}: {done:?}"));
        (told["result"].clone(), told["output"].clone(), machine.receipt("receipt").result)
    };
    for options in [&[][..], &["--record-bytes", "6"], &["--threads", "2"]] {
        let expected = run("lines", options);
        assert!(expected.1.as_array().is_some_and(|items| items.len() >= 3), "{expected:?}");
        assert_eq!(run("-", options), expected, "{options:?}");
    }
    // As it comes, in order.
    let done = finish(machine.depx(["run", "--batch", "-", "--threads", "2", "echo.wasm"]), content.as_bytes());
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (0, content, ""));
    let empty = finish(machine.depx(["run", "--batch", "-", "echo.wasm"]), b"");
    assert_eq!((empty.code, &*empty.stderr), (1, "error: - has no items; a batch needs at least one\n"));
}

#[test]
fn a_c_program_runs_unchanged() {
    let Some(guest) = built_guest("DEPX_C_GUESTS", "ordinary.wasm") else { return };
    let machine = Machine::new();
    machine.write("words", "one two\nthree\n");
    let run = |options: &[&str], arguments: &[&str]| -> Done {
        let mut command = machine.depx(["run"]);
        command.args(options).arg(&guest).arg("--").args(arguments);
        finish(command, b"first line\nsecond line\n")
    };
    let told = "arguments: 3\ngreeting: hello\ntime: 1767225600\nstdin: first line\n\
                input: 2 lines, 3 words, 14 bytes\nroot: 1.4142135623730951\ndirectory: in(14) out/\n";
    let done = run(&["--env", "GREETING=hello", "--file", "in=words", "--out", "made"], &["in", "out/copy"]);
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (3, told, ""));
    assert_eq!(std::fs::read_to_string(machine.path("made/copy")).expect("it was made"), "ONE TWO\nTHREE\n");
    assert_eq!(std::fs::read_to_string(machine.path("words")).expect("it is there"), "one two\nthree\n");

    let done = run(&["--file", "in=words", "--timestamp", "5000"], &["in", "here"]);
    assert_eq!(done.code, 3);
    assert!(done.stdout.contains("greeting: (none)\ntime: 5\n"), "{}", done.stdout);
    assert!(done.stdout.contains("directory: here(14) in(14) out/\n"), "{}", done.stdout);

    let failures: [(&[&str], i32, &str); 5] = [
        (&[], 64, "usage: task INPUT OUTPUT\n"),
        (&["-v"], 64, "usage: task INPUT OUTPUT\n"),
        (&["absent", "out/copy"], 66, "ordinary: absent: No such file or directory\n"),
        // Nothing of the machine is there.
        (&["/etc/passwd", "out/copy"], 66, "ordinary: /etc/passwd: No such file or directory\n"),
        (&["in", "nowhere/copy"], 73, "ordinary: nowhere/copy: No such file or directory\n"),
    ];
    for (arguments, code, complaint) in failures {
        let done = run(&["--file", "in=words"], arguments);
        assert_eq!((done.code, &*done.stdout, &*done.stderr), (code, "", complaint), "{arguments:?}");
    }
}

#[test]
fn a_c_program_calls_a_model_through_wasi_nn() {
    let Some(guest) = built_guest("DEPX_C_GUESTS", "inference.wasm") else { return };
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let model = format!("digits={MODEL}");
    let run = |options: &[&str], arguments: &[&str]| -> Done {
        let mut command = machine.depx(["run", "--model", &model]);
        command.args(options).arg(&guest).arg("--").args(arguments);
        finish(command, b"")
    };
    let done = run(&["--batch", IMAGES, "--record-bytes", "64"], &[]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let right = done.stdout.lines().zip(LABELS.lines()).filter(|(answer, label)| answer == label).count();
    assert_eq!((done.stdout.lines().count(), right), (360, 357));

    let done = run(&[], &["codes"]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let [fine, argument, memory, nothing_yet, unsupported, large, absent] = [0, 1, 3, 5, 6, 7, 8];
    let codes = [
        ("load", unsupported),
        ("load_by_name absent", absent),
        ("load_by_name outside", memory),
        ("init_execution_context of no graph", argument),
        ("init_execution_context outside", memory),
        ("compute without inputs", argument),
        ("get_output before", nothing_yet),
        ("set_input of no context", argument),
        ("set_input of no index", argument),
        ("set_input of no type", argument),
        ("set_input too deep", large),
        ("set_input too short", argument),
        ("set_input outside", memory),
        ("another shape", argument),
        ("another type", argument),
        ("set_input", fine),
        ("compute of no context", argument),
        ("compute", fine),
        ("get_output of no index", argument),
        ("get_output too small", large),
        ("get_output outside", memory),
        ("get_output", fine),
    ];
    let expected: String = codes.iter().map(|(call, code)| format!("{call}: {code}\n")).collect();
    assert_eq!(done.stdout, expected);
}

/// The library's telemetry keeps a file in the temporary directory, and a thread that reports to its maker.
#[test]
fn onnx_runtime_reports_to_nobody() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    machine.write("image", [0; 64]);
    let done = machine.run(["run", "--stdin", "image", "--model", &format!("digits={MODEL}"), DIGITS]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let left: Vec<_> = std::fs::read_dir(machine.path("tmp")).expect("it is there").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_committed_task_and_its_source_give_the_same_answers() {
    if !has_onnx_runtime() {
        return;
    }
    let Some(fresh) = built_guest("DEPX_GUESTS", "digits.wasm") else { return };
    let machine = Machine::new();
    let run = |guest: &Path| {
        let model = format!("digits={MODEL}");
        let mut command = machine.depx(["run", "--model", &model, "--batch", IMAGES, "--record-bytes", "64", "--json"]);
        command.arg(guest);
        let done = finish(command, b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.lines().pop().expect("a line")
    };
    let (committed, built) = (run(Path::new(DIGITS)), run(&fresh));
    let answers = |told: &serde_json::Value| -> Vec<String> {
        let items = told["output"].as_array().expect("items").iter();
        items.map(|item| item["stdout"]["text"].as_str().expect("text").trim_end().to_owned()).collect()
    };
    assert_eq!(answers(&committed), answers(&built));
    let right = answers(&committed).iter().zip(LABELS.lines()).filter(|(answer, label)| *answer == label).count();
    assert_eq!((right, LABELS.lines().count()), (357, 360));
    let bytes = |path: &Path| std::fs::read(path).expect("it is there");
    if bytes(Path::new(DIGITS)) == bytes(&fresh) {
        assert_eq!(committed["result"], built["result"]);
    } else {
        eprintln!("the committed module was built by another compiler: fuel is not compared");
    }
}
