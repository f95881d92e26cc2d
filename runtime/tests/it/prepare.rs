//! Which modules are refused, and what the refusals say.

use depx_host_abi::refusal::RefusalCode;
use depx_runtime::{PrepareError, Refusal, Runtime, RuntimeOptions};
use expect_test::expect;
use std::collections::BTreeSet;

/// What a task needs at least, with `rest` before it.
fn module(rest: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(module {rest} (memory (export "memory") 1) (func (export "_start")))"#)).unwrap()
}

/// As `module`, with a function whose body is `body`.
fn with_body(body: &str) -> Vec<u8> {
    module(&format!("(func {body})"))
}

/// As `module`, with an initialisation whose body is `body`.
fn initialised(body: &str) -> Vec<u8> {
    module(&format!(
        r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (table 1 funcref)
        (func (export "wizer-initialize") {body})"#
    ))
}

fn refusal(runtime: &Runtime, wasm: &[u8]) -> Refusal {
    match runtime.prepare(wasm) {
        Err(PrepareError::Refused(refusal)) => refusal,
        Err(PrepareError::Fault(fault)) => panic!("{fault}"),
        Ok(_) => panic!("it is not refused"),
    }
}

/// Modules that are refused, and small ones for every code.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| wat::parse_str(text).unwrap();
    vec![
        ("nothing", Vec::new()),
        ("another file", b"#!/bin/sh\necho".to_vec()),
        ("a truncated module", {
            let whole = module("");
            whole[..whole.len() - 3].to_vec()
        }),
        ("a body of another type", with_body("(result i32) (i64.const 0)")),
        ("a name that is no text", {
            let mut wasm = module(r#"(export "abcdefgh" (func 0))"#);
            let at = wasm.windows(8).position(|window| window == b"abcdefgh").unwrap();
            wasm[at] = 0xff;
            wasm
        }),
        ("one name twice", module(r#"(func $f) (export "f" (func $f)) (export "f" (func $f))"#)),
        ("a component", text("(component)")),
        ("threads", text(r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#)),
        ("atomics", with_body("(drop (i32.atomic.load (i32.const 0)))")),
        ("relaxed SIMD", with_body("(param v128) (drop (f32x4.relaxed_min (local.get 0) (local.get 0)))")),
        ("tail calls", with_body("(return_call 0)")),
        ("exceptions", module("(tag $e) (func (throw $e))")),
        ("garbage collection", module("(type (struct (field i32)))")),
        ("an exact import", module(r#"(import "wasi_snapshot_preview1" "sched_yield" (func (exact (result i32))))"#)),
        ("typed references", module("(type $t (func)) (func (param (ref $t)))")),
        ("external references", with_body("(param externref)")),
        ("64-bit memory", text(r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#)),
        ("two memories", module("(memory 1)")),
        ("page sizes", text(r#"(module (memory (export "memory") 1 (pagesize 1)) (func (export "_start")))"#)),
        ("wide arithmetic", with_body("(i64.mul_wide_s (i64.const 0) (i64.const 0)) (drop) (drop)")),
        ("an unknown module", module(r#"(import "env" "read" (func))"#)),
        ("an unknown function", module(r#"(import "wasi_snapshot_preview1" "fd_reed" (func))"#)),
        (
            "a socket library",
            module(r#"(import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32) (result i32)))"#),
        ),
        ("an older WASI", module(r#"(import "wasi_unstable" "fd_close" (func (param i32) (result i32)))"#)),
        ("a name with control characters", module(&format!(r#"(import "\1b[31m{}" "x" (func))"#, "m".repeat(5000)))),
        ("an imported memory", text(r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#)),
        ("an imported global", module(r#"(import "wasi_snapshot_preview1" "fd_close" (global i32))"#)),
        (
            "an import of another type",
            module(r#"(import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32)))"#),
        ),
        ("an import without its result", module(r#"(import "wasi_ephemeral_nn" "compute" (func (param i32)))"#)),
        ("a library", text(r#"(module (memory (export "memory") 1) (func (export "main")))"#)),
        (
            "a global named `_start`",
            text(r#"(module (memory (export "memory") 1) (global (export "_start") i32 (i32.const 0)))"#),
        ),
        (
            "`_start` with a parameter",
            text(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#),
        ),
        (
            "`_start` with a result",
            text(r#"(module (memory (export "memory") 1) (func (export "_start") (result i32) (i32.const 0)))"#),
        ),
        ("no memory", text(r#"(module (func (export "_start")))"#)),
        ("a hidden memory", text(r#"(module (memory 1) (func (export "_start")))"#)),
        ("a reserved export", module(r#"(global (export "depx:fuel") (mut i64) (i64.const 9))"#)),
        ("too many bytes", {
            let mut wasm = module("");
            wasm.resize((64 << 20) + 1, 0);
            wasm
        }),
        ("too many types", module(&"(type (func))".repeat(10_001))),
        (
            "too many imports",
            module(&r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#.repeat(1001)),
        ),
        ("too many functions", module(&"(func)".repeat(100_000))),
        ("too many tables", module(&"(table 0 funcref)".repeat(5))),
        ("too large tables", module("(table 1000000 funcref) (table 1000000 funcref)")),
        ("too many globals", module(&"(global i32 (i32.const 0))".repeat(10_001))),
        ("too many exports", module(&(0..100_000).map(|n| format!("(export \"{n}\" (func 0))")).collect::<String>())),
        ("too many data segments", module(&r#"(data "")"#.repeat(50_001))),
        ("too many element segments", module(&"(elem func)".repeat(50_001))),
        ("a too large function", with_body(&"(nop)".repeat(1 << 20))),
        ("too many locals", with_body(&format!("(local{})", " i32".repeat(20_001)))),
        ("too many locals in groups that wrap", {
            // Two groups of 2^31 locals each.
            let mut code = wasm_encoder::CodeSection::new();
            code.function(&wasm_encoder::Function::new([
                (1 << 31, wasm_encoder::ValType::I32),
                (1 << 31, wasm_encoder::ValType::I64),
            ]));
            let mut types = wasm_encoder::TypeSection::new();
            types.ty().function([], []);
            let mut functions = wasm_encoder::FunctionSection::new();
            functions.function(0);
            let mut module = wasm_encoder::Module::new();
            module.section(&types).section(&functions).section(&code);
            module.finish()
        }),
        ("too deep blocks", with_body(&format!("{}{}", "block ".repeat(10_001), "end ".repeat(10_001)))),
        ("too many operands", with_body(&format!("{}{}", "(i32.const 0)".repeat(10_001), "(drop)".repeat(10_001)))),
        ("a too large branch table", with_body(&format!("(br_table{} (i32.const 0))", " 0".repeat(50_002)))),
        ("too many parameters", module(&format!("(type (func (param{})))", " i32".repeat(256)))),
        ("an initialisation with a parameter", initialised("(param i32)")),
        ("a state that cannot be kept", initialised("(drop (table.grow (ref.null func) (i32.const 1)))")),
        ("an initialisation that traps", initialised("unreachable")),
        ("an initialisation without end", initialised("(loop $l (br $l))")),
        ("an initialisation that exits", initialised("(call $exit (i32.const 0))")),
        (
            "too much memory to initialise",
            text(
                r#"(module (memory (export "memory") 2049) (func (export "wizer-initialize")) (func (export "_start")))"#,
            ),
        ),
        ("too many results", module(&format!("(type (func (result{})))", " i32".repeat(256)))),
    ]
}

#[test]
fn refusals_name_what_is_wrong() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let mut table = String::new();
    let mut codes = BTreeSet::new();
    for (name, wasm) in refused() {
        let refusal = refusal(&runtime, &wasm);
        assert!(refusal.reason.len() <= 400 && !refusal.reason.contains(char::is_control), "{name}");
        codes.insert(refusal.code);
        table += &format!("{name}: {}: {}\n", refusal.code.name(), refusal.reason);
    }
    let missing: Vec<_> = RefusalCode::ALL.iter().filter(|code| !codes.contains(code)).collect();
    assert!(missing.is_empty(), "no module is refused with {missing:?}");
    expect![[r#"
        nothing: malformed: the file is not a WebAssembly module; name the .wasm file that your compiler made
        another file: malformed: the file is not a WebAssembly module; name the .wasm file that your compiler made
        a truncated module: malformed: the bytes are not a valid WebAssembly module: unexpected end-of-file at byte 47; rebuild it, or fetch it again
        a body of another type: malformed: the bytes are not a valid WebAssembly module: type mismatch: expected i32, found i64 at byte 56; rebuild it, or fetch it again
        a name that is no text: malformed: the bytes are not a valid WebAssembly module: malformed UTF-8 encoding at byte 34; rebuild it, or fetch it again
        one name twice: malformed: the bytes are not a valid WebAssembly module: duplicate export name `f` already defined at byte 31; rebuild it, or fetch it again
        a component: unsupported-proposal: the file is a component, but tasks are modules of WASI preview 1; build for wasm32-wasip1 instead of wasm32-wasip2
        threads: unsupported-proposal: the module uses threads, which are off because results must be deterministic; compile without -pthread
        atomics: unsupported-proposal: the module uses threads, which are off because results must be deterministic; compile without -pthread
        relaxed SIMD: unsupported-proposal: the module uses relaxed SIMD, whose results differ between processors; compile with -mno-relaxed-simd, plain SIMD is on
        tail calls: unsupported-proposal: the module uses tail calls, which are off because call depth is metered; compile with -mno-tail-call
        exceptions: unsupported-proposal: the module uses exceptions, which are off because metering does not cover unwinding; compile with -fno-exceptions or panic=abort
        garbage collection: unsupported-proposal: the module uses external or garbage-collected references, which are off because metering does not cover them; compile without them
        an exact import: unsupported-proposal: the module uses custom descriptors, which are off because metering does not cover them; compile without them
        typed references: unsupported-proposal: the module uses typed function references, which are off because metering does not cover them; compile without them
        external references: unsupported-proposal: the module uses external or garbage-collected references, which are off because metering does not cover them; compile without them
        64-bit memory: unsupported-proposal: the module uses 64-bit memory, which is off because bounds checks make it slow; target wasm32
        two memories: unsupported-proposal: the module uses several memories, but a task has one; link it into a single memory
        page sizes: unsupported-proposal: the module uses custom page sizes, which are too young for results that must stay the same; leave them off in the compiler
        wide arithmetic: unsupported-proposal: the module uses wide arithmetic operators, which are too young for results that must stay the same; leave them off in the compiler
        an unknown module: unknown-import: the module imports "read" from "env", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        an unknown function: unknown-import: the module imports "fd_reed" from "wasi_snapshot_preview1", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        a socket library: unknown-import: the module imports "sock_open" from "wasi_snapshot_preview1", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        an older WASI: unknown-import: the module imports "fd_close" from "wasi_unstable", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        a name with control characters: unknown-import: the module imports "x" from "\u{1b}[31mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        an imported memory: unknown-import: the module imports "memory" from "env", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        an imported global: unknown-import: the module imports "fd_close" from "wasi_snapshot_preview1", which the sandbox does not offer; only functions of WASI preview 1 and wasi-nn can be imported
        an import of another type: import-signature: the module imports "fd_close" from "wasi_snapshot_preview1" with another type than it has; rebuild it against the headers of WASI preview 1
        an import without its result: import-signature: the module imports "compute" from "wasi_ephemeral_nn" with another type than it has; rebuild it against the headers of WASI preview 1
        a library: missing-start: the module does not export the function `_start`; build a program with a main function, not a library
        a global named `_start`: missing-start: the module does not export the function `_start`; build a program with a main function, not a library
        `_start` with a parameter: start-signature: the module's `_start` has parameters or results; build it as a WASI command
        `_start` with a result: start-signature: the module's `_start` has parameters or results; build it as a WASI command
        no memory: missing-memory: the module does not export its memory as `memory`; export it under that name
        a hidden memory: missing-memory: the module does not export its memory as `memory`; export it under that name
        a reserved export: reserved-export: the module exports "depx:fuel"; names that begin with "depx:" are reserved, rename it
        too many bytes: module-too-large: the module has 67108865 bytes, 67108864 are allowed; strip it, or split the task
        too many types: too-many-types: the module has 10001 types, 10000 are allowed; split the task
        too many imports: too-many-imports: the module has 1001 imports, 1000 are allowed; split the task
        too many functions: too-many-functions: the module has 100001 functions, 100000 are allowed; split the task
        too many tables: too-many-tables: the module has 5 tables, 4 are allowed; split the task
        too large tables: too-many-tables: the module has 2000000 table elements, 1048576 are allowed; split the task
        too many globals: too-many-globals: the module has 10001 globals, 10000 are allowed; split the task
        too many exports: too-many-exports: the module has 100002 exports, 100000 are allowed; split the task
        too many data segments: too-many-segments: the module has 50001 data segments, 50000 are allowed; split the task
        too many element segments: too-many-segments: the module has 50001 element segments, 50000 are allowed; split the task
        a too large function: function-too-large: function 0 has 1048578 bytes, 1048576 are allowed; split it
        too many locals: too-many-locals: function 0 has more than 20000 locals; split it, or compile with -O
        too many locals in groups that wrap: too-many-locals: function 0 has more than 20000 locals; split it, or compile with -O
        too deep blocks: nesting-too-deep: function 0 nests blocks more than 10000 deep; split it
        too many operands: operands-too-deep: function 0 stacks up operands more than 10000 deep; split it
        a too large branch table: branch-table-too-large: the module has 50001 targets in one branch table, 50000 are allowed; split the task
        too many parameters: too-many-parameters: the module has 256 parameters or results, 255 are allowed; split the task
        an initialisation with a parameter: initializer-signature: the module's "wizer-initialize" has parameters or results; export one without
        a state that cannot be kept: snapshot-unsupported: the module exports "wizer-initialize", but it contains the operator table.grow, whose effect a snapshot cannot hold; leave it out, or do not export the initialisation
        an initialisation that traps: initializer-trapped: the initialisation failed: the guest executed `unreachable`, as a panic or an abort does
        an initialisation without end: initializer-out-of-fuel: the initialisation used all of its 1073741824 units of fuel; leave some of its work to the items
        an initialisation that exits: initializer-exited: the initialisation exited with code 0; it has to return
        too much memory to initialise: initializer-over-limits: the module declares more memory than the initialisation is given
        too many results: too-many-parameters: the module has 256 parameters or results, 255 are allowed; split the task
    "#]].assert_eq(&table);
}

#[test]
fn every_limit_can_be_reached() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let modules = [
        module(&"(type (func))".repeat(9_999)),
        module(&r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#.repeat(1000)),
        module(&"(func)".repeat(99_999)),
        module(&"(table 262144 funcref)".repeat(4)),
        module(&"(global i32 (i32.const 0))".repeat(10_000)),
        module(&(0..99_998).map(|n| format!("(export \"{n}\" (func 0))")).collect::<String>()),
        module(&r#"(data "")"#.repeat(50_000)),
        with_body(&format!("(local{})", " i32".repeat(20_000))),
        with_body(&format!("{}{}", "block ".repeat(9_999), "end ".repeat(9_999))),
        with_body(&format!("{}{}", "(i32.const 0)".repeat(10_000), "(drop)".repeat(10_000))),
        with_body(&format!("(br_table{} (i32.const 0))", " 0".repeat(50_001))),
        module(&format!("(type (func (param{0}) (result{0})))", " i32".repeat(255))),
    ];
    for (position, wasm) in modules.iter().enumerate() {
        if let Err(error) = runtime.prepare(wasm) {
            panic!("module {position}: {error}");
        }
    }
}

#[test]
fn every_function_of_the_sandbox_can_be_imported() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let mut imports = String::new();
    for (module, functions) in [
        (depx_host_abi::wasi::MODULE, depx_host_abi::wasi::IMPORTS),
        (depx_host_abi::nn::MODULE, depx_host_abi::nn::IMPORTS),
    ] {
        for function in functions {
            let types = |types: &[depx_host_abi::ValueType]| -> String {
                types.iter().map(|ty| format!(" {ty:?}").to_lowercase()).collect()
            };
            let (params, results) = (types(function.params), types(function.results));
            imports += &format!("(import {module:?} {:?} (func (param{params}) (result{results})))", function.name);
        }
    }
    assert!(runtime.prepare(&module(&imports)).is_ok());
}
