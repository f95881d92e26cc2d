//! Every operator of arithmetic on values at the edges of their types: one module per group of operators.

use super::module;
use std::fmt::Write;

/// Where the values lie.
const VALUES: usize = 64;
/// Where a result is put to be read as bits.
const SCRATCH: usize = 16;
/// Where the digest of each operator goes.
const DIGESTS: usize = 4096;

const WIDE: [u64; 26] = [
    0,
    1 << 63,               // -0, the least integer
    0x3ff0_0000_0000_0000, // 1
    0xbff0_0000_0000_0000, // -1
    0x3fe0_0000_0000_0000, // 0.5
    0xc004_0000_0000_0000, // -2.5
    0x3fb9_9999_9999_999a, // 0.1
    0x4009_21fb_5444_2d18, // pi
    1,                     // the least subnormal number
    0x000f_ffff_ffff_ffff, // the greatest subnormal number
    0x0010_0000_0000_0000, // the least normal number
    0x7fef_ffff_ffff_ffff, // the greatest number
    0x7ff0_0000_0000_0000, // infinity
    0xfff0_0000_0000_0000, // -infinity
    0x7ff8_0000_0000_0000, // the canonical NaN
    0xfff8_0000_0000_0000, // its negative, which x86-64 gives
    0x7ff0_0000_0000_0001, // a signalling NaN
    0xfff8_dead_beef_0001, // a NaN with a payload
    0x41df_ffff_ffe0_0000, // 2147483647.5
    0xc1e0_0000_0020_0000, // -2147483649
    0x41f0_0000_0000_0000, // 2^32
    0x43e0_0000_0000_0000, // 2^63
    0xc3e0_0000_0000_0001, // below -2^63
    0x43f0_0000_0000_0000, // 2^64
    0x0102_0304_7fff_ffff, // integers
    u64::MAX,
];
const NARROW: [u32; 20] = [
    0x8000_0000, // -0
    0x3f80_0000, // 1
    0xbfc0_0000, // -1.5
    0x4020_0000, // 2.5
    0x0000_0001, // the least subnormal number
    0x007f_ffff, // the greatest subnormal number
    0x0080_0000, // the least normal number
    0x7f7f_ffff, // the greatest number
    0x7f80_0000, // infinity
    0xff80_0000, // -infinity
    0x7fc0_0000, // the canonical NaN
    0xffc0_0000, // its negative
    0x7f80_0001, // a signalling NaN
    0xffc1_2345, // a NaN with a payload
    0x4b80_0001, // 2^24 + 2
    0x4f00_0000, // 2^31
    0xcf00_0001, // below -2^31
    0x4f80_0000, // 2^32
    0x5f00_0000, // 2^63
    0xdf00_0001, // below -2^63
];

/// Operators on operands of one type: what each gives, and the expression of it.
struct Group {
    operand: &'static str,
    operators: Vec<(&'static str, String)>,
}

impl Group {
    fn new(operand: &'static str) -> Self {
        Self { operand, operators: Vec::new() }
    }

    /// Operators of one operand, `names` separated by blanks, each after `prefix`.
    fn unary(self, result: &'static str, prefix: &str, names: &str) -> Self {
        self.each(result, prefix, names, "(local.get $a)")
    }

    fn binary(self, result: &'static str, prefix: &str, names: &str) -> Self {
        self.each(result, prefix, names, "(local.get $a) (local.get $b)")
    }

    /// Shifts of vectors, by a number of bits that the second operand gives.
    fn shifts(self, prefix: &str) -> Self {
        self.each("v128", prefix, "shl shr_s shr_u", "(local.get $a) (i32x4.extract_lane 1 (local.get $b))")
    }

    fn each(mut self, result: &'static str, prefix: &str, names: &str, operands: &str) -> Self {
        let operators = names.split(' ').map(|name| (result, format!("({prefix}{name} {operands})")));
        self.operators.extend(operators);
        self
    }

    /// Applies each operator to each pair of values, and prints a digest of the results per operator.
    fn module(&self) -> String {
        let operand = self.operand;
        let (from, to, step) = match operand {
            "i64" | "f64" => (VALUES, VALUES + 8 * WIDE.len(), 8),
            "f32" => (VALUES + 8 * WIDE.len(), VALUES + 8 * WIDE.len() + 4 * NARROW.len(), 4),
            "i32" => (VALUES, VALUES + 8 * WIDE.len() + 4 * NARROW.len(), 4),
            // Vectors overlap, so that each lane meets many values.
            _ => (VALUES, VALUES + 8 * WIDE.len() + 4 * NARROW.len() - 16, 12),
        };
        let bytes: Vec<u8> = WIDE
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .chain(NARROW.iter().flat_map(|value| value.to_le_bytes()))
            .collect();
        let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let mut rest = format!(
            "(data (i32.const {VALUES}) \"{data}\") (global $digest (mut i64) (i64.const 0))
            (func $fold (param $bits i64)
              (global.set $digest (i64.mul (i64.const 0x100000001b3)
                (i64.xor (i64.rotl (global.get $digest) (i64.const 5)) (local.get $bits)))))"
        );
        let mut body = String::new();
        for (number, (result, expression)) in self.operators.iter().enumerate() {
            write!(
                rest,
                "(func $operator{number} (param $a {operand}) (param $b {operand}) (result {result}) {expression})
                (func $all{number} (local $i i32) (local $j i32) (local $r {result})
                  (local.set $i (i32.const {from}))
                  (loop $rows
                    (local.set $j (i32.const {from}))
                    (loop $columns
                      (local.set $r
                        (call $operator{number} ({operand}.load (local.get $i)) ({operand}.load (local.get $j))))
                      {}
                      (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const {step}))) (i32.const {to}))))
                    (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const {step}))) (i32.const {to})))))",
                bits(result)
            )
            .unwrap();
            write!(body, "(call $all{number}) (i64.store (i32.const {}) (global.get $digest))", DIGESTS + 8 * number)
                .unwrap();
        }
        write!(body, "(call $show (i32.const {DIGESTS}) (i32.const {}))", 8 * self.operators.len()).unwrap();
        module(&format!("{rest} (func (export \"_start\") {body})"))
    }
}

/// Folds the bits of the local `$r` into the digest, as they are stored and as they are reinterpreted.
fn bits(ty: &str) -> String {
    let stored = |words: usize| {
        let mut code = format!("({ty}.store (i32.const {SCRATCH}) (local.get $r))");
        for word in 0..words {
            write!(code, "(call $fold (i64.load (i32.const {})))", SCRATCH + 8 * word).unwrap();
        }
        code
    };
    match ty {
        "i32" => "(call $fold (i64.extend_i32_u (local.get $r)))".to_owned(),
        "i64" => "(call $fold (local.get $r))".to_owned(),
        "f32" => stored(1) + "(call $fold (i64.extend_i32_u (i32.reinterpret_f32 (local.get $r))))",
        "f64" => stored(1) + "(call $fold (i64.reinterpret_f64 (local.get $r)))",
        _ => stored(2) + "(call $fold (i64x2.extract_lane 1 (local.get $r)))",
    }
}

/// The modules, by name.
pub(super) fn groups() -> Vec<(String, String)> {
    let floats = |ty: &'static str, prefix: &str| {
        Group::new(ty)
            .binary(ty, prefix, "add sub mul div min max copysign")
            .binary("i32", prefix, "eq ne lt gt le ge")
            .unary(ty, prefix, "abs neg sqrt ceil floor trunc nearest")
            .unary("i32", "i32.trunc_sat_", &format!("{ty}_s {ty}_u"))
            .unary("i64", "i64.trunc_sat_", &format!("{ty}_s {ty}_u"))
    };
    let integers = |ty: &'static str, prefix: &str| {
        Group::new(ty)
            .binary(ty, prefix, "add sub mul and or xor shl shr_s shr_u rotl rotr")
            .binary("i32", prefix, "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u")
            .unary(ty, prefix, "clz ctz popcnt extend8_s extend16_s")
            .unary("i32", prefix, "eqz")
            .unary("f32", "f32.convert_", &format!("{ty}_s {ty}_u"))
            .unary("f64", "f64.convert_", &format!("{ty}_s {ty}_u"))
    };
    let lanes = |prefix: &str| {
        Group::new("v128")
            .binary("v128", prefix, "add sub eq ne lt_s gt_s le_s ge_s")
            .unary("v128", prefix, "abs neg")
            .unary("i32", prefix, "all_true bitmask")
            .shifts(prefix)
    };
    let small = |prefix: &str| lanes(prefix).binary("v128", prefix, "lt_u gt_u le_u ge_u min_s min_u max_s max_u");
    let saturating = "add_sat_s add_sat_u sub_sat_s sub_sat_u avgr_u";
    let extended = |prefix: &str, of: &str| {
        let names = |stem: &str| format!("{stem}_low_{of}_s {stem}_low_{of}_u {stem}_high_{of}_s {stem}_high_{of}_u");
        Group::new("v128").binary("v128", prefix, &names("extmul")).unary("v128", prefix, &names("extend"))
    };
    let vectors = |prefix: &str| {
        Group::new("v128").binary("v128", prefix, "add sub mul div min max pmin pmax eq ne lt gt le ge").unary(
            "v128",
            prefix,
            "abs neg sqrt ceil floor trunc nearest",
        )
    };
    let conversions = Group::new("v128")
        .unary("v128", "f32x4.", "convert_i32x4_s convert_i32x4_u demote_f64x2_zero")
        .unary("v128", "f64x2.", "convert_low_i32x4_s convert_low_i32x4_u promote_low_f32x4")
        .unary("v128", "i32x4.", "trunc_sat_f32x4_s trunc_sat_f32x4_u trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero")
        .unary("f64", "f64x2.extract_lane ", "0 1")
        .unary("f32", "f32x4.extract_lane ", "0 3")
        .unary("i32", "i8x16.extract_lane_s ", "15")
        .each("v128", "i8x16.shuffle 0 31 2 29 4 27 6 25 8 23 10 21 12 19 14 17", "", "(local.get $a) (local.get $b)")
        .each("v128", "i8x16.", "swizzle", "(local.get $a) (local.get $b)")
        .each("v128", "f64x2.replace_lane 1", "", "(local.get $a) (f64x2.extract_lane 0 (local.get $b))")
        .each("v128", "f32x4.splat", "", "(f32x4.extract_lane 2 (local.get $a))");

    let groups = [
        ("i32", integers("i32", "i32.")),
        ("i64", integers("i64", "i64.").unary("i64", "i64.", "extend32_s").unary("i32", "i32.", "wrap_i64")),
        ("f32", floats("f32", "f32.").unary("f64", "f64.", "promote_f32")),
        ("f64", floats("f64", "f64.").unary("f32", "f32.", "demote_f64")),
        (
            "i8x16",
            small("i8x16.")
                .binary("v128", "i8x16.", saturating)
                .binary("v128", "i8x16.", "narrow_i16x8_s narrow_i16x8_u")
                .unary("v128", "i8x16.", "popcnt"),
        ),
        (
            "i16x8",
            small("i16x8.")
                .binary("v128", "i16x8.", saturating)
                .binary("v128", "i16x8.", "mul q15mulr_sat_s narrow_i32x4_s narrow_i32x4_u")
                .unary("v128", "i16x8.", "extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u"),
        ),
        (
            "i32x4",
            small("i32x4.").binary("v128", "i32x4.", "mul dot_i16x8_s").unary(
                "v128",
                "i32x4.",
                "extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u",
            ),
        ),
        ("i64x2", lanes("i64x2.").binary("v128", "i64x2.", "mul")),
        ("i16x8-extended", extended("i16x8.", "i8x16")),
        ("i32x4-extended", extended("i32x4.", "i16x8")),
        ("i64x2-extended", extended("i64x2.", "i32x4")),
        ("f32x4", vectors("f32x4.")),
        ("f64x2", vectors("f64x2.")),
        (
            "v128",
            Group::new("v128")
                .binary("v128", "v128.", "and or xor andnot")
                .unary("v128", "v128.", "not")
                .unary("i32", "v128.", "any_true")
                .each(
                    "v128",
                    "v128.",
                    "bitselect",
                    "(local.get $a) (local.get $b) (f32x4.add (local.get $a) (local.get $b))",
                ),
        ),
        ("conversions", conversions),
    ];
    groups.into_iter().map(|(name, group)| (format!("operators-{name}"), group.module())).collect()
}
