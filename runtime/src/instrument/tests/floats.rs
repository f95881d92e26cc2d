//! NaNs: the same bits as if every result of arithmetic were made canonical at once, for generated programs that do little
//! else than make, move and show NaNs.

use super::nan::run_as_reference;
use super::*;
use std::fmt::Write;

/// Programs to try. More are tried by raising this; the sequence is always the same.
const PROGRAMS: u64 = 250;
const FUEL: i64 = 200_000;

/// Writes one program.
struct Author {
    random: u64,
    text: String,
    /// Loops in the function that is being written; each counts in a local of its own.
    loops: usize,
}

const MAX_LOOPS: usize = 6;
const FLOATS: [&str; 2] = ["f32", "f64"];

impl Author {
    fn program(seed: u64) -> String {
        let mut author = Self { random: seed << 1 | 1, text: String::new(), loops: 0 };
        author.text += r#"(module (memory (export "memory") 1)
            (table 2 funcref) (elem (i32.const 0) func $leaf $caller)
            (type $one (func (param f64 f32) (result f64)))
            (global $f64 (mut f64) (f64.const -0)) (global $f32 (mut f32) (f32.const 0)) (global $i (mut i32) (i32.const 5)) (global $at (mut i32) (i32.const 256))
            (data (i32.const 64) "\00\00\00\00\00\00\f0\ff\01\00\00\00\00\00\f0\7f\ad\de\ad\de\ad\de\fc\ff\00\00\80\7f\00\00\80\ff\01\02\83\7f\01\02\c3\ff\00\00\00\00\00\00\e0\3f")"#;
        author.function("$leaf (type $one) (param $p64 f64) (param $p32 f32) (result f64)", &["f64"]);
        author.function("$caller (type $one) (param $p64 f64) (param $p32 f32) (result f64)", &["f64"]);
        author.function("$pair (param $p64 f64) (param $p32 f32) (result f32 f64)", &["f32", "f64"]);
        author.text += r#"(func (export "_start")"#;
        for (index, (wide, narrow)) in [(64, 92), (72, 88), (80, 96), (104, 64)].into_iter().enumerate() {
            let arguments = format!("(f64.load (i32.const {wide})) (f32.load (i32.const {narrow}))");
            write!(
                author.text,
                "(f64.store offset={at} (i32.const 0) (call $caller {arguments}))
                (call $pair {arguments}) (global.set $f64) (global.set $f32)
                (f64.store offset={at} (i32.const 8) (global.get $f64)) (f32.store offset={at} (i32.const 16) (global.get $f32))",
                at = 32768 + 32 * index
            )
            .unwrap();
        }
        author.text += "))";
        author.text
    }

    fn function(&mut self, head: &str, results: &[&str]) {
        write!(self.text, "(func {head}").unwrap();
        for ty in FLOATS {
            write!(self.text, "(local $a{ty} {ty}) (local $b{ty} {ty}) (local $c{ty} {ty})").unwrap();
        }
        self.text += "(local $v v128)";
        for index in 0..MAX_LOOPS {
            write!(self.text, "(local $n{index} i32)").unwrap();
        }
        self.loops = 0;
        for _ in 0..4 {
            self.statement(3, results);
        }
        // Some locals are looked at in the end.
        for (index, ty) in FLOATS.iter().cycle().enumerate().take(6) {
            let local = self.variable(ty);
            if self.below(2) == 0 {
                write!(self.text, "({ty}.store offset={} (global.get $at) (local.get {local}))", 8 * index).unwrap();
            }
        }
        self.put("(global.set $at (i32.add (global.get $at) (i32.const 48)))");
        for ty in results {
            self.float(ty, 3);
        }
        self.text += ")";
    }

    /// A number below `bound` (xorshift64*).
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn put(&mut self, text: &str) {
        self.text += text;
    }

    /// A condition that depends on what came before.
    fn condition(&mut self, fuel: u32) {
        match self.below(4) {
            0 => {
                self.put("(i32.and (i32.const 1) (global.get $i))");
            }
            1 => {
                let counter = self.below(MAX_LOOPS as u64);
                write!(self.text, "(i32.and (i32.const {}) (local.get $n{counter}))", self.random % 4).unwrap();
            }
            _ => {
                let ty = self.pick(&FLOATS);
                let compare = self.pick(&["lt", "ge", "eq", "ne"]);
                write!(self.text, "({ty}.{compare} ").unwrap();
                self.float(ty, fuel.saturating_sub(1));
                self.float(ty, fuel.saturating_sub(1));
                self.put(")");
            }
        }
    }

    fn address(&mut self) -> String {
        format!("(i32.const {})", 64 + 4 * self.below(24))
    }

    /// An expression. The less `fuel`, the simpler.
    fn float(&mut self, ty: &str, fuel: u32) {
        let other = if ty == "f64" { "f32" } else { "f64" };
        let simple = fuel == 0 || self.text.len() > 30_000;
        let fuel = fuel.saturating_sub(1);
        match self.below(if simple { 5 } else { 19 }) {
            0 => {
                let constant = self.pick(&["0", "-1", "inf", "-inf", "nan", "-nan", "nan:0x12345", "-nan:0x200001"]);
                write!(self.text, "({ty}.const {constant})").unwrap();
            }
            1 => {
                let address = self.address();
                write!(self.text, "({ty}.load {address})").unwrap();
            }
            2 => write!(self.text, "(global.get ${ty})").unwrap(),
            3 | 4 => {
                let local = self.variable(ty);
                write!(self.text, "(local.get {local})").unwrap();
            }
            5..=7 => {
                let operator = self.pick(&["add", "sub", "mul", "div", "min", "max"]);
                write!(self.text, "({ty}.{operator} ").unwrap();
                self.float(ty, fuel);
                self.float(ty, fuel);
                self.put(")");
            }
            8 => {
                let operator = self.pick(&["sqrt", "ceil", "floor", "trunc", "nearest"]);
                write!(self.text, "({ty}.{operator} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            9 => {
                let operator = self.pick(&["neg", "abs"]);
                write!(self.text, "({ty}.{operator} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            10 => {
                write!(self.text, "({ty}.copysign ").unwrap();
                self.float(ty, fuel);
                self.float(ty, fuel);
                self.put(")");
            }
            11 => {
                self.put(if ty == "f64" { "(f64.promote_f32 " } else { "(f32.demote_f64 " });
                self.float(other, fuel);
                self.put(")");
            }
            12 => {
                self.put("(select ");
                if self.below(3) == 0 {
                    write!(self.text, "(result {ty}) ").unwrap();
                }
                self.float(ty, fuel);
                self.float(ty, fuel);
                self.condition(fuel);
                self.put(")");
            }
            13 => {
                let local = self.variable(ty);
                write!(self.text, "(local.tee {local} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            14 => {
                write!(self.text, "(if (result {ty}) ").unwrap();
                self.condition(fuel);
                self.put("(then ");
                self.statement(fuel, &[]);
                self.float(ty, fuel);
                self.put(") (else ");
                self.float(ty, fuel);
                self.put("))");
            }
            15 => self.block(ty, fuel),
            16 if ty == "f64" => {
                let indirect = self.below(2) == 0;
                // What calls only calls what comes before it.
                let leaf = self.text.contains("(func $caller");
                if !leaf {
                    return self.float(ty, fuel);
                }
                self.put(if indirect { "(call_indirect (type $one) " } else { "(call $leaf " });
                self.float("f64", fuel);
                self.float("f32", fuel);
                self.put(if indirect { "(i32.const 0))" } else { ")" });
            }
            17 => {
                let lanes = if ty == "f64" { "f64x2" } else { "f32x4" };
                let operator = self.pick(&["add", "mul", "div", "min", "max", "pmin", "pmax"]);
                write!(self.text, "({lanes}.extract_lane 1 ({lanes}.{operator} ({lanes}.splat ").unwrap();
                self.float(ty, fuel);
                write!(self.text, ") ({lanes}.replace_lane 1 (local.get $v) ").unwrap();
                self.float(ty, fuel);
                self.put(")))");
            }
            _ => {
                // A loop that is left with a value.
                self.counted_loop(fuel, Some(ty));
            }
        }
    }

    /// A block with a result, and several ways to leave it.
    fn block(&mut self, ty: &str, fuel: u32) {
        write!(self.text, "(block (result {ty}) ").unwrap();
        match self.below(4) {
            0 => {
                self.put("(drop (br_if 0 ");
                self.float(ty, fuel);
                self.condition(fuel);
                self.put("))");
                self.float(ty, fuel);
            }
            1 => {
                write!(self.text, "(block (result {ty}) ").unwrap();
                self.float(ty, fuel);
                self.put("(br_table 0 1 (i32.and (global.get $i) (i32.const 1))))");
                write!(self.text, "({ty}.neg)").unwrap();
            }
            2 => {
                self.float(ty, fuel);
                write!(self.text, "(br 0) ({ty}.neg) ({ty}.add)").unwrap();
            }
            _ => {
                self.float(ty, fuel);
                self.put("(br_if 0 ");
                self.condition(fuel);
                self.put(")");
                self.statement(fuel, &[]);
            }
        }
        self.put(")");
    }

    fn variable(&mut self, ty: &str) -> String {
        match self.below(4) {
            0 => ty.replace('f', "$p"),
            which => format!("${}{ty}", ["a", "b", "c"][which as usize - 1]),
        }
    }

    /// A loop that ends after three rounds, unless there is none left to write.
    fn counted_loop(&mut self, fuel: u32, result: Option<&str>) {
        if self.loops == MAX_LOOPS {
            return match result {
                Some(ty) => self.float(ty, 0),
                None => self.put("(nop)"),
            };
        }
        let counter = self.loops;
        self.loops += 1;
        match result {
            Some(ty) => {
                write!(self.text, "(block (result {ty}) (local.set $n{counter} (i32.const 3)) (loop (result {ty}) ")
            }
            None => write!(self.text, "(block (local.set $n{counter} (i32.const 3)) (loop "),
        }
        .unwrap();
        self.statement(fuel, &[]);
        self.statement(fuel, &[]);
        if let Some(ty) = result {
            self.float(ty, fuel);
        }
        write!(
            self.text,
            "(local.set $n{counter} (i32.sub (local.get $n{counter}) (i32.const 1))) (br_if 0 (i32.gt_s (local.get $n{counter}) (i32.const 0)))"
        )
        .unwrap();
        self.put("))");
    }

    /// A statement. Where `results` says what the function gives, it may return.
    fn statement(&mut self, fuel: u32, results: &[&str]) {
        if self.text.len() > 30_000 {
            return;
        }
        let ty = self.pick(&FLOATS);
        let next = fuel.saturating_sub(1);
        match self.below(if fuel == 0 { 4 } else { 9 }) {
            0 | 1 => {
                let local = self.variable(ty);
                write!(self.text, "(local.set {local} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            2 => {
                let address = self.address();
                write!(self.text, "({ty}.store {address} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            3 => {
                write!(self.text, "(global.set ${ty} ").unwrap();
                self.float(ty, fuel);
                self.put(")");
            }
            4 => {
                self.put("(global.set $i (i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 ");
                self.float("f64", fuel);
                self.put(") (i64.const 63))))");
            }
            5 => {
                self.put("(if ");
                self.condition(next);
                self.put("(then ");
                self.statement(next, &[]);
                self.put(") (else ");
                self.statement(next, &[]);
                self.put("))");
            }
            6 => self.counted_loop(next, None),
            7 => {
                self.put("(block (br_if 0 ");
                self.condition(next);
                self.put(")");
                self.statement(next, &[]);
                self.statement(next, &[]);
                self.put(")");
            }
            _ if !results.is_empty() => {
                self.put("(if ");
                self.condition(next);
                self.put("(then ");
                for ty in results {
                    self.float(ty, next);
                }
                self.put("(return)))");
            }
            _ => {
                self.put("(local.set $v (v128.xor (local.get $v) (f64x2.splat ");
                self.float("f64", next);
                self.put(")))");
            }
        }
    }
}

#[test]
fn arbitrary_floats_have_the_bits_of_the_reference() {
    let (mut returned, mut nans) = (0, 0);
    let mut runs = Vec::new();
    for seed in 0..PROGRAMS {
        let text = Author::program(seed);
        let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let run = run_as_reference(&wasm, FUEL);
        returned += u64::from(run.ended == Ended::Returned);
        let words = run.memory.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        nans += words.filter(|word| *word == 0x7ff8_0000_0000_0000).count();
        runs.push((seed, run));
    }
    record("floats", &runs);
    assert!(returned > PROGRAMS * 3 / 4, "only {returned} programs say anything");
    assert!(nans as u64 > PROGRAMS, "only {nans} NaNs were seen");
}
