//! What makes a job spec invalid, and what is said about it.

use crate::samples;
use depx_protocol::{
    Blob, Canonical, DecodeError, HostCallLog, InputFile, ItemOutput, JobInput, JobOutput, JobSpec, ModelRef,
    OutputError, Program, ResultCore, Sign, SignedJobSpec, SpecError, Status,
};

type Fault = fn(&mut JobSpec);

fn file(path: &str) -> InputFile {
    InputFile { path: path.into(), blob: Blob::of(b"content") }
}

#[test]
fn bad_specs_are_refused_with_a_useful_message() {
    let too_large = "the job spec's lists may hold 1024 entries each and 65536 bytes of text together; put larger data in \
                     input files";
    let nul = "arguments and environment variables cannot contain a NUL character";
    let path = |path: &str| {
        format!(
            "{path:?} cannot be an input file: paths are relative, without '.', '..' or empty parts, and all different"
        )
    };
    let items = |items: u64| format!("a batch has 1 to 1048576 items, not {items}; split it into several jobs");
    let variable = |name: &str| format!("{name:?} cannot be the name of an environment variable");
    let model = |name: &str| format!("{name:?} cannot name a model: names are not empty and all different");
    let cases: Vec<(Fault, String)> = vec![
        (|spec| spec.version = 2, "the job spec has version 2, this program speaks version 1".into()),
        (|spec| spec.version = 0, "the job spec has version 0, this program speaks version 1".into()),
        (
            |spec| spec.created_ms = JobSpec::MAX_CREATED_MS + 1,
            "the job spec says it was made at 9223372036855 ms; it must be Unix time, and before the year 2262".into(),
        ),
        (|spec| spec.args = vec![String::new(); 1025], too_large.into()),
        (|spec| spec.env = vec![("A".into(), String::new()); 1025], too_large.into()),
        (|spec| spec.files = (0..1025).map(|index| file(&index.to_string())).collect(), too_large.into()),
        (
            |spec| {
                let name = |index: u32| ModelRef { name: index.to_string(), blob: Blob::of(b"") };
                spec.models = (0..1025).map(name).collect();
            },
            too_large.into(),
        ),
        (|spec| spec.args = vec!["x".repeat(65_537)], too_large.into()),
        (|spec| spec.env = vec![("A".into(), "x".repeat(65_536))], too_large.into()),
        (|spec| spec.env = vec![("A".repeat(65_537), String::new())], too_large.into()),
        (|spec| spec.files = vec![file(&"x".repeat(65_537))], too_large.into()),
        (|spec| spec.models[0].name = "x".repeat(65_537), too_large.into()),
        (
            |spec| spec.program = Program::Model(Blob::of(b"onnx")),
            "a job that runs a model has neither arguments, environment, files nor further models".into(),
        ),
        (|spec| spec.input = batch(0), items(0)),
        (|spec| spec.input = batch(1_048_577), items(1_048_577)),
        (|spec| spec.args[0] = "a\0b".into(), nul.into()),
        (|spec| spec.env[0].0 = "A\0".into(), nul.into()),
        (|spec| spec.env[0].1 = "\0".into(), nul.into()),
        (|spec| spec.env[1].0 = String::new(), variable("")),
        (|spec| spec.env[1].0 = "A=B".into(), variable("A=B")),
        (|spec| spec.env[1].0 = format!("={}", "ä".repeat(500)), variable(&format!("={}", "ä".repeat(49)))),
        (|spec| spec.files[0].path = String::new(), path("")),
        (|spec| spec.files[0].path = "/etc/passwd".into(), path("/etc/passwd")),
        (|spec| spec.files[0].path = "a/../../b".into(), path("a/../../b")),
        (|spec| spec.files[0].path = "..".into(), path("..")),
        (|spec| spec.files[0].path = "./a".into(), path("./a")),
        (|spec| spec.files[0].path = "a//b".into(), path("a//b")),
        (|spec| spec.files[0].path = "a/".into(), path("a/")),
        (|spec| spec.files[0].path = "a\0b".into(), path("a\0b")),
        (|spec| spec.files.push(file("data/table.csv")), path("data/table.csv")),
        (|spec| spec.files.push(file("data")), path("data")),
        (|spec| spec.files.push(file("data/table.csv/x")), path("data/table.csv/x")),
        (|spec| spec.models[0].name = String::new(), model("")),
        (|spec| spec.models.push(spec.models[0].clone()), model("digits")),
    ];
    for (number, (fault, message)) in cases.into_iter().enumerate() {
        let mut spec = samples::job_spec();
        fault(&mut spec);
        let error = spec.validate().expect_err(&message);
        assert_eq!(error.to_string(), message, "case {number}");
        // A client can sign nonsense; nobody takes it.
        assert_eq!(SignedJobSpec::sign(spec, &samples::client()).verify(), Err(error), "case {number}");
    }
}

fn batch(items: u64) -> JobInput {
    JobInput::Batch { pack: Blob::of(b""), items }
}

#[test]
fn unusual_specs_are_valid() {
    let cases: Vec<Fault> = vec![
        |_| {},
        |spec| *spec = samples::compute_spec(),
        |spec| *spec = samples::model_spec(),
        |spec| spec.created_ms = 0,
        |spec| spec.created_ms = JobSpec::MAX_CREATED_MS,
        |spec| spec.args = vec![String::new(); 1024],
        |spec| spec.args = vec!["x".repeat(65_000)],
        |spec| spec.input = batch(1),
        |spec| spec.input = batch(1_048_576),
        |spec| spec.files.push(file("data/table.csv.gz")),
        |spec| spec.files.push(file("data/table.cs")),
        |spec| spec.files.push(file("...")),
        |spec| spec.files.push(file("a b/ü\n")),
        |spec| (spec.env, spec.files, spec.models) = (vec![], vec![], vec![]),
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let mut spec = samples::job_spec();
        change(&mut spec);
        assert_eq!(spec.validate(), Ok(()), "case {number}");
    }
}

#[test]
fn specs_under_one_signature_are_each_the_clients() {
    let spec = |number: u8| JobSpec { nonce: [number; 16], ..samples::job_spec() };
    for count in [1, 2, 3, 40] {
        let signed = Sign::sign_all((0..count).map(spec).collect(), &samples::client());
        for (number, signed) in (0..).zip(&signed) {
            assert_eq!(signed.spec, spec(number));
            assert_eq!(signed.verify(), Ok(spec(number).id()), "{number} of {count}");
        }
        let [first, .., last] = &signed[..] else { continue };
        let exchanged = SignedJobSpec { spec: first.spec.clone(), signature: last.signature.clone() };
        assert!(exchanged.verify().is_err(), "a place is for one spec");
    }
    assert!(JobSpec::sign_all(vec![], &samples::client()).is_empty());
}

#[test]
fn a_signature_is_the_clients_over_this_spec() {
    let signed = samples::signed_job_spec();
    assert_eq!(signed.verify(), Ok(signed.spec.id()));
    let mut other_spec = signed.clone();
    other_spec.spec.created_ms += 1;
    let mut other_client = signed.clone();
    other_client.spec.client = samples::executor().address();
    let mut other_signature = signed.clone();
    other_signature.signature = samples::signed_assignment().signature;
    for bad in [other_spec, other_client, other_signature] {
        let error = bad.verify().expect_err("a wrong signature");
        assert!(matches!(error, SpecError::Signature(_)), "{error:?}");
        assert_eq!(error.to_string(), "the job spec's signature does not match its client");
    }
}

#[test]
#[should_panic(expected = "signed by the client that it names")]
fn nobody_signs_for_another_client() {
    SignedJobSpec::sign(samples::job_spec(), &samples::executor());
}

#[test]
fn ids_and_seeds_differ_wherever_specs_do() {
    let spec = samples::job_spec();
    let mut other = samples::job_spec();
    other.nonce[15] ^= 1;
    assert_ne!(spec.id(), other.id());
    assert_ne!(JobSpec::seed(&spec.id(), 0), JobSpec::seed(&spec.id(), 1));
    assert_ne!(JobSpec::seed(&spec.id(), 0), JobSpec::seed(&other.id(), 0));
}

#[test]
fn an_output_is_the_one_its_result_speaks_of() {
    let (output, result) = (samples::job_output(), samples::result_core());
    assert_eq!(JobOutput::verified(&output.to_bytes(), &result).expect("its own"), output);

    type OutputFault = fn(&mut JobOutput);
    let contradictions: Vec<(u64, OutputFault)> = vec![
        (0, |output| output.items[0].stdout = b"8\n".to_vec().into()),
        (1, |output| output.items[1].files[0].content.push(0)),
        (1, |output| output.items[1].files[0].path.push('x')),
        (1, |output| output.items[1].files.clear()),
        (2, |output| output.items[2].leaf.output_len += 1),
        (0, |output| output.items.swap(0, 1)),
        (2, |output| output.items[2].leaf.index = 3),
    ];
    for (number, (item, fault)) in contradictions.into_iter().enumerate() {
        let mut bad = samples::job_output();
        fault(&mut bad);
        let error = JobOutput::verified(&bad.to_bytes(), &result).expect_err("a contradiction");
        assert!(matches!(error, OutputError::Item { index } if index == item), "case {number}: {error:?}");
    }
    let mismatches: Vec<OutputFault> = vec![
        |output| output.items.truncate(2),
        |output| output.items.clear(),
        |output| output.items[0].leaf.fuel_used += 1,
        |output| output.items[0].leaf.log_len += 1,
        |output| output.items[2].leaf.status = Status::OutOfFuel,
        |output| output.items[2].leaf.code += 1,
        |output| output.items[0].leaf.host_calls.count += 1,
        |output| output.items[0].leaf.host_calls = HostCallLog::default(),
        |output| output.items[1].leaf.host_calls.root = output.items[0].leaf.host_calls.root,
        |output| output.items[0].leaf.peak_memory_pages -= 1,
        |output| output.inferences.swap(0, 1),
        |output| output.inferences.truncate(1),
        |output| {
            let stdout = b"8\n".to_vec();
            output.items[0].leaf.output = ItemOutput::output_hash(&stdout, &[]);
            output.items[0].stdout = stdout.into();
        },
    ];
    for (number, fault) in mismatches.into_iter().enumerate() {
        let mut bad = samples::job_output();
        fault(&mut bad);
        let error = JobOutput::verified(&bad.to_bytes(), &result).expect_err("a mismatch");
        assert!(matches!(error, OutputError::Mismatch), "case {number}: {error:?}");
    }
    let damaged = JobOutput::verified(b"\x82\x80", &result).expect_err("cut short");
    assert!(matches!(damaged, OutputError::Encoding(DecodeError::Malformed(_))));
}

#[test]
fn a_refused_job_has_a_status_without_items() {
    let empty = JobOutput::default();
    let ResultCore { job, class, profile, input_root, .. } = samples::result_core();
    let derived = empty.result(job, class, profile, input_root);
    let with = |status| ResultCore { status, code: 4, ..derived.clone() };
    for status in [Status::InvalidModule, Status::InvalidModel, Status::InvalidInput] {
        assert!(status.is_refusal() && JobOutput::verified(&empty.to_bytes(), &with(status)).is_ok(), "{status:?}");
    }
    for status in [Status::ExitCode, Status::Trap, Status::OutOfFuel, Status::LimitExceeded] {
        assert!(!status.is_refusal() && JobOutput::verified(&empty.to_bytes(), &with(status)).is_err(), "{status:?}");
    }
}

#[test]
fn a_snapshot_is_paid_for_once_and_never_by_a_refusal() {
    let (output, core) = (samples::job_output(), samples::result_core());
    let items: u64 = output.items.iter().map(|item| item.leaf.fuel_used).sum();
    assert_eq!((core.fuel_used, core.snapshot), (items + core.snapshot_fuel, samples::snapshot().hash()));
    let verified = |core: &ResultCore, output: &JobOutput| JobOutput::verified(&output.to_bytes(), core);
    assert!(verified(&core, &output).is_ok());
    let cheaper = ResultCore { snapshot_fuel: core.snapshot_fuel - 1, ..core.clone() };
    assert!(matches!(verified(&cheaper, &output), Err(OutputError::Mismatch)));
    let empty = JobOutput::default();
    let refused = ResultCore {
        status: Status::InvalidModule,
        code: 25,
        ..empty.result(core.job, core.class, core.profile, core.input_root)
    };
    assert!(verified(&refused, &empty).is_ok());
    assert!(matches!(verified(&refused.starting_from(core.snapshot, 1), &empty), Err(OutputError::Mismatch)));
}

#[test]
fn no_output_without_files_has_the_hash_of_one_with_files() {
    let files = samples::job_output().items[1].files.clone();
    let with_files = ItemOutput::output_hash(b"", &files);
    // The text whose plain SHA-256 is the root of the tree over standard output and files.
    let mut leaves = vec![&b""[..]];
    leaves.extend(files.iter().flat_map(|file| [file.path.as_bytes(), &file.content]));
    let levels = depx_protocol::merkle::proofs(&leaves);
    let node = |left: &[u8], right: &[u8]| depx_protocol::sha256(&[&[1][..], left, right].concat()).0;
    let last = depx_protocol::sha256(&[&[0][..], leaves[2]].concat()).0;
    let head = node(&levels[2].path[0].0, &last);
    let tag = depx_protocol::sha256(depx_protocol::Tag::Tree.text().as_bytes());
    let preimage = [&tag.0[..], &3u64.to_be_bytes(), &head].concat();
    assert_eq!(depx_protocol::sha256(&preimage), with_files, "this is such a text");
    assert_ne!(ItemOutput::output_hash(&preimage, &[]), with_files);
}
