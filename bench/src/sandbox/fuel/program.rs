//! Programs that do one thing over and over, and nothing else that takes time.

use depx_host_abi::{Import, ValueType, nn, wasi};
use std::fmt::Write;

/// Something whose price is compared with its time.
pub(super) struct Form {
    /// What sets its price.
    pub(super) payer: &'static str,
    /// What it does, for people.
    pub(super) name: String,
    /// Fields of the module.
    fields: String,
    /// Done once.
    setup: String,
    /// Done over and over, as WAT instructions that leave nothing on the stack.
    body: String,
    /// How often `body` can be done in one run.
    pub(super) most: u32,
    /// Paths of files that are there from the start, all empty.
    pub(super) files: Vec<String>,
    /// How many arguments there are, all empty.
    pub(super) args: usize,
}

impl Form {
    pub(super) fn new(payer: &'static str, name: impl Into<String>, body: impl Into<String>) -> Self {
        let (name, body) = (name.into(), body.into());
        Self {
            payer,
            name,
            fields: String::new(),
            setup: String::new(),
            body,
            most: u32::MAX,
            files: Vec::new(),
            args: 0,
        }
    }

    pub(super) fn fields(mut self, fields: impl Into<String>) -> Self {
        self.fields = fields.into();
        self
    }

    pub(super) fn setup(mut self, setup: impl Into<String>) -> Self {
        self.setup = setup.into();
        self
    }

    pub(super) fn most(mut self, most: u32) -> Self {
        self.most = most;
        self
    }

    pub(super) fn files(mut self, files: impl IntoIterator<Item = String>) -> Self {
        self.files = files.into_iter().collect();
        self
    }

    pub(super) fn args(mut self, args: usize) -> Self {
        self.args = args;
        self
    }

    /// The module: a WASI command that reads from its input, four bytes, how often to do it.
    pub(super) fn module(&self) -> String {
        let Self { fields, setup, body, .. } = self;
        let (mut locals, mut before, mut after) = (String::new(), String::new(), String::new());
        for kind in KINDS {
            for index in 0..WIDTH {
                for (letter, at) in [("", 0), ("y", 16 * WIDTH)] {
                    let Kind { prefix, load, .. } = kind;
                    let (local, place) = (format!("${prefix}{letter}{index}"), kind.operands + at + 16 * index);
                    if body.contains(&local) || setup.contains(&local) {
                        let _ = write!(locals, "(local {local} {})", kind.ty);
                        let _ = write!(before, "(local.set {local} ({load} (i32.const {place})))");
                        let store = load.replace("load", "store");
                        let _ = write!(after, "({store} (i32.const {RESULTS}) (local.get {local}))");
                    }
                }
            }
        }
        let modules = [(wasi::MODULE, wasi::IMPORTS), (nn::MODULE, nn::IMPORTS)];
        let imports: String =
            modules.iter().flat_map(|(module, list)| list.iter().map(|each| import(module, each))).collect();
        format!(
            r#"(module {imports} (memory (export "memory") {PAGES}) {data}
            (data (i32.const {COUNT}) "\00\00\00\00\01\00\00\00\00\00\00\00\04\00\00\00")
            {fields}
            (func (export "_start") (local $count i32) (local $p i32) (local $failed i32) {locals}
                (i32.store (i32.const {vector}) (i32.const {COUNT}))
                (drop (call $fd_read (i32.const 0) (i32.const {vector}) (i32.const 1) (i32.const {RESULTS})))
                {before} {setup}
                (local.set $count (i32.load (i32.const {COUNT})))
                (block $none (br_if $none (i32.eqz (local.get $count)))
                    (loop $again {body}
                        (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
                {after}
                (if (local.get $failed) (then unreachable))))"#,
            data = operands(),
            vector = COUNT + 8,
        )
    }
}

/// Accumulators, and operands, of each kind.
pub(super) const WIDTH: u32 = 4;
/// Pages of memory.
pub(super) const PAGES: u32 = 1024;
/// Where loads and stores go, and everything else that a form needs in memory.
pub(super) const ARENA: u32 = 65536;
const RESULTS: u32 = 512;
const COUNT: u32 = 528;

/// Values of one type: accumulators are `$i0`, `$i1`, …, operands `$iy0`, ….
struct Kind {
    prefix: &'static str,
    ty: &'static str,
    load: &'static str,
    /// Where their first values are, 16 bytes each.
    operands: u32,
}

const KINDS: [Kind; 6] = [
    Kind { prefix: "i", ty: "i32", load: "i32.load", operands: 1024 },
    Kind { prefix: "l", ty: "i64", load: "i64.load", operands: 1024 },
    Kind { prefix: "f", ty: "f32", load: "f32.load", operands: 2048 },
    Kind { prefix: "d", ty: "f64", load: "f64.load", operands: 3072 },
    Kind { prefix: "v", ty: "v128", load: "v128.load", operands: 2048 },
    Kind { prefix: "w", ty: "v128", load: "v128.load", operands: 3072 },
];

/// Data that gives integers without a pattern, and floats so near to one that no chain of operations makes them very large or
/// small.
fn operands() -> String {
    let mut data = String::new();
    let mut put = |at: u32, bytes: &[u8]| {
        let text = bytes.iter().fold(String::new(), |text, byte| format!("{text}\\{byte:02x}"));
        let _ = write!(data, r#"(data (i32.const {at}) "{text}")"#);
    };
    for index in 0..2 * WIDTH {
        let integer = u128::from(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) | 1;
        put(1024 + 16 * index, &integer.to_le_bytes());
        let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
        let single = 1.0 + sign * 1e-6 * f64::from(index + 1);
        put(2048 + 16 * index, &[(single as f32).to_le_bytes(); 4].concat());
        put(3072 + 16 * index, &[single.to_le_bytes(); 2].concat());
    }
    data
}

fn import(module: &str, import: &Import) -> String {
    let types = |types: &[ValueType]| {
        let name = |ty: &ValueType| if *ty == ValueType::I64 { " i64" } else { " i32" };
        types.iter().map(name).collect::<String>()
    };
    let (name, params, results) = (import.name, types(import.params), types(import.results));
    format!(r#"(import "{module}" "{name}" (func ${name} (param{params}) (result{results})))"#)
}
