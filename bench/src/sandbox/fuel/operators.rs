//! What operators cost: each class by typical operators, where each needs the one before, and where the processor can do
//! several at a time.

use super::program::{ARENA, Form, WIDTH};

/// Operators in one round of a loop, so that the loop itself hardly shows.
const UNROLLED: u32 = 48;

/// Every form of every class.
pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    arithmetic(&mut forms);
    conversions(&mut forms);
    globals(&mut forms);
    memory(&mut forms);
    branches(&mut forms);
    calls(&mut forms);
    tables(&mut forms);
    vectors(&mut forms);
    bulk(&mut forms);
    forms
}

/// `piece` for one accumulator after the other, of `width` that there are, and for changing operands.
fn unrolled(width: u32, piece: impl Fn(u32, u32) -> String) -> String {
    (0..UNROLLED).map(|index| piece(index % width, index % (WIDTH - 1))).collect()
}

/// Adds `piece` where all depend on the one before, and where there are as many chains as accumulators.
fn both(forms: &mut Vec<Form>, payer: &'static str, name: &str, piece: impl Fn(u32, u32) -> String) {
    for (width, how) in [(1, "in a chain"), (WIDTH, "side by side")] {
        forms.push(Form::new(payer, format!("{name}, {how}"), unrolled(width, &piece)));
    }
}

/// `a = operator(a, y)`
fn binary(forms: &mut Vec<Form>, payer: &'static str, prefix: &str, operators: &[&str]) {
    for operator in operators {
        both(forms, payer, operator, |a, y| {
            format!("(local.set ${prefix}{a} ({operator} (local.get ${prefix}{a}) (local.get ${prefix}y{y})))")
        });
    }
}

/// `a = operator(a)`
fn unary(forms: &mut Vec<Form>, payer: &'static str, prefix: &str, operators: &[&str]) {
    for operator in operators {
        both(forms, payer, operator, |a, _| format!("(local.set ${prefix}{a} ({operator} (local.get ${prefix}{a})))"));
    }
}

fn arithmetic(forms: &mut Vec<Form>) {
    binary(forms, "simple", "i", &["i32.add", "i32.xor", "i32.shl", "i32.lt_s"]);
    binary(forms, "simple", "l", &["i64.sub", "i64.and", "i64.shr_u"]);
    unary(forms, "simple", "i", &["i32.clz", "i32.popcnt"]);
    unary(forms, "simple", "l", &["i64.ctz", "i64.popcnt"]);
    both(forms, "simple", "select", |a, y| {
        format!(
            "(local.set $i{a} (select (local.get $i{a}) (local.get $iy{y}) (i32.and (local.get $i{a}) (i32.const 1))))"
        )
    });
    binary(forms, "multiply", "i", &["i32.mul"]);
    binary(forms, "multiply", "l", &["i64.mul"]);
    // Dividends stay large: small ones take less time.
    for (ty, prefix, operators) in
        [("i32", "i", ["div_s", "div_u", "rem_s", "rem_u"]), ("i64", "l", ["div_s", "div_u", "rem_s", "rem_u"])]
    {
        for operator in operators {
            both(forms, "divide", &format!("{ty}.{operator}"), |a, y| {
                let dividend = format!("({ty}.xor (local.get ${prefix}{a}) (local.get ${prefix}y3))");
                format!("(local.set ${prefix}{a} ({ty}.{operator} {dividend} (local.get ${prefix}y{y})))")
            });
        }
    }
    binary(forms, "float", "f", &["f32.add", "f32.mul", "f32.min", "f32.copysign"]);
    binary(forms, "float", "d", &["f64.sub", "f64.mul", "f64.max"]);
    unary(forms, "float", "f", &["f32.nearest"]);
    unary(forms, "float", "d", &["f64.floor"]);
    both(forms, "float", "f64.lt", |a, y| {
        format!(
            "(local.set $d{a} (select (local.get $dy{y}) (local.get $dy3) (f64.lt (local.get $d{a}) (local.get $dy{y}))))"
        )
    });
    binary(forms, "float_divide", "f", &["f32.div"]);
    binary(forms, "float_divide", "d", &["f64.div"]);
    unary(forms, "float_divide", "f", &["f32.sqrt"]);
    unary(forms, "float_divide", "d", &["f64.sqrt"]);
}

fn conversions(forms: &mut Vec<Form>) {
    for (prefix, there, back) in [
        ("i", "f32.convert_i32_s", "i32.trunc_sat_f32_s"),
        ("i", "f64.convert_i32_u", "i32.trunc_f64_u"),
        ("l", "f64.convert_i64_s", "i64.trunc_sat_f64_s"),
        ("l", "f32.convert_i64_u", "i64.trunc_sat_f32_u"),
        ("f", "f64.promote_f32", "f32.demote_f64"),
    ] {
        both(forms, "convert", &format!("{there}, {back}"), |a, _| {
            format!("(local.set ${prefix}{a} ({back} ({there} (local.get ${prefix}{a}))))")
        });
    }
}

fn globals(forms: &mut Vec<Form>) {
    let fields = "(global $g0 (mut i32) (i32.const 1)) (global $g1 (mut i32) (i32.const 2))
        (global $g2 (mut i32) (i32.const 3)) (global $g3 (mut i32) (i32.const 4))";
    for (width, how) in [(1, "one"), (WIDTH, "several")] {
        let body =
            unrolled(width, |a, y| format!("(global.set $g{a} (i32.add (global.get $g{a}) (local.get $iy{y})))"));
        forms.push(Form::new("global", format!("global.get, global.set, {how}"), body).fields(fields));
    }
}

/// Bytes of a buffer that is in the fastest cache, and of one that is in the next.
const NEAR: u32 = 16 << 10;
const FAR: u32 = 256 << 10;
/// Bytes that a cache moves at a time.
const LINE: u32 = 64;

fn memory(forms: &mut Vec<Form>) {
    for (bytes, how) in [(NEAR, "near"), (FAR, "far")] {
        let lines = bytes / LINE;
        // Each line holds the address of another, in an order that no prefetcher guesses and that visits all.
        let chain = format!(
            "(loop $fill
                (i32.store (i32.add (i32.const {ARENA}) (i32.mul (local.get $p) (i32.const {LINE})))
                    (i32.add (i32.const {ARENA}) (i32.mul (i32.const {LINE})
                        (i32.and (i32.const {mask}) (i32.add (i32.const 12345) (i32.mul (i32.const 1597) (local.get $p)))))))
                (br_if $fill (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const {lines}))))
            (local.set $p (i32.const {ARENA}))",
            mask = lines - 1
        );
        let chase = "(local.set $p (i32.load (local.get $p)))".repeat(UNROLLED as usize);
        forms.push(Form::new("load", format!("i32.load, {how}, in a chain"), chase).setup(chain));

        // The window of a round moves through the buffer.
        let next = format!(
            "(local.set $p (i32.add (i32.const {ARENA}) (i32.and (i32.const {mask}) \
             (i32.add (local.get $p) (i32.const {step})))))",
            mask = bytes - 1,
            step = UNROLLED / WIDTH * 4 * LINE
        );
        let round = |piece: &dyn Fn(u32, u32) -> String| {
            let pieces: String = (0..UNROLLED).map(|index| piece(index % WIDTH, index * LINE)).collect();
            format!("{next}{pieces}")
        };
        for (prefix, add, load) in [
            ("i", "i32.add", "i32.load"),
            ("l", "i64.add", "i64.load16_s"),
            ("d", "f64.add", "f64.load"),
            ("v", "i32x4.add", "v128.load"),
        ] {
            let body = round(&|a, at| {
                format!("(local.set ${prefix}{a} ({add} (local.get ${prefix}{a}) ({load} offset={at} (local.get $p))))")
            });
            forms.push(Form::new("load", format!("{load}, {how}, side by side"), body));
        }
        for (prefix, store) in [("i", "i32.store8"), ("l", "i64.store"), ("d", "f64.store"), ("v", "v128.store")] {
            let body = round(&|a, at| format!("({store} offset={at} (local.get $p) (local.get ${prefix}{a}))"));
            forms.push(Form::new("store", format!("{store}, {how}"), body));
        }
    }
    both(forms, "store", "f64.store of a sum", |a, y| {
        format!(
            "(f64.store offset={at} (i32.const {ARENA}) (local.tee $d{a} (f64.add (local.get $d{a}) (local.get $dy{y}))))",
            at = 8 * a
        )
    });
}

/// A bit in `$i0` that nothing predicts, from a generator of Marsaglia's.
const RANDOM: &str = "(local.set $i0 (i32.xor (local.get $i0) (i32.shl (local.get $i0) (i32.const 13))))
    (local.set $i0 (i32.xor (local.get $i0) (i32.shr_u (local.get $i0) (i32.const 17))))
    (local.set $i0 (i32.xor (local.get $i0) (i32.shl (local.get $i0) (i32.const 5))))";

fn branches(forms: &mut Vec<Form>) {
    let repeated = |piece: &str, times: u32| piece.repeat(times as usize);
    let skipped = "(block (br_if 0 (local.get $i1)) (local.set $i0 (i32.add (local.get $i0) (local.get $iy0))))";
    forms.push(
        Form::new("branch", "br_if that is not taken", repeated(skipped, UNROLLED))
            .setup("(local.set $i1 (i32.const 0))"),
    );
    forms.push(Form::new("branch", "br_if that is taken", repeated(skipped, UNROLLED)));
    let arms = "(if (local.get $i1) (then (local.set $i0 (i32.add (local.get $i0) (local.get $iy0))))
        (else (local.set $i0 (i32.sub (local.get $i0) (local.get $iy1)))))";
    forms.push(Form::new("branch", "if with an else", repeated(arms, UNROLLED)));
    let tight = "(local.set $p (i32.const 64)) (loop $tight
        (br_if $tight (local.tee $p (i32.sub (local.get $p) (i32.const 1)))))";
    forms.push(Form::new("branch", "a loop of nothing", tight));
    let random = format!(
        "{RANDOM} (if (i32.and (local.get $i0) (i32.const 1))
        (then (local.set $i1 (i32.add (local.get $i1) (local.get $iy0))))
        (else (local.set $i1 (i32.mul (local.get $i1) (local.get $iy1)))))"
    );
    forms.push(Form::new("branch", "if that nothing predicts", repeated(&random, 8)));
    let table = |index: &str| {
        let mut text = format!("(br_table 0 1 2 3 4 5 6 7 {index})");
        for arm in 0..8 {
            text = format!(
                "(block $b{arm} {text}) (local.set $i1 (i32.add (local.get $i1) (local.get $iy{y}))) (br $out)",
                y = arm % WIDTH
            );
        }
        format!("(block $out {text})")
    };
    let turning = "(local.set $i0 (i32.add (local.get $i0) (i32.const 1)))";
    let body = format!("{turning}{}", table("(i32.and (local.get $i0) (i32.const 7))"));
    forms.push(Form::new("branch_table", "br_table that goes around", repeated(&body, 8)));
    let body = format!("{RANDOM}{}", table("(i32.and (local.get $i0) (i32.const 7))"));
    forms.push(Form::new("branch_table", "br_table that nothing predicts", repeated(&body, 8)));
}

const FUNCTIONS: &str = "(type $unary (func (param i32) (result i32)))
    (table $functions funcref (elem $leaf $other $third $fourth))
    (func $leaf (type $unary) (i32.add (local.get 0) (i32.const 1)))
    (func $other (type $unary) (i32.sub (local.get 0) (i32.const 3)))
    (func $third (type $unary) (i32.xor (local.get 0) (i32.const 5)))
    (func $fourth (type $unary) (i32.rotl (local.get 0) (i32.const 7)))
    (func $twice (type $unary) (call $leaf (call $other (local.get 0))))
    (func $many (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.add (local.get 0) (local.get 9)))
    (func $deep (param i32) (result i32)
        (if (result i32) (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))";

fn calls(forms: &mut Vec<Form>) {
    let mut add = |payer, name: &str, body: String| forms.push(Form::new(payer, name, body).fields(FUNCTIONS));
    let repeated = |piece: &str| piece.repeat(16);
    add("call", "call of a leaf", repeated("(local.set $i0 (call $leaf (local.get $i0)))"));
    add("call", "call of calls", repeated("(local.set $i0 (call $twice (local.get $i0)))"));
    let ten = "(local.get $i0)".repeat(10);
    add("call", "call with ten parameters", repeated(&format!("(local.set $i0 (call $many {ten}))")));
    add("call", "recursion", repeated("(local.set $i0 (call $deep (i32.const 16)))"));
    let through =
        |index: &str| format!("(local.set $i1 (call_indirect $functions (type $unary) (local.get $i1) {index}))");
    add("call_indirect", "call_indirect of one", repeated(&through("(i32.and (local.get $i0) (i32.const 0))")));
    let turning = "(local.set $i0 (i32.add (local.get $i0) (i32.const 1)))";
    let index = "(i32.and (local.get $i0) (i32.const 3))";
    add("call_indirect", "call_indirect that goes around", repeated(&format!("{turning}{}", through(index))));
    add("call_indirect", "call_indirect that nothing predicts", repeated(&format!("{RANDOM}{}", through(index))));
}

fn tables(forms: &mut Vec<Form>) {
    let fields = "(table $t 4096 funcref) (elem declare func $nothing) (func $nothing)";
    let mut add = |name: &str, body: &str| {
        let setup = "(table.fill $t (i32.const 0) (ref.func $nothing) (i32.const 4096))";
        forms.push(Form::new("table", name, body.repeat(16)).fields(fields).setup(setup));
    };
    let index = "(local.set $i0 (i32.and (i32.add (local.get $i0) (i32.const 5)) (i32.const 4095)))";
    add(
        "table.get",
        &format!("{index}(local.set $i1 (i32.add (local.get $i1) (ref.is_null (table.get $t (local.get $i0)))))"),
    );
    add("table.set", &format!("{index}(table.set $t (local.get $i0) (ref.null func))"));
    add("table.get, table.set", &format!("{index}(table.set $t (local.get $i0) (table.get $t (local.get $i0)))"));
    add("table.size", "(local.set $i1 (i32.add (local.get $i1) (table.size $t)))");
}

fn vectors(forms: &mut Vec<Form>) {
    binary(
        forms,
        "vector",
        "v",
        &["v128.xor", "i32x4.add", "i8x16.add_sat_u", "i8x16.swizzle", "i64x2.gt_s", "i16x8.avgr_u"],
    );
    unary(forms, "vector", "v", &["i8x16.popcnt", "i32x4.abs"]);
    both(forms, "vector", "i8x16.shuffle", |a, y| {
        let lanes = "3 19 1 17 31 30 0 16 8 24 9 25 10 26 11 27";
        format!("(local.set $v{a} (i8x16.shuffle {lanes} (local.get $v{a}) (local.get $vy{y})))")
    });
    for operator in ["i8x16.shl", "i64x2.shr_s", "i32x4.shr_u"] {
        both(forms, "vector", operator, |a, y| {
            format!("(local.set $v{a} ({operator} (local.get $v{a}) (local.get $iy{y})))")
        });
    }
    both(forms, "vector", "i8x16.bitmask, i32x4.replace_lane", |a, _| {
        format!("(local.set $v{a} (i32x4.replace_lane 1 (local.get $v{a}) (i8x16.bitmask (local.get $v{a}))))")
    });
    both(forms, "vector", "i32x4.splat, i32x4.extract_lane", |a, _| {
        format!("(local.set $v{a} (i32x4.splat (i32x4.extract_lane 2 (local.get $v{a}))))")
    });
    binary(
        forms,
        "vector_multiply",
        "v",
        &["f32x4.add", "f32x4.mul", "f32x4.max", "i32x4.mul", "i16x8.extmul_low_i8x16_s"],
    );
    binary(forms, "vector_multiply", "w", &["f64x2.mul", "f64x2.min", "i64x2.mul"]);
    both(forms, "vector_multiply", "f32x4.convert_i32x4_u, i32x4.trunc_sat_f32x4_u", |a, _| {
        format!("(local.set $v{a} (i32x4.trunc_sat_f32x4_u (f32x4.convert_i32x4_u (local.get $v{a}))))")
    });
    binary(forms, "vector_divide", "v", &["f32x4.div"]);
    binary(forms, "vector_divide", "w", &["f64x2.div"]);
    unary(forms, "vector_divide", "v", &["f32x4.sqrt"]);
    unary(forms, "vector_divide", "w", &["f64x2.sqrt"]);
}

/// `memory.copy`, `memory.fill` and `memory.init`, `table.copy` and `table.fill`: of nothing and little, where the operator counts,
/// and of much, where the length does.
fn bulk(forms: &mut Vec<Form>) {
    let other = ARENA + (16 << 20);
    let fields = r#"(data $passive "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
        (table $t 4096 funcref) (elem $none func $nothing $nothing $nothing $nothing) (func $nothing)"#;
    // Once before, so that the memory is not new.
    let mut add =
        |payer, name: String, body: String| forms.push(Form::new(payer, name, body.clone()).fields(fields).setup(body));
    for (payer, len) in [("bulk", 0), ("bulk", 64), ("bulk_byte", 4096), ("bulk_byte", FAR), ("bulk_byte", 4 << 20)] {
        let places = format!("(i32.const {ARENA}) (i32.const {other}) (i32.const {len})");
        add(payer, format!("memory.copy of {len}"), format!("(memory.copy {places})"));
        let places = format!("(i32.const {ARENA}) (local.get $i0) (i32.const {len})");
        add(payer, format!("memory.fill of {len}"), format!("(memory.fill {places})"));
    }
    for len in [0, 64] {
        let places = format!("(i32.const {ARENA}) (i32.const 0) (i32.const {len})");
        add("bulk", format!("memory.init of {len}"), format!("(memory.init $passive {places})"));
    }
    for (payer, len) in [("bulk", 0), ("bulk", 4), ("table_element", 2048)] {
        let places = format!("(i32.const 2048) (i32.const 0) (i32.const {len})");
        add(payer, format!("table.copy of {len}"), format!("(table.copy $t $t {places})"));
        let places = format!("(i32.const 0) (ref.func $nothing) (i32.const {len})");
        let payer = if payer == "bulk" { "grow" } else { payer };
        add(payer, format!("table.fill of {len}"), format!("(table.fill $t {places})"));
    }
    for len in [0, 4] {
        let places = format!("(i32.const 7) (i32.const 0) (i32.const {len})");
        add("bulk", format!("table.init of {len}"), format!("(table.init $t $none {places})"));
    }
    add("bulk", "data.drop, elem.drop".into(), "(data.drop $passive) (elem.drop $none)".into());
    let grow = "(local.set $i0 (i32.or (local.get $i0) (memory.grow (i32.const 0))))";
    forms.push(Form::new("grow", "memory.grow of 0", grow));
    let grow_table = "(local.set $i0 (i32.or (local.get $i0) (table.grow $t (ref.null func) (i32.const 0))))";
    forms.push(Form::new("grow", "table.grow of 0", grow_table).fields(fields));
    for pages in [1, 64] {
        // Each page of the machine is touched.
        let body = format!(
            "(local.set $p (i32.mul (memory.grow (i32.const {pages})) (i32.const 65536)))
            (local.set $i1 (i32.const {touched}))
            (loop $touch (i32.store (local.get $p) (local.get $i1))
                (local.set $p (i32.add (local.get $p) (i32.const 4096)))
                (br_if $touch (local.tee $i1 (i32.sub (local.get $i1) (i32.const 1)))))",
            touched = pages * 16
        );
        forms.push(Form::new("memory_page", format!("memory.grow of {pages}, written to"), body).most(2048 / pages));
        let untouched = format!("(local.set $i0 (i32.or (local.get $i0) (memory.grow (i32.const {pages}))))");
        forms.push(Form::new("memory_page", format!("memory.grow of {pages}"), untouched).most(2048 / pages));
    }
    for elements in [1, 256] {
        let body = format!("(drop (table.grow $t (ref.null func) (i32.const {elements})))");
        let form = Form::new("table_element", format!("table.grow of {elements}"), body);
        forms.push(form.fields(fields).most(90_000 / elements));
    }
}
