//! Writes a metered function.

use super::nan::{Shape, Site};
use super::plan::{Change, Length, Plan, Prepaid};
use super::trips::{Limit, Trips, inverse};
use super::{Function, Meters};
use depx_host_abi::fuel;
use wasm_encoder::{BlockType, BranchHint, Encode, Ieee32, Ieee64, Instruction, ValType};

/// A function's new encoding, and which of its branches are hardly ever taken or hardly ever passed by.
pub(super) struct Emitted {
    pub(super) body: Vec<u8>,
    pub(super) hints: Vec<BranchHint>,
}

/// Writes `function`, metered as `plan` says, with NaNs made canonical at `sites`.
pub(super) fn emit(
    wasm: &[u8],
    function: &Function<'_>,
    plan: &Plan,
    sites: &[Site],
    meters: Meters,
) -> Result<Emitted, wasmparser::Error> {
    let code = function.body.get_binary_reader_for_operators()?.original_position()..function.body.range().end;
    let mut writer = Writer {
        bytes: Vec::with_capacity(function.body.range().len() * 2 + 64),
        hints: Vec::new(),
        meters,
        scratch: Scratch::new(function.locals, plan, sites, function.slots()),
    };
    let locals = &wasm[function.body.range().start..code.start];
    writer.locals(locals, function.body.get_locals_reader()?.get_count());
    writer.load_fuel();
    match function.slots() {
        Some(slots) => writer.enter(slots),
        None if function.operators > UNCHECKED_OPERATORS => writer.check(),
        None => {}
    }
    writer.charge(plan.costs[0]);
    // Up to where fuel is kept in the local, and the original code is copied.
    let (mut kept, mut copied) = (code.start, code.start);
    let mut sites = sites.iter().peekable();
    for edit in &plan.edits {
        while let Some(site) = sites.next_if(|site| site.offset <= edit.offset) {
            writer.bytes.extend_from_slice(&wasm[copied..site.offset]);
            copied = site.offset;
            writer.canonicalise(site.shape);
        }
        writer.bytes.extend_from_slice(&wasm[copied..edit.offset]);
        copied = edit.offset;
        match edit.change {
            Change::Charge { region, check } => {
                let (prepaid, cost) = (plan.prepaid.get(&region), plan.costs[region as usize]);
                if edit.offset - kept > LONG_CODE || check && cost > LONG_LOOP {
                    writer.load_fuel();
                }
                kept = edit.offset;
                if prepaid.map_or(check, |prepaid| prepaid.check) {
                    writer.check();
                }
                if prepaid.is_none() {
                    writer.charge(cost);
                }
            }
            Change::Loop { region } => {
                if let Some(Prepaid { trips, .. }) = plan.prepaid.get(&region) {
                    writer.prepay(trips, plan.costs[region as usize]);
                }
            }
            Change::Exit { exit } => writer.refund(plan.refunds[exit as usize]),
            Change::ExitIf { exit, depth } if plan.refunds[exit as usize] > 0 => {
                writer.begin_if(Usual::Else);
                writer.refund(plan.refunds[exit as usize]);
                writer.ops([Instruction::Br(depth + 1), Instruction::End]);
                copied += 1 + leb128_len(&wasm[edit.offset + 1..]);
            }
            Change::ExitIf { .. } => {}
            Change::Call => writer.set_depth(),
            Change::Called => {
                writer.load_fuel();
                kept = edit.offset;
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
/// is better used for something else.
const LONG_CODE: usize = 512;
const LONG_LOOP: u64 = 512;

struct Writer {
    bytes: Vec<u8>,
    hints: Vec<BranchHint>,
    meters: Meters,
    scratch: Scratch,
}

/// Locals of our own, after all others: fuel, depth where it is counted, one for lengths and one for each shape of floats, where
/// they are needed.
struct Scratch {
    /// The types of all, in order.
    types: Vec<ValType>,
    /// Fuel that is left; the same as the global.
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
    fn op(&mut self, instruction: Instruction<'_>) {
        instruction.encode(&mut self.bytes);
    }

    fn ops<const N: usize>(&mut self, instructions: [Instruction<'_>; N]) {
        instructions.into_iter().for_each(|instruction| self.op(instruction));
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
    fn begin_if(&mut self, usual: Usual) {
        let branch_func_offset = self.bytes.len() as u32;
        self.hints.push(BranchHint { branch_func_offset, branch_hint_value: u32::from(usual == Usual::Then) });
        self.op(Instruction::If(BlockType::Empty));
    }

    /// Makes the topmost operand canonical if it is a NaN: if it is not at least itself, which is a single test. Of the ways to say
    /// so, compilers make least of a branch around the constant, which is always taken where numbers are computed.
    fn canonicalise(&mut self, shape: Shape) {
        let scratch = self.scratch.of(val_type(shape));
        let (nan, is_number) = match shape {
            Shape::F32 => (Instruction::F32Const(Ieee32::new(NAN32)), Instruction::F32Ge),
            Shape::F64 => (Instruction::F64Const(Ieee64::new(NAN64)), Instruction::F64Ge),
            Shape::F32x4 => {
                return self.canonicalise_lanes(scratch, &[NAN32; 4].map(u32::to_le_bytes), Instruction::F32x4Eq);
            }
            Shape::F64x2 => {
                return self.canonicalise_lanes(scratch, &[NAN64; 2].map(u64::to_le_bytes), Instruction::F64x2Eq);
            }
        };
        self.ops([
            Instruction::LocalSet(scratch),
            Instruction::LocalGet(scratch),
            Instruction::LocalGet(scratch),
            is_number,
        ]);
        self.begin_if(Usual::Then);
        self.ops([
            Instruction::Else,
            nan,
            Instruction::LocalSet(scratch),
            Instruction::End,
            Instruction::LocalGet(scratch),
        ]);
    }

    /// Makes those lanes of the topmost operand canonical that are NaNs: that do not equal themselves.
    fn canonicalise_lanes<const N: usize>(&mut self, scratch: u32, lanes: &[[u8; N]], equal: Instruction<'_>) {
        let nans = lanes.as_flattened().iter().rev().fold(0, |nans, byte| nans << 8 | i128::from(*byte));
        self.ops([
            Instruction::LocalTee(scratch),
            Instruction::V128Const(nans),
            Instruction::LocalGet(scratch),
            Instruction::LocalGet(scratch),
            equal,
            Instruction::V128Bitselect,
        ]);
    }

    /// Takes over what the global says.
    fn load_fuel(&mut self) {
        self.ops([Instruction::GlobalGet(self.meters.fuel), Instruction::LocalSet(self.scratch.fuel)]);
    }

    /// Pays `cost`. Compilers have better code for sums than for differences.
    fn charge(&mut self, cost: u64) {
        if cost > 0 {
            self.ops([
                Instruction::LocalGet(self.scratch.fuel),
                Instruction::I64Const(-(cost as i64)),
                Instruction::I64Add,
                Instruction::LocalTee(self.scratch.fuel),
                Instruction::GlobalSet(self.meters.fuel),
            ]);
        }
    }

    /// Pays for all iterations of a loop before it begins, and ends the run if there is not as much fuel left. None is left if it
    /// would never end.
    fn prepay(&mut self, trips: &Trips, cost: u64) {
        // Counted upwards.
        let up = trips.step.cast_signed() > 0;
        let step = if up { trips.step } else { trips.step.wrapping_neg() };
        let shift = step.trailing_zeros();
        let (multiple, odd) = ((1u32 << shift) - 1, step >> shift);
        let counter = [
            Instruction::LocalGet(trips.counter),
            Instruction::I32Const(trips.ahead.cast_signed()),
            Instruction::I32Add,
        ];
        let limit = match trips.limit {
            Limit::Constant(limit) => Instruction::I32Const(limit.cast_signed()),
            Limit::Local(limit) => Instruction::LocalGet(limit),
        };
        if up {
            self.op(limit);
            self.ops(counter);
        } else {
            self.ops(counter);
            self.op(limit);
        }
        self.op(Instruction::I32Sub);
        if shift > 0 {
            let scratch = self.scratch.of(ValType::I32);
            self.ops([
                Instruction::LocalTee(scratch),
                Instruction::I32Const(multiple.cast_signed()),
                Instruction::I32And,
            ]);
            self.begin_if(Usual::Else);
            self.ops([
                Instruction::I64Const(-1),
                Instruction::GlobalSet(self.meters.fuel),
                Instruction::Unreachable,
                Instruction::End,
                Instruction::LocalGet(scratch),
                Instruction::I32Const(shift.cast_signed()),
                Instruction::I32ShrU,
            ]);
        }
        if odd > 1 {
            self.ops([Instruction::I32Const(inverse(odd).cast_signed()), Instruction::I32Mul]);
            if shift > 0 {
                self.ops([Instruction::I32Const((u32::MAX >> shift).cast_signed()), Instruction::I32And]);
            }
        }
        let scratch = self.scratch.of(ValType::I32);
        self.ops([
            Instruction::LocalSet(scratch),
            Instruction::LocalGet(self.scratch.fuel),
            Instruction::LocalGet(scratch),
            Instruction::I64ExtendI32U,
            Instruction::I64Const(1),
            Instruction::I64Add,
            Instruction::I64Const(cost as i64),
            Instruction::I64Mul,
            Instruction::I64Sub,
            Instruction::LocalTee(self.scratch.fuel),
            Instruction::GlobalSet(self.meters.fuel),
        ]);
        self.check();
    }

    /// Takes back what was paid too much.
    fn refund(&mut self, refund: u64) {
        if refund > 0 {
            self.ops([
                Instruction::GlobalGet(self.meters.fuel),
                Instruction::I64Const(refund as i64),
                Instruction::I64Add,
                Instruction::LocalTee(self.scratch.fuel),
                Instruction::GlobalSet(self.meters.fuel),
            ]);
        }
    }

    /// Ends the run if there is no fuel left.
    fn check(&mut self) {
        self.op(Instruction::LocalGet(self.scratch.fuel));
        self.trap_if_negative();
    }

    /// Takes slots of call depth, and ends the run if there are too few, or no fuel is left: one of both is negative exactly
    /// if their bitwise or is. The global is what is left to the function that calls, and need not be restored: whoever calls sets it
    /// before each call.
    fn enter(&mut self, slots: u32) {
        self.ops([
            Instruction::GlobalGet(self.meters.depth),
            Instruction::I64Const(-i64::from(slots)),
            Instruction::I64Add,
            Instruction::LocalTee(self.scratch.depth),
            Instruction::LocalGet(self.scratch.fuel),
            Instruction::I64Or,
            Instruction::I64Const(0),
            Instruction::I64LtS,
        ]);
        self.begin_if(Usual::Else);
        self.set_depth();
        self.ops([Instruction::Unreachable, Instruction::End]);
    }

    /// Tells the function that is called what depth is left.
    fn set_depth(&mut self) {
        self.ops([Instruction::LocalGet(self.scratch.depth), Instruction::GlobalSet(self.meters.depth)]);
    }

    fn trap_if_negative(&mut self) {
        self.ops([
            Instruction::I64Const(0),
            Instruction::I64LtS,
            Instruction::If(BlockType::Empty),
            Instruction::Unreachable,
            Instruction::End,
        ]);
    }

    /// Pays for the length on top of the stack and leaves it there. Lengths are unsigned.
    fn charge_length(&mut self, length: Length) {
        let scratch = self.scratch.of(ValType::I32);
        self.ops([
            Instruction::LocalTee(scratch),
            Instruction::LocalGet(self.scratch.fuel),
            Instruction::LocalGet(scratch),
        ]);
        match length {
            Length::Bytes => self.ops([
                Instruction::I64ExtendI32U,
                Instruction::I64Const(fuel::BULK_BYTES_PER_UNIT.trailing_zeros().into()),
                Instruction::I64ShrU,
            ]),
            Length::Elements => self.ops([
                Instruction::I64ExtendI32U,
                Instruction::I64Const(fuel::TABLE_ELEMENT as i64),
                Instruction::I64Mul,
            ]),
            Length::Pages => self.ops([
                Instruction::I32Const(fuel::GROW_MAX_PAGES as i32),
                Instruction::LocalGet(scratch),
                Instruction::I32Const(fuel::GROW_MAX_PAGES as i32),
                Instruction::I32LtU,
                Instruction::Select,
                Instruction::I64ExtendI32U,
                Instruction::I64Const(fuel::MEMORY_PAGE as i64),
                Instruction::I64Mul,
            ]),
        }
        self.ops([
            Instruction::I64Sub,
            Instruction::LocalTee(self.scratch.fuel),
            Instruction::GlobalSet(self.meters.fuel),
        ]);
        self.check();
    }
}

/// Bytes of the number that `bytes` begins with.
pub(super) fn leb128_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1
}
