//! The public conformance tests of WASI preview 1.
//!
//! The variable `DEPX_WASI_TESTSUITE` names a copy of <https://github.com/WebAssembly/wasi-testsuite>, branch
//! `prod/testsuite-base`, which has the programs compiled, at commit 9f80ca3 for the counts below. Each runs on three kinds of
//! engine, which must agree on all that it does, fuel included.

mod program;

use depx_protocol::Status;
use depx_runtime::{Allocation, Cancel, EngineOptions, Optimize, Outcome, Runtime, RuntimeOptions};
use expect_test::expect;
use program::Program;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Names the place of the suite.
const VARIABLE: &str = "DEPX_WASI_TESTSUITE";

/// Languages that the programs are written in, each with a folder.
const LANGUAGES: [&str; 3] = ["assemblyscript", "c", "rust"];

/// Programs that do not pass, and why.
const EXCLUDED: [(&str, &str); 1] = [(
    "c/sock_shutdown-invalid_fd",
    "expects that descriptor 3 is closed where no directory is given; here it is always the root, into which a task writes its output",
)];

/// The engines that must agree: they differ in compiler, optimisation and allocation.
const ENGINES: [EngineOptions; 3] = [
    EngineOptions { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: false },
    EngineOptions { optimize: Optimize::None, allocation: Allocation::Pooling { slots: 1 }, interpreter: false },
    EngineOptions { optimize: Optimize::Speed, allocation: Allocation::OnDemand, interpreter: true },
];

#[test]
fn the_wasi_test_suite_passes_on_every_engine() {
    let Some(suite) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        eprintln!("skipped: {VARIABLE} does not name a copy of the WASI test suite");
        return;
    };
    let runtimes = ENGINES.map(|engine| Runtime::new(RuntimeOptions { engine, ..RuntimeOptions::default() }).unwrap());
    let (mut passed, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for language in LANGUAGES {
        for program in Program::all(&suite.join("tests").join(language).join("testsuite/wasm32-wasip1")) {
            let outcome = run_everywhere(&program, &runtimes);
            match complaint(&program, &outcome) {
                None => *passed.entry(language).or_insert(0) += 1,
                Some(complaint) => drop(failed.insert(format!("{language}/{}", program.name), complaint)),
            }
        }
    }
    for (name, reason) in EXCLUDED {
        assert!(failed.remove(name).is_some(), "{name} passes, it need not be excluded: {reason}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
    expect![[r#"
        {
            "assemblyscript": 12,
            "c": 13,
            "rust": 46,
        }
    "#]]
    .assert_debug_eq(&passed);
}

/// What a program comes to, which must be the same on each of `runtimes`.
fn run_everywhere(program: &Program, runtimes: &[Runtime]) -> Outcome {
    let mut agreed = None;
    for (runtime, engine) in runtimes.iter().zip(&ENGINES) {
        let executable = runtime.prepare(&program.wasm).unwrap_or_else(|error| panic!("{}: {error}", program.name));
        let outcome = runtime.execute(&executable, &program.task, &Cancel::default());
        let outcome = outcome.unwrap_or_else(|fault| panic!("{}: {fault}", program.name));
        let agreed = agreed.get_or_insert_with(|| outcome.clone());
        assert_eq!(*agreed, outcome, "{} on {engine:?}", program.name);
    }
    agreed.unwrap()
}

/// What is wrong about how a program ended.
fn complaint(program: &Program, outcome: &Outcome) -> Option<String> {
    let exit_code = match outcome.status {
        Status::Success | Status::ExitCode => Some(outcome.code),
        _ => None,
    };
    let stdout = program.stdout.as_ref().is_none_or(|expected| expected.as_bytes() == outcome.stdout);
    if exit_code == Some(program.exit_code) && stdout {
        return None;
    }
    let (stdout, log) = (outcome.stdout.escape_ascii(), outcome.log.escape_ascii());
    Some(format!("{:?} {}, output {stdout}, log {log}", outcome.status, outcome.code))
}
