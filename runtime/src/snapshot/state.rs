//! What an initialisation leaves: memory and globals.

use crate::host::Host;
use depx_host_abi::exports;
use depx_protocol::{Hash, Snapshot, SnapshotGlobal};
use std::ops::Range;
use wasm_encoder::{ConstExpr, Ieee32, Ieee64};
use wasmtime::{Extern, Instance, Store, Val};

/// Memory is kept in blocks of so many bytes: what is between them is zero. As the engine keeps it, in pages of the machine; smaller
/// ones would be more segments for the same image.
const BLOCK: usize = 4096;

/// Bytes of a page of memory.
const PAGE: usize = 64 << 10;

/// What an initialisation leaves.
pub(super) struct State {
    pub(super) memory: Vec<u8>,
    /// The mutable globals of the module itself, by index.
    pub(super) globals: Vec<(u32, Value)>,
}

/// The value of a global. Code stores canonical NaNs only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
}

impl State {
    /// The state of an instance of the module that exports these globals; `None` if it does not.
    pub(super) fn of(store: &mut Store<Host>, instance: Instance, globals: &[u32]) -> Option<Self> {
        let value = |index: &u32| {
            let global = instance.get_export(&mut *store, &global_name(*index)).and_then(Extern::into_global)?;
            Some((*index, Value::of(&global.get(&mut *store))?))
        };
        let globals = globals.iter().map(value).collect::<Option<_>>()?;
        let memory = instance.get_export(&mut *store, exports::MEMORY).and_then(Extern::into_memory)?;
        Some(Self { memory: memory.data(&*store).to_vec(), globals })
    }

    /// What results name the state by, for the module of this hash.
    pub(super) fn hash(&self, module: Hash) -> Hash {
        let global = |(index, value): &(u32, Value)| SnapshotGlobal { index: *index, bits: value.bits().into() };
        let snapshot = Snapshot {
            module,
            memory_pages: self.pages(),
            memory_root: Snapshot::memory_root(&self.memory),
            globals: self.globals.iter().map(global).collect(),
        };
        snapshot.hash()
    }

    pub(super) fn pages(&self) -> u32 {
        // A memory of 32-bit addresses has at most 2^16 pages.
        (self.memory.len() / PAGE) as u32
    }

    /// The stretches of memory that are not zero, in whole blocks, in order.
    pub(super) fn stretches(&self) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for (number, block) in self.memory.chunks(BLOCK).enumerate() {
            if block.iter().all(|byte| *byte == 0) {
                continue;
            }
            let (start, end) = (number * BLOCK, number * BLOCK + block.len());
            match stretches.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        stretches
    }
}

/// The name under which an initialising module exports a global.
pub(super) fn global_name(index: u32) -> String {
    format!("{}{index}", exports::SNAPSHOT)
}

impl Value {
    fn of(value: &Val) -> Option<Self> {
        match value {
            Val::I32(value) => Some(Self::I32(*value)),
            Val::I64(value) => Some(Self::I64(*value)),
            Val::F32(bits) => Some(Self::F32(*bits)),
            Val::F64(bits) => Some(Self::F64(*bits)),
            Val::V128(bits) => Some(Self::V128(bits.as_u128())),
            _ => None,
        }
    }

    fn bits(self) -> Vec<u8> {
        match self {
            Self::I32(value) => value.to_le_bytes().to_vec(),
            Self::I64(value) => value.to_le_bytes().to_vec(),
            Self::F32(bits) => bits.to_le_bytes().to_vec(),
            Self::F64(bits) => bits.to_le_bytes().to_vec(),
            Self::V128(bits) => bits.to_le_bytes().to_vec(),
        }
    }

    /// As a global's initial value.
    pub(super) fn expression(self) -> ConstExpr {
        match self {
            Self::I32(value) => ConstExpr::i32_const(value),
            Self::I64(value) => ConstExpr::i64_const(value),
            Self::F32(bits) => ConstExpr::f32_const(Ieee32::new(bits)),
            Self::F64(bits) => ConstExpr::f64_const(Ieee64::new(bits)),
            Self::V128(bits) => ConstExpr::v128_const(bits.cast_signed()),
        }
    }
}

/// Segments that a snapshot adds at most: every other block. The engine takes 100,000 together with the module's own.
const _: () = assert!(
    depx_host_abi::snapshot::MEMORY_PAGES as usize * PAGE / BLOCK / 2 + crate::validate::MAX_SEGMENTS as usize
        <= 100_000
);
