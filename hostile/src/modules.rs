//! Modules that are bad before they run: too large, too many, too deep, or not modules at all.

use crate::guests::wat;
use std::borrow::Cow;
use std::fmt::Write;
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, Encode, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, MemorySection, MemoryType, Module, TypeSection, ValType,
};

/// A module whose `_start` does nothing, with further functions that nobody calls: bodies without their lengths.
pub(crate) fn functions(bodies: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    Parts { bodies: bodies.into_iter().collect(), ..Parts::default() }.encode()
}

/// What a module consists of, beyond one page of memory and a `_start` that does nothing.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) globals: u32,
    /// Bytes of each data segment, all at address 0.
    pub(crate) segments: Vec<Vec<u8>>,
    /// Parameters of further types.
    pub(crate) types: Vec<usize>,
    /// Names of further exports of `_start`.
    pub(crate) exports: Vec<String>,
    pub(crate) custom: Vec<u8>,
}

impl Parts {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        for parameters in &self.types {
            types.ty().function(vec![ValType::I32; *parameters], []);
        }
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        functions.function(0);
        code.raw(&body(&[]));
        for body in &self.bodies {
            functions.function(0);
            code.raw(body);
        }
        let mut memories = MemorySection::new();
        memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut globals = GlobalSection::new();
        for _ in 0..self.globals {
            globals.global(
                GlobalType { val_type: ValType::I64, mutable: true, shared: false },
                &ConstExpr::i64_const(i64::MAX),
            );
        }
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("_start", ExportKind::Func, 0);
        for name in &self.exports {
            exports.export(name, ExportKind::Func, 0);
        }
        let mut data = DataSection::new();
        for segment in &self.segments {
            data.active(0, &ConstExpr::i32_const(0), segment.iter().copied());
        }
        let mut module = Module::new();
        module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports);
        module.section(&code).section(&data);
        if !self.custom.is_empty() {
            module.section(&CustomSection { name: "bulk".into(), data: Cow::Owned(self.custom) });
        }
        module.finish()
    }
}

/// A function without locals: its operators without the last `end`.
pub(crate) fn body(operators: &[u8]) -> Vec<u8> {
    locals(&[], operators)
}

/// The same with groups of locals.
pub(crate) fn locals(groups: &[(u32, ValType)], operators: &[u8]) -> Vec<u8> {
    let mut function = Function::new(groups.iter().copied());
    function.raw(operators.iter().copied());
    function.raw([END]);
    function.into_raw_body()
}

const END: u8 = 0x0b;
const BLOCK: [u8; 2] = [0x02, 0x40];
const LOOP: [u8; 2] = [0x03, 0x40];
const ZERO: [u8; 2] = [0x41, 0x00];
const DROP: u8 = 0x1a;

/// `count` blocks in each other.
pub(crate) fn nested(count: usize) -> Vec<u8> {
    [BLOCK.repeat(count), vec![END; count]].concat()
}

/// `count` loops in each other.
pub(crate) fn nested_loops(count: usize) -> Vec<u8> {
    [LOOP.repeat(count), vec![END; count]].concat()
}

/// `count` decisions, each in the first branch of the one before.
pub(crate) fn nested_ifs(count: usize) -> Vec<u8> {
    const IF: [u8; 4] = [0x41, 0x01, 0x04, 0x40];
    const ELSE: [u8; 2] = [0x05, END];
    [IF.repeat(count), ELSE.repeat(count)].concat()
}

/// `bytes` bytes of stores, additions and loads, one after the other.
pub(crate) fn straight(bytes: usize) -> Vec<u8> {
    // (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    const STEP: [u8; 13] = [0x41, 0, 0x41, 0, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0];
    STEP.repeat(bytes / STEP.len())
}

/// `bytes` bytes of floats and vectors of floats, whose NaNs all have to be made canonical.
pub(crate) fn floats(bytes: usize) -> Vec<u8> {
    // (v128.store (i32.const 0) (f64x2.sqrt (f64x2.div (v128.load (i32.const 0)) (v128.load (i32.const 16)))))
    const VECTOR: [u8; 25] = [
        0x41, 0, 0x41, 0, 0xfd, 0, 0, 0, 0x41, 16, 0xfd, 0, 0, 0, 0xfd, 0xf3, 0x01, 0xfd, 0xef, 0x01, 0xfd, 0x0b, 0, 0,
        0x01,
    ];
    // (f64.store (i32.const 0) (f64.div (f64.load (i32.const 0)) (f64.load (i32.const 8))))
    const SCALAR: [u8; 14] = [0x41, 0, 0x41, 0, 0x2b, 3, 0, 0x41, 8, 0x2b, 3, 0, 0xa3, 0x39];
    let step = [&VECTOR[..], &SCALAR, &[3, 0]].concat();
    step.repeat(bytes / step.len())
}

/// `unreachable` and then `bytes` bytes of code that is never reached.
pub(crate) fn unreachable(bytes: usize) -> Vec<u8> {
    [vec![0x00], straight(bytes)].concat()
}

/// A branch table with so many targets, all of them the function's end.
pub(crate) fn branch_table(targets: u32) -> Vec<u8> {
    let mut code = ZERO.to_vec();
    code.push(0x0e);
    targets.encode(&mut code);
    code.resize(code.len() + targets as usize + 1, 0);
    code
}

/// Branch tables in blocks of their own, one after the other; their targets differ.
pub(crate) fn branch_tables(tables: usize, targets: u32) -> Vec<u8> {
    let mut table = [BLOCK, BLOCK].concat();
    table.extend(ZERO);
    table.push(0x0e);
    targets.encode(&mut table);
    table.extend((0..=targets).map(|target| (target % 2) as u8));
    table.extend([END, END]);
    table.repeat(tables)
}

/// So many operands on the stack, all dropped in the end.
pub(crate) fn operands(count: usize) -> Vec<u8> {
    [ZERO.repeat(count), vec![DROP; count]].concat()
}

/// Every local read and written, each from the one before: all are alive all the time.
pub(crate) fn chained_locals(count: u32, rounds: u32) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..rounds {
        code.extend([0x03, 0x40]);
        for local in 0..count {
            code.push(0x20);
            local.encode(&mut code);
            code.push(0x20);
            ((local * 7 + 1) % count).encode(&mut code);
            code.push(0x6a);
            code.push(0x21);
            ((local + 1) % count).encode(&mut code);
        }
        code.extend([0x20, 0x00, 0x0d, 0x00, END]);
    }
    code
}

/// A text module with what is expected of a task, and `more`.
pub(crate) fn text(more: &str) -> Vec<u8> {
    wat(&format!(r#"(module {more} (memory (export "memory") 1) (func (export "_start")))"#))
}

/// So many declarations.
pub(crate) fn many(count: usize, declaration: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        let _ = write!(text, "{}", declaration(index));
        text
    })
}
