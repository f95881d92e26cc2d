//! How operators see what a node does.

use crate::support::{COUNT, Daemon, ECHO, Machine, PATIENCE, finish, json_lines};
use serde_json::Value;
use std::time::{Duration, Instant};

fn jobs(machine: &Machine, options: &[&str]) -> Vec<Value> {
    let done = machine.run([&["--json", "node", "jobs", "--data", "node"], options].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    json_lines(&done.stdout)
}

/// Waits until this gives something.
fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn submit(machine: &Machine, coordinator: &str, input: &[u8]) {
    let submit = ["submit", "--coordinator", coordinator, "--consistency", "eventual", "--out", "out"];
    let done = finish(machine.depx(submit.iter().chain(&["echo.wasm"])), input);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn leases_on_record_are_listed_while_the_node_runs_and_when_it_does_not() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.guest("count.wasm", COUNT);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (mut node, _) = Daemon::node(&machine, &name, "node");
    assert!(jobs(&machine, &[]).is_empty());
    assert!(machine.run(["node", "jobs", "--data", "node"]).stdout.starts_with("No lease is on record"));
    submit(&machine, &name, b"zero");
    let completed = node.event("completed");
    submit(&machine, &name, b"one");
    node.event("completed");
    let listed = eventually("two acknowledged leases", || {
        let listed = jobs(&machine, &[]);
        (listed.len() == 2 && listed.iter().all(|lease| lease["state"] == "acknowledged")).then_some(listed)
    });
    assert_eq!((&listed[0]["receipt"], &listed[1]["receipt"]), (&1.into(), &0.into()), "the last one first");
    assert_eq!((&listed[1]["job"], &listed[1]["result"]), (&completed["job"], &completed["result"]));
    assert!(listed[0]["ended_ms"].as_u64() >= listed[0]["accepted_ms"].as_u64(), "{listed:?}");
    let coordinator = listed[0]["coordinator"].as_str().expect("an address");
    assert!(name.starts_with(&format!("{coordinator}@")), "{name}");
    assert_eq!(jobs(&machine, &["--limit", "1"]), listed[..1]);

    let count = ["submit", "--coordinator", &name, "--consistency", "eventual", "--out", "out", "count.wasm"];
    let _client = Daemon::start(&machine, count);
    let executing = |listed: &[Value]| listed.len() == 3 && listed[0]["state"] == "executing";
    eventually("a lease under way", || executing(&jobs(&machine, &[])).then_some(()));
    node.signal("KILL");
    assert_eq!(node.ended(), -9);
    let left = jobs(&machine, &[]);
    assert!(executing(&left) && left[1..] == listed, "{left:?}");
    let text = machine.run(["node", "jobs", "--data", "node"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("ACCEPTED (UTC)"), "{text}");
    let column = lines[0].find("STATE").expect("a column");
    let states: Vec<&str> = lines[1..].iter().map(|line| &line[column..]).collect();
    assert_eq!(states, ["executing", "acknowledged", "acknowledged"], "{text}");
}

#[test]
fn where_no_node_keeps_its_journal_is_said() {
    let machine = Machine::new();
    machine.json(["node", "init", "--data", "node"]);
    let (coordinator, _) = Daemon::coordinator(&machine, "127.0.0.1:0");
    drop(coordinator);
    machine.json(["node", "init", "--data", "damaged"]);
    machine.write("damaged/journal.db", [7; 5000]);
    for (data, sentences) in [
        ("absent", &["there is no directory absent; name the node's with --data"][..]),
        ("node", &["no node's leases can be read in node;", "there is no journal node/journal.db"]),
        ("home/coordinator", &["home/coordinator/journal.db is not a journal of this kind"]),
        ("damaged", &["the journal damaged/journal.db is damaged", "restore it from a backup"]),
    ] {
        let done = machine.run(["node", "jobs", "--data", data]);
        assert!(done.code == 1 && done.stdout.is_empty(), "{done:?}");
        sentences.iter().for_each(|sentence| assert!(done.stderr.contains(sentence), "{}", done.stderr));
    }
}
