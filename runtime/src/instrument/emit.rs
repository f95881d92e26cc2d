//! Writes a metered function.

use super::plan::{Change, Length, Plan};
use super::{Function, Meters};
use depx_host_abi::{fuel, stack};
use wasm_encoder::{BlockType, Encode, Instruction, ValType};

/// Slots of call depth that the function takes, or `None` if it need not be counted.
pub(super) fn weight(function: &Function<'_>, plan: &Plan) -> Option<u32> {
    let width = if plan.vectors || function.vectors { 2 } else { 1 };
    let slots =
        stack::FRAME_BASE + width * (function.locals + function.height) + plan.operators / stack::OPERATORS_PER_SLOT;
    (plan.calls || slots > stack::LEAF_SLOTS).then_some(slots)
}

/// The encoding of `function`, metered as `plan` says. Where it is counted, `counted` holds the slots that it takes and the type of
/// a block that gives its results.
pub(super) fn emit(
    wasm: &[u8],
    function: &Function<'_>,
    plan: &Plan,
    meters: Meters,
    counted: Option<(u32, BlockType)>,
) -> Result<Vec<u8>, wasmparser::Error> {
    let code = function.body.get_binary_reader_for_operators()?.original_position()..function.body.range().end;
    let needs_scratch = plan.edits.iter().any(|edit| matches!(edit.change, Change::ChargeLength(_)));
    let mut writer =
        Writer { bytes: Vec::with_capacity(function.body.range().len() * 2 + 64), meters, scratch: function.locals };
    let locals = &wasm[function.body.range().start..code.start];
    writer.locals(locals, function.body.get_locals_reader()?.get_count(), needs_scratch);
    writer.charge(plan.costs[0]);
    match counted {
        Some((slots, results)) => {
            writer.enter(slots);
            writer.op(Instruction::Block(results));
        }
        None if plan.costs[0] > 0 => writer.check(),
        None => {}
    }
    let mut copied = code.start;
    for edit in &plan.edits {
        writer.bytes.extend_from_slice(&wasm[copied..edit.offset]);
        copied = edit.offset;
        match edit.change {
            Change::Charge { region, check } => {
                writer.charge(plan.costs[region as usize]);
                if check {
                    writer.check();
                }
            }
            Change::Return { blocks } if counted.is_some() => {
                // The block around the function is where its own label was.
                writer.op(Instruction::Br(blocks));
                copied += RETURN_LEN;
            }
            Change::Return { .. } => {}
            Change::ChargeLength(length) => writer.charge_length(length),
        }
    }
    writer.bytes.extend_from_slice(&wasm[copied..code.end]);
    if let Some((slots, _)) = counted {
        writer.leave(slots);
        writer.op(Instruction::End);
    }
    Ok(writer.bytes)
}

/// Bytes of the operator `return`.
const RETURN_LEN: usize = 1;

struct Writer {
    bytes: Vec<u8>,
    meters: Meters,
    /// The local that holds lengths, after all others.
    scratch: u32,
}

impl Writer {
    fn op(&mut self, instruction: Instruction<'_>) {
        instruction.encode(&mut self.bytes);
    }

    fn ops<const N: usize>(&mut self, instructions: [Instruction<'_>; N]) {
        instructions.into_iter().for_each(|instruction| self.op(instruction));
    }

    /// The declarations of locals, `groups` of them, and of the scratch local if it is needed.
    fn locals(&mut self, declared: &[u8], groups: u32, scratch: bool) {
        if scratch {
            (groups + 1).encode(&mut self.bytes);
            self.bytes.extend_from_slice(&declared[leb128_len(declared)..]);
            1u32.encode(&mut self.bytes);
            ValType::I32.encode(&mut self.bytes);
        } else {
            self.bytes.extend_from_slice(declared);
        }
    }

    /// Pays `cost`.
    fn charge(&mut self, cost: u64) {
        if cost > 0 {
            self.ops([
                Instruction::GlobalGet(self.meters.fuel),
                Instruction::I64Const(cost as i64),
                Instruction::I64Sub,
                Instruction::GlobalSet(self.meters.fuel),
            ]);
        }
    }

    /// Ends the run if there is no fuel left.
    fn check(&mut self) {
        self.op(Instruction::GlobalGet(self.meters.fuel));
        self.trap_if_negative();
    }

    /// Takes slots of call depth, and ends the run if there are too few, or no fuel is left: one of both is negative exactly
    /// if their bitwise or is.
    fn enter(&mut self, slots: u32) {
        self.ops([
            Instruction::GlobalGet(self.meters.depth),
            Instruction::I64Const(slots.into()),
            Instruction::I64Sub,
            Instruction::GlobalSet(self.meters.depth),
            Instruction::GlobalGet(self.meters.fuel),
            Instruction::GlobalGet(self.meters.depth),
            Instruction::I64Or,
        ]);
        self.trap_if_negative();
    }

    /// Gives slots back.
    fn leave(&mut self, slots: u32) {
        self.ops([
            Instruction::GlobalGet(self.meters.depth),
            Instruction::I64Const(slots.into()),
            Instruction::I64Add,
            Instruction::GlobalSet(self.meters.depth),
        ]);
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
        let scratch = self.scratch;
        self.ops([
            Instruction::LocalTee(scratch),
            Instruction::GlobalGet(self.meters.fuel),
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
        self.ops([Instruction::I64Sub, Instruction::GlobalSet(self.meters.fuel)]);
        self.check();
    }
}

/// Bytes of the number that `bytes` begins with.
pub(super) fn leb128_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte & 0x80 != 0).count() + 1
}
