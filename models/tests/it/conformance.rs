//! ONNX's own tests of single operators, through both backends. Where they lie is said by `DEPX_ONNX_NODE_TESTS`: the folder
//! `onnx/backend/test/data/node` of the Python package `onnx`. Without it this test says that it is skipped. What it finds is the table in
//! `models/OPERATORS.md`, which `UPDATE_EXPECT=1` writes anew.

use crate::backend;
use crate::reproducible::on_gpus;
use crate::writer::Message;
use depx_kernels::Isa;
use depx_models::{Backend, ElementType, LoadError, Reproducible, RunError, Tensor};
use expect_test::expect_file;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What became of a case.
enum Ended {
    Passed,
    /// Refused before a library saw it, or by the library, with the reason.
    Refused(String),
    Wrong(String),
}

/// Numbers of ONNX's element types that tasks can hold.
fn element_type(number: u64) -> Option<ElementType> {
    Some(match number {
        1 => ElementType::F32,
        2 => ElementType::U8,
        6 => ElementType::I32,
        7 => ElementType::I64,
        10 => ElementType::F16,
        11 => ElementType::F64,
        _ => return None,
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// A tensor in a file of its own, if tasks can hold its type.
fn tensor(file: &Path) -> Option<Tensor> {
    let file = fs::read(file).unwrap();
    let mut bytes = &file[..];
    let (mut shape, mut kind, mut data) = (Vec::new(), 0, Vec::new());
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => match (tag >> 3, varint(&mut bytes)) {
                (1, size) => shape.push(size as u32),
                (2, number) => kind = number,
                _ => {}
            },
            2 => {
                let length = varint(&mut bytes) as usize;
                let (mut field, rest) = bytes.split_at(length);
                bytes = rest;
                match tag >> 3 {
                    1 => {
                        while !field.is_empty() {
                            shape.push(varint(&mut field) as u32);
                        }
                    }
                    // `float_data`, `raw_data`, `double_data`.
                    4 | 9 | 10 => data.extend_from_slice(field),
                    // `int32_data` and `int64_data`.
                    5 | 7 => {
                        while !field.is_empty() {
                            let size = element_type(kind)?.size();
                            data.extend_from_slice(&varint(&mut field).to_le_bytes()[..size]);
                        }
                    }
                    _ => {}
                }
            }
            width => bytes = &bytes[if width == 1 { 8 } else { 4 }..],
        }
    }
    Tensor::new(element_type(kind)?, shape, data).ok()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let data = tensor.data();
    match tensor.element_type() {
        ElementType::F16 => data.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f64()).collect(),
        ElementType::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect(),
        ElementType::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
        ElementType::U8 => data.iter().map(|&byte| byte.into()).collect(),
        ElementType::I32 => data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
        ElementType::I64 => data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f64).collect(),
    }
}

/// With the tolerance of ONNX's own runner.
fn close(found: &Tensor, expected: &Tensor) -> bool {
    let near = |(a, b): (f64, f64)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-7 + 1e-3 * b.abs();
    found.element_type() == expected.element_type()
        && found.shape() == expected.shape()
        && numbers(found).into_iter().zip(numbers(expected)).all(near)
}

/// The tensors `name_0.pb`, `name_1.pb` … of a case.
fn tensors(data: &Path, name: &str) -> Option<Vec<Tensor>> {
    let files = (0..).map(|number| data.join(format!("{name}_{number}.pb"))).take_while(|file| file.exists());
    files.map(|file| tensor(&file)).collect()
}

/// The model with all inputs but the first as constants, which exporters make of what decides shapes.
fn with_constants(onnx: &[u8], data: &Path) -> Vec<u8> {
    fields(onnx, |number, model| {
        let mut input = 0;
        let graph = |number, value: &[u8]| {
            input += usize::from(number == 11);
            let constant = || fs::read(data.join(format!("input_{}.pb", input - 1))).unwrap();
            if number == 11 && input > 1 { (5, constant()) } else { (number, value.to_vec()) }
        };
        if number == 7 { (7, fields(model, graph)) } else { (number, model.to_vec()) }
    })
}

/// A message of which each length-delimited field is replaced.
fn fields(mut message: &[u8], mut replace: impl FnMut(u64, &[u8]) -> (u64, Vec<u8>)) -> Vec<u8> {
    let mut written = Message::default();
    while !message.is_empty() {
        let tag = varint(&mut message);
        match tag & 7 {
            0 => written = written.int(tag >> 3, varint(&mut message).cast_signed()),
            _ => {
                let length = varint(&mut message) as usize;
                let (value, rest) = message.split_at(length);
                message = rest;
                let (number, value) = replace(tag >> 3, value);
                written = written.bytes(number, value);
            }
        }
    }
    written.0
}

/// As it is, and if that is refused, with constants.
fn case(backends: &[&dyn Backend], folder: &Path) -> Ended {
    let onnx = fs::read(folder.join("model.onnx")).unwrap();
    let data = folder.join("test_data_set_0");
    let (Some(mut inputs), Some(expected)) = (tensors(&data, "input"), tensors(&data, "output")) else {
        return Ended::Refused("values of a type that tasks cannot hold".to_owned());
    };
    match run(backends, &onnx, &inputs, &expected) {
        Ended::Refused(_) if inputs.len() > 1 => {
            inputs.truncate(1);
            run(backends, &with_constants(&onnx, &data), &inputs, &expected)
        }
        ended => ended,
    }
}

fn run(backends: &[&dyn Backend], onnx: &[u8], inputs: &[Tensor], expected: &[Tensor]) -> Ended {
    let mut first: Option<Vec<Tensor>> = None;
    for backend in backends {
        let model = match backend.load(onnx) {
            Ok(model) => model,
            Err(LoadError::Invalid { reason }) => return Ended::Refused(reason),
            Err(LoadError::Backend { reason }) => return Ended::Refused(format!("{LIBRARY}: {reason}")),
        };
        for _ in 0..2 {
            let outputs = match model.run(inputs) {
                Ok(outputs) => outputs,
                Err(RunError::Inputs { reason } | RunError::Backend { reason }) => {
                    return Ended::Refused(format!("{LIBRARY}: {reason}"));
                }
            };
            if outputs.len() != expected.len() || !outputs.iter().zip(expected).all(|(a, b)| close(a, b)) {
                return Ended::Wrong(format!("{:?}", outputs.iter().map(numbers).collect::<Vec<_>>()));
            }
            if *first.get_or_insert_with(|| outputs.clone()) != outputs {
                return Ended::Wrong("other bits than before".to_owned());
            }
        }
    }
    Ended::Passed
}

/// Before what the library says.
const LIBRARY: &str = "ONNX Runtime does not run it";

/// Cases whose results are not those that ONNX expects, each with a reason.
const EXPECTED: &[(&str, &str)] = &[
    ("D2 test_resize_downsample_scales_cubic_align_corners", "ONNX Runtime aligns corners of another size"),
    ("D2 test_resize_downsample_scales_linear_align_corners", "ONNX Runtime aligns corners of another size"),
];

/// Where the operators that may be used are told apart, for those that no case has.
const SOURCE: &str = include_str!("../../src/onnx/operators.rs");

/// What became of the cases of an operator.
#[derive(Default)]
struct Row {
    cases: usize,
    /// In D1 and in D2.
    passed: [usize; 2],
    reasons: BTreeMap<String, usize>,
}

impl Row {
    /// The most frequent reasons for refusals.
    fn reasons(&self) -> String {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        reasons.into_iter().take(3).map(|(reason, _)| reason.replace('|', "\\|")).collect::<Vec<_>>().join("; ")
    }
}

/// The operators of a model.
fn operators(onnx: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    fields(onnx, |number, model| {
        if number == 7 {
            fields(model, |number, node| {
                if number == 1 {
                    names.insert(operator(node));
                }
                (number, Vec::new())
            });
        }
        (number, Vec::new())
    });
    names
}

/// The name of a node's operator, after its domain.
fn operator(node: &[u8]) -> String {
    let (mut name, mut domain) = (String::new(), String::new());
    fields(node, |number, value| {
        let text = || String::from_utf8(value.to_vec()).unwrap();
        match number {
            4 => name = text(),
            7 => domain = text(),
            _ => {}
        }
        (number, Vec::new())
    });
    if domain.is_empty() { name } else { format!("{domain}.{name}") }
}

/// The operators that the source names.
fn known() -> BTreeSet<String> {
    let (standard, rest) = SOURCE.split_once("\"Bernoulli\"").unwrap();
    let (_, classic) = rest.split_once("fn classic").unwrap();
    let names = |text: &'static str, domain: &'static str| {
        let literals = text.split('"').skip(1).step_by(2);
        let names = literals.filter(|text| {
            text.starts_with(|first: char| first.is_ascii_uppercase()) && text.chars().all(char::is_alphanumeric)
        });
        names.map(move |name| format!("{domain}{name}"))
    };
    names(standard, "").chain(names(classic, "ai.onnx.ml.")).collect()
}

/// A reason without names and advice.
fn short(reason: &str) -> String {
    let reason = match reason.split_once(" that gives ") {
        Some((operator, rest)) if operator.starts_with("operator ") => {
            rest.split_once(": ").map_or(rest, |(_, why)| why)
        }
        _ => reason,
    };
    let reason = reason.strip_prefix(LIBRARY).map_or(reason, |_| LIBRARY);
    reason.split("; ").next().unwrap_or(reason).to_owned()
}

fn table(rows: &BTreeMap<String, Row>, cases: usize, [d1, d2]: [usize; 2]) -> String {
    let mut text = format!(
        "# Operators\n\n\
        Models may use the operators below, see [ARCHITECTURE.md](../ARCHITECTURE.md). For each the table says how many of ONNX's own\n\
        tests of single operators, release 1.22, there are and how many pass: in class D1, whose results are the same bits on every\n\
        processor, and in class D2, ONNX Runtime's. The other cases are refused before they run or by ONNX Runtime, and the table gives\n\
        the most frequent reasons. Of all {cases} cases {d1} pass in D1 and {d2} in D2. Cases whose model has several operators, most of\n\
        them one operator written as others, are in the last row. An operator without cases is not in those tests.\n\n\
        This file is written by the test `operators_do_what_onnx_says` when `UPDATE_EXPECT=1` is set.\n\n\
        | operator | cases | D1 | D2 | reasons for refusals |\n|---|--:|--:|--:|---|\n"
    );
    let supported = known();
    let (used, refused): (Vec<_>, Vec<_>) =
        rows.iter().partition(|(name, row)| supported.contains(*name) || row.passed != [0, 0]);
    for (name, row) in used {
        let Row { cases, passed: [d1, d2], .. } = row;
        writeln!(text, "| {name} | {cases} | {d1} | {d2} | {} |", row.reasons()).unwrap();
    }
    let names = refused.into_iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    write!(text, "\nNot supported, with cases in those tests: {}.\n", names.join(", ")).unwrap();
    text
}

#[test]
fn operators_do_what_onnx_says() {
    let Some(folder) = std::env::var_os("DEPX_ONNX_NODE_TESTS") else {
        eprintln!("skipped: DEPX_ONNX_NODE_TESTS names no folder with the node tests of the package onnx");
        return;
    };
    let Some(library) = backend() else { return };
    let mut folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let on_processor = Isa::available().into_iter().map(|isa| Reproducible::with_isa(library.clone(), isa));
    let reproducible: Vec<_> = on_processor.chain(on_gpus(&library)).collect();
    let reproducible: Vec<&dyn Backend> = reproducible.iter().map(|backend| backend as &dyn Backend).collect();
    let (mut wrong, mut totals) = (Vec::new(), [0; 2]);
    let mut rows: BTreeMap<String, Row> = known().into_iter().map(|name| (name, Row::default())).collect();
    for (at, (class, backends)) in
        [("D1", &reproducible[..]), ("D2", &[&library as &dyn Backend][..])].into_iter().enumerate()
    {
        for folder in &folders {
            let operators = operators(&fs::read(folder.join("model.onnx")).unwrap());
            let row = match operators.len() {
                1 => operators.into_iter().next().unwrap(),
                _ => "several".to_owned(),
            };
            let row = rows.entry(row).or_default();
            row.cases += usize::from(at == 0);
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match case(backends, folder) {
                Ended::Passed => {
                    row.passed[at] += 1;
                    totals[at] += 1;
                }
                Ended::Refused(reason) => *row.reasons.entry(short(&reason)).or_default() += 1,
                Ended::Wrong(found) => {
                    let case = format!("{class} {name}");
                    match EXPECTED.iter().find(|(expected, _)| *expected == case) {
                        Some((_, reason)) => *row.reasons.entry((*reason).to_owned()).or_default() += 1,
                        None => wrong.push(format!("{case}: {found:.300}")),
                    }
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    expect_file!["../../OPERATORS.md"].assert_eq(&table(&rows, folders.len(), totals));
}
