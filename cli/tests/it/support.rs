//! A user's machine, and the programs that it runs.

use depx_protocol::{Canonical, ReceiptBundle};
use serde_json::Value;
use std::borrow::BorrowMut;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Whatever a test waits for comes within this time or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The digits task as committed, its model, and the images that the model was not trained on, of 64 bytes each.
pub(crate) const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/examples/digits/digits.wasm");
pub(crate) const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/zoo/digits/digits.onnx");
pub(crate) const IMAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/zoo/digits/heldout.images");
pub(crate) const LABELS: &str = include_str!("../../../models/zoo/digits/heldout.labels");

/// Whether models can be run: always where the tests are told that they can, else if there is a library.
pub(crate) fn has_onnx_runtime() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let here = set("ORT_DYLIB_PATH").is_some() || set("DEPX_REQUIRE_ORT").is_some_and(|value| value == "1");
    if !here {
        eprintln!("skipped: ORT_DYLIB_PATH names no ONNX Runtime; `cargo xtask test` does");
    }
    here
}

/// The file in the folder that the variable names, or `None` if the variable is not set.
pub(crate) fn built_guest(variable: &str, name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os(variable) else {
        eprintln!("skipped: {variable} names no folder of built programs; `cargo xtask test` makes them where it can");
        return None;
    };
    Some(Path::new(&folder).join(name))
}

/// A home and a working directory of its own.
pub(crate) struct Machine {
    directory: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A path in the working directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    /// Compiles WebAssembly text into the working directory.
    pub(crate) fn guest(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    pub(crate) fn depx<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_depx"));
        command.args(arguments).current_dir(self.directory.path()).env("DEPX_HOME", self.path("home"));
        // So that what a process leaves behind is seen, and goes with the machine.
        std::fs::create_dir_all(self.path("tmp")).expect("a directory");
        command.env("TMPDIR", self.path("tmp")).env_remove("DEPX_LOG").env_remove("DEPX_COORDINATOR");
        if std::env::var_os("ORT_DYLIB_PATH").is_none() {
            // Nodes would warn that they cannot run models.
            command.env("DEPX_LOG", "error");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `depx` to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Done {
        finish(self.depx(arguments), b"")
    }

    /// Runs `depx --json`, which must succeed, and gives the last line that it prints.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.depx(arguments);
        command.arg("--json");
        let done = finish(command, b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.lines().pop().expect("a line")
    }

    /// Reads a receipt of this machine.
    pub(crate) fn receipt(&self, name: &str) -> ReceiptBundle {
        let bytes = std::fs::read(self.path(name)).expect("the receipt is there");
        ReceiptBundle::from_bytes(&bytes).expect("it is a receipt")
    }
}

impl Done {
    /// Standard output as JSON lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        json_lines(&self.stdout)
    }
}

/// Every line must be a JSON object.
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = text.lines().map(parse).collect();
    assert!(lines.iter().all(Value::is_object), "{text}");
    lines
}

/// Runs a command to its end with `input` as standard input.
pub(crate) fn finish(mut command: impl BorrowMut<Command>, input: &[u8]) -> Done {
    let mut child = command.borrow_mut().stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("it has one");
    let (mut stdout, mut stderr) = (child.stdout.take().expect("it has one"), child.stderr.take().expect("it has one"));
    let read = |stream: &mut dyn Read| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it can be read");
        String::from_utf8(bytes).expect("it is text")
    };
    let (stdout, stderr, status) = std::thread::scope(|scope| {
        let stdout = scope.spawn(move || read(&mut stdout));
        let stderr = scope.spawn(move || read(&mut stderr));
        // A program need not read all of it.
        let _ = stdin.write_all(input);
        drop(stdin);
        let status = wait(&mut child);
        (stdout.join().expect("it reads"), stderr.join().expect("it reads"), status)
    });
    Done { code: status.code().unwrap_or(-1), stdout, stderr }
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it did not end within {PATIENCE:?}");
        }
        sleep(Duration::from_millis(2));
    }
}

/// A `depx --json` process that goes on, and what it tells. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    events: Receiver<Value>,
}

impl Daemon {
    pub(crate) fn start<'a>(machine: &Machine, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::spawn(machine.depx(["--json"].into_iter().chain(arguments)))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::inherit()).spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("it has one"));
        let (tell, events) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let _ = tell.send(event);
            }
        });
        Self { child, events }
    }

    /// A coordinator, and its name.
    pub(crate) fn coordinator(machine: &Machine, listen: &str) -> (Self, String) {
        let daemon = Self::start(machine, ["coordinator", "--listen", listen]);
        let name = daemon.event("listening")["coordinator"].as_str().expect("a name").to_owned();
        (daemon, name)
    }

    /// A connected node with its data in `data`, and its address.
    pub(crate) fn node(machine: &Machine, coordinator: &str, data: &str) -> (Self, String) {
        let daemon = Self::start(
            machine,
            ["node", "run", "--slots", "1", "--allow-weak-sandbox", "--coordinator", coordinator, "--data", data],
        );
        let address = daemon.event("started")["node"].as_str().expect("an address").to_owned();
        daemon.event("connected");
        (daemon, address)
    }

    /// Waits for an event of this name.
    pub(crate) fn event(&self, wanted: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|_| panic!("no {wanted} event"));
            if event["event"] == wanted {
                return event;
            }
        }
    }

    /// Whether an event of this name has been told already.
    pub(crate) fn has_told(&self, name: &str) -> bool {
        self.events.try_iter().any(|event| event["event"] == name)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(self.child.id(), name));
    }

    /// Signals the processes that it has started.
    pub(crate) fn signal_children(&self, name: &str) {
        // Some may have ended meanwhile.
        for child in descendants(self.child.id()) {
            let _ = signal(child, name);
        }
    }

    /// Waits for its end and gives the exit code, or the negative number of the signal that ended it.
    pub(crate) fn ended(&mut self) -> i32 {
        let status = wait(&mut self.child);
        status
            .code()
            .or_else(|| std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| -signal))
            .expect("one")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that this one and its threads have started, at any depth.
pub(crate) fn descendants(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let own: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<_>>())
        .collect();
    own.iter().copied().chain(own.iter().flat_map(|child| descendants(*child))).collect()
}

fn signal(process: u32, name: &str) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -{name} {process}")]).stderr(Stdio::null());
    kill.status().expect("a shell").success()
}

/// Copies its standard input to standard output, and exits with the code that the first byte stands for: `0` to `9`.
/// An `.npy` file of pixels from 0 to 16 as floats from 0 to 1.
pub(crate) fn array(shape: &str, pixels: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.into_bytes());
    file.extend(pixels.iter().flat_map(|pixel| (f32::from(*pixel) / 16.0).to_le_bytes()));
    file
}

pub(crate) const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func (export "_start") (local $code i32)
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $code (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)))
      (if (i32.le_u (local.get $code) (i32.const 9)) (then (call $exit (local.get $code))))))"#;

/// Counts to a billion, which takes about a second, and ends well.
pub(crate) const COUNT: &str = r#"(module (memory (export "memory") 1)
    (func (export "_start") (local $left i32)
      (local.set $left (i32.const 1000000000))
      (loop $again
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $again (local.get $left)))))"#;
