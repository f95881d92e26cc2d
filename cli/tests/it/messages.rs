//! What goes wrong is said in a sentence: what it was, and what to do. Exit codes are as documented.

use crate::support::{DIGITS, Done, MODEL, Machine, array, finish, has_onnx_runtime, json_lines};

/// Arguments, exit code, and all of standard error but its last line break.
type Case = (&'static str, i32, &'static str);

/// Programs that cannot be run, or end badly.
const GUESTS: &[(&str, &str)] = &[
    ("good.wasm", r#"(module (memory (export "memory") 1) (func (export "_start")))"#),
    (
        "foreign.wasm",
        r#"(module (import "env" "system" (func (param i32))) (memory (export "memory") 1) (func (export "_start")))"#,
    ),
    (
        "typed.wasm",
        r#"(module (import "wasi_snapshot_preview1" "random_get" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
    ),
    ("threads.wasm", r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#),
    (
        "spawn.wasm",
        r#"(module (import "wasi" "thread-spawn" (func (param i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))"#,
    ),
    (
        "sockets.wasm",
        r#"(module (import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))"#,
    ),
    ("library.wasm", r#"(module (memory (export "memory") 1) (func (export "add")))"#),
    ("memoryless.wasm", r#"(module (func (export "_start")))"#),
    ("arguments.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#),
    ("spin.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#),
    ("trap.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#),
    (
        "outside.wasm",
        r#"(module (memory (export "memory") 1) (func (export "_start") (i32.store (i32.const 65536) (i32.const 1))))"#,
    ),
    ("deep.wasm", r#"(module (memory (export "memory") 1) (func $deeper (export "_start") (call $deeper)))"#),
    ("huge.wasm", r#"(module (memory (export "memory") 65536) (func (export "_start")))"#),
    (
        "flood.wasm",
        r#"(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i32.store (i32.const 4) (i32.const 65536))
          (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0))))"#,
    ),
    (
        "exit.wasm",
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
        (func (export "_start") (call $exit (i32.const 256))))"#,
    ),
];

#[rustfmt::skip]
const RUN: &[Case] = &[
    ("run good.wasm", 0, ""),
    ("run absent.wasm", 1, "error: cannot read absent.wasm\n  because: No such file or directory (os error 2)"),
    ("run text", 122,
        "depx: the module is refused: malformed (the file is not a WebAssembly module; name the .wasm file that \
         your compiler made)"),
    ("run truncated.wasm", 122,
        "depx: the module is refused: malformed (the bytes are not a valid WebAssembly module: unexpected \
         end-of-file at byte 872; rebuild it, or fetch it again)"),
    ("run foreign.wasm", 122,
        "depx: the module is refused: unknown-import (the module imports \"system\" from \"env\", which the \
         sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported)"),
    ("run typed.wasm", 122,
        "depx: the module is refused: import-signature (the module imports \"random_get\" from \
         \"wasi_snapshot_preview1\" with another type than it has; rebuild it against the headers of WASI \
         preview 1)"),
    ("run threads.wasm", 122,
        "depx: the module is refused: unsupported-proposal (the module uses threads, which are off because \
         results must be deterministic; compile without -pthread)"),
    ("run spawn.wasm", 122,
        "depx: the module is refused: unknown-import (the module imports \"thread-spawn\" from \"wasi\", which \
         the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported)"),
    ("run sockets.wasm", 122,
        "depx: the module is refused: unknown-import (the module imports \"sock_open\" from \
         \"wasi_snapshot_preview1\", which the sandbox does not offer; only functions of WASI preview 1 and \
         wasi-nn can be imported)"),
    ("run library.wasm", 122,
        "depx: the module is refused: missing-start (the module does not export the function `_start`; build a \
         program with a main function, not a library)"),
    ("run memoryless.wasm", 122,
        "depx: the module is refused: missing-memory (the module does not export its memory as `memory`; export \
         it under that name)"),
    ("run arguments.wasm", 122,
        "depx: the module is refused: start-signature (the module's `_start` has parameters or results; build it \
         as a WASI command)"),
    ("run --fuel 1000 spin.wasm", 120,
        "depx: ran out of fuel; give it more with --fuel (item 0: the guest used all its fuel, 1000 units)"),
    ("run trap.wasm", 134,
        "depx: trapped: unreachable (item 0: the guest executed `unreachable`, as a panic or an abort does)"),
    ("run outside.wasm", 134,
        "depx: trapped: memory-out-of-bounds (item 0: the guest accessed memory beyond its end)"),
    ("run deep.wasm", 134,
        "depx: trapped: stack-overflow (item 0: the guest called functions more deeply than its stack allows)"),
    ("run huge.wasm", 121,
        "depx: exceeded a limit: memory-pages; allow more with --memory (item 0: the module declares more memory \
         than the job allows)"),
    ("run --output 1MiB flood.wasm", 121,
        "depx: exceeded a limit: output-bytes; allow more with --output (item 0: the guest wrote more output \
         than the job allows)"),
    // Its low eight bits are 0, and yet it is no success.
    ("run exit.wasm", 1, ""),
    ("run --file text good.wasm", 1, "error: --file \"text\" is not of the form GUEST=FILE"),
    ("run --file ../x=text good.wasm", 1,
        "error: \"../x\" cannot be an input file: paths are relative, without '.', '..' or empty parts, and all \
         different"),
    ("run --file x=absent good.wasm", 1,
        "error: cannot read absent\n  because: No such file or directory (os error 2)"),
    ("run --file x=text --file x=text good.wasm", 1,
        "error: \"x\" cannot be an input file: paths are relative, without '.', '..' or empty parts, and all \
         different"),
    ("run --env =x good.wasm", 1, "error: --env \"=x\" is not of the form NAME=VALUE"),
    ("run --model x good.wasm", 1, "error: --model \"x\" is not of the form NAME=FILE"),
    ("run --batch absent good.wasm", 1,
        "error: cannot read absent\n  because: No such file or directory (os error 2)"),
    ("run --batch empty good.wasm", 1, "error: empty has no items; a batch needs at least one"),
    ("run --batch text --record-bytes 7 good.wasm", 1,
        "error: text is not a whole number of records of 7 bytes: 1 left over"),
    ("run --batch text --record-bytes 0 good.wasm", 1, "error: --record-bytes must be at least 1"),
    ("run --receipt no/such/place good.wasm", 1,
        "error: cannot write receipt no/such/place\n  because: No such file or directory (os error 2)"),
    ("run --home text good.wasm", 1, "error: cannot make directory text\n  because: File exists (os error 17)"),
    ("run --memory 1MB good.wasm", 2,
        "error: invalid value '1MB' for '--memory <SIZE>': \"MB\" is not a unit; use KiB, MiB or GiB"),
    ("run --memory much good.wasm", 2,
        "error: invalid value 'much' for '--memory <SIZE>': \"much\" is not a size; write for instance 64MiB"),
    ("run --fuel lots good.wasm", 2,
        "error: invalid value 'lots' for '--fuel <UNITS>': invalid digit found in string"),
    ("run --threads 0 good.wasm", 2,
        "error: invalid value '0' for '--threads <N>': number would be zero for non-zero type"),
    ("run --seed 0x1 good.wasm", 2,
        "error: invalid value '0x1' for '--seed <HEX|random>': expected up to 32 hexadecimal digits, or `random`"),
    ("run --timestamp yesterday good.wasm", 2,
        "error: invalid value 'yesterday' for '--timestamp <MS|now>': expected a time in Unix milliseconds, or \
         `now`"),
    ("run --timestamp 18446744073709551615 good.wasm", 1,
        "error: the job spec says it was made at 18446744073709551615 ms; it must be Unix time, and before the \
         year 2262"),
    ("run --log =[ good.wasm", 2,
        "error: --log \"=[\" is not a filter; write for instance info, or depx_node=debug\n  because: invalid \
         filter directive"),
    ("verify absent", 1, "error: cannot read absent\n  because: No such file or directory (os error 2)"),
    ("verify text", 1,
        "error: text proves nothing\n  because: not a receipt file, or a damaged one\n  because: not the \
         expected CBOR structure\n  because: unexpected type string at position 0: expected array"),
    ("verify empty", 1,
        "error: empty proves nothing\n  because: not a receipt file, or a damaged one\n  because: not the \
         expected CBOR structure\n  because: end of input bytes"),
    ("verify large", 1, "error: large has 3145728 bytes; no receipt is longer than 2097152"),
    ("replay text", 1,
        "error: text proves nothing\n  because: not a receipt file, or a damaged one\n  because: not the \
         expected CBOR structure\n  because: unexpected type string at position 0: expected array"),
    ("keygen --out text", 1,
        "error: text holds no key\n  because: not a secp256k1 private key: expected 64 hexadecimal digits below \
         the group's order"),
    ("keygen --out text/key", 1, "error: cannot make directory text\n  because: File exists (os error 17)"),
    ("coordinator --listen 192.0.2.1:4433", 1,
        "error: cannot open a QUIC endpoint\n  because: cannot open UDP address 192.0.2.1:4433; is it this \
         machine's, and used by no other program?\n  because: Cannot assign requested address (os error 99)"),
    ("coordinator --listen here", 2,
        "error: invalid value 'here' for '--listen <IP:PORT>': invalid socket address syntax"),
    ("node run --coordinator nobody", 2,
        "error: invalid value 'nobody' for '--coordinator <0xADDRESS@HOST:PORT>': expected 0xADDRESS@HOST:PORT, \
         as the coordinator prints it when it starts"),
    ("node run --coordinator 0x00@localhost:4433", 2,
        "error: invalid value '0x00@localhost:4433' for '--coordinator <0xADDRESS@HOST:PORT>': not an address: \
         expected 0x and 40 hexadecimal digits; expected 0xADDRESS@HOST:PORT, as the coordinator prints it when \
         it starts"),
    ("node run", 1,
        "error: no coordinator is named; give --coordinator 0xADDRESS@HOST:PORT, or set coordinators in the \
         configuration file"),
    ("node run --allow-weak-sandbox --coordinator 0x1111111111111111111111111111111111111111@localhost:1,0x1111111111111111111111111111111111111111@localhost:2", 1,
        "error: a node needs a coordinator, and each coordinator once"),
    ("node run --slots 1025", 2,
        "error: invalid value '1025' for '--slots <N>': expected a whole number from 0 to 1024"),
    ("node run --config absent", 1,
        "error: cannot read the configuration file absent\n  because: No such file or directory (os error 2)"),
    ("node run --config home", 1,
        "error: cannot read the configuration file home\n  because: Is a directory (os error 21)"),
    ("node run --config large", 1,
        "error: the configuration file large has more than 65536 bytes; is it the right file?"),
    ("node run --config text", 1,
        "error: text, line 1: not TOML: key with no value, expected `=`"),
    ("node run --config unknown.toml", 1,
        "error: unknown.toml, line 2: \"slot\" is not a key of this file; these are: coordinators, slots, blob_quota, \
         passphrase_file, metrics, allow_weak_sandbox, compile_seconds, compile_memory, max_fuel, max_memory, \
         max_table_elements, max_output, max_log, max_files, max_file_space, max_seconds"),
    ("node run --config type.toml", 1,
        "error: type.toml, line 1: slots: expected a whole number from 0 to 1024, not a value of type string"),
    ("node run --config range.toml", 1,
        "error: range.toml, line 2: max_memory: expected a whole number from 1 to 4096"),
    ("node run --data /proc --coordinator 0x1111111111111111111111111111111111111111@localhost:1", 1,
        "error: cannot write /proc/lock\n  because: No such file or directory (os error 2)"),
    ("node init --data /proc/absent", 1,
        "error: cannot make directory /proc/absent\n  because: No such file or directory (os error 2)"),
    ("node init --data made --passphrase", 1,
        "error: nobody is at a terminal to type a passphrase; name a file that has it with --passphrase-file"),
    ("node init --data made --passphrase-file empty", 1,
        "error: empty has no passphrase in its first line\n  because: a passphrase has 1 to 1024 bytes"),
    ("submit --coordinator 0x1111111111111111111111111111111111111111@localhost good.wasm", 2,
        "error: invalid value '0x1111111111111111111111111111111111111111@localhost' for '--coordinator \
         <0xADDRESS@HOST:PORT>': expected 0xADDRESS@HOST:PORT, as the coordinator prints it when it starts"),
    ("submit --coordinator 0x1111111111111111111111111111111111111111@localhost:99999 good.wasm", 2,
        "error: invalid value '0x1111111111111111111111111111111111111111@localhost:99999' for '--coordinator \
         <0xADDRESS@HOST:PORT>': \"99999\" is not a port; expected 0xADDRESS@HOST:PORT, as the coordinator \
         prints it when it starts"),
    ("devnet --nodes 0", 2, "error: invalid value '0' for '--nodes <N>': 0 is not in 1..=64"),
    ("devnet --nodes 2 --liars 3", 1, "error: 3 of 2 nodes cannot lie; start more with --nodes"),
    ("devnet --nodes 1 -- ./absent", 1,
        "error: cannot run ./absent\n  because: No such file or directory (os error 2)"),
];

fn machine() -> Machine {
    let machine = Machine::new();
    for (name, text) in GUESTS {
        machine.guest(name, text);
    }
    machine.write("text", "neither a module nor a model nor a receipt\n");
    machine.write("empty", "");
    machine.write("large", vec![0; 3 << 20]);
    machine.write("unknown.toml", "# Not a key:\nslot = 1\n");
    machine.write("type.toml", "slots = \"1\"\n");
    machine.write("range.toml", "slots = 1\nmax_memory = 5000\n");
    std::fs::create_dir_all(machine.path("home")).expect("a directory");
    machine.write("truncated.wasm", &std::fs::read(DIGITS).expect("it is there")[..1000]);
    machine
}

/// Runs every case as it is and with `--json`, and tells all that is not as expected at once.
fn check(cases: &[Case], run: impl Fn(&[&str]) -> Done) {
    let mut wrong = Vec::new();
    for (arguments, code, stderr) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let done = run(&arguments);
        // The last paragraph is the parser's own.
        let said = done.stderr.strip_suffix("\n\nFor more information, try '--help'.\n");
        let said = said.or(done.stderr.strip_suffix('\n')).unwrap_or(&done.stderr);
        if (done.code, said) != (*code, *stderr) {
            wrong.push(format!("    ({:?}, {}, {:?}),", arguments.join(" "), done.code, said));
        }
        let told = run(&[&["--json"], &arguments[..]].concat());
        assert_eq!(told.code, *code, "{arguments:?}: {told:?}");
        let (answers, errors) = (told.lines(), json_lines(&told.stderr));
        let errors = errors.iter().map(|error| error["error"].as_str().expect("a sentence"));
        match answers.last().filter(|answer| arguments[0] == "run" && !answer["result"].is_null()) {
            // How the program ended is an answer. Without that, there is only what it had put out until then.
            Some(answer) => assert_eq!((answer["detail"].is_null(), errors.count()), (*code == 0, 0), "{answer}"),
            None => {
                let errors: Vec<&str> = errors.collect();
                assert_eq!(errors.len(), 1, "{arguments:?}: {told:?}");
                let text = done.stderr.trim_start_matches("error: ");
                assert!(text.starts_with(errors[0]) && !errors[0].is_empty(), "{arguments:?}: {errors:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.join("\n"));
}

#[test]
fn each_mistake_has_its_sentence_and_exit_code() {
    let machine = machine();
    check(RUN, |arguments| machine.run(arguments));
}

#[test]
fn models_that_cannot_be_used() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = machine();
    std::fs::copy(MODEL, machine.path("digits.onnx")).expect("it is there");
    std::fs::copy(DIGITS, machine.path("digits.wasm")).expect("it is there");
    machine.write("image", [0; 64]);
    #[rustfmt::skip]
    let cases = [
        ("run --stdin image --model digits=absent digits.wasm", 1,
        "error: cannot read absent\n  because: No such file or directory (os error 2)"),
        ("run --stdin image --model digits=text digits.wasm", 122,
        "depx: a model is not usable (model \"digits\": it is damaged, or not an ONNX file: it is not a protocol \
         buffer)"),
        ("run --stdin image --model other=digits.onnx digits.wasm", 1,
        "error: the job declares no model named \"digits\"; declare it with --model digits=FILE"),
        ("run --stdin image digits.wasm", 1,
        "error: the job declares no model named \"digits\"; declare it with --model digits=FILE"),
        ("run --stdin text --model digits=digits.onnx digits.wasm", 1,
        "error: an image has 64 bytes, one for each pixel, not 43"),
        ("run --stdin image --model digits=digits.onnx --fuel 50000 digits.wasm", 120,
        "depx: ran out of fuel; give it more with --fuel (item 0: the guest used all its fuel, 50000 units)"),
        ("run --model a=digits.onnx --model a=digits.onnx digits.wasm", 1,
        "error: \"a\" cannot name a model: names are not empty and all different"),
    ];
    check(&cases, |arguments| machine.run(arguments));
}

#[test]
fn tensors_that_a_model_cannot_take() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = machine();
    std::fs::copy(MODEL, machine.path("digits.onnx")).expect("it is there");
    machine.write("image.npy", array("1, 1, 8, 8", &[0; 64]));
    machine.write("flat.npy", array("64,", &[0; 64]));
    machine.write("number.npy", array("", &[0]));
    #[rustfmt::skip]
    let cases = [
        ("run --stdin text digits.onnx", 1,
        "error: neither an .npy file nor an .npz file\n  because: magic not found for NPY file"),
        ("run --stdin flat.npy digits.onnx", 122,
        "depx: the model cannot take an item (item 0: the model takes tensors of other types or shapes)"),
        ("run --batch number.npy digits.onnx", 1,
        "error: number.npy has no dimension to take items of"),
        ("run --batch image.npy --record-bytes 4 digits.onnx", 1,
        "error: --record-bytes is for commands; a model takes tensors: .npy or .npz files"),
        ("run --stdin image.npy --fuel 5000 digits.onnx", 120,
        "depx: ran out of fuel; give it more with --fuel (item 0: the guest used all its fuel, 5000 units)"),
        ("run --stdin image.npy digits.onnx argument", 1,
        "error: a job that runs a model has neither arguments, environment, files nor further models"),
        ("run --class d1 good.wasm", 1,
        "error: --class is for jobs with models; this one is exact (D0) without"),
    ];
    check(&cases, |arguments| machine.run(arguments));
}

#[test]
fn a_library_that_is_not_there() {
    let machine = machine();
    std::fs::copy(MODEL, machine.path("digits.onnx")).expect("it is there");
    #[rustfmt::skip]
    let cases = [
        ("run --model digits=digits.onnx good.wasm", 1,
        "error: models cannot be run on this machine\n  because: ORT_DYLIB_PATH names \
         /nowhere/libonnxruntime.so, which is not a file; set it to the libonnxruntime.so of onnxruntime 1.31.1, \
         or unset it and run `cargo xtask ort`"),
        ("demo", 1,
        "error: models cannot be run on this machine\n  because: ORT_DYLIB_PATH names \
         /nowhere/libonnxruntime.so, which is not a file; set it to the libonnxruntime.so of onnxruntime 1.31.1, \
         or unset it and run `cargo xtask ort`"),
    ];
    check(&cases, |arguments| {
        let mut command = machine.depx(arguments);
        command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
        finish(command, b"")
    });
}

#[test]
fn every_command_has_help() {
    let machine = Machine::new();
    let help = machine.run(["--help"]);
    assert_eq!((help.code, &*help.stderr), (0, ""));
    let commands = help.stdout.split("Commands:\n").nth(1).and_then(|text| text.split("\n\n").next()).expect("a list");
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        names,
        [
            "run",
            "verify",
            "replay",
            "node",
            "doctor",
            "coordinator",
            "submit",
            "devnet",
            "demo",
            "models",
            "keygen",
            "help"
        ]
    );
    for name in &names[..names.len() - 1] {
        let help = machine.run([name, "--help"]);
        assert_eq!((help.code, &*help.stderr), (0, ""));
        assert!(help.stdout.contains(&format!("Usage: depx {name}")) && help.stdout.contains("--json"), "{name}");
    }
    assert_eq!(machine.run(["--version"]).stdout, format!("depx {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn nobody_reading_is_no_failure() {
    let machine = machine();
    machine.run(["run", "--receipt", "receipt", "good.wasm"]);
    for arguments in ["verify receipt", "keygen", "run flood.wasm", "run --json good.wasm"] {
        let mut command = machine.depx(arguments.split(' '));
        // A pipe whose other end is closed.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer);
        let output = command.output().expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments}: {stderr}");
        assert_eq!(
            output.status.code(),
            Some(if arguments.contains("flood") { 121 } else { 0 }),
            "{arguments}: {stderr}"
        );
    }
}
