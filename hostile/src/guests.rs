//! Programs that misbehave while they run.

use depx_host_abi::{Import, ValueType, nn, wasi};
use std::fmt::Write;

/// A program that can call every function of WASI and wasi-nn by its name: `declarations` of the module, and the body of `_start`.
///
/// Memory has one page and grows; 1024 is the address of an array of buffers, the first 64 bytes at 2048.
pub fn wasi(declarations: &str, body: &str) -> Vec<u8> {
    let mut text = String::from("(module ");
    for (module, import) in imports() {
        let (parameters, results) = (types("param", import.params), types("result", import.results));
        let _ = write!(text, "(import {module:?} {:?} (func ${} {parameters} {results}))", import.name, import.name);
    }
    let _ = write!(
        text,
        r#"(memory (export "memory") 1)
        (data (i32.const 1024) "\00\08\00\00\40\00\00\00")
        {declarations}
        (func (export "_start") (local $i i32) (local $j i32) {body}))"#
    );
    wat(&text)
}

/// Calls every function but `proc_exit` with each of `arguments` in all places.
pub fn call_everything(arguments: &[i64]) -> Vec<u8> {
    let mut body = String::new();
    for argument in arguments {
        for (_, import) in imports().filter(|(_, import)| import.name != "proc_exit") {
            let constant = |ty: &ValueType| match ty {
                ValueType::I32 => format!("(i32.const {})", *argument as i32),
                ValueType::I64 => format!("(i64.const {argument})"),
            };
            let arguments: String = import.params.iter().map(constant).collect();
            let _ = write!(body, "(drop (call ${} {arguments}))", import.name);
        }
    }
    wasi("", &body)
}

/// The module `text` stands for, which is one of this crate's own.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn imports() -> impl Iterator<Item = (&'static str, &'static Import)> {
    let of = |module, imports: &'static [Import]| imports.iter().map(move |import| (module, import));
    of(wasi::MODULE, wasi::IMPORTS).chain(of(nn::MODULE, nn::IMPORTS))
}

fn types(what: &str, types: &[ValueType]) -> String {
    let name = |ty: &ValueType| match ty {
        ValueType::I32 => " i32",
        ValueType::I64 => " i64",
    };
    let names: String = types.iter().map(name).collect();
    if names.is_empty() { names } else { format!("({what}{names})") }
}
