//! One script of the suite: modules, and what is said of them.

use super::adapt::adapted;
use super::machine::{EXTERNAL, Ended, Machine, Observed};
use crate::instrument::instrument;
use crate::validate::{Refusal, validate_any};
use depx_host_abi::refusal::RefusalCode;
use std::collections::{BTreeMap, HashMap, HashSet};
use wasm_encoder::SectionId;
use wasmparser::BinaryReader;
use wasmtime::{Engine, Module, Trap};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{Id, Span};
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, WastRet};

/// The module that every script can import, itself metered like the others, to be completed by [`EXTERNALS`].
const SPECTEST: &str = r#"(module
    (global (export "global_i32") i32 (i32.const 666))
    (global (export "global_i64") i64 (i64.const 666))
    (global (export "global_f32") f32 (f32.const 666.6))
    (global (export "global_f64") f64 (f64.const 666.6))
    (memory (export "memory") 1 2)
    (table (export "table") 10 20 funcref)
    (func (export "print"))
    (func (export "print_i32") (param i32))
    (func (export "print_i64") (param i64))
    (func (export "print_f32") (param f32))
    (func (export "print_f64") (param f64))
    (func (export "print_i32_f32") (param i32 f32))
    (func (export "print_f64_f64") (param f64 f64))"#;

/// External references that scripts use.
const EXTERNALS: u32 = 138;

/// What it also exports elsewhere, of proposals that are off.
const SPECTEST_OFF: [&str; 2] = ["table64", "shared_memory"];

/// How the suite calls each trap: a message begins with this.
const TRAPS: [(&str, Trap); 10] = [
    ("indirect call type mismatch", Trap::BadSignature),
    ("integer divide by zero", Trap::IntegerDivisionByZero),
    ("integer overflow", Trap::IntegerOverflow),
    ("invalid conversion to integer", Trap::BadConversionToInteger),
    ("out of bounds memory access", Trap::MemoryOutOfBounds),
    ("out of bounds table access", Trap::TableOutOfBounds),
    ("undefined element", Trap::TableOutOfBounds),
    ("uninitialized element", Trap::IndirectCallToNull),
    ("uninitialized", Trap::IndirectCallToNull),
    ("unreachable", Trap::UnreachableCodeReached),
];

/// What running a script came to.
#[derive(Default)]
pub(super) struct Outcome {
    /// How often each thing was seen.
    pub(super) counts: BTreeMap<String, usize>,
    /// Line and what was wrong there.
    pub(super) failures: Vec<(usize, String)>,
}

/// What a directive says of preparation.
enum Verdict {
    /// It holds.
    Holds(&'static str),
    /// Nothing, for this reason.
    Silent(String),
}

impl Verdict {
    /// Of what needs a module that was refused.
    fn dependent(what: &str) -> Self {
        Self::Silent(format!("{what}, of a module that was refused"))
    }

    /// Of what uses a proposal that is off, or is beyond a limit. Modules that only seem malformed to us are an error.
    fn refused(what: &str, refusal: &Refusal) -> Result<Self, String> {
        match refusal.code {
            RefusalCode::Malformed => Err(format!("{what}: refused, though it is valid: {refusal}")),
            RefusalCode::UnsupportedProposal => {
                let name = refusal.reason.strip_prefix("the module uses ").and_then(|rest| rest.split_once(','));
                let (name, _) = name.ok_or_else(|| format!("{what}: {refusal}: which proposal?"))?;
                Ok(Self::Silent(format!("{what}, refused for {name}")))
            }
            limit => Ok(Self::Silent(format!("{what}, refused for {}", limit.name()))),
        }
    }
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Subject {
    Instance(usize),
    /// A module that was refused, or needs one that was.
    Refused,
}

/// A module, compiled for each machine.
type Compiled = Vec<Module>;

struct Script<'a> {
    text: &'a str,
    engines: &'a [Engine],
    machines: Vec<Machine>,
    /// Instances so far, of each machine.
    instances: usize,
    /// Instances of modules without what is off.
    partial: HashSet<usize>,
    /// Under their names, and under no name what was made last.
    subjects: HashMap<Option<&'a str>, Subject>,
    /// By the names under which they can be imported.
    registered: HashMap<String, Subject>,
    /// Modules to instantiate later; `None` for those that were refused.
    definitions: HashMap<Option<&'a str>, Option<Compiled>>,
}

/// Runs the script `text` on each of `engines`.
pub(super) fn run(text: &str, engines: &[Engine]) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = run_into(&mut outcome, text, engines) {
        outcome.failures.push((line(text, error.span()), error.message()));
    }
    outcome
}

fn run_into(outcome: &mut Outcome, text: &str, engines: &[Engine]) -> Result<(), wast::Error> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let script = parser::parse::<Wast<'_>>(&buffer)?;
    let mut state = Script::new(text, engines);
    for directive in script.directives {
        let line = line(text, directive.span());
        match state.directive(directive) {
            Ok(Verdict::Holds(what)) => *outcome.counts.entry(what.to_owned()).or_default() += 1,
            Ok(Verdict::Silent(why)) => *outcome.counts.entry(format!("(none) {why}")).or_default() += 1,
            Err(message) => outcome.failures.push((line, message)),
        }
    }
    Ok(())
}

fn line(text: &str, span: Span) -> usize {
    span.linecol_in(text).0 + 1
}

impl<'a> Script<'a> {
    fn new(text: &'a str, engines: &'a [Engine]) -> Self {
        let mut script = Self {
            text,
            engines,
            machines: engines.iter().map(Machine::new).collect(),
            instances: 0,
            partial: HashSet::new(),
            subjects: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
        };
        let externals: String =
            (0..EXTERNALS).map(|number| format!(r#"(func (export "{EXTERNAL}{number}"))"#)).collect();
        let spectest = wat::parse_str(format!("{SPECTEST} {externals})")).unwrap();
        let spectest = compile(&spectest, engines).unwrap().unwrap();
        assert_eq!(script.instantiate(&spectest), Ok(Some(Ended::Returned(Vec::new()))));
        script.registered.insert("spectest".to_owned(), Subject::Instance(0));
        script
    }

    fn directive(&mut self, directive: WastDirective<'a>) -> Result<Verdict, String> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|name| name.name());
                self.name(name, Subject::Refused);
                match compile(&encode(&mut module)?, self.engines)? {
                    Ok(compiled) => self.begin(name, &compiled),
                    Err(refusal) => match self.adapt(&refusal, module.span())? {
                        Some(compiled) => Ok(match self.begin(name, &compiled)? {
                            Verdict::Holds(_) => {
                                self.partial.insert(self.instances - 1);
                                Verdict::Holds("module, without what is off")
                            }
                            silent => silent,
                        }),
                        None => Verdict::refused("module", &refusal),
                    },
                }
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|name| name.name());
                let compiled = compile(&encode(&mut module)?, self.engines)?;
                let verdict = match &compiled {
                    Ok(_) => Ok(Verdict::Holds("module")),
                    Err(refusal) => Verdict::refused("module", refusal),
                };
                let compiled = compiled.ok();
                self.definitions.insert(None, compiled.clone());
                self.definitions.insert(name, compiled);
                verdict
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let name = instance.map(|instance| instance.name());
                let definition = self.definitions.get(&module.map(|module| module.name()));
                match definition.ok_or("there is no such definition")?.clone() {
                    Some(compiled) => self.begin(name, &compiled),
                    None => {
                        self.name(name, Subject::Refused);
                        Ok(Verdict::dependent("instance"))
                    }
                }
            }
            WastDirective::Register { name, module, .. } => {
                let subject = self.subject(module)?;
                self.registered.insert(name.to_owned(), subject);
                Ok(Verdict::Holds("register"))
            }
            WastDirective::Invoke(invoke) => {
                self.assert("invoke", WastExecute::Invoke(invoke), |ended| matches!(ended, Ended::Returned(_)))
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                self.assert("assert_return", exec, |ended| returned(ended, &results))
            }
            WastDirective::AssertTrap { exec, message, .. } => self.assert("assert_trap", exec, |ended| {
                let known = TRAPS.iter().find(|(text, _)| message.starts_with(text));
                known.is_some_and(|(_, trap)| *ended == Ended::Trapped(*trap))
            }),
            WastDirective::AssertExhaustion { call, .. } => {
                self.assert("assert_exhaustion", WastExecute::Invoke(call), |ended| *ended == Ended::OutOfDepth)
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                self.assert("assert_unlinkable", WastExecute::Wat(module), |ended| *ended == Ended::Unlinkable)
            }
            WastDirective::AssertInvalid { module, .. } => refuse("assert_invalid", module),
            WastDirective::AssertMalformed { module, .. } => refuse("assert_malformed", module),
            WastDirective::AssertInvalidCustom { .. } | WastDirective::AssertMalformedCustom { .. } => {
                Ok(Verdict::Silent("about custom sections, which are dropped".to_owned()))
            }
            WastDirective::AssertException { .. } => Ok(Verdict::dependent("assert_exception")),
            WastDirective::AssertSuspension { .. } => Ok(Verdict::dependent("assert_suspension")),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Ok(Verdict::dependent("thread")),
        }
    }

    /// Instantiates a module, which must succeed, under `name`.
    fn begin(&mut self, name: Option<&'a str>, compiled: &[Module]) -> Result<Verdict, String> {
        let ended = self.instantiate(compiled);
        let subject = match &ended {
            Ok(Some(Ended::Returned(_))) => Subject::Instance(self.instances - 1),
            _ => Subject::Refused,
        };
        self.name(name, subject);
        match ended? {
            Some(Ended::Returned(_)) => Ok(Verdict::Holds("module")),
            Some(ended) => Err(format!("module: {ended:?}")),
            None => Ok(Verdict::dependent("import")),
        }
    }

    /// A module that was refused for a proposal, as far as it can be executed.
    fn adapt(&self, refusal: &Refusal, module: Span) -> Result<Option<Compiled>, String> {
        if refusal.code != RefusalCode::UnsupportedProposal {
            return Ok(None);
        }
        let adapted = adapted(self.text, module.offset()).and_then(|text| wat::parse_str(text).ok());
        match adapted {
            Some(wasm) => Ok(compile(&wasm, self.engines)?.ok()),
            None => Ok(None),
        }
    }

    fn name(&mut self, name: Option<&'a str>, subject: Subject) {
        self.subjects.insert(None, subject);
        self.subjects.insert(name, subject);
    }

    fn subject(&self, name: Option<Id<'a>>) -> Result<Subject, String> {
        let subject = self.subjects.get(&name.map(|name| name.name()));
        subject.copied().ok_or_else(|| format!("there is no module {name:?}"))
    }

    /// Checks how something ends, if it does not need a module that was refused.
    fn assert(
        &mut self,
        what: &'static str,
        action: WastExecute<'a>,
        expected: impl FnOnce(&Ended) -> bool,
    ) -> Result<Verdict, String> {
        let ended = match action {
            WastExecute::Invoke(invoke) => self.invoke(&invoke)?,
            WastExecute::Get { module, global, .. } => match self.subject(module)? {
                Subject::Instance(instance) => Some(self.everywhere(|machine, _| machine.get(instance, global))?),
                Subject::Refused => None,
            },
            WastExecute::Wat(module) => match compile(&encode(&mut QuoteWat::Wat(module))?, self.engines)? {
                Ok(compiled) => self.instantiate(&compiled)?,
                Err(refusal) => return Verdict::refused(what, &refusal),
            },
        };
        match ended {
            None => Ok(Verdict::dependent(what)),
            Some(ended) if expected(&ended) => Ok(Verdict::Holds(what)),
            Some(ended) => Err(format!("{what}: {ended:x?}")),
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'a>) -> Result<Option<Ended>, String> {
        let Subject::Instance(instance) = self.subject(invoke.module)? else { return Ok(None) };
        if self.partial.contains(&instance) && !self.machines[0].exports(instance, invoke.name) {
            return Ok(None);
        }
        self.everywhere(|machine, _| machine.invoke(instance, invoke.name, &invoke.args)).map(Some)
    }

    /// Makes an instance of a module; `None` if it imports from one that was refused.
    fn instantiate(&mut self, compiled: &[Module]) -> Result<Option<Ended>, String> {
        let mut imports = Vec::new();
        for import in compiled[0].imports() {
            let absent = import.module() == "spectest" && SPECTEST_OFF.contains(&import.name());
            match self.registered.get(import.module()) {
                Some(Subject::Instance(instance)) if !absent => imports.push((*instance, import.name().to_owned())),
                Some(_) => return Ok(None),
                None => return Ok(Some(Ended::Unlinkable)),
            }
        }
        let ended = self.everywhere(|machine, index| machine.instantiate(&compiled[index], &imports))?;
        self.instances += usize::from(matches!(ended, Ended::Returned(_)));
        Ok(Some(ended))
    }

    /// Does something on every machine; all must see the same, fuel included.
    fn everywhere(&mut self, mut action: impl FnMut(&mut Machine, usize) -> Observed) -> Result<Ended, String> {
        let seen: Vec<Observed> =
            self.machines.iter_mut().enumerate().map(|(index, machine)| action(machine, index)).collect();
        if seen.iter().any(|other| *other != seen[0]) {
            return Err(format!("engines differ: {seen:x?}"));
        }
        Ok(seen[0].ended.clone())
    }
}

fn returned(ended: &Ended, expected: &[WastRet<'_>]) -> bool {
    let Ended::Returned(values) = ended else { return false };
    values.len() == expected.len() && values.iter().zip(expected).all(|(value, expected)| value.is(expected))
}

fn encode(module: &mut QuoteWat<'_>) -> Result<Vec<u8>, String> {
    module.encode().map_err(|error| format!("cannot be encoded: {}", error.message()))
}

/// Checks that a module is refused as malformed or invalid.
fn refuse(what: &'static str, mut module: QuoteWat<'_>) -> Result<Verdict, String> {
    let Ok(wasm) = module.encode() else { return Ok(Verdict::Silent(format!("{what}, about text"))) };
    match validate_any(&wasm) {
        Ok(_) => Err(format!("{what}: was accepted")),
        Err(Refusal { code: RefusalCode::Malformed, .. }) => Ok(Verdict::Holds(what)),
        Err(refusal) => Verdict::refused(what, &refusal),
    }
}

/// Prepares a module as a task is, for each engine. What was accepted must compile.
fn compile(wasm: &[u8], engines: &[Engine]) -> Result<Result<Compiled, Refusal>, String> {
    if let Err(refusal) = validate_any(wasm) {
        return Ok(Err(refusal));
    }
    let wasm = with_exports(wasm);
    let metered = validate_any(&wasm).and_then(|outline| instrument(&wasm, &outline));
    let metered = metered.map_err(|refusal| format!("cannot be instrumented: {refusal}"))?;
    let compiled = engines.iter().map(|engine| Module::new(engine, &metered)).collect::<wasmtime::Result<_>>();
    compiled.map(Ok).map_err(|error| format!("cannot be compiled: {error:#}"))
}

/// The module, with an export section even if it exports nothing: a task always has one.
fn with_exports(wasm: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    let mut reader = BinaryReader::new(&wasm[HEADER..], HEADER);
    let mut place = None;
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8().unwrap();
        if id == SectionId::Export as u8 {
            return wasm.to_vec();
        }
        let length = reader.read_var_u32().unwrap();
        reader.read_bytes(length as usize).unwrap();
        let later = [SectionId::Start, SectionId::Element, SectionId::DataCount, SectionId::Code, SectionId::Data];
        if later.iter().any(|later| *later as u8 == id) {
            place.get_or_insert(start);
        }
    }
    let place = place.unwrap_or(wasm.len());
    [&wasm[..place], &[SectionId::Export as u8, 1, 0], &wasm[place..]].concat()
}
