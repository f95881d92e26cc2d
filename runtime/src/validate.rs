//! Decides whether a module can be executed, from the module alone: the same on every node.

mod features;
mod refusal;

pub(crate) use features::FEATURES;
pub use refusal::Refusal;

use crate::instrument::{Function, Planner};
use depx_host_abi::refusal::RefusalCode;
use depx_host_abi::{Import, ValueType, exports, snapshot};
use refusal::excerpt;
use wasmparser::{
    BinaryReader, ExternalKind, FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, Parser, Payload,
    TypeRef, ValType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// What every module begins with.
const MAGIC: &[u8] = b"\0asm";

/// The header of a component, where a module has version 1.
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// The operator `br_table`, whose number of targets follows.
const BRANCH_TABLE: u8 = 0x0e;
/// The operators `call` and `call_indirect`.
const CALL: u8 = 0x10;
const CALL_INDIRECT: u8 = 0x11;
/// What operators on vectors begin with.
const VECTOR: u8 = 0xfd;

/// Bytes of a module. Language runtimes with their libraries stay below 40 MiB; compiled code takes several times as much.
pub(crate) const MAX_MODULE: usize = 64 << 20;
/// Types. Each is registered with the engine; large programs have some hundreds.
pub(crate) const MAX_TYPES: u32 = 10_000;
/// Parameters and results of a type, each. They pass through the native stack; C and Rust programs stay below 100.
pub(crate) const MAX_PARAMETERS: usize = 255;
/// Imports. Just 52 functions can be imported, but compilers may import one twice.
pub(crate) const MAX_IMPORTS: u32 = 1000;
/// Functions. Each has a record in every instance; the largest known programs have about 70,000.
pub(crate) const MAX_FUNCTIONS: u32 = 100_000;
/// Tables. Compilers emit one; each pooled instance has room for all of them.
pub(crate) const MAX_TABLES: u32 = 4;
/// Elements that tables are declared with, together. Every one is written when an instance is made.
pub(crate) const MAX_TABLE_ELEMENTS: u64 = 1 << 20;
/// Globals. Each takes 16 bytes in every instance; compilers emit some dozens.
pub(crate) const MAX_GLOBALS: u32 = 10_000;
/// Exports. Linkers can be told to export every function.
pub(crate) const MAX_EXPORTS: u32 = 100_000;
/// Data and element segments, each. Some compilers emit one for each string of the program.
pub(crate) const MAX_SEGMENTS: u32 = 50_000;
/// Bytes of a function's body. Compile time grows faster than its size; interpreters' main loops stay below 500 KB.
pub(crate) const MAX_FUNCTION: usize = 1 << 20;
/// Parameters and locals of a function. Unoptimised code has one for each temporary.
pub(crate) const MAX_LOCALS: u64 = 20_000;
/// Blocks within blocks. A `switch` takes one for each of its cases.
pub(crate) const MAX_NESTING: u32 = 10_000;
/// Operands on the stack of one function. Compilers keep long-lived values in locals, so real ones stay below 1,000.
pub(crate) const MAX_OPERANDS: u32 = 10_000;
/// Targets of a branch table: cases of a `switch`. The compiler takes at most 65,520.
pub(crate) const MAX_BRANCH_TARGETS: u32 = 50_000;

/// A valid module, taken apart.
pub(crate) struct Outline<'a> {
    /// Every section except the start section and custom ones other than names, in order: number and content.
    pub(crate) sections: Vec<(u8, &'a [u8])>,
    pub(crate) types: Vec<FuncType>,
    /// Number of globals. Tasks cannot import any.
    pub(crate) globals: u32,
    /// The start function.
    pub(crate) start: Option<u32>,
    /// The initialisation, which is run once; see [`depx_host_abi::snapshot`].
    pub(crate) initializer: Option<u32>,
    /// What runs call instead of `_start` after it.
    pub(crate) resume: Option<u32>,
    /// The functions that it defines.
    pub(crate) functions: Vec<Function<'a>>,
}

/// Checks `wasm` and takes it apart.
pub(crate) fn validate(wasm: &[u8]) -> Result<Outline<'_>, Refusal> {
    Validation::new(wasm, Purpose::Task)?.run()
}

/// Checks `wasm` and takes it apart, whatever it imports and exports: for what is said of WebAssembly rather than of tasks.
#[cfg(test)]
pub(crate) fn validate_any(wasm: &[u8]) -> Result<Outline<'_>, Refusal> {
    Validation::new(wasm, Purpose::Any)?.run()
}

/// What the module is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be executed: it imports only what the sandbox offers, and exports `_start` and `memory`.
    Task,
    /// Not known.
    #[cfg(test)]
    Any,
}

/// Checks what `wasm` begins with.
fn check_header(wasm: &[u8]) -> Result<(), Refusal> {
    if wasm.len() > MAX_MODULE {
        return Err(Refusal::new(
            RefusalCode::ModuleTooLarge,
            format_args!("the module has {} bytes, {MAX_MODULE} are allowed; strip it, or split the task", wasm.len()),
        ));
    }
    if !wasm.starts_with(MAGIC) {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            "the file is not a WebAssembly module; name the .wasm file that your compiler made",
        ));
    }
    if wasm.starts_with(COMPONENT_HEADER) {
        return Err(Refusal::new(
            RefusalCode::UnsupportedProposal,
            "the file is a component, but tasks are modules of WASI preview 1; \
             build for wasm32-wasip1 instead of wasm32-wasip2",
        ));
    }
    Ok(())
}

/// The state of a validation.
struct Validation<'a> {
    wasm: &'a [u8],
    purpose: Purpose,
    validator: Validator,
    allocations: FuncValidatorAllocations,
    planner: Planner,
    outline: Outline<'a>,
    /// The type of each function, imported ones first.
    function_types: Vec<u32>,
    has_start: bool,
    has_memory: bool,
}

impl<'a> Validation<'a> {
    fn new(wasm: &'a [u8], purpose: Purpose) -> Result<Self, Refusal> {
        check_header(wasm)?;
        Ok(Self {
            wasm,
            purpose,
            validator: Validator::new_with_features(FEATURES),
            allocations: FuncValidatorAllocations::default(),
            planner: Planner::default(),
            outline: Outline {
                sections: Vec::new(),
                types: Vec::new(),
                globals: 0,
                start: None,
                initializer: None,
                resume: None,
                functions: Vec::new(),
            },
            function_types: Vec::new(),
            has_start: false,
            has_memory: false,
        })
    }

    fn run(mut self) -> Result<Outline<'a>, Refusal> {
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        for payload in parser.parse_all(self.wasm) {
            let payload = payload?;
            self.check_counts(&payload)?;
            if let ValidPayload::Func(function, body) = self.validator.payload(&payload)? {
                self.function(function, body)?;
            }
            self.section(&payload)?;
        }
        if self.purpose == Purpose::Task {
            self.check_exports()?;
        }
        Ok(self.outline)
    }

    /// The exports without which a task cannot be executed.
    fn check_exports(&self) -> Result<(), Refusal> {
        if !self.has_start {
            return Err(Refusal::new(
                RefusalCode::MissingStart,
                "the module does not export the function `_start`; build a program with a main function, not a library",
            ));
        }
        if !self.has_memory {
            return Err(Refusal::new(
                RefusalCode::MissingMemory,
                "the module does not export its memory as `memory`; export it under that name",
            ));
        }
        Ok(())
    }

    /// The limits that concern a section as a whole, before anything in it is looked at.
    fn check_counts(&self, payload: &Payload<'a>) -> Result<(), Refusal> {
        use RefusalCode::*;
        match payload {
            Payload::TypeSection(section) => within(TooManyTypes, "types", section.count(), MAX_TYPES),
            Payload::ImportSection(section) => within(TooManyImports, "imports", section.count(), MAX_IMPORTS),
            Payload::FunctionSection(section) => within(TooManyFunctions, "functions", section.count(), MAX_FUNCTIONS),
            Payload::TableSection(section) => within(TooManyTables, "tables", section.count(), MAX_TABLES),
            Payload::GlobalSection(section) => within(TooManyGlobals, "globals", section.count(), MAX_GLOBALS),
            Payload::ExportSection(section) => within(TooManyExports, "exports", section.count(), MAX_EXPORTS),
            Payload::ElementSection(section) => {
                within(TooManySegments, "element segments", section.count(), MAX_SEGMENTS)
            }
            Payload::DataSection(section) => within(TooManySegments, "data segments", section.count(), MAX_SEGMENTS),
            _ => Ok(()),
        }
    }

    /// Notes what preparation needs of a valid section, and checks what a task needs beyond being valid.
    fn section(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.clone().into_iter_err_on_gc_types() {
                    self.ty(ty?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    // The validator lets it pass although the proposal is off, the engine does not.
                    if let (TypeRef::FuncExact(_), Some(refusal)) =
                        (import.ty, Refusal::proposal(WasmFeatures::CUSTOM_DESCRIPTORS))
                    {
                        return Err(refusal);
                    }
                    match self.purpose {
                        Purpose::Task => self.import(import.module, import.name, import.ty)?,
                        #[cfg(test)]
                        Purpose::Any => self.count_import(import.ty),
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.function_types.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                let mut elements = 0u64;
                for table in section.clone() {
                    elements = elements.saturating_add(table?.ty.initial);
                }
                if elements > MAX_TABLE_ELEMENTS {
                    return Err(too_many(RefusalCode::TooManyTables, "table elements", elements, MAX_TABLE_ELEMENTS));
                }
            }
            Payload::GlobalSection(section) => self.outline.globals += section.count(),
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.export(export.name, export.kind, export.index)?;
                }
            }
            Payload::StartSection { func, .. } => {
                self.outline.start = Some(*func);
                return Ok(());
            }
            Payload::CustomSection(section) if section.name() != "name" => return Ok(()),
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            // Of code, just the beginning has been read so far; it is kept function by function.
            self.outline.sections.push((id, self.wasm.get(range).unwrap_or_default()));
        }
        Ok(())
    }

    fn ty(&mut self, ty: FuncType) -> Result<(), Refusal> {
        let count = ty.params().len().max(ty.results().len());
        if count > MAX_PARAMETERS {
            let limit = MAX_PARAMETERS as u64;
            return Err(too_many(RefusalCode::TooManyParameters, "parameters or results", count as u64, limit));
        }
        self.outline.types.push(ty);
        Ok(())
    }

    fn import(&mut self, module: &str, name: &str, ty: TypeRef) -> Result<(), Refusal> {
        let (module, name) = (excerpt(module), excerpt(name));
        let known = match ty {
            TypeRef::Func(index) => Import::find(module, name).map(|import| (import, index)),
            _ => None,
        };
        let Some((import, index)) = known else {
            return Err(Refusal::new(
                RefusalCode::UnknownImport,
                format_args!(
                    "the module imports {name:?} from {module:?}, which the sandbox does not offer; \
                     only functions of WASI preview 1 and wasi-nn can be imported"
                ),
            ));
        };
        if !matches(&self.outline.types[index as usize], import) {
            return Err(Refusal::new(
                RefusalCode::ImportSignature,
                format_args!(
                    "the module imports {name:?} from {module:?} with another type than it has; \
                     rebuild it against the headers of WASI preview 1"
                ),
            ));
        }
        self.function_types.push(index);
        Ok(())
    }

    /// Imports come first in their index spaces.
    #[cfg(test)]
    fn count_import(&mut self, ty: TypeRef) {
        match ty {
            TypeRef::Func(index) => self.function_types.push(index),
            TypeRef::Global(_) => self.outline.globals += 1,
            _ => {}
        }
    }

    fn export(&mut self, name: &str, kind: ExternalKind, index: u32) -> Result<(), Refusal> {
        if name.starts_with(exports::RESERVED_PREFIX) {
            return Err(Refusal::new(
                RefusalCode::ReservedExport,
                format_args!(
                    "the module exports {:?}; names that begin with {:?} are reserved, rename it",
                    excerpt(name),
                    exports::RESERVED_PREFIX
                ),
            ));
        }
        self.has_memory |= name == exports::MEMORY && kind == ExternalKind::Memory;
        if self.purpose == Purpose::Task && kind == ExternalKind::Func {
            let ty = &self.outline.types[self.function_types[index as usize] as usize];
            self.entry(name, index, ty.params().is_empty() && ty.results().is_empty())?;
        }
        Ok(())
    }

    /// Notes an exported function that the host calls: `plain` without parameters and results.
    fn entry(&mut self, name: &str, index: u32, plain: bool) -> Result<(), Refusal> {
        let [preferred, older] = snapshot::INITIALIZE;
        match name {
            exports::START if plain => self.has_start = true,
            exports::START => {
                return Err(Refusal::new(
                    RefusalCode::StartSignature,
                    "the module's `_start` has parameters or results; build it as a WASI command",
                ));
            }
            _ if name != preferred && name != older && name != snapshot::RESUME => {}
            _ if !plain => {
                return Err(Refusal::new(
                    RefusalCode::InitializerSignature,
                    format_args!("the module's {name:?} has parameters or results; export one without"),
                ));
            }
            snapshot::RESUME => self.outline.resume = Some(index),
            _ if name == preferred => self.outline.initializer = Some(index),
            _ => _ = self.outline.initializer.get_or_insert(index),
        }
        Ok(())
    }

    /// Validates a function's body, measures its operand stack and plans its metering.
    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: FunctionBody<'a>,
    ) -> Result<(), Refusal> {
        let (index, ty) = (function.index, function.ty);
        let size = body.range().len();
        if size > MAX_FUNCTION {
            return Err(Refusal::new(
                RefusalCode::FunctionTooLarge,
                format_args!("function {index} has {size} bytes, {MAX_FUNCTION} are allowed; split it"),
            ));
        }
        let mut locals = self.outline.types[ty as usize].params().len() as u64;
        let mut vectors = false;
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            locals += u64::from(count);
            vectors |= ty == ValType::V128;
            if locals > MAX_LOCALS {
                return Err(Refusal::new(
                    RefusalCode::TooManyLocals,
                    format_args!("function {index} has more than {MAX_LOCALS} locals; split it, or compile with -O"),
                ));
            }
        }
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        reader.set_features(FEATURES);
        validator.read_locals(&mut reader)?;
        let (mut height, mut operators, mut calls) = (0, 0, false);
        let types = &self.outline.types;
        self.planner.begin_function(&types[ty as usize]);
        while !reader.eof() {
            let offset = reader.original_position();
            let operator = reader.clone();
            reader.visit_operator(&mut self.planner.visitor(offset, types, validator.visitor(offset)))??;
            height = height.max(validator.operand_stack_height());
            let nested = validator.control_stack_height() > MAX_NESTING;
            if nested || height > MAX_OPERANDS {
                return Err(deep(index, nested));
            }
            operators += 1;
            match self.wasm[offset] {
                BRANCH_TABLE => check_targets(operator)?,
                CALL | CALL_INDIRECT => calls = true,
                VECTOR => vectors = true,
                _ => {}
            }
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        self.allocations = validator.into_allocations();
        let (locals, plan) = (locals as u32, self.planner.end_function());
        self.outline.functions.push(Function { ty, body, locals, height, operators, calls, vectors, plan });
        Ok(())
    }
}

/// Checks the number of targets of the branch table that `operator` begins with.
fn check_targets(mut operator: BinaryReader<'_>) -> Result<(), Refusal> {
    operator.read_u8()?;
    within(
        RefusalCode::BranchTableTooLarge,
        "targets in one branch table",
        operator.read_var_u32()?,
        MAX_BRANCH_TARGETS,
    )
}

fn deep(function: u32, nested: bool) -> Refusal {
    let (code, what, limit) = match nested {
        true => (RefusalCode::NestingTooDeep, "nests blocks", MAX_NESTING),
        false => (RefusalCode::OperandsTooDeep, "stacks up operands", MAX_OPERANDS),
    };
    Refusal::new(code, format_args!("function {function} {what} more than {limit} deep; split it"))
}

fn within(code: RefusalCode, what: &str, count: u32, limit: u32) -> Result<(), Refusal> {
    if count > limit { Err(too_many(code, what, count.into(), limit.into())) } else { Ok(()) }
}

fn too_many(code: RefusalCode, what: &str, count: u64, limit: u64) -> Refusal {
    Refusal::new(code, format_args!("the module has {count} {what}, {limit} are allowed; split the task"))
}

/// Whether a function type is that of an import.
fn matches(ty: &FuncType, import: &Import) -> bool {
    let same = |found: &[ValType], known: &[ValueType]| {
        found.len() == known.len()
            && found.iter().zip(known).all(|(found, known)| match known {
                ValueType::I32 => *found == ValType::I32,
                ValueType::I64 => *found == ValType::I64,
            })
    };
    same(ty.params(), import.params) && same(ty.results(), import.results)
}
