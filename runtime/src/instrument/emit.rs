//! Writes a metered function.

use super::nan::{Shape, Site};
use super::plan::{Change, Edit, Length, Plan, Prepaid};
use super::trips::{Limit, Trips, inverse};
use super::{Function, Meters};
use depx_host_abi::fuel;
use wasm_encoder::{BlockType, BranchHint, Encode, Ieee32, Ieee64, InstructionSink, ValType};

/// A function's new encoding, and which of its branches are hardly ever taken or hardly ever passed by.
pub(super) struct Emitted {
    pub(super) body: Vec<u8>,
    pub(super) hints: Vec<BranchHint>,
}

/// Writes `function`, metered as is planned, with NaNs made canonical at `sites`. For each function, imported ones first, `counted`
/// says whether its depth is counted.
pub(super) fn emit(
    wasm: &[u8],
    function: &Function<'_>,
    counted: &[bool],
    sites: &[Site],
    meters: Meters,
) -> Result<Emitted, wasmparser::Error> {
    let plan = &function.plan;
    let code = function.body.get_binary_reader_for_operators()?.original_position()..function.body.range().end;
    let mut writer = Writer {
        bytes: Vec::with_capacity(function.body.range().len() * 2 + 64),
        hints: Vec::new(),
        meters,
        scratch: Scratch::new(function.locals, plan, sites, function.slots()),
        saves_always: has_long_code(plan, code.start as u32),
    };
    let locals = &wasm[function.body.range().start..code.start];
    writer.locals(locals, function.body.get_locals_reader()?.get_count());
    writer.load_fuel();
    match function.slots() {
        Some(slots) => writer.enter(slots),
        None if function.operators > UNCHECKED_OPERATORS => writer.check(),
        None => {}
    }
    writer.charge(plan.costs[0], plan.saved[0]);
    // Up to where fuel is kept in the local, and the original code is copied.
    let (mut kept, mut copied) = (code.start, code.start);
    let mut sites = sites.iter().peekable();
    for Edit { offset, change } in &plan.edits {
        let offset = *offset as usize;
        while let Some(site) = sites.next_if(|site| site.offset <= offset) {
            writer.bytes.extend_from_slice(&wasm[copied..site.offset]);
            copied = site.offset;
            writer.canonicalise(site.shape);
        }
        writer.bytes.extend_from_slice(&wasm[copied..offset]);
        copied = offset;
        match *change {
            Change::Charge { region, check } => {
                let (prepaid, cost) = (plan.prepaid.get(&region), plan.costs[region as usize]);
                if is_long(offset - kept, check, cost) {
                    writer.load_fuel();
                }
                kept = offset;
                if prepaid.is_none() {
                    writer.charge(cost, check || plan.saved[region as usize]);
                }
                match prepaid {
                    None if check => writer.check(),
                    Some(prepaid) if prepaid.check => writer.check_unsaved(),
                    _ => {}
                }
            }
            Change::Loop { region } => {
                if let Some(Prepaid { trips, .. }) = plan.prepaid.get(&region) {
                    writer.prepay(trips, plan.costs[region as usize]);
                }
            }
            Change::Save => writer.save(),
            Change::Exit { exit, returns } => writer.refund(plan.refunds[exit as usize], returns),
            Change::ExitIf { exit, depth, returns } => {
                let refund = plan.refunds[exit as usize];
                if refund > 0 || returns && !writer.saves_always {
                    writer.begin_if(Usual::Else);
                    match refund {
                        0 => writer.save(),
                        _ => writer.refund(refund, returns),
                    }
                    writer.code().br(depth + 1).end();
                    copied += 1 + leb128_len(&wasm[offset + 1..]);
                }
            }
            Change::Call { function, save } => {
                if save {
                    writer.save();
                }
                if function.is_none_or(|function| counted[function as usize]) {
                    writer.set_depth();
                }
            }
            Change::Called => {
                writer.load_fuel();
                kept = offset;
            }
            Change::ChargeLength(length) => writer.charge_length(length),
        }
    }
    for site in sites {
        writer.bytes.extend_from_slice(&wasm[copied..site.offset]);
        copied = site.offset;
        writer.canonicalise(site.shape);
    }
    writer.bytes.extend_from_slice(&wasm[copied..code.end]);
    Ok(Emitted { body: writer.bytes, hints: writer.hints })
}

/// A function that calls nothing finds out when fuel has run out if it has more operators; until then its callers do. A module has so
/// many calls at most that what they do between two checks takes less than a second.
const UNCHECKED_OPERATORS: u32 = 64;

/// After so many bytes of code, and in a loop whose iterations cost so much, fuel is read from the global again: there, a register
/// is better used for something else. A function with such code saves whatever it charges.
const LONG_CODE: usize = 512;
const LONG_LOOP: u64 = 512;

/// Whether a region that begins `bytes` behind the one before, and may be an iteration of a loop, comes after long code or is long.
fn is_long(bytes: usize, is_loop: bool, cost: u64) -> bool {
    bytes > LONG_CODE || is_loop && cost > LONG_LOOP
}

fn has_long_code(plan: &Plan, start: u32) -> bool {
    let mut kept = start;
    plan.edits.iter().any(|edit| {
        let bytes = (edit.offset - kept) as usize;
        match edit.change {
            Change::Charge { region, check } => {
                kept = edit.offset;
                is_long(bytes, check, plan.costs[region as usize])
            }
            Change::Called => {
                kept = edit.offset;
                false
            }
            _ => false,
        }
    })
}

struct Writer {
    bytes: Vec<u8>,
    hints: Vec<BranchHint>,
    meters: Meters,
    scratch: Scratch,
    /// Whether the global always is what the local is.
    saves_always: bool,
}

/// Locals of our own, after all others: fuel, depth where it is counted, one for lengths and one for each shape of floats, where
/// they are needed.
struct Scratch {
    /// The types of all, in order.
    types: Vec<ValType>,
    /// Fuel that is left.
    fuel: u32,
    /// Depth that is left while the function is active, if it is counted.
    depth: u32,
    /// The type and the index of the others.
    locals: Vec<(ValType, u32)>,
}

impl Scratch {
    /// The scratch locals of a function that has `locals` locals itself.
    fn new(locals: u32, plan: &Plan, sites: &[Site], slots: Option<u32>) -> Self {
        let lengths = plan.edits.iter().any(|edit| matches!(edit.change, Change::ChargeLength(_)));
        let lengths = lengths || !plan.prepaid.is_empty();
        let shapes = Shape::ALL.into_iter().filter(|shape| sites.iter().any(|site| site.shape == *shape));
        let mut others: Vec<_> = lengths.then_some(ValType::I32).into_iter().chain(shapes.map(val_type)).collect();
        others.dedup();
        let mut types = vec![ValType::I64; 1 + usize::from(slots.is_some())];
        let (fuel, depth, first) = (locals, locals + 1, locals + types.len() as u32);
        types.extend(&others);
        Self { types, fuel, depth, locals: others.into_iter().zip(first..).collect() }
    }

    /// The local of a type that is needed.
    fn of(&self, ty: ValType) -> u32 {
        let found = self.locals.iter().find(|(other, _)| *other == ty);
        found.map(|(_, index)| *index).expect("there is one for every edit and site")
    }
}

fn val_type(shape: Shape) -> ValType {
    match shape {
        Shape::F32 => ValType::F32,
        Shape::F64 => ValType::F64,
        Shape::F32x4 | Shape::F64x2 => ValType::V128,
    }
}

/// The arm of an `if` that is usually executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usual {
    Then,
    Else,
}

/// The bits of the canonical NaNs.
const NAN32: u32 = 0x7fc0_0000;
const NAN64: u64 = 0x7ff8_0000_0000_0000;

impl Writer {
    /// Writes operators.
    fn code(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.bytes)
    }

    /// The declarations of locals, `groups` of them, and of the scratch locals.
    fn locals(&mut self, declared: &[u8], groups: u32) {
        (groups + self.scratch.types.len() as u32).encode(&mut self.bytes);
        self.bytes.extend_from_slice(&declared[leb128_len(declared)..]);
        for ty in &self.scratch.types {
            1u32.encode(&mut self.bytes);
            ty.encode(&mut self.bytes);
        }
    }

    /// An `if`, one of whose arms is hardly ever executed.
    fn begin_if(&mut self, usual: Usual) -> InstructionSink<'_> {
        let branch_func_offset = self.bytes.len() as u32;
        self.hints.push(BranchHint { branch_func_offset, branch_hint_value: u32::from(usual == Usual::Then) });
        let mut code = self.code();
        code.if_(BlockType::Empty);
        code
    }

    /// Makes the topmost operand canonical if it is a NaN: if it is not at least itself, which is a single test. Of the ways to say
    /// so, compilers make least of a branch around the constant, which is always taken where numbers are computed.
    fn canonicalise(&mut self, shape: Shape) {
        let scratch = self.scratch.of(val_type(shape));
        match shape {
            Shape::F32 => self.code().local_set(scratch).local_get(scratch).local_get(scratch).f32_ge(),
            Shape::F64 => self.code().local_set(scratch).local_get(scratch).local_get(scratch).f64_ge(),
            Shape::F32x4 | Shape::F64x2 => return self.canonicalise_lanes(shape, scratch),
        };
        let mut nan = self.begin_if(Usual::Then);
        match shape {
            Shape::F32 => nan.else_().f32_const(Ieee32::new(NAN32)),
            _ => nan.else_().f64_const(Ieee64::new(NAN64)),
        };
        nan.local_set(scratch).end().local_get(scratch);
    }

    /// Makes those lanes of the topmost operand canonical that are NaNs: that do not equal themselves.
    fn canonicalise_lanes(&mut self, shape: Shape, scratch: u32) {
        let nans = match shape {
            Shape::F32x4 => u128::from(NAN32) * 0x1_0000_0001_0000_0001_0000_0001,
            _ => u128::from(NAN64) * 0x1_0000_0000_0000_0001,
        };
        let mut code = self.code();
        code.local_tee(scratch).v128_const(nans.cast_signed()).local_get(scratch).local_get(scratch);
        match shape {
            Shape::F32x4 => code.f32x4_eq(),
            _ => code.f64x2_eq(),
        };
        code.v128_bitselect();
    }

    /// Takes over what the global says.
    fn load_fuel(&mut self) {
        let (global, local) = (self.meters.fuel, self.scratch.fuel);
        self.code().global_get(global).local_set(local);
    }

    /// Keeps the number on top of the stack as what is left, and saves it if it `must` be.
    fn set_fuel(&mut self, must: bool) {
        let (global, local, save) = (self.meters.fuel, self.scratch.fuel, must || self.saves_always);
        let mut code = self.code();
        match save {
            true => code.local_tee(local).global_set(global),
            false => code.local_set(local),
        };
    }

    /// Saves what is left.
    fn save(&mut self) {
        let (global, local) = (self.meters.fuel, self.scratch.fuel);
        if !self.saves_always {
            self.code().local_get(local).global_set(global);
        }
    }

    /// Pays `cost`, and saves what is left if it `must` be. Compilers have better code for sums than for differences.
    fn charge(&mut self, cost: u64, must: bool) {
        let local = self.scratch.fuel;
        match cost {
            0 if must => self.save(),
            0 => {}
            _ => {
                self.code().local_get(local).i64_const(-(cost as i64)).i64_add();
                self.set_fuel(must);
            }
        }
    }

    /// Takes back what was paid too much. If all is saved, the local need not be known.
    fn refund(&mut self, refund: u64, must: bool) {
        if refund > 0 {
            let (global, local) = (self.meters.fuel, self.scratch.fuel);
            match self.saves_always {
                true => self.code().global_get(global),
                false => self.code().local_get(local),
            };
            self.code().i64_const(refund as i64).i64_add();
            self.set_fuel(must);
        }
    }

    /// Pays for all iterations of a loop before it begins, and ends the run if there is not as much fuel left. None is left if it
    /// would never end.
    fn prepay(&mut self, trips: &Trips, cost: u64) {
        let (scratch, local, global) = (self.scratch.of(ValType::I32), self.scratch.fuel, self.meters.fuel);
        let (counter, ahead) = (trips.counter, trips.ahead.cast_signed());
        let mut code = self.code();
        let limit = |code: &mut InstructionSink<'_>| {
            match trips.limit {
                Limit::Constant(limit) => code.i32_const(limit.cast_signed()),
                Limit::Local(limit) => code.local_get(limit),
            };
        };
        // Steps are counted upwards.
        let up = trips.step.cast_signed() > 0;
        if up {
            limit(&mut code);
        }
        code.local_get(counter).i32_const(ahead).i32_add();
        if !up {
            limit(&mut code);
        }
        code.i32_sub();
        let step = if up { trips.step } else { trips.step.wrapping_neg() };
        let shift = step.trailing_zeros();
        let odd = step >> shift;
        if shift > 0 {
            code.local_tee(scratch).i32_const(((1u32 << shift) - 1).cast_signed()).i32_and();
            let mut never = self.begin_if(Usual::Else);
            never.i64_const(-1).global_set(global).unreachable().end();
            self.code().local_get(scratch).i32_const(shift.cast_signed()).i32_shr_u();
        }
        let mut code = self.code();
        if odd > 1 {
            code.i32_const(inverse(odd).cast_signed()).i32_mul();
            code.i32_const((u32::MAX >> shift).cast_signed()).i32_and();
        }
        code.local_set(scratch).local_get(local).local_get(scratch).i64_extend_i32_u().i64_const(1).i64_add();
        code.i64_const(cost as i64).i64_mul().i64_sub();
        self.set_fuel(true);
        self.check();
    }

    /// Ends the run if there is no fuel left.
    fn check(&mut self) {
        let local = self.scratch.fuel;
        self.code().local_get(local).i64_const(0).i64_lt_s().if_(BlockType::Empty).unreachable().end();
    }

    /// The same where what is left may not have been saved.
    fn check_unsaved(&mut self) {
        let local = self.scratch.fuel;
        self.code().local_get(local).i64_const(0).i64_lt_s();
        self.begin_if(Usual::Else);
        self.save();
        self.code().unreachable().end();
    }

    /// Takes slots of call depth, and ends the run if there are too few, or no fuel is left: one of both is negative exactly
    /// if their bitwise or is. The global is what is left to the function that calls, and need not be restored: whoever calls sets it
    /// before each call.
    fn enter(&mut self, slots: u32) {
        let (global, depth, fuel) = (self.meters.depth, self.scratch.depth, self.scratch.fuel);
        self.code().global_get(global).i64_const(-i64::from(slots)).i64_add().local_tee(depth);
        self.code().local_get(fuel).i64_or().i64_const(0).i64_lt_s();
        self.begin_if(Usual::Else);
        self.set_depth();
        self.code().unreachable().end();
    }

    /// Tells the function that is called what depth is left.
    fn set_depth(&mut self) {
        let (global, local) = (self.meters.depth, self.scratch.depth);
        self.code().local_get(local).global_set(global);
    }

    /// Pays for the length on top of the stack and leaves it there. Lengths are unsigned.
    fn charge_length(&mut self, length: Length) {
        let (scratch, local) = (self.scratch.of(ValType::I32), self.scratch.fuel);
        let mut code = self.code();
        code.local_tee(scratch).local_get(local);
        match length {
            Length::Bytes => {
                let shift = fuel::BULK_BYTES_PER_UNIT.trailing_zeros();
                code.local_get(scratch).i64_extend_i32_u().i64_const(shift.into()).i64_shr_u()
            }
            Length::Elements => {
                code.local_get(scratch).i64_extend_i32_u().i64_const(fuel::TABLE_ELEMENT as i64).i64_mul()
            }
            Length::Pages => {
                let most = fuel::GROW_MAX_PAGES as i32;
                code.local_get(scratch).i32_const(most).local_get(scratch).i32_const(most).i32_lt_u().select();
                code.i64_extend_i32_u().i64_const(fuel::MEMORY_PAGE as i64).i64_mul()
            }
        };
        code.i64_sub();
        self.set_fuel(true);
        self.check();
    }
}

/// Bytes of the number that `bytes` begins with.
pub(super) fn leb128_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1
}
