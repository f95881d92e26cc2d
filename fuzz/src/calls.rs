//! Scripts of host calls, and the guest that makes them.

use arbitrary::{Result, Unstructured};
use depx_host_abi::{Import, ValueType, nn, wasi};
use std::fmt::Write;
use std::sync::LazyLock;

/// Most calls of a script.
const MAX_CALLS: usize = 64;
/// Bytes of a call: the number of the function and nine arguments, eight bytes each.
const CALL: usize = 80;
/// Where the script's first bytes go, for calls to use: paths, buffers, subscriptions.
const SCRATCH: usize = 1024;
/// Bytes there.
const SCRATCH_LEN: usize = 1024;
/// Where the calls are, behind everything that sensible addresses reach.
const CALLS: usize = 65536;
/// Where their codes go, four bytes each.
const CODES: usize = 131072;

/// Names for paths, one after the other; arguments point at them.
const TEXT: &[u8] = b"data/in.txt out/made out/new data ../. loop x";

/// A module that imports everything once and is otherwise empty.
pub(crate) static IMPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| wat(&format!("(module {})", declarations())));

/// Makes the calls that it reads from standard input.
pub static DRIVER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // The numbers of functions lead out of as many blocks.
    let count = functions().count();
    let targets: String = (0..=count).fold(String::new(), |mut text, target| {
        let _ = write!(text, "{target} ");
        text
    });
    let mut code = format!("{} (br_table {targets} (i32.load (local.get $at)))", "(block ".repeat(count + 1));
    for (_, import) in functions() {
        let load = |(index, ty): (usize, &ValueType)| match ty {
            ValueType::I32 => format!("(i32.load offset={} (local.get $at))", 8 + 8 * index),
            ValueType::I64 => format!("(i64.load offset={} (local.get $at))", 8 + 8 * index),
        };
        let arguments: String = import.params.iter().enumerate().map(load).collect();
        let _ = write!(code, ") (i32.store (local.get $code) (call ${} {arguments})) (br $next)", import.name);
    }
    wat(&format!(
        r#"(module {}
            (memory (export "memory") 4 16)
            (func (export "_start") (local $at i32) (local $end i32) (local $code i32)
                (i32.store (i32.const 0) (i32.const {SCRATCH})) (i32.store (i32.const 4) (i32.const {SCRATCH_LEN}))
                (i32.store (i32.const 8) (i32.const {CALLS})) (i32.store (i32.const 12) (i32.const 65536))
                (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 16)))
                (local.set $at (i32.const {CALLS}))
                (local.set $code (i32.const {CODES}))
                (local.set $end (i32.add (i32.const {}) (i32.load (i32.const 16))))
                (loop $again
                    (if (i32.ge_u (local.get $at) (local.get $end)) (then (return)))
                    (block $next {code} ))
                    (local.set $at (i32.add (local.get $at) (i32.const {CALL})))
                    (local.set $code (i32.add (local.get $code) (i32.const 4)))
                    (br $again))))"#,
        declarations(),
        CALLS - SCRATCH_LEN
    ))
});

/// Standard input for [`DRIVER`], made of arbitrary bytes.
pub fn script(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = Unstructured::new(bytes);
    let mut script = TEXT.to_vec();
    script.resize(SCRATCH_LEN, 0);
    for _ in 0..MAX_CALLS {
        if bytes.is_empty() || call(&mut bytes, &mut script).is_err() {
            break;
        }
    }
    script
}

/// Appends a call, and changes what it finds in memory.
fn call(bytes: &mut Unstructured<'_>, script: &mut Vec<u8>) -> Result<()> {
    let number = bytes.int_in_range(0..=functions().count() - 1)?;
    let start = script.len();
    script.extend_from_slice(&(number as u64).to_le_bytes());
    for _ in 1..CALL / 8 {
        script.extend_from_slice(&argument(bytes)?.to_le_bytes());
    }
    if bytes.ratio(1, 4)? {
        let at = bytes.int_in_range(0..=(SCRATCH_LEN - 8) / 4)? * 4;
        let word = argument(bytes)?;
        script[at..at + 4].copy_from_slice(&(word as u32).to_le_bytes());
    }
    debug_assert_eq!(script.len() - start, CALL);
    Ok(())
}

/// What is likely to mean something: descriptors and flags, addresses, lengths, and what is never right.
fn argument(bytes: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match bytes.int_in_range(0..=9u8)? {
        0..=3 => bytes.int_in_range(0..=8)?,
        4 | 5 => SCRATCH as u64 + bytes.int_in_range(0..=TEXT.len() as u64)?,
        6 => SCRATCH as u64 + 8 * bytes.int_in_range(0..=(SCRATCH_LEN as u64 / 8))?,
        7 => u64::MAX,
        8 => bytes.arbitrary::<u16>()?.into(),
        _ => bytes.arbitrary()?,
    })
}

/// Every function but the one that ends the run, and its module.
fn functions() -> impl Iterator<Item = (&'static str, &'static Import)> {
    let of = |module, imports: &'static [Import]| imports.iter().map(move |import| (module, import));
    of(wasi::MODULE, wasi::IMPORTS).chain(of(nn::MODULE, nn::IMPORTS)).filter(|(_, import)| import.name != "proc_exit")
}

fn declarations() -> String {
    functions().fold(String::new(), |mut text, (module, import)| {
        let types = import.params.iter().map(|ty| match ty {
            ValueType::I32 => " i32",
            ValueType::I64 => " i64",
        });
        let types: String = types.collect();
        let _ =
            write!(text, "(import {module:?} {:?} (func ${} (param{types}) (result i32)))", import.name, import.name);
        text
    })
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
