//! Coordinators that are not there, or not who they should be: the sentence comes soon.

use crate::support::{Daemon, ECHO, Machine, finish, json_lines};
use depx_protocol::SecretKey;
use depx_transport::server_endpoint;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Nobody waits longer to hear that something is wrong.
const SOON: Duration = Duration::from_secs(10);
const SOMEBODY: &str = "0x1111111111111111111111111111111111111111";

/// Submits to `coordinator` and checks the error.
fn refused(machine: &Machine, coordinator: &str, expected: &str) {
    machine.guest("echo.wasm", ECHO);
    let started = Instant::now();
    let done = machine.run(["submit", "--coordinator", coordinator, "--out", "out", "echo.wasm"]);
    assert!(started.elapsed() < SOON, "{coordinator}: {:?}", started.elapsed());
    assert_eq!((done.code, &*done.stdout), (1, ""), "{coordinator}");
    assert_eq!(done.stderr, format!("error: {expected}\n"), "{coordinator}");
    assert!(!machine.path("out").exists(), "nothing was made");
}

#[test]
fn a_coordinator_that_is_not_there() {
    let machine = Machine::new();
    // Bound, so that nobody else answers; nobody reads from it.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = silent.local_addr().expect("an address");
    let nobody = "cannot connect to the coordinator\n  because: nobody answers at this address; is the coordinator running, \
                  and UDP let through?\n  because: timed out";
    refused(&machine, &format!("{SOMEBODY}@{address}"), nobody);
}

#[test]
fn a_node_says_that_it_cannot_connect_and_tries_again() {
    let machine = Machine::new();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = silent.local_addr().expect("an address");
    let started = Instant::now();
    let mut node = Daemon::start(&machine, ["node", "run", "--coordinator", &format!("{SOMEBODY}@{address}")]);
    node.event("started");
    let event = node.event("disconnected");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(
        event["reason"].as_str().is_some_and(|reason| reason.contains("nobody answers at this address")),
        "{event}"
    );
    node.signal("TERM");
    assert_eq!(node.ended(), 0);
}

#[test]
fn logs_are_plain_text_or_json_where_nobody_watches() {
    let machine = Machine::new();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let name = format!("{SOMEBODY}@{}", silent.local_addr().expect("an address"));
    for json in [false, true] {
        let options: &[&str] = if json { &["--json"] } else { &[] };
        let mut command = machine
            .depx([&["node", "run", "--follow-stdin", "--log", "warn", "--coordinator", &name], options].concat());
        // A node without a library for models warns of it.
        let done = finish(command.env("ORT_DYLIB_PATH", "/nowhere").env_remove("DEPX_LOG"), b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stderr.contains("this node offers jobs without models only"), "{}", done.stderr);
        assert!(!done.stderr.contains('\u{1b}'), "no colours: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1);
        if json {
            assert_eq!(json_lines(&done.stderr)[0]["level"], "WARN");
        }
    }
}

#[test]
fn a_name_that_nobody_has() {
    let name = "coordinator.invalid:4433";
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    let done = machine.run(["submit", "--coordinator", &format!("{SOMEBODY}@{name}"), "echo.wasm"]);
    let expected = format!(
        "error: cannot look up {name}; is the coordinator's name spelled right, and this machine online?\n  because: "
    );
    assert_eq!(done.code, 1);
    assert!(done.stderr.starts_with(&expected), "{}", done.stderr);
}

#[test]
fn a_coordinator_with_another_identity() {
    let machine = Machine::new();
    let (mut coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (real, host) = name.split_once('@').expect("a name");
    let wrong = format!("{SOMEBODY}@{host}");
    let stranger = format!(
        "{real} answers instead of coordinator {SOMEBODY}; check the coordinator's address, or who is in between"
    );
    refused(&machine, &wrong, &format!("cannot connect to the coordinator\n  because: {stranger}"));
    // A node gives up too: trying again would change nothing.
    let done = machine.run(["node", "run", "--coordinator", &wrong]);
    let expected = format!(
        "error: the node cannot serve this coordinator\n  because: the coordinator does not take this node\n  because: {stranger}\n"
    );
    assert_eq!((done.code, done.stderr), (1, expected));
    // The coordinator goes on.
    Daemon::node(&machine, &name, "node");
    coordinator.signal("TERM");
    assert_eq!(coordinator.ended(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_of_another_protocol() {
    let key = SecretKey::from_bytes(&[1; 32]).expect("a key");
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (endpoint, _) = server_endpoint(listen, &[b"h3"], &key).expect("it binds");
    let address = endpoint.local_addr().expect("it has an address");
    let server = tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            assert!(incoming.await.is_err(), "no common protocol");
        }
    });
    let done = tokio::task::spawn_blocking(move || {
        let expected = "cannot connect to the coordinator\n  because: the peer does not speak the DePX protocol (or another version \
                        of it)";
        let machine = Machine::new();
        machine.guest("echo.wasm", ECHO);
        let done = machine.run(["submit", "--coordinator", &format!("{SOMEBODY}@{address}"), "echo.wasm"]);
        assert!(done.stderr.starts_with(&format!("error: {expected}\n")), "{}", done.stderr);
        done
    });
    assert_eq!(done.await.expect("it runs").code, 1);
    server.abort();
}

#[test]
fn coordinators_listen_on_either_internet_protocol() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.write("input", "hello");
    for (listen, host) in [("127.0.0.1:0", "localhost"), ("[::1]:0", "[::1]")] {
        if UdpSocket::bind(listen).is_err() {
            eprintln!("skipped: this machine cannot listen on {listen}");
            continue;
        }
        let (_coordinator, name) = Daemon::coordinator(&machine, listen);
        let (address, port) = (name.split('@').next().expect("one"), name.rsplit(':').next().expect("one"));
        let name = format!("{address}@{host}:{port}");
        let (_node, _) = Daemon::node(&machine, &name, "node");
        let options = ["--consistency", "eventual", "--out", "out", "--stdin", "input"];
        let done = machine.run([&["submit", "--coordinator", &name], &options[..], &["echo.wasm"]].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(std::fs::read_to_string(machine.path("out/output")).expect("it is there"), "hello");
    }
}
