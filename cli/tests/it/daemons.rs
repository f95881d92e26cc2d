//! Commands that go on: how they start, stop, die, and come back.

use crate::support::{COUNT, Daemon, Done, ECHO, Machine, PATIENCE, descendants};
use std::path::Path;
use std::time::{Duration, Instant};

/// Whether a process runs. One that ended and was not waited for yet does not.
fn runs(process: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { return false };
    !status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}

/// Waits until something holds.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

#[test]
fn a_devnet_gives_the_exit_code_of_its_command() {
    let machine = Machine::new();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("test -n \"$DEPX_COORDINATOR\"", 0)] {
        let done = machine.run(["devnet", "--nodes", "1", "--", "sh", "-c", script]);
        assert_eq!(done.code, code, "{script}: {}", done.stderr);
        assert!(is_empty(&machine.path("tmp")), "{script}: nothing is left behind");
    }
}

#[test]
fn a_devnet_takes_its_processes_along_however_it_ends() {
    for (signal, code) in [("KILL", -9), ("TERM", 0), ("INT", 0)] {
        let machine = Machine::new();
        let mut devnet = Daemon::start(&machine, ["devnet", "--nodes", "2"]);
        assert_eq!(devnet.event("ready")["nodes"].as_array().map(Vec::len), Some(2));
        eventually("a coordinator, and two nodes with a worker, a compiler, and a spare of each", || {
            descendants(devnet.id()).len() == 11
        });
        let processes = descendants(devnet.id());
        assert!(processes.iter().all(|process| runs(*process)));
        devnet.signal(signal);
        assert_eq!(devnet.ended(), code, "{signal}");
        eventually("the end of all", || !processes.iter().any(|process| runs(*process)));
        // Whoever is killed cannot clean up.
        assert_eq!(is_empty(&machine.path("tmp")), signal != "KILL", "{signal}");
    }
}

#[test]
fn a_devnet_that_is_stopped_stops_its_command() {
    let machine = Machine::new();
    let mut devnet = Daemon::start(&machine, ["devnet", "--nodes", "1", "--", "sleep", "1000"]);
    devnet.event("ready");
    eventually("the command, beside a coordinator and a node with two workers and two compilers", || {
        descendants(devnet.id()).len() == 7
    });
    let processes = descendants(devnet.id());
    devnet.signal("TERM");
    assert_eq!(devnet.ended(), 1);
    eventually("the end of all", || !processes.iter().any(|process| runs(*process)));
    assert!(is_empty(&machine.path("tmp")));
}

#[test]
fn a_node_that_is_told_to_stop_finishes_its_lease() {
    let machine = Machine::new();
    machine.guest("count.wasm", COUNT);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (mut node, _) = Daemon::node(&machine, &name, "node");
    let submit = ["submit", "--coordinator", &name, "--consistency", "eventual", "--out", "out", "count.wasm"];
    let mut client = Daemon::start(&machine, submit);
    client.event("dispatched");
    assert!(!node.has_told("completed"), "the job takes longer than that");
    node.signal("TERM");
    assert_eq!(client.event("done")["status"], "Success");
    assert_eq!(client.ended(), 0);
    node.event("completed");
    assert_eq!(node.ended(), 0);
}

/// Submits a small job and gives its only receipt's file name.
fn submit_one(machine: &Machine, coordinator: &str, out: &str) -> String {
    let options = ["--consistency", "eventual", "--out", out, "--coordinator", coordinator];
    let done: Done = machine.run([&["submit"], &options[..], &["echo.wasm"]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let mut receipts = std::fs::read_dir(machine.path(out).join("receipts")).expect("it is there").flatten();
    let receipt = receipts.next().expect("a receipt").file_name();
    assert!(receipts.next().is_none());
    format!("{out}/receipts/{}", receipt.to_string_lossy())
}

#[test]
fn a_node_keeps_its_identity_and_its_chain_of_receipts() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let mut bodies = Vec::new();
    for (number, signal) in ["TERM", "KILL", "TERM"].into_iter().enumerate() {
        let (mut node, address) = Daemon::node(&machine, &name, "node");
        let receipt = machine.receipt(&submit_one(&machine, &name, &format!("out-{number}")));
        assert_eq!(receipt.receipt.body.executor.to_string(), address);
        bodies.push(receipt.receipt.body);
        node.signal(signal);
        node.ended();
    }
    assert!(bodies.iter().all(|body| body.executor == bodies[0].executor));
    assert!(bodies.iter().map(|body| body.sequence).eq(0..3), "without a gap");
    assert!(bodies.windows(2).all(|pair| pair[1].previous == pair[0].hash()), "each names the one before");
}

#[test]
fn one_data_directory_serves_one_process() {
    let machine = Machine::new();
    let (mut coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (mut node, _) = Daemon::node(&machine, &name, "data");
    let cases = [
        (vec!["node", "run", "--coordinator", &name, "--data", "data"], "node is using data"),
        (vec!["coordinator", "--listen", "127.0.0.1:0"], "coordinator is using"),
    ];
    for (arguments, sentence) in cases {
        let done = machine.run(arguments);
        assert_eq!(done.code, 1);
        assert!(done.stderr.contains(sentence) && done.stderr.contains("with --data"), "{}", done.stderr);
    }
    // The claim ends with the process, even if that is killed.
    for (daemon, arguments) in [(&mut node, ["data"]), (&mut coordinator, ["home/coordinator"])] {
        daemon.signal("KILL");
        daemon.ended();
        assert!(machine.path(arguments[0]).join("lock").exists());
    }
    let (_coordinator, again) = Daemon::coordinator(&machine, "127.0.0.1:0");
    assert_eq!(again.split('@').next(), name.split('@').next(), "a coordinator keeps its identity");
    Daemon::node(&machine, &again, "data");
}

#[test]
fn the_first_use_of_a_home_can_be_by_many_at_once() {
    let machine = Machine::new();
    let addresses: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| machine.json(["keygen"])["address"].to_string())).collect();
        threads.into_iter().map(|thread| thread.join().expect("it runs")).collect()
    });
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
}

#[test]
fn signals_end_a_coordinator_well() {
    let machine = Machine::new();
    for signal in ["TERM", "INT"] {
        let (mut coordinator, _) = Daemon::coordinator(&machine, "127.0.0.1:0");
        coordinator.signal(signal);
        assert_eq!(coordinator.ended(), 0, "{signal}");
    }
}
