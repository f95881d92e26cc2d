//! How operators see what a node does.

use crate::support::{COUNT, Daemon, ECHO, Machine, PATIENCE, finish, json_lines};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
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

/// A node that serves its figures, and where.
fn measured(machine: &Machine, coordinator: &str) -> (Daemon, SocketAddr) {
    let options = ["--coordinator", coordinator, "--data", "node", "--metrics", "127.0.0.1:0"];
    let run = ["node", "run", "--slots", "1", "--allow-weak-sandbox"];
    let node = Daemon::start(machine, run.into_iter().chain(options));
    let url = node.event("metrics")["url"].as_str().expect("text").to_owned();
    let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics")).expect("a URL");
    node.event("connected");
    (node, address.parse().expect("an address"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
    stream
}

/// The answer to these bytes, whole; what there is of it if the connection breaks.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("text")
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n").as_bytes())
}

/// The figures, by name and labels.
fn figures(address: SocketAddr) -> HashMap<String, f64> {
    let answer = get(address, "/metrics");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) && body.ends_with("# EOF\n"), "{answer}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let figure =
        |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().expect("a number")));
    lines.map(|line| figure(line).expect("a name and a number")).collect()
}

#[test]
fn the_figures_are_what_happened() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.guest("count.wasm", COUNT);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (node, address) = measured(&machine, &name);
    assert!(get(address, "/health").starts_with("HTTP/1.1 200 OK"));
    let before = figures(address);
    assert_eq!(before["depx_node_leases_total{outcome=\"completed\"}"], 0.0);
    submit(&machine, &name, b"zero");
    submit(&machine, &name, b"one");
    [(); 2].iter().for_each(|()| drop(node.event("completed")));
    let after = figures(address);
    for (name, value) in [
        ("leases_total{outcome=\"completed\"}", 2.0),
        ("leases_total{outcome=\"failed\"}", 0.0),
        ("leases_refused_total{reason=\"busy\"}", 0.0),
        ("receipts_signed_total", 2.0),
        ("lease_phase_seconds_count{phase=\"blobs\"}", 2.0),
        ("lease_phase_seconds_count{phase=\"queue\"}", 2.0),
        ("lease_phase_seconds_count{phase=\"execution\"}", 2.0),
        ("lease_phase_seconds_count{phase=\"proof\"}", 2.0),
        ("lease_phase_seconds_count{phase=\"acknowledgement\"}", 2.0),
        ("lease_phase_seconds_bucket{le=\"+Inf\",phase=\"execution\"}", 2.0),
        ("slots", 1.0),
        ("slots_busy", 0.0),
        ("queued", 0.0),
        ("coordinators", 1.0),
        ("coordinators_connected", 1.0),
        ("reconnects_total", 0.0),
        ("draining", 0.0),
        ("blobs_quota_bytes", (64_u64 << 30) as f64),
    ] {
        assert_eq!(after.get(&format!("depx_node_{name}")), Some(&value), "{name}: {after:?}");
    }
    // The module, and two inputs.
    let module = std::fs::metadata(machine.path("echo.wasm")).expect("it is there").len();
    let fetched = after["depx_node_blobs_fetched_bytes_total"];
    assert!(fetched >= module as f64 && after["depx_node_blobs_bytes"] >= fetched, "{after:?}");
    assert!(after["depx_node_fuel_total"] > 0.0 && after["depx_node_memory_available_bytes"] > 0.0, "{after:?}");

    let count = ["submit", "--coordinator", &name, "--consistency", "eventual", "--out", "count", "count.wasm"];
    let client = Daemon::start(&machine, count);
    eventually("a busy slot", || (figures(address)["depx_node_slots_busy"] == 1.0).then_some(()));
    node.event("completed");
    drop(client);
    let execution = "depx_node_lease_phase_seconds_sum{phase=\"execution\"}";
    assert!(figures(address)[execution] > after[execution] + 0.1);
}

#[test]
fn the_dashboard_shows_figures_that_there_are() {
    let machine = Machine::new();
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (_node, address) = measured(&machine, &name);
    let figures = figures(address);
    let dashboard = include_str!("../../../packaging/grafana-node.json");
    serde_json::from_str::<Value>(dashboard).expect("it is JSON");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let names: Vec<&str> = dashboard.split(|c| !is_name(c)).filter(|name| name.starts_with("depx_node_")).collect();
    let told = |name: &str| figures.keys().any(|key| key.split('{').next() == Some(name));
    assert!(names.len() > 10);
    names.iter().for_each(|name| assert!(told(name), "{name} is not among the figures"));
    // And the other way round, but for what a histogram is made of.
    for key in figures.keys() {
        let name = key.split('{').next().expect("a name");
        assert!(names.contains(&name), "{name} is not on the dashboard");
    }
}

#[test]
fn hostile_requests_for_figures_cost_nothing_but_themselves() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (node, address) = measured(&machine, &name);
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"\x16\x03\x01\r\n\r\n", "400 Bad Request"),
        (&[&b"GET /metrics HTTP/1.1\r\nX: "[..], &[b'x'; 8192]].concat(), "431 Request Header Fields Too Large"),
    ] {
        let answer = exchange(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{status}: {answer}");
    }
    // Idle, slow, and too many.
    let began = Instant::now();
    let mut crowd: Vec<TcpStream> = (0..100).map(|_| connect(address)).collect();
    let _ = crowd[0].write_all(b"GET /metr");
    submit(&machine, &name, b"zero");
    node.event("completed");
    for stream in &mut crowd {
        // Closed by the node; how, is its affair.
        let read = stream.read(&mut [0; 1]);
        assert!(!matches!(read, Ok(1..)), "{read:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "idle connections are closed in time");
    assert_eq!(figures(address)["depx_node_leases_total{outcome=\"completed\"}"], 1.0);
}

#[test]
fn an_operator_asks_a_node_how_it_is_and_has_it_drained() {
    let machine = Machine::new();
    machine.guest("count.wasm", COUNT);
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    // Longer than an address of a socket can be.
    let data = format!("{}/node", "d".repeat(150));
    let (mut killed, _) = Daemon::node(&machine, &name, &data);
    killed.signal("KILL");
    assert_eq!(killed.ended(), -9);
    for command in ["status", "drain"] {
        let done = machine.run(["node", command, "--data", &data]);
        assert!(done.code == 1 && done.stderr.starts_with("error: no node runs in "), "{done:?}");
    }
    // It takes the place of what the killed one left.
    let (mut node, address) = Daemon::node(&machine, &name, &data);
    let socket = machine.path(&data).join("control.sock");
    assert_eq!(std::fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
    let status = || machine.json(["node", "status", "--data", &data]);
    let asked = status();
    assert_eq!((&asked["node"], &asked["slots"], &asked["draining"]), (&address.into(), &1.into(), &false.into()));
    assert_eq!((&asked["active"], &asked["queued"], &asked["receipts_signed"]), (&0.into(), &0.into(), &0.into()));
    let coordinator = &asked["coordinators"][0];
    assert_eq!((&coordinator["coordinator"], &coordinator["connected"]), (&name.as_str().into(), &true.into()));
    let text = machine.run(["node", "status", "--data", &data]).stdout;
    for part in ["node         0x", "state        serving", "connected for ", "slots        0 of 1 busy, 0 queued"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let count = ["submit", "--coordinator", &name, "--consistency", "eventual", "--out", "count", "count.wasm"];
    let mut client = Daemon::start(&machine, count);
    eventually("a job under way", || (status()["active"] == 1).then_some(()));
    let waiting = machine.depx(["--json", "node", "drain", "--wait", "--data", &data]);
    let waiting = std::thread::spawn(move || finish(waiting, b""));
    node.event("draining");
    assert_eq!(status()["draining"], true);
    node.event("completed");
    let done = waiting.join().expect("it returns");
    let events: Vec<Value> = json_lines(&done.stdout).iter().map(|line| line["event"].clone()).collect();
    assert_eq!((done.code, events), (0, vec!["draining".into(), "ended".into()]), "{}", done.stderr);
    assert_eq!((node.ended(), client.ended()), (0, 0));
    assert!(!socket.exists());
}

#[test]
fn what_else_comes_over_the_socket_is_bounded() {
    let machine = Machine::new();
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (_node, _) = Daemon::node(&machine, &name, "node");
    let socket = machine.path("node/control.sock");
    let ask = |request: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("it is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    for request in [&b"status\n"[..], b"{\"request\":\"stop\"}\n", b"\xff\n", &[b'x'; 300]] {
        assert!(ask(request).starts_with("{\"error\":\"a request is one line"), "{request:?}");
    }
    let mut crowd: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(&socket).expect("it is there")).collect();
    for stream in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        let read = stream.read(&mut [0; 1]);
        assert!(!matches!(read, Ok(1..)), "{read:?}");
    }
    assert_eq!(machine.json(["node", "status", "--data", "node"])["event"], "status");
}

#[test]
fn an_operator_is_warned_of_an_address_that_others_reach_and_told_of_one_that_cannot_be_had() {
    let machine = Machine::new();
    let nobody = "0x1111111111111111111111111111111111111111@127.0.0.1:1";
    let run = ["node", "run", "--log", "warn", "--allow-weak-sandbox", "--coordinator", nobody, "--data", "node"];
    // An address for documentation, which no machine has.
    let done = machine.run(run.iter().chain(&["--metrics", "192.0.2.1:9464"]));
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("192.0.2.1:9464 can be reached from other machines"), "{}", done.stderr);
    let sentence = "error: cannot listen on 192.0.2.1:9464 for --metrics; give another address or port\n  because: ";
    assert!(done.stderr.contains(sentence), "{}", done.stderr);
    assert!(!machine.path("node/control.sock").exists());
}
