//! The demonstration and the local network behind it.

use crate::support::{DIGITS, Done, ECHO, IMAGES, LABELS, MODEL, Machine, array, finish, has_onnx_runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Warm, on two cores, and other tests run beside it.
const DEMO_SECONDS: u64 = 15;

#[test]
fn the_demo_holds_and_names_the_liar() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    // Somebody else's file where the demo leaves its receipts, and a receipt of an earlier demo.
    std::fs::create_dir_all(machine.path("out/receipts")).expect("a directory");
    machine.write("out/receipts/notes", "mine");
    machine.write("out/receipts/old.receipt", "old");
    let started = Instant::now();
    let done = machine.run(["demo", "--json", "--out", "out"]);
    assert!(started.elapsed().as_secs() < DEMO_SECONDS, "it took {:?}", started.elapsed());
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let lines = done.lines();
    let last = lines.last().expect("a line");
    assert_eq!(last["event"], "demo");
    let held = last["held"].as_object().expect("a list of what held");
    assert!(held.len() == 6 && held.values().all(|held| *held == true), "{last}");
    assert!(last["accuracy"].as_f64().is_some_and(|accuracy| accuracy >= 0.97));

    // The events by themselves tell the same story: only the liar's votes differ from what was agreed.
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let of = |name: &'static str| lines.iter().filter(move |line| line["event"] == name);
    let agreed: BTreeMap<String, String> = of("done").map(|done| (text(&done["job"]), text(&done["result"]))).collect();
    assert_eq!(agreed.len(), 12);
    let against = of("vote").filter(|vote| agreed[&text(&vote["job"])] != text(&vote["result"]));
    let liars: BTreeSet<String> = against.map(|vote| text(&vote["executor"])).collect();
    assert_eq!(liars, BTreeSet::from([text(&last["liar"])]));
    let replays: Vec<_> = lines.iter().filter(|line| line.get("same").is_some()).collect();
    let told: Vec<_> =
        replays.iter().map(|replay| (replay["same"].as_bool(), replay["executor"] == last["liar"])).collect();
    assert_eq!(told, [(Some(true), false), (Some(false), true)]);

    let receipts: Vec<_> = std::fs::read_dir(machine.path("out/receipts")).expect("it is there").flatten().collect();
    assert_eq!(receipts.len(), of("vote").count() + 1, "one for each vote, and the notes");
    assert!(machine.path("out/receipts/notes").exists());
    let answers = std::fs::read_to_string(machine.path("out/output")).expect("it is there");
    assert_eq!(answers.lines().zip(LABELS.lines()).filter(|(answer, label)| answer == label).count(), 357);
}

#[test]
fn the_demo_tells_people_what_happens() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let done = machine.run(["demo"]);
    assert_eq!((done.code, &*done.stderr), (0, ""));
    let liar = done.stdout.lines().find_map(|line| line.strip_prefix("  node 4  ")?.strip_suffix("  (lies)"));
    let caught = done.stdout.lines().find_map(|line| line.strip_prefix("CAUGHT: node ")).expect("the lie is caught");
    assert!(caught.starts_with(liar.expect("the last node lies")), "{caught}");
    for sentence in [
        "\n12 of 12 jobs agreed: 360 items, ",
        "\nlatency of a job: p50 ",
        "\naccuracy against the labels: 357 of 360 (99.2%)\n",
        "\nvalid: signed by client, coordinator and executor, and all parts agree\n",
        "\nsame: executing the job again gives result ",
        "\nDIFFERENT: ",
        " signed receipts are in depx-demo/receipts; the demo took ",
    ] {
        assert!(done.stdout.contains(sentence), "{sentence:?} is missing:\n{}", done.stdout);
    }
    assert!(done.stdout.lines().all(|line| line.trim_end() == line), "no line ends with blanks");
}

/// Submits from within a network of honest nodes.
fn submit(machine: &Machine, nodes: &str, arguments: &[&str]) -> Done {
    let depx = env!("CARGO_BIN_EXE_depx");
    let mut command = machine.depx(["devnet", "--json", "--nodes", nodes, "--", depx, "submit", "--json"]);
    command.args(arguments);
    finish(command, b"")
}

#[test]
fn honest_nodes_agree_and_nobody_is_flagged() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let model = format!("digits={MODEL}");
    let options = ["--model", &model, "--batch", IMAGES, "--record-bytes", "64", "--items-per-job", "60"];
    let consistency = ["--consistency", "strong", "--out", "out", DIGITS];
    let done = submit(&machine, "7", &[&options[..], &consistency].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let lines = done.lines();
    let results: BTreeMap<_, _> = lines
        .iter()
        .filter(|line| line["event"] == "done")
        .map(|done| (done["job"].to_string(), &done["result"]))
        .collect();
    assert_eq!(results.len(), 6);
    let votes: Vec<_> = lines.iter().filter(|line| line["event"] == "vote").collect();
    assert_eq!(votes.len(), 6 * 5, "five of seven");
    assert!(votes.iter().all(|vote| *results[&vote["job"].to_string()] == vote["result"]), "{lines:?}");

    // The same job run here gives the same answers.
    let here = machine.json([&["run"], &options[..6], &[DIGITS]].concat());
    let answers: String =
        here["output"].as_array().expect("items").iter().filter_map(|item| item["stdout"]["text"].as_str()).collect();
    assert_eq!(std::fs::read_to_string(machine.path("out/output")).expect("it is there"), answers);
    for receipt in std::fs::read_dir(machine.path("out/receipts")).expect("it is there").flatten().take(3) {
        let told = machine.json(["verify".as_ref(), receipt.path().as_os_str()]);
        assert_eq!((&told["verified"], &told["local"]), (&true.into(), &false.into()));
    }
}

#[test]
fn a_model_alone_is_run_by_nodes_as_it_is_here() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let images = std::fs::read(IMAGES).expect("it is there");
    machine.write("images.npy", array("20, 1, 8, 8", &images[..20 * 64]));
    let options = ["--class", "d1", "--batch", "images.npy"];
    let done = submit(&machine, "3", &[&options[..], &["--items-per-job", "7", "--out", "out", MODEL]].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let done = machine.run([&["run"], &options[..], &["--out", "here", MODEL]].concat());
    assert_eq!((done.code, &*done.stdout), (0, ""), "{}", done.stderr);
    let mut answers = String::new();
    for item in 0..20 {
        let [there, here] = ["out/files", "here"].map(|directory| {
            std::fs::read(machine.path(&format!("{directory}/{item:06}/logits.npy"))).expect("it is there")
        });
        assert_eq!(there, here, "item {item}");
        let logits =
            here.last_chunk::<40>().expect("ten floats").as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let best = logits.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("ten of them").0;
        answers.push_str(&format!("{best}\n"));
    }
    let right = answers.lines().zip(LABELS.lines()).filter(|(answer, label)| answer == label).count();
    assert!(right >= 19, "{right} of 20");
}

#[test]
fn the_exit_code_of_a_submission_is_the_programs_own() {
    let machine = Machine::new();
    machine.guest("echo.wasm", ECHO);
    machine.guest("trap.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#);
    machine.guest("spin.wasm", r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#);
    machine.write("seven", "7 is the code");
    let cases: [(&[&str], i32); 4] = [
        (&["--stdin", "seven", "echo.wasm"], 7),
        (&["trap.wasm"], 134),
        (&["--fuel", "1000", "spin.wasm"], 120),
        (&["seven"], 122),
    ];
    for (arguments, code) in cases {
        let done = submit(&machine, "2", &[&["--out", "out"], arguments].concat());
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        assert_eq!(done.lines().last().expect("a line")["event"], "done");
    }
}
