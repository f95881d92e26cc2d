//! Modules around a snapshot: the one that is initialised, and the one that starts from what that left.

use super::StartsFrom;
use super::state::{State, global_name};
use crate::Refusal;
use crate::validate::Outline;
use depx_host_abi::refusal::RefusalCode;
use depx_host_abi::{exports, snapshot};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    ConstExpr, DataCountSection, DataSection, ExportKind, ExportSection, GlobalSection, MemorySection, Module,
    RawSection, SectionId,
};
use wasmparser::{
    BinaryReader, DataKind, ExportSectionReader, GlobalSectionReader, Operator, Parser, Payload, ValType,
};

type Result<T> = std::result::Result<T, wasm_encoder::reencode::Error>;

/// Refuses a module whose state could not be kept. Which elements a table holds and which segments are dropped cannot be read from an
/// instance, so nothing in the module may change them; compilers emit such operators for threads and dynamic linking only.
pub(super) fn check(outline: &Outline<'_>) -> std::result::Result<(), Refusal> {
    for function in &outline.functions {
        for operator in function.body.get_operators_reader()? {
            let name = match operator? {
                Operator::TableSet { .. } => "table.set",
                Operator::TableGrow { .. } => "table.grow",
                Operator::TableFill { .. } => "table.fill",
                Operator::TableCopy { .. } => "table.copy",
                Operator::TableInit { .. } => "table.init",
                Operator::ElemDrop { .. } => "elem.drop",
                Operator::DataDrop { .. } => "data.drop",
                _ => continue,
            };
            return Err(unsupported(format_args!("it contains the operator {name}")));
        }
    }
    for global in globals(outline)? {
        let ty = global?.ty;
        if ty.mutable && matches!(ty.content_type, ValType::Ref(_)) {
            return Err(unsupported("it has a mutable global that holds a reference"));
        }
    }
    Ok(())
}

fn unsupported(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalCode::SnapshotUnsupported,
        format_args!(
            "the module exports {:?}, but {why}, whose effect a snapshot cannot hold; \
             leave it out, or do not export the initialisation",
            snapshot::INITIALIZE[0]
        ),
    )
}

/// The module's own mutable globals.
pub(super) fn mutable_globals(outline: &Outline<'_>) -> std::result::Result<Vec<u32>, wasmparser::Error> {
    let mut mutable = Vec::new();
    for (index, global) in (0..).zip(globals(outline)?) {
        if global?.ty.mutable {
            mutable.push(index);
        }
    }
    Ok(mutable)
}

/// The module's own globals; it imports none.
fn globals<'a>(outline: &Outline<'a>) -> std::result::Result<GlobalSectionReader<'a>, wasmparser::Error> {
    let section = outline.sections.iter().find(|(id, _)| *id == SectionId::Global as u8);
    GlobalSectionReader::new(BinaryReader::new(section.map_or(&[0], |(_, content)| *content), 0))
}

/// The instrumented module with the initialisation as its program, and its globals exported so that they can be read.
pub(super) fn initializing(instrumented: &[u8], initializer: u32, globals: &[u32]) -> Result<Vec<u8>> {
    rewritten(instrumented, |payload, module| {
        let Payload::ExportSection(section) = payload else { return Ok(false) };
        let mut kept = exports_without(section, |name| name == exports::START)?;
        kept.export(exports::START, ExportKind::Func, initializer);
        for index in globals {
            kept.export(&global_name(*index), ExportKind::Global, *index);
        }
        module.section(&kept);
        Ok(true)
    })
}

/// The instrumented module with `state` as its initial one. What has run is no longer exported, what has been copied to memory is
/// no longer there; indices stay as they are, so code does too.
pub(super) fn starting_from(
    instrumented: &[u8],
    state: &State,
    resume: Option<u32>,
    record: &StartsFrom,
) -> Result<Vec<u8>> {
    let stretches = state.stretches();
    let mut has_data = false;
    let mut module = rewritten(instrumented, |payload, module| {
        match payload {
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for memory in section.clone() {
                    let mut ty = RoundtripReencoder.memory_type(memory?)?;
                    ty.minimum = state.pages().into();
                    memories.memory(ty);
                }
                module.section(&memories);
            }
            Payload::GlobalSection(section) => {
                module.section(&globals_of(state, section)?);
            }
            Payload::ExportSection(section) => {
                let has_run = |name: &str| snapshot::INITIALIZE.contains(&name) || name == exports::INITIALIZE;
                let replaced = |name: &str| resume.is_some() && (name == exports::START || name == snapshot::RESUME);
                let mut kept = exports_without(section, |name| has_run(name) || replaced(name))?;
                if let Some(resume) = resume {
                    kept.export(exports::START, ExportKind::Func, resume);
                }
                kept.export(&record.name(), ExportKind::Memory, 0);
                module.section(&kept);
            }
            Payload::DataCountSection { count, .. } => {
                module.section(&DataCountSection { count: count + stretches.len() as u32 });
            }
            Payload::DataSection(section) => {
                let mut data = DataSection::new();
                for segment in section.clone() {
                    let segment = segment?;
                    match segment.kind {
                        // It has been copied, which leaves it empty.
                        DataKind::Active { .. } => data.passive([]),
                        DataKind::Passive => data.passive(segment.data.iter().copied()),
                    };
                }
                has_data = true;
                module.section(append(&mut data, state, &stretches));
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !has_data && !stretches.is_empty() {
        let mut data = DataSection::new();
        wasm_encoder::Section::append_to(append(&mut data, state, &stretches), &mut module);
    }
    Ok(module)
}

fn append<'d>(data: &'d mut DataSection, state: &State, stretches: &[std::ops::Range<usize>]) -> &'d DataSection {
    for stretch in stretches {
        // Addresses are unsigned.
        let start = ConstExpr::i32_const(stretch.start as u32 as i32);
        data.active(0, &start, state.memory[stretch.clone()].iter().copied());
    }
    data
}

/// The globals, those of the state with its values. The meters, which come last, are not part of it.
fn globals_of(state: &State, section: &GlobalSectionReader<'_>) -> Result<GlobalSection> {
    let mut values = state.globals.iter().peekable();
    let mut globals = GlobalSection::new();
    for (index, global) in (0..).zip(section.clone()) {
        let global = global?;
        match values.next_if(|(other, _)| *other == index) {
            Some((_, value)) => {
                globals.global(RoundtripReencoder.global_type(global.ty)?, &value.expression());
            }
            None => RoundtripReencoder.parse_global(&mut globals, global)?,
        }
    }
    Ok(globals)
}

fn exports_without(section: &ExportSectionReader<'_>, dropped: impl Fn(&str) -> bool) -> Result<ExportSection> {
    let mut kept = ExportSection::new();
    for export in section.clone() {
        let export = export?;
        if !dropped(export.name) {
            kept.export(export.name, RoundtripReencoder.export_kind(export.kind)?, export.index);
        }
    }
    Ok(kept)
}

/// The module with those sections replaced for which `replace` writes another and says so.
fn rewritten<'a>(
    wasm: &'a [u8],
    mut replace: impl FnMut(&Payload<'a>, &mut Module) -> Result<bool>,
) -> Result<Vec<u8>> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        if !replace(&payload, &mut module)? {
            module.section(&RawSection { id, data: &wasm[range] });
        }
    }
    Ok(module.finish())
}

impl StartsFrom {
    /// The name of the export by which a module says what it starts from.
    fn name(&self) -> String {
        format!("{}{}:{}", exports::SNAPSHOT, self.snapshot, self.fuel)
    }

    /// What a compiled module says that it starts from.
    pub(crate) fn of(module: &wasmtime::Module) -> Option<Self> {
        let record = |name: &str| {
            let (snapshot, fuel) = name.strip_prefix(exports::SNAPSHOT)?.split_once(':')?;
            Some(Self { snapshot: snapshot.parse().ok()?, fuel: fuel.parse().ok()? })
        };
        module.exports().find_map(|export| record(export.name()))
    }
}
