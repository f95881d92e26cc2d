//! The program as `cargo xtask bench` calls it.

use serde_json::Value;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_depx-bench")).args(arguments).output().expect("the program starts")
}

/// The figures that were printed, one per line.
fn figures(arguments: &[&str]) -> Vec<Value> {
    let output = bench(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let printed = String::from_utf8(output.stdout).expect("text");
    printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn figures_are_lines_of_json_with_a_positive_value() {
    for (prefix, names) in [
        ("sandbox.noop", &["sandbox.noop", "sandbox.noop_job", "sandbox.noop_worker"][..]),
        ("protocol.recover", &["protocol.recover"]),
        ("net.noop_p50", &["net.noop_p50"]),
    ] {
        let figures = figures(&["--quick", "--json", prefix]);
        assert_eq!(figures.iter().map(|figure| figure["name"].clone()).collect::<Vec<_>>(), names);
        for figure in figures {
            let members: Vec<_> = figure.as_object().expect("an object").keys().cloned().collect();
            assert_eq!(members, ["baseline", "name", "unit", "value"]);
            assert!(figure["value"].as_f64().is_some_and(|value| value > 0.0), "{figure}");
            assert!(figure["baseline"].as_f64().is_some_and(|baseline| baseline > 0.0), "{figure}");
            assert!(figure["unit"].as_str().is_some_and(|unit| !unit.is_empty()), "{figure}");
        }
    }
}

#[test]
fn a_job_takes_longer_than_its_sandbox_alone() {
    let figures = figures(&["--quick", "--json", "sandbox.noop"]);
    let [sandbox, job] = [0, 1].map(|index: usize| figures[index]["value"].as_f64().expect("a number"));
    assert!(job > sandbox, "{job} µs for the job, {sandbox} µs for its sandbox");
}

#[test]
fn without_json_there_is_a_table() {
    let output = bench(&["--quick", "protocol.sign"]);
    let table = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = table.lines().collect();
    assert!(output.status.success() && lines.len() == 2, "{table}");
    assert!(lines[0].starts_with("figure") && lines[1].starts_with("protocol.sign "), "{table}");
}

#[test]
fn figures_that_do_not_exist_are_refused_by_name() {
    let output = bench(&["--json", "sandbox.nothing"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("\"sandbox.nothing\"") && said.contains("sandbox.noop"), "{said}");
}
