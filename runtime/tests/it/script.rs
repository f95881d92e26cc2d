//! Guests that make a list of WASI calls and report what each gave.

use crate::support::Guest;
use depx_host_abi::{Import, ValueType, nn, wasi};
use std::collections::BTreeMap;
use std::fmt::Write;

/// An address that is in no script's memory.
pub(crate) const OUTSIDE: u32 = 0xffff_fff0;
/// Strings are put here and beyond; everything below is the script's own.
const TEXT: u32 = 8192;
/// What the calls gave is collected here; memory ends one page later.
const TRANSCRIPT: u32 = 65536;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg {
    /// A 32-bit number, or an address.
    I(u32),
    /// A 64-bit number.
    L(u64),
    /// Two arguments: the address and length of a text.
    P(&'static str),
}

/// What a step should leave.
enum Expected {
    Errno(u8),
    Memory(Vec<u8>),
}

/// A list of calls, each with the error code that it should give.
pub(crate) struct Script {
    steps: Vec<(String, Expected)>,
    /// By function: whether it ever should succeed, and fail.
    pub(crate) covered: BTreeMap<String, (bool, bool)>,
    code: String,
    data: String,
    next_text: u32,
    next_result: u32,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self {
            steps: Vec::new(),
            covered: BTreeMap::new(),
            code: String::new(),
            data: String::new(),
            next_text: TEXT,
            next_result: TRANSCRIPT,
        }
    }

    /// Calls `name`, which should give `errno`.
    pub(crate) fn call(mut self, name: &str, args: &[Arg], errno: u8) -> Self {
        let mut code = format!("(i32.store8 (i32.const {}) (call ${name}", self.next_result);
        let mut types = Vec::new();
        for arg in args {
            match arg {
                Arg::I(value) => {
                    write!(code, " (i32.const {value})").unwrap();
                    types.push(ValueType::I32);
                }
                Arg::L(value) => {
                    write!(code, " (i64.const {value})").unwrap();
                    types.push(ValueType::I64);
                }
                Arg::P(text) => {
                    write!(code, " (i32.const {}) (i32.const {})", self.text(text), text.len()).unwrap();
                    types.extend([ValueType::I32; 2]);
                }
            }
        }
        let import = Import::find(wasi::MODULE, name).or_else(|| Import::find(nn::MODULE, name));
        assert_eq!(import.map(|import| import.params), Some(types.as_slice()), "{name}");
        writeln!(self.code, "{code}))").unwrap();
        self.next_result += 1;
        let covered = self.covered.entry(name.to_owned()).or_default();
        if errno == 0 {
            covered.0 = true
        } else {
            covered.1 = true
        }
        self.steps.push((format!("{name}{args:?}"), Expected::Errno(errno)));
        self
    }

    /// Memory from `at` on should hold `bytes` now.
    pub(crate) fn holds(mut self, at: u32, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let (to, len) = (self.next_result, bytes.len() as u32);
        writeln!(self.code, "(memory.copy (i32.const {to}) (i32.const {at}) (i32.const {len}))").unwrap();
        self.next_result += len;
        self.steps.push((format!("memory at {at}"), Expected::Memory(bytes.to_vec())));
        self
    }

    /// Writes 32-bit numbers to memory.
    pub(crate) fn put(mut self, at: u32, words: &[u32]) -> Self {
        for (at, word) in (at..).step_by(4).zip(words) {
            writeln!(self.code, "(i32.store (i32.const {at}) (i32.const {word}))").unwrap();
        }
        self
    }

    /// Writes at `at` a buffer list with one entry, `text`, and gives its arguments: list and number of entries.
    pub(crate) fn put_text(mut self, at: u32, text: &str) -> Self {
        let address = self.text(text);
        self.put(at, &[address, text.len() as u32])
    }

    fn text(&mut self, text: &str) -> u32 {
        let at = self.next_text;
        let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(self.data, "(data (i32.const {at}) \"{escaped}\")").unwrap();
        self.next_text += text.len() as u32;
        at
    }

    /// The guest, which writes what the calls gave to standard output at its end.
    pub(crate) fn module(&self) -> String {
        let mut imports = String::new();
        for (module, list) in [(wasi::MODULE, wasi::IMPORTS), (nn::MODULE, nn::IMPORTS)] {
            for Import { name, params, results, .. } in list {
                let types = |types: &[ValueType]| {
                    types.iter().map(|value| if *value == ValueType::I32 { " i32" } else { " i64" }).collect::<String>()
                };
                let (params, results) = (types(params), types(results));
                writeln!(imports, "(import \"{module}\" \"{name}\" (func ${name} (param{params}) (result{results})))")
                    .unwrap();
            }
        }
        let len = self.next_result - TRANSCRIPT;
        format!(
            "(module {imports} (memory (export \"memory\") 2) {} (func (export \"_start\")\n{}\
             (i32.store (i32.const 0) (i32.const {TRANSCRIPT})) (i32.store (i32.const 4) (i32.const {len}))\
             (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))",
            self.data, self.code
        )
    }

    /// Bytes of standard output that the script itself writes at its end.
    pub(crate) fn transcript_len(&self) -> usize {
        (self.next_result - TRANSCRIPT) as usize
    }

    /// Runs the script as `guest` prepares it, and compares what each step gave. What the calls themselves wrote to standard
    /// output comes first, and is given back.
    pub(crate) fn check(&self, prepare: impl FnOnce(Guest) -> Guest) -> Vec<u8> {
        let outcome = prepare(Guest::new(&self.module())).run();
        let len = self.transcript_len();
        let written = outcome.stdout.len().checked_sub(len);
        let written = written.unwrap_or_else(|| panic!("{:?} {} before the end", outcome.status, outcome.code));
        let (own, mut transcript) = outcome.stdout.split_at(written);
        let mut wrong = String::new();
        for (number, (step, expected)) in self.steps.iter().enumerate() {
            let (expected, actual) = match expected {
                Expected::Errno(errno) => {
                    let (actual, rest) = transcript.split_at(1);
                    transcript = rest;
                    (vec![*errno], actual)
                }
                Expected::Memory(bytes) => {
                    let (actual, rest) = transcript.split_at(bytes.len());
                    transcript = rest;
                    (bytes.clone(), actual)
                }
            };
            if expected != actual {
                writeln!(wrong, "step {number}, {step}: {actual:?}, expected {expected:?}").unwrap();
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
        own.to_vec()
    }
}

/// 32-bit numbers as they lie in memory.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// 64-bit numbers as they lie in memory.
pub(crate) fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}
