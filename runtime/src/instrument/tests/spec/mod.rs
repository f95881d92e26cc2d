//! The test suite of the WebAssembly specification, with every module prepared as a task is: validated, instrumented and compiled.
//!
//! The variable `DEPX_WASM_TESTSUITE` names a copy of <https://github.com/WebAssembly/testsuite>, at commit 193e551 for the counts
//! below. Each assertion is checked on three kinds of engine, which must also agree on fuel.

mod adapt;
mod machine;
mod script;
mod values;

use super::*;
use expect_test::expect;
use script::Outcome;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Names the place of the suite.
const VARIABLE: &str = "DEPX_WASM_TESTSUITE";

/// Instances that are alive at a time: linking tests keep theirs until a file ends.
const SLOTS: u32 = 1000;

/// What does not hold here: the reason, a script, and the lines in it.
const EXCLUDED: [(&str, &str, &[usize]); 12] = [
    (LEGACY, "legacy/rethrow.wast", &[9]),
    (LEGACY, "legacy/throw.wast", &[26]),
    (LEGACY, "legacy/try_catch.wast", &[27]),
    (LEGACY, "legacy/try_delegate.wast", &[9]),
    (HUGE, "memory64.wast", &[8, 9]),
    (HUGE, "proposals/custom-page-sizes/memory_max_i64.wast", &[4, 9, 13, 18]),
    (HUGE, "table64.wast", &[8, 9, 10]),
    (MISSED, "linking0.wast", &[42]),
    (MISSED, "load1.wast", &[25, 26, 27, 28, 29]),
    (ALIKE, "linking.wast", &[132, 193, 445]),
    ("is negated, and so negative", "simd_f64x2_arith.wast", &[5297]),
    ("is from before there could be several tables", "proposals/threads/imports.wast", &[309, 313, 317]),
];

const LEGACY: &str = "is written with legacy exceptions, which are off and which the parser of scripts no longer knows";
const HUGE: &str = "has a size beyond 32 bits, over which the module is refused before its proposal is seen";
const MISSED: &str = "looks for what a module with several memories wrote, which is refused";
const ALIKE: &str = "tells functions and external references apart, for which functions stand";

/// The engines that must agree: they differ in compiler, optimisation and allocation.
fn engines() -> Vec<Engine> {
    let pooling = Allocation::Pooling { slots: SLOTS };
    let all = [
        EngineOptions { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: false },
        EngineOptions { optimize: Optimize::None, allocation: pooling, interpreter: false },
        EngineOptions { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: true },
    ];
    all.iter().map(|options| engine(options).unwrap()).collect()
}

#[test]
fn the_specification_holds_through_preparation() {
    let Some(suite) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        eprintln!("skipped: {VARIABLE} does not name a copy of the WebAssembly test suite");
        return;
    };
    let files = scripts(&suite);
    let engines = engines();
    let outcomes = run_all(&suite, &files, &engines);

    let mut counts = BTreeMap::from([("scripts".to_owned(), files.len())]);
    let lines = |&(reason, file, lines): &(&'static str, &'static str, &'static [usize])| {
        lines.iter().map(move |line| (file, *line, reason))
    };
    let mut excluded: Vec<_> = EXCLUDED.iter().flat_map(lines).collect();
    counts.insert("excluded".to_owned(), excluded.len());
    let mut failures = Vec::new();
    for (file, outcome) in outcomes {
        outcome.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
        for (line, message) in outcome.failures {
            match excluded.iter().position(|(name, at, _)| *name == file && *at == line) {
                Some(known) => drop(excluded.swap_remove(known)),
                None => failures.push(format!("{file}:{line}: {message}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(excluded.is_empty(), "no longer need to be excluded: {excluded:?}");
    let counts: String = counts.iter().map(|(what, count)| format!("{what}: {count}\n")).collect();
    expect![[r#"
        (none) about custom sections, which are dropped: 20
        (none) assert_exception, of a module that was refused: 18
        (none) assert_invalid, refused for 64-bit memory: 277
        (none) assert_invalid, refused for custom descriptors: 2
        (none) assert_invalid, refused for custom page sizes: 17
        (none) assert_invalid, refused for exceptions: 15
        (none) assert_invalid, refused for external or garbage-collected references: 290
        (none) assert_invalid, refused for several memories: 7
        (none) assert_invalid, refused for tail calls: 25
        (none) assert_invalid, refused for threads: 49
        (none) assert_invalid, refused for typed function references: 59
        (none) assert_invalid, refused for wide arithmetic operators: 8
        (none) assert_malformed, about text: 1265
        (none) assert_malformed, refused for 64-bit memory: 1
        (none) assert_malformed, refused for exceptions: 2
        (none) assert_malformed, refused for external or garbage-collected references: 1
        (none) assert_malformed, refused for several memories: 2
        (none) assert_malformed, refused for too-many-locals: 6
        (none) assert_return, of a module that was refused: 3147
        (none) assert_trap, of a module that was refused: 983
        (none) assert_trap, refused for external or garbage-collected references: 3
        (none) assert_trap, refused for several memories: 14
        (none) assert_unlinkable, of a module that was refused: 54
        (none) assert_unlinkable, refused for 64-bit memory: 26
        (none) assert_unlinkable, refused for custom page sizes: 2
        (none) assert_unlinkable, refused for exceptions: 6
        (none) assert_unlinkable, refused for external or garbage-collected references: 18
        (none) assert_unlinkable, refused for several memories: 9
        (none) assert_unlinkable, refused for threads: 1
        (none) assert_unlinkable, refused for typed function references: 24
        (none) import, of a module that was refused: 13
        (none) instance, of a module that was refused: 3
        (none) invoke, of a module that was refused: 225
        (none) module, refused for 64-bit memory: 193
        (none) module, refused for custom descriptors: 4
        (none) module, refused for custom page sizes: 14
        (none) module, refused for exceptions: 12
        (none) module, refused for external or garbage-collected references: 167
        (none) module, refused for relaxed SIMD: 8
        (none) module, refused for several memories: 66
        (none) module, refused for tail calls: 6
        (none) module, refused for threads: 12
        (none) module, refused for too-many-tables: 1
        (none) module, refused for typed function references: 32
        (none) module, refused for wide arithmetic operators: 2
        assert_exhaustion: 15
        assert_invalid: 2240
        assert_malformed: 924
        assert_return: 50093
        assert_trap: 4250
        assert_unlinkable: 119
        excluded: 26
        invoke: 197
        module: 1887
        module, without what is off: 79
        register: 88
        scripts: 288
    "#]]
    .assert_eq(&counts);
}

/// The paths of all scripts below `suite`, relative to it, sorted.
fn scripts(suite: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![suite.to_owned()]);
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{VARIABLE}: {}: {error}", directory.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wast") {
                found.push(path.strip_prefix(suite).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Runs scripts, some at a time.
fn run_all(suite: &Path, files: &[String], engines: &[Engine]) -> BTreeMap<String, Outcome> {
    let (queue, done) = (Mutex::new(files.iter()), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let Some(file) = queue.lock().unwrap().next() else { break };
            let text = std::fs::read_to_string(suite.join(file)).unwrap();
            let outcome = script::run(&text, engines);
            done.lock().unwrap().insert(file.clone(), outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            thread::Builder::new().stack_size(2 * EXECUTION_STACK).spawn_scoped(scope, work).unwrap();
        }
    });
    done.into_inner().unwrap()
}
