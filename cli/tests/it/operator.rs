//! What operators do with a node: make it, look at the machine, run it as a service.

use crate::support::{Daemon, Done, Machine, finish, has_onnx_runtime, json_lines};
use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

const SOMEBODY: &str = "0x1111111111111111111111111111111111111111";
const PASSPHRASE: &str = "correct horse battery staple";

/// A coordinator that does not answer, and the socket that keeps others from its place.
fn silent() -> (UdpSocket, String) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let name = format!("{SOMEBODY}@{}", socket.local_addr().expect("an address"));
    (socket, name)
}

fn run(machine: &Machine, options: &[&str]) -> Done {
    machine.run([&["node", "run", "--allow-weak-sandbox"], options].concat())
}

#[test]
fn init_makes_a_key_and_a_configuration_and_keeps_what_is_there() {
    let machine = Machine::new();
    let made = machine.json(["node", "init", "--data", "node"]);
    assert_eq!(
        (&made["key_made"], &made["config_made"], &made["key_has_passphrase"]),
        (&true.into(), &true.into(), &false.into())
    );
    assert!(made["machine"]["cores"].as_u64() > Some(0) && made["machine"]["memory"].as_u64() > Some(0), "{made}");
    assert!(["A", "B", "C"].iter().any(|tier| made["machine"]["tier"] == *tier), "{made}");
    let files = ["node/key", "node/config.toml"].map(|name| machine.path(name));
    let contents = files.each_ref().map(|path| std::fs::read(path).expect("it is there"));
    for path in &files {
        assert_eq!(std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
    }
    let again = machine.json(["node", "init", "--data", "node"]);
    assert_eq!(
        (&again["node"], &again["key_made"], &again["config_made"]),
        (&made["node"], &false.into(), &false.into())
    );
    assert_eq!(files.each_ref().map(|path| std::fs::read(path).expect("it is there")), contents);
    // What would have to change them is refused.
    for (options, sentence) in [
        (
            vec!["--coordinator", "0x1111111111111111111111111111111111111111@localhost:1"],
            "write the coordinators into it",
        ),
        (vec!["--passphrase-file", "node/config.toml"], "is there already, without a passphrase"),
    ] {
        let done = machine.run([&["node", "init", "--data", "node"], &options[..]].concat());
        assert!(done.code == 1 && done.stderr.contains(sentence), "{}", done.stderr);
    }
    let text = machine.run(["node", "init", "--data", "other"]).stdout;
    for part in
        ["address    0x", "tier       ", "processor  ", "depx doctor --data other", "depx node run --data other"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_configuration_holds_unless_the_command_line_says_otherwise() {
    let machine = Machine::new();
    let (_socket, name) = silent();
    machine.json(["node", "init", "--data", "node", "--coordinator", &name]);
    let config = machine.path("node/config.toml");
    let text = std::fs::read_to_string(&config).expect("it is there");
    assert!(text.contains(&format!("\ncoordinators = [\"{name}\"]\n")), "{text}");
    std::fs::write(&config, text + "slots = 3\nallow_weak_sandbox = true\n").expect("it is written");
    let slots = |options: &[&str]| {
        let mut node = Daemon::start(&machine, ["node", "run", "--data", "node"].iter().chain(options).copied());
        let slots = node.event("started")["slots"].clone();
        node.event("disconnected");
        node.signal("TERM");
        assert_eq!(node.ended(), 0);
        slots
    };
    assert_eq!(slots(&[]), 3);
    assert_eq!(slots(&["--slots", "2"]), 2);
    // A coordinator on the command line takes the place of those in the file.
    let done = run(
        &machine,
        &["--data", "node", "--coordinator", "0x2222222222222222222222222222222222222222@coordinator.invalid:1"],
    );
    assert!(done.code == 1 && done.stderr.contains("cannot look up coordinator.invalid:1"), "{}", done.stderr);
    // All that are named are served.
    let (others, names): (Vec<_>, Vec<_>) = ["one", "two"]
        .map(|home| Daemon::start(&machine, ["coordinator", "--listen", "127.0.0.1:0", "--data", home]))
        .map(|daemon| {
            let name = format!("{:?}", daemon.event("listening")["coordinator"].as_str().expect("a name"));
            (daemon, name)
        })
        .into_iter()
        .unzip();
    machine.write("two.toml", format!("coordinators = [{}]\nallow_weak_sandbox = true\n", names.join(", ")));
    let node = Daemon::start(&machine, ["node", "run", "--data", "node", "--config", "two.toml"]);
    let connected = [(); 2].map(|()| node.event("connected")["coordinator"].to_string());
    assert!(connected[0] != connected[1], "{connected:?}");
    drop((node, others));
    // Another file, by name.
    machine.write("other.toml", "coordinators = []\n");
    let done = run(&machine, &["--data", "node", "--config", "other.toml"]);
    assert!(done.code == 1 && done.stderr.contains("no coordinator is named"), "{}", done.stderr);
}

#[test]
fn a_key_with_a_passphrase_is_opened_by_it_and_nothing_tells_either() {
    let machine = Machine::new();
    let (_socket, name) = silent();
    machine.write("passphrase", format!("{PASSPHRASE}\nnot part of it\n"));
    machine.write("wrong", "wrong horse\n");
    let made =
        machine.json(["node", "init", "--data", "node", "--coordinator", &name, "--passphrase-file", "passphrase"]);
    assert_eq!(made["key_has_passphrase"], true);
    let again = machine.json(["node", "init", "--data", "node", "--passphrase-file", "passphrase"]);
    assert_eq!(again["node"], made["node"]);

    let failures = [
        (vec!["--passphrase-file", "wrong"], "the passphrase is wrong, or the file is damaged"),
        (vec!["--passphrase-file", "absent"], "cannot read passphrase file absent"),
        (vec![], "nobody is at a terminal to be asked for it; name a file that has it with --passphrase-file"),
    ];
    for (options, sentence) in failures {
        let done = run(&machine, &[&["--data", "node"], &options[..]].concat());
        assert!(done.code == 1 && done.stderr.contains(sentence), "{}", done.stderr);
        assert!(
            done.stderr.starts_with("error: cannot open key node/key, which has a passphrase\n"),
            "{}",
            done.stderr
        );
    }
    // Named, or handed over by systemd.
    std::fs::create_dir(machine.path("credentials")).expect("a directory");
    std::fs::rename(machine.path("passphrase"), machine.path("credentials/passphrase")).expect("it moves");
    let credentials = machine.path("credentials");
    let cases: [(&[&str], Option<_>); 2] =
        [(&["--passphrase-file", "credentials/passphrase"], None), (&[], Some(&credentials))];
    for (options, folder) in cases {
        let arguments = ["node", "run", "--allow-weak-sandbox", "--follow-stdin", "--log", "trace", "--data", "node"];
        let mut command = machine.depx(arguments.iter().chain(options));
        folder.map(|folder| command.env("CREDENTIALS_DIRECTORY", folder));
        let done = finish(command, b"");
        assert!(done.code == 0 && done.stdout.contains(made["node"].as_str().expect("an address")), "{}", done.stderr);
        for text in [done.stdout, done.stderr] {
            assert!(!text.contains("horse"), "{text}");
        }
    }
    // What is damaged is said to be, and kept.
    let key = std::fs::read_to_string(machine.path("node/key")).expect("it is there");
    for (damaged, sentence) in [
        (
            key.replace("argon2_memory = 65536", "argon2_memory = 4000000000"),
            "damaged, or not to be trusted: argon2_memory",
        ),
        (key[..key.len() / 2].to_owned(), "it is damaged: it is not as `depx node init` wrote it"),
        (key[1..].to_owned(), "node/key holds no key"),
    ] {
        machine.write("node/key", &damaged);
        let done = run(&machine, &["--data", "node", "--passphrase-file", "credentials/passphrase"]);
        assert!(done.code == 1 && done.stderr.contains(sentence), "{}", done.stderr);
        assert_eq!(std::fs::read_to_string(machine.path("node/key")).expect("it is there"), damaged);
    }
}

#[test]
fn a_plain_key_is_never_told() {
    let machine = Machine::new();
    let (_socket, name) = silent();
    machine.json(["node", "init", "--data", "node", "--coordinator", &name]);
    let key = std::fs::read_to_string(machine.path("node/key")).expect("it is there");
    let arguments = ["node", "run", "--allow-weak-sandbox", "--follow-stdin", "--log", "trace", "--data", "node"];
    let misuses: [&[&str]; 3] = [
        &arguments,
        // Files taken for each other.
        &["node", "run", "--config", "node/key"],
        &["doctor", "--data", "node", "--config", "node/key"],
    ];
    for arguments in misuses {
        let done = finish(machine.depx(arguments), b"");
        assert!(!done.stdout.contains(key.trim()) && !done.stderr.contains(key.trim()), "{arguments:?}");
    }
    std::fs::write(machine.path("node/key"), &key[..40]).expect("it is written");
    let done = run(&machine, &["--data", "node"]);
    assert!(done.code == 1 && done.stderr.contains("node/key holds no key"), "{}", done.stderr);
    assert!(!done.stderr.contains(&key[..40]), "{}", done.stderr);
}

/// The checks of a doctor, which must exit with this code.
fn checks(machine: &Machine, options: &[&str], code: i32) -> Vec<Value> {
    let done = machine.run([&["doctor", "--json"], options].concat());
    assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
    let checks = json_lines(&done.stdout);
    for check in &checks {
        let well = check["state"] == "ok";
        assert!(well || check["state"] == "warning" || check["state"] == "failed", "{check}");
        assert_eq!(check["remedy"] == "", well, "what is not well has a remedy: {check}");
        assert!(check["finding"].as_str().is_some_and(|finding| !finding.is_empty()), "{check}");
    }
    checks
}

fn state<'a>(checks: &'a [Value], name: &str) -> (&'a str, &'a str) {
    let found = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no check of {name}"));
    (found["state"].as_str().expect("a word"), found["finding"].as_str().expect("a sentence"))
}

#[test]
fn a_machine_that_can_be_a_node_is_told_so() {
    let machine = Machine::new();
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    machine.json(["node", "init", "--data", "node", "--coordinator", &name]);
    // Whether there are cgroups is up to the machine that tests.
    let config = std::fs::read_to_string(machine.path("node/config.toml")).expect("it is there");
    machine.write("node/config.toml", config + "allow_weak_sandbox = true\n");
    let checks = checks(&machine, &["--data", "node"], 0);
    for name in ["configuration", "key", "data directory", "coordinator", "self-test D0", "isolation rlimits"] {
        assert_eq!(state(&checks, name).0, "ok", "{checks:?}");
    }
    assert!(state(&checks, "coordinator").1.contains("answers over UDP"));
    assert_eq!(
        checks.iter().filter(|check| check["check"].as_str().expect("a name").starts_with("isolation ")).count(),
        7
    );
    if has_onnx_runtime() {
        assert_eq!((state(&checks, "onnx runtime").0, state(&checks, "self-test D1").0), ("ok", "ok"), "{checks:?}");
    }
    // For people, a line each and what to do below it.
    let text = machine.run(["doctor", "--data", "node"]).stdout;
    assert!(
        text.contains("\nok       self-test D0          result ") && text.contains("This machine can be a node"),
        "{text}"
    );
}

#[test]
fn what_keeps_a_machine_from_being_a_node_is_named() {
    let machine = Machine::new();
    let (_socket, name) = silent();
    machine.json(["node", "init", "--data", "node", "--coordinator", &name]);
    let found = checks(&machine, &["--data", "node"], 1);
    let (word, finding) = state(&found, "coordinator");
    assert!(word == "failed" && finding.contains("nobody answers at this address"), "{finding}");

    // Where nothing can be written, by whomever.
    let found = checks(&machine, &["--data", "/proc", "--coordinator", &name], 1);
    let (word, finding) = state(&found, "data directory");
    assert!(word == "failed" && finding.starts_with("/proc cannot be written and synced"), "{finding}");

    machine.write("node/config.toml", "slots = -1\n");
    std::fs::set_permissions(machine.path("node/key"), PermissionsExt::from_mode(0o644)).expect("it is done");
    let mut command = machine.depx(["doctor", "--json", "--data", "node"]);
    let done = finish(command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"), b"");
    let found = json_lines(&done.stdout);
    assert_eq!(done.code, 1);
    assert_eq!(state(&found, "configuration").0, "failed");
    assert!(state(&found, "configuration").1.contains("line 1: slots: expected a whole number"));
    assert_eq!((state(&found, "key").0, state(&found, "coordinator").1), ("failed", "none is named"));
    assert_eq!((state(&found, "onnx runtime").0, state(&found, "self-test D1").0), ("warning", "warning"));

    let found = checks(
        &machine,
        &["--data", "absent", "--coordinator", "0x2222222222222222222222222222222222222222@x.invalid:1"],
        1,
    );
    assert_eq!(state(&found, "configuration").0, "warning");
    assert_eq!(state(&found, "data directory").0, "failed");
    assert!(state(&found, "coordinator").1.contains("cannot look up x.invalid:1"));
}

#[test]
fn systemd_is_told_how_a_node_is() {
    let machine = Machine::new();
    let (_socket, name) = silent();
    let path = machine.path("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
    let told = || {
        let mut message = [0; 256];
        let length = systemd.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let mut command = machine.depx(["--json", "node", "run", "--allow-weak-sandbox", "--coordinator", &name]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut node = Daemon::spawn(command);
    assert_eq!(told(), "READY=1");
    node.event("started");
    for _ in 0..3 {
        assert_eq!(told(), "WATCHDOG=1");
    }
    node.signal("TERM");
    let last = std::iter::repeat_with(told).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert_eq!(node.ended(), 0);
}

#[test]
fn the_service_is_what_systemd_expects() {
    let unit = include_str!("../../../packaging/depx-node.service");
    let machine = Machine::new();
    // systemd looks whether the program is there.
    let unit = unit.replace("/usr/local/bin/depx", env!("CARGO_BIN_EXE_depx"));
    let path = machine.write("depx-node.service", unit);
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Err(error) => eprintln!("skipped: systemd-analyze cannot be run: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && !said.contains("depx-node.service"), "{said}");
        }
    }
}
