//! Models that are kept on a machine.

use crate::support::{DIGITS, IMAGES, MODEL, Machine, array, has_onnx_runtime};

#[test]
fn models_are_kept_by_hash_with_what_they_must_compute() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let images = std::fs::read(IMAGES).expect("it is there");
    machine.write("image.npy", array("1, 1, 8, 8", &images[..64]));
    machine.write("image", &images[..64]);
    let add = ["models", "add", "--name", "digits", "--licence", "MIT", "--input", "image.npy", MODEL];
    let added = machine.json(add);
    assert_eq!((&added["name"], &added["version"], &added["opset"]), (&"digits".into(), &"1".into(), &17.into()));
    assert_eq!(added["inputs"][0], "image f32[1, 1, 8, 8]");
    let golden = added["golden"]["results"].as_array().expect("a list");
    assert_eq!(golden.iter().map(|result| result["class"].as_str()).collect::<Vec<_>>(), [Some("D1"), Some("D2")]);
    assert_eq!(machine.json(["models", "list"]), added);
    for name in ["digits", "digits@1", &added["blake3"].as_str().expect("a hash")[..12]] {
        assert_eq!(machine.json(["models", "inspect", name]), added);
    }
    let verified = machine.run(["models", "verify"]);
    assert_eq!(
        (verified.code, &*verified.stdout),
        (0, "same: digits@1 D1\nsame: digits@1 D2\n"),
        "{}",
        verified.stderr
    );
    let benched = machine.run(["models", "bench", "--seconds", "0", "digits"]);
    assert!(benched.code == 0 && benched.stdout.starts_with("D1: p50 "), "{}{}", benched.stdout, benched.stderr);

    // By their names, as programs and in programs.
    let output = |arguments: &[&str]| {
        let told = machine.json([&["run"], arguments].concat());
        assert_eq!(told["status"], "Success", "{told}");
        told["output"][0]["stdout"].clone()
    };
    let by_name = output(&["--class", "d1", "--stdin", "image.npy", "digits"]);
    assert_eq!(by_name, output(&["--class", "d1", "--stdin", "image.npy", MODEL]));
    let answer = output(&["--stdin", "image", "--model", "digits=digits", DIGITS]);
    assert_eq!(answer["text"], "1\n");

    // Another file under the same name and version, and names that are none.
    let damaged = std::fs::read(MODEL).expect("it is there");
    machine.write("other.onnx", [&damaged[..], &[0x12, 1, b'x']].concat());
    let other = machine.run(["models", "add", "--name", "digits", "--licence", "MIT", "other.onnx"]);
    assert_eq!(other.code, 1);
    assert_eq!(other.stderr.trim_end(), "error: digits@1 is another model already; give this one another version");
    let unknown = machine.run(["models", "verify", "letters"]);
    assert_eq!((unknown.code, unknown.stderr.trim_end()), (1, "error: there is no model named \"letters\""));
}

#[test]
fn a_machine_on_which_a_model_gives_something_else_is_told_so() {
    if !has_onnx_runtime() {
        return;
    }
    let machine = Machine::new();
    let images = std::fs::read(IMAGES).expect("it is there");
    machine.write("image.npy", array("1, 1, 8, 8", &images[..64]));
    let added = machine.json(["models", "add", "--name", "digits", "--licence", "MIT", MODEL]);
    let hash = added["blake3"].as_str().expect("a hash");
    let [manifest, checked] =
        ["json", "checked"].map(|extension| machine.path(&format!("home/models/{hash}.{extension}")));
    let golden = added["golden"]["results"][0]["output"].as_str().expect("a hash");
    let text = std::fs::read_to_string(&manifest).expect("it is there");
    let run = || machine.run(["run", "--class", "d1", "--stdin", "image.npy", "--out", "scores", "digits"]);

    // Checked when it was added, so that a run does not check it again.
    std::fs::write(&manifest, text.replacen(golden, &"0".repeat(64), 1)).expect("it can be written");
    assert_eq!(run().code, 0);
    std::fs::remove_file(checked).expect("it is there");
    let refused = run();
    assert_eq!(refused.code, 1);
    let sentence = "error: digits@1 does not give in class D1 what it must; this machine's results cannot be trusted";
    assert_eq!(refused.stderr.trim_end(), sentence);
    let verified = machine.run(["models", "verify"]);
    assert_eq!((verified.code, &*verified.stdout), (1, "DIFFERENT: digits@1 D1\nsame: digits@1 D2\n"));

    let profile = added["golden"]["results"][0]["profile"].as_str().expect("a hash");
    std::fs::write(&manifest, text.replace(profile, &"0".repeat(64))).expect("it can be written");
    let verified = machine.run(["models", "verify"]);
    let told = "not comparable (recorded in another profile): digits@1 D1\nsame: digits@1 D2\n";
    assert_eq!((verified.code, &*verified.stdout), (0, told));
    std::fs::write(&manifest, text).expect("it can be written");
    let onnx = machine.path(&format!("home/models/{hash}.onnx"));
    std::fs::write(&onnx, b"damaged").expect("it can be written");
    let damaged = run();
    assert!(
        damaged.code == 1 && damaged.stderr.contains("is damaged: its content has another hash"),
        "{}",
        damaged.stderr
    );
}
