//! Makes a module meter itself, and its floats the same everywhere.
//!
//! Two globals are appended: fuel that is left and call depth that is left. Every function pays in wasm, so the numbers follow from
//! the semantics of WebAssembly and are the same whatever the engine makes of the code. Within a function, fuel is kept in a local as
//! well, and written to the global where others may read it; see [`plan`]. Fuel is looked at at the beginning of functions
//! and loops and wherever a length was charged; between two looks lies a piece of code without loops. A run whose fuel is negative
//! when it ends was out of fuel, however it ended. Depth is a function's own, in a local; it writes the global for whom it calls.
//!
//! NaNs are made canonical where their bits can be seen; that costs no fuel. See [`nan`].
//!
//! All index spaces keep their numbers, so code is copied as it is, with charges in between. The start function is no longer
//! called by instantiation but exported, and custom sections except names are gone.

mod cost;
mod emit;
mod nan;
mod plan;
#[cfg(test)]
mod tests;
mod trips;

use crate::validate::{Outline, Refusal};
use depx_host_abi::refusal::RefusalCode;
use depx_host_abi::{exports, fuel, stack};
use emit::Emitted;
use nan::Flow;
pub(crate) use plan::{Plan, Planner};
use wasm_encoder::{
    BranchHints, CodeSection, ConstExpr, Encode, ExportKind, GlobalType, Module, RawSection, SectionId, ValType,
};
use wasmparser::{BinaryReader, FunctionBody, ImportSectionReader, TypeRef};

/// The version of what is injected. It is part of the execution profile: what a run is charged depends on it.
pub(crate) const VERSION: u32 = 4;

/// Bytes of a function's body with all that is injected. The engine takes at most 7,654,321; of real programs, the largest functions
/// grow to about twice their size.
const MAX_FUNCTION: usize = 7 << 20;

/// A function of a valid module.
pub(crate) struct Function<'a> {
    /// The index of its type.
    pub(crate) ty: u32,
    pub(crate) body: FunctionBody<'a>,
    /// Parameters and locals.
    pub(crate) locals: u32,
    /// The highest operand stack.
    pub(crate) height: u32,
    /// Number of operators.
    pub(crate) operators: u32,
    /// Whether it calls functions.
    pub(crate) calls: bool,
    /// Whether it handles vectors.
    pub(crate) vectors: bool,
    /// How to meter it.
    pub(crate) plan: Plan,
}

impl Function<'_> {
    /// Slots of call depth that it takes, or `None` if it need not be counted.
    fn slots(&self) -> Option<u32> {
        let width = if self.vectors { 2 } else { 1 };
        let slots =
            stack::FRAME_BASE + width * (self.locals + self.height) + self.operators / stack::OPERATORS_PER_SLOT;
        (self.calls || slots > stack::LEAF_SLOTS).then_some(slots)
    }
}

/// The globals that were appended.
#[derive(Clone, Copy)]
struct Meters {
    fuel: u32,
    depth: u32,
}

/// Entries to append to a section.
#[derive(Default)]
struct Entries {
    count: u32,
    bytes: Vec<u8>,
}

/// Makes the module `wasm`, taken apart as `outline`, meter itself.
pub(crate) fn instrument(wasm: &[u8], outline: &Outline<'_>) -> Result<Vec<u8>, Refusal> {
    let meters = Meters { fuel: outline.globals, depth: outline.globals + 1 };
    let functions = function_types(outline)?;
    let imported = functions.len() - outline.functions.len();
    let counted: Vec<bool> = std::iter::repeat_n(false, imported)
        .chain(outline.functions.iter().map(|function| function.slots().is_some()))
        .collect();
    let mut flow = Flow::new(&outline.types, functions);
    let (mut code, mut hints) = (CodeSection::new(), BranchHints::new());
    for (index, function) in (imported as u32..).zip(&outline.functions) {
        let sites = if function.plan.floats { flow.sites(function)? } else { &[] };
        let Emitted { body, hints: unlikely } = emit::emit(wasm, function, &counted, sites, meters)?;
        if body.len() > MAX_FUNCTION {
            return Err(Refusal::new(
                RefusalCode::FunctionTooLarge,
                format_args!(
                    "a function of {} bytes takes {} bytes with metering, {MAX_FUNCTION} are allowed; split it",
                    function.body.range().len(),
                    body.len()
                ),
            ));
        }
        code.raw(&body);
        if !unlikely.is_empty() {
            hints.function_hints(index, unlikely);
        }
    }
    Ok(assemble(outline, &globals(), &exported(outline, meters), &hints, &code))
}

/// The type of each function, imported ones first. Nothing but functions is imported.
fn function_types(outline: &Outline<'_>) -> Result<Vec<u32>, wasmparser::Error> {
    let mut types = Vec::with_capacity(outline.functions.len());
    for (_, content) in outline.sections.iter().filter(|(id, _)| *id == SectionId::Import as u8) {
        for import in ImportSectionReader::new(BinaryReader::new(content, 0))?.into_imports() {
            if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import?.ty {
                types.push(ty);
            }
        }
    }
    types.extend(outline.functions.iter().map(|function| function.ty));
    Ok(types)
}

/// Puts the module together again. A module that can be executed has types, exports and code, but it may lack globals.
fn assemble(
    outline: &Outline<'_>,
    globals: &Entries,
    exported: &Entries,
    hints: &BranchHints,
    code: &CodeSection,
) -> Vec<u8> {
    let mut module = Module::new();
    let has_globals = outline.sections.iter().any(|(id, _)| *id == SectionId::Global as u8);
    for &(id, content) in &outline.sections {
        let mut append = |id: u8, content: &[u8], entries: &Entries| {
            module.section(&RawSection { id, data: &entries.appended_to(content) });
        };
        if id == SectionId::Global as u8 {
            append(id, content, globals);
        } else if id == SectionId::Export as u8 {
            if !has_globals {
                append(SectionId::Global as u8, &[0], globals);
            }
            append(id, content, exported);
        } else if id == SectionId::Code as u8 {
            if !hints.is_empty() {
                module.section(hints);
            }
            module.section(code);
        } else {
            module.section(&RawSection { id, data: content });
        }
    }
    module.finish()
}

impl Entries {
    /// The content of a section with these entries at its end.
    fn appended_to(&self, section: &[u8]) -> Vec<u8> {
        let prefix = emit::leb128_len(section);
        let count = section[..prefix].iter().rev().fold(0u32, |count, byte| count << 7 | u32::from(byte & 0x7f));
        let mut bytes = Vec::with_capacity(section.len() + self.bytes.len() + 5);
        (count + self.count).encode(&mut bytes);
        bytes.extend_from_slice(&section[prefix..]);
        bytes.extend_from_slice(&self.bytes);
        bytes
    }
}

/// Fuel and depth. The host sets fuel before it calls into the guest; until then there is none.
fn globals() -> Entries {
    let mut entries = Entries::default();
    for initial in [0, i64::from(stack::DEPTH_LIMIT)] {
        GlobalType { val_type: ValType::I64, mutable: true, shared: false }.encode(&mut entries.bytes);
        ConstExpr::i64_const(initial).encode(&mut entries.bytes);
        entries.count += 1;
    }
    entries
}

fn exported(outline: &Outline<'_>, meters: Meters) -> Entries {
    let fuel = (exports::FUEL, ExportKind::Global, meters.fuel);
    let depth = (exports::DEPTH, ExportKind::Global, meters.depth);
    let start = outline.start.map(|function| (exports::INITIALIZE, ExportKind::Func, function));
    let mut entries = Entries::default();
    for (name, kind, index) in [fuel, depth].into_iter().chain(start) {
        name.encode(&mut entries.bytes);
        kind.encode(&mut entries.bytes);
        index.encode(&mut entries.bytes);
        entries.count += 1;
    }
    entries
}

const _: () = assert!(fuel::GROW_MAX_PAGES * fuel::MEMORY_PAGE < 1 << 40, "a single charge cannot wrap the fuel");
