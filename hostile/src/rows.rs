//! The table of bad input.

use crate::guests::{call_everything, wasi, wat};
use crate::modules::{self, Parts, body, functions, locals, many, text};
use crate::{LIMITS, Used};
use depx_host_abi::limit::LimitCode;
use depx_host_abi::refusal::RefusalCode as Refusal;
use depx_host_abi::trap::TrapCode;
use depx_protocol::{Limits, Status};
use depx_runtime::{HostFault, JobResult};
use std::fmt;
use std::time::Duration;
use wasm_encoder::ValType;

/// One line of the table.
pub struct Row {
    /// What is done.
    pub name: &'static str,
    /// Makes the module.
    pub module: fn() -> Vec<u8>,
    /// What the job may use.
    pub limits: Limits,
    /// How it must end.
    pub ends: Ends,
    /// Seconds of processor time that it may take, compiling included.
    pub seconds: u64,
    /// MiB of memory that it may take.
    pub mib: u64,
}

/// How a job must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// With this result, the same everywhere.
    With(Status, u32),
    /// In a fault of this node, which gives the module up for what compiling it takes.
    GivenUp,
    /// In a fault of this node at the job's wall-clock limit.
    TimedOut,
}

/// A deadline is overshot by no more.
const OVERSHOOT: Duration = Duration::from_millis(250);
/// An output limit is overshot by no more bytes.
const OUTPUT_OVERSHOOT: u64 = 64 << 10;

impl Row {
    /// What is wrong with how it ended, and with what that took.
    pub fn judge(&self, result: &Result<JobResult, HostFault>, used: &Used) -> Result<(), String> {
        let ended = match result {
            Ok(result) => format!("{:?} {}", result.core.status, result.core.code),
            Err(fault) => fault.to_string(),
        };
        let as_expected = match (self.ends, result) {
            (Ends::With(status, code), Ok(result)) => (result.core.status, result.core.code) == (status, code),
            (Ends::GivenUp, Err(HostFault::Compile { reason })) => {
                reason.starts_with("compiling it took") || reason.contains("memory")
            }
            (Ends::TimedOut, Err(HostFault::Timeout { .. })) => {
                used.wall <= Duration::from_millis(self.limits.wall_ms) + OVERSHOOT
            }
            _ => false,
        };
        let output = result.as_ref().map_or(0, |result| result.core.output_len);
        if !as_expected {
            Err(format!("it ended with {ended} after {:?}, {} was expected", used.wall, self.ends))
        } else if output > self.limits.output_bytes + OUTPUT_OVERSHOOT {
            Err(format!("it wrote {output} bytes, {} are allowed", self.limits.output_bytes))
        } else if used.processor > Duration::from_secs(self.seconds) {
            Err(format!("it took {:?} of processor time, {} s are allowed", used.processor, self.seconds))
        } else if used.memory > self.mib << 20 {
            Err(format!("it took {} MiB of memory, {} are allowed", used.memory >> 20, self.mib))
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(Status::Success, _) => f.write_str("success"),
            Self::With(Status::OutOfFuel, _) => f.write_str("out of fuel"),
            Self::With(Status::Trap, code) => match TrapCode::try_from(*code) {
                Ok(code) => write!(f, "trap: {}", code.name()),
                Err(unknown) => unknown.fmt(f),
            },
            Self::With(Status::InvalidModule, code) => match Refusal::try_from(*code) {
                Ok(code) => write!(f, "refused: {}", code.name()),
                Err(unknown) => unknown.fmt(f),
            },
            Self::With(Status::LimitExceeded, code) => match LimitCode::try_from(*code) {
                Ok(code) => write!(f, "limit: {}", code.name()),
                Err(unknown) => unknown.fmt(f),
            },
            Self::With(status, code) => write!(f, "{status:?} {code}"),
            Self::GivenUp => f.write_str("given up while compiling"),
            Self::TimedOut => f.write_str("given up at its deadline"),
        }
    }
}

const SUCCESS: Ends = Ends::With(Status::Success, 0);
const OUT_OF_FUEL: Ends = Ends::With(Status::OutOfFuel, 0);
const OVERFLOW: Ends = Ends::With(Status::Trap, TrapCode::StackOverflow.number());

const fn refused(code: Refusal) -> Ends {
    Ends::With(Status::InvalidModule, code.number())
}

const fn exceeded(code: LimitCode) -> Ends {
    Ends::With(Status::LimitExceeded, code.number())
}

/// What is refused, or runs as briefly as the usual limits say: 3 s and 256 MiB.
const fn row(name: &'static str, ends: Ends, module: fn() -> Vec<u8>) -> Row {
    Row { name, module, limits: LIMITS, ends, seconds: 3, mib: 256 }
}

/// What takes long to compile: 10 s, with 1 s for what it is measured with, and 1 GiB beyond the job's own limits.
const fn heavy(name: &'static str, ends: Ends, module: fn() -> Vec<u8>) -> Row {
    Row { seconds: 11, mib: 1100, ..row(name, ends, module) }
}

/// The table.
pub const ROWS: &[Row] = &[
    // Not modules.
    row("no bytes at all", refused(Refusal::Malformed), Vec::new),
    row("1 MiB of zeros", refused(Refusal::Malformed), || vec![0; 1 << 20]),
    row("a module cut in the middle", refused(Refusal::Malformed), || {
        let wasm = functions([body(&modules::straight(1000))]);
        wasm[..wasm.len() / 2].to_vec()
    }),
    row("65 MiB", refused(Refusal::ModuleTooLarge), || vec![0; 65 << 20]),
    row("a custom section of 30 MiB", SUCCESS, || Parts { custom: vec![7; 30 << 20], ..Parts::default() }.encode()),
    // Imports and exports.
    row("two exports of one name", refused(Refusal::Malformed), || {
        Parts { exports: vec!["a".into(); 2], ..Parts::default() }.encode()
    }),
    row("no exported memory", refused(Refusal::MissingMemory), || wat(r#"(module (func (export "_start")))"#)),
    row("`_start` with a parameter", refused(Refusal::StartSignature), || {
        wat(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#)
    }),
    row("`_start` that is a global", refused(Refusal::MissingStart), || {
        wat(r#"(module (memory (export "memory") 1) (global (export "_start") i32 (i32.const 0)))"#)
    }),
    row("an unknown import", refused(Refusal::UnknownImport), || text(r#"(import "env" "system" (func))"#)),
    row("an import whose name has 90,000 bytes", refused(Refusal::UnknownImport), || {
        text(&format!(r#"(import "env" "{}" (func))"#, "n".repeat(90_000)))
    }),
    row("an import with another type", refused(Refusal::ImportSignature), || {
        text(r#"(import "wasi_snapshot_preview1" "fd_close" (func (param i64)))"#)
    }),
    // 27 MB, which several stages hold at once.
    Row {
        mib: 384,
        ..row("300 exports whose names have 90,000 bytes", SUCCESS, || {
            let name = "n".repeat(90_000);
            Parts { exports: (0..300).map(|index| format!("{name}{index}")).collect(), ..Parts::default() }.encode()
        })
    },
    // Too much of something.
    row("10,001 types", refused(Refusal::TooManyTypes), || {
        Parts { types: vec![1; 10_000], ..Parts::default() }.encode()
    }),
    row("9,000 types of 255 parameters", SUCCESS, || Parts { types: vec![255; 9000], ..Parts::default() }.encode()),
    row("10,001 globals", refused(Refusal::TooManyGlobals), || Parts { globals: 10_001, ..Parts::default() }.encode()),
    row("9,000 globals", SUCCESS, || Parts { globals: 9000, ..Parts::default() }.encode()),
    row("50,001 data segments", refused(Refusal::TooManySegments), || {
        Parts { segments: vec![vec![1]; 50_001], ..Parts::default() }.encode()
    }),
    row("50,000 data segments on one address", SUCCESS, || {
        Parts { segments: vec![vec![1]; 50_000], ..Parts::default() }.encode()
    }),
    row("100 tables", refused(Refusal::TooManyTables), || text(&"(table 1 funcref)".repeat(100))),
    row("a table of 2^32-1 elements", refused(Refusal::TooManyTables), || text("(table 4294967295 funcref)")),
    row("tables of 1,000,000 elements", exceeded(LimitCode::TableElements), || text("(table 1000000 funcref)")),
    row("a memory of 4 GiB", exceeded(LimitCode::MemoryPages), || {
        wat(r#"(module (memory (export "memory") 65536) (func (export "_start")))"#)
    }),
    Row {
        limits: Limits { memory_pages: 65536, ..LIMITS },
        ..row("a memory of 4 GiB where that is allowed", SUCCESS, || {
            wat(r#"(module (memory (export "memory") 65536 65536) (func (export "_start")))"#)
        })
    },
    // Compile bombs.
    row("10 MB of nested blocks", refused(Refusal::NestingTooDeep), || functions([body(&modules::nested(300_000))])),
    heavy("100 functions of blocks nested 9,000 deep", SUCCESS, || {
        functions((0..100).map(|_| body(&modules::nested(9_000))))
    }),
    heavy("loops nested 9,000 deep", SUCCESS, || functions([body(&modules::nested_loops(9_000))])),
    heavy("decisions nested 9,000 deep", SUCCESS, || functions([body(&modules::nested_ifs(9_000))])),
    row("a function of 5 MB", refused(Refusal::FunctionTooLarge), || functions([body(&modules::straight(5 << 20))])),
    heavy("a function of 1 MB", SUCCESS, || functions([body(&modules::straight(1_000_000))])),
    heavy("a function of 200 KB of floats and vectors", SUCCESS, || functions([body(&modules::floats(200_000))])),
    heavy("32 MB of code", Ends::GivenUp, || functions((0..32).map(|_| body(&modules::straight(1_000_000))))),
    row("10 MB of unreachable code", SUCCESS, || functions((0..10).map(|_| body(&modules::unreachable(1_000_000))))),
    heavy("50,000 functions", SUCCESS, || functions((0..50_000).map(|_| body(&[])))),
    row("100,001 functions", refused(Refusal::TooManyFunctions), || functions((0..100_000).map(|_| body(&[])))),
    row("a branch table of 1,000,000 targets", refused(Refusal::BranchTableTooLarge), || {
        functions([body(&modules::branch_table(1_000_000))])
    }),
    heavy("a branch table of 50,000 targets", SUCCESS, || functions([body(&modules::branch_table(50_000))])),
    heavy("20 branch tables of 50,000 targets", SUCCESS, || functions([body(&modules::branch_tables(20, 50_000))])),
    heavy("400 branch tables of 50,000 targets", SUCCESS, || {
        functions((0..20).map(|_| body(&modules::branch_tables(20, 50_000))))
    }),
    row("20,001 locals", refused(Refusal::TooManyLocals), || functions([locals(&[(20_001, ValType::I64)], &[])])),
    heavy("50,000 functions of 20,000 locals", Ends::GivenUp, || {
        functions((0..50_000).map(|_| locals(&[(20_000, ValType::I64)], &[])))
    }),
    heavy("1,000 locals alive in 5 loops", SUCCESS, || {
        functions([locals(&[(1000, ValType::I32)], &modules::chained_locals(1000, 5))])
    }),
    row("10,001 operands", refused(Refusal::OperandsTooDeep), || functions([body(&modules::operands(10_001))])),
    heavy("40 functions of 10,000 operands", SUCCESS, || functions((0..40).map(|_| body(&modules::operands(10_000))))),
    // Programs that want too much.
    row("a start function that loops", OUT_OF_FUEL, || text("(func $spin (loop (br 0))) (start $spin)")),
    row("growing memory to the limit", SUCCESS, || {
        wasi(
            "",
            "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))",
        )
    }),
    row("growing memory for ever", OUT_OF_FUEL, || wasi("", "(loop (drop (memory.grow (i32.const 1))) (br 0))")),
    row("growing memory by 4 GiB for ever", OUT_OF_FUEL, || {
        wasi("", "(loop (drop (memory.grow (i32.const -1))) (br 0))")
    }),
    row("growing a table for ever", OUT_OF_FUEL, || {
        wasi("(table 0 funcref)", "(loop (drop (table.grow (ref.null func) (i32.const 1000))) (br 0))")
    }),
    row("copying memory for ever", OUT_OF_FUEL, || {
        wasi("", "(loop (memory.copy (i32.const 0) (i32.const 1) (i32.const 65535)) (br 0))")
    }),
    row("calling itself", OVERFLOW, || wasi("(func $f (call $f))", "(call $f)")),
    row("two functions calling each other", OVERFLOW, || {
        wasi("(func $f (call $g)) (func $g (local i64 i64 i64) (call $f))", "(call $f)")
    }),
    row("calling itself through a table", OVERFLOW, || {
        wasi("(table funcref (elem $f)) (func $f (call_indirect (i32.const 0)))", "(call $f)")
    }),
    row("calling itself with 1,000 locals", OVERFLOW, || {
        let sum = many(1000, |index| {
            format!("(local.set {index} (i64.add (local.get {}) (i64.const {index})))", (index + 1) % 1000)
        });
        let read = many(1000, |index| {
            format!("(drop (i64.div_u (i64.const 1) (i64.add (local.get {index}) (i64.const 1000000))))")
        });
        wasi(&format!("(func $f (local {}) {sum} (call $f) {read})", "i64 ".repeat(1000)), "(call $f)")
    }),
    row("logging for ever", OUT_OF_FUEL, || {
        wasi(
            "(data (i32.const 1028) \"\\00\\80\\00\\00\")",
            "(loop (drop (call $fd_write (i32.const 2) (i32.const 1024) (i32.const 1) (i32.const 8))) (br 0))",
        )
    }),
    row("printing for ever", exceeded(LimitCode::OutputBytes), || {
        wasi(
            "(data (i32.const 1028) \"\\00\\80\\00\\00\")",
            "(loop (drop (call $fd_write (i32.const 1) (i32.const 1024) (i32.const 1) (i32.const 8))) (br 0))",
        )
    }),
    row("writing a file for ever", exceeded(LimitCode::OutputBytes), || {
        wasi(
            "(data (i32.const 1028) \"\\00\\80\\00\\00\") (data (i32.const 64) \"out/f\")",
            "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0)))
            (loop (drop (call $fd_write (i32.const 4) (i32.const 1024) (i32.const 1) (i32.const 8))) (br 0))",
        )
    }),
    row("creating files for ever", OUT_OF_FUEL, || {
        wasi(
            "",
            "(i64.store (i32.const 64) (i64.const 0x612f74756f))
            (loop
                (i32.store (i32.const 68) (i32.add (i32.const 0x41414141) (local.tee $i (i32.add (local.get $i) (i32.const 1)))))
                (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 8) (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0)))
                (drop (call $fd_close (i32.load (i32.const 0))))
                (br 0))",
        )
    }),
    row("directories in each other for ever, with a file in each", OUT_OF_FUEL, || {
        wasi(
            "(data (i32.const 64) \"out\")",
            "(drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 2) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0)))
            (memory.fill (i32.const 256) (i32.const 97) (i32.const 255))
            (loop
                (local.set $i (i32.load (i32.const 0)))
                (drop (call $path_create_directory (local.get $i) (i32.const 256) (i32.const 255)))
                (drop (call $path_open (local.get $i) (i32.const 0) (i32.const 256) (i32.const 254) (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0)))
                (drop (call $fd_close (i32.load (i32.const 0))))
                (drop (call $path_open (local.get $i) (i32.const 0) (i32.const 256) (i32.const 255) (i32.const 2) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 0)))
                (if (i32.gt_u (local.get $i) (i32.const 3)) (then (drop (call $fd_close (local.get $i)))))
                (br 0))",
        )
    }),
    row("links that lead to themselves", OUT_OF_FUEL, || {
        wasi(
            "(data (i32.const 64) \"loop/loop\")",
            "(drop (call $path_symlink (i32.const 64) (i32.const 4) (i32.const 3) (i32.const 64) (i32.const 4)))
            (loop (drop (call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 9) (i32.const 128))) (br 0))",
        )
    }),
    row("every function with addresses outside memory", SUCCESS, || call_everything(&[-1, -8, 65_535, 65_536])),
    row("every function with odd arguments", SUCCESS, || {
        call_everything(&[0, 1, 3, 5, i64::MIN, i64::MAX, 0x8000_0000])
    }),
    // Programs that take too long.
    Row {
        limits: Limits { fuel: u64::MAX, wall_ms: 300, ..LIMITS },
        ..row("spinning past the deadline", Ends::TimedOut, || wasi("", "(loop (br 0))"))
    },
    Row {
        limits: Limits { fuel: u64::MAX, wall_ms: 300, memory_pages: 2048, ..LIMITS },
        ..row("filling 128 MiB past the deadline", Ends::TimedOut, || {
            wasi(
                "",
                "(drop (memory.grow (i32.const 2000))) (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 131000000)) (br 0))",
            )
        })
    },
    Row {
        limits: Limits { fuel: u64::MAX, wall_ms: 300, ..LIMITS },
        ..row("calling the host past the deadline", Ends::TimedOut, || {
            wasi("", "(loop (drop (call $random_get (i32.const 4096) (i32.const 60000))) (br 0))")
        })
    },
];
