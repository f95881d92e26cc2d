//! wasi-nn, with a backend that can be checked by hand.

use crate::backend::{Arithmetic, FUEL};
use crate::script::Arg::{I, P};
use crate::script::{OUTSIDE, Script, words};
use crate::support::{Guest, JobBuilder, wat};
use depx_host_abi::nn::IMPORTS;
use depx_models::Backend;
use depx_protocol::{
    Blob, Canonical, DeterminismClass, Hash, JobOutput, Program, RawTensor, Status, TensorPack, TensorType, blob_hash,
};
use depx_runtime::{Cancel, HostFault, NamedModel, Runtime, RuntimeOptions};
use sha2::{Digest, Sha256};
use std::sync::Arc;

const INVALID: u8 = 1;
const MEMORY: u8 = 3;
const RUNTIME: u8 = 5;
const UNSUPPORTED: u8 = 6;
const TOO_LARGE: u8 = 7;
const NOT_FOUND: u8 = 8;

fn with_models(mut guest: Guest) -> Guest {
    for name in ["add", "wide", "fail", "refuse"] {
        let model = Arithmetic.load(name.as_bytes()).unwrap();
        guest.setting.models.push(NamedModel { name: name.into(), hash: blob_hash(name.as_bytes()), model });
    }
    guest
}

impl Script {
    /// Writes at `at` the record of a tensor with dimensions 1 and 2, of `element_type`, whose data are the bytes at `data`.
    fn tensor(self, at: u32, element_type: u32, data: u32, len: u32) -> Self {
        self.put(at, &[900, 2, element_type, data, len]).put(900, &[1, 2])
    }

    /// Loads a model and makes a context: graph and context should be numbered `handle`.
    fn model(self, name: &'static str, handle: u32) -> Self {
        self.call("load_by_name", &[P(name), I(0)], 0)
            .holds(0, words(&[handle]))
            .call("init_execution_context", &[I(handle), I(0)], 0)
            .holds(0, words(&[handle]))
    }
}

fn everything() -> Script {
    Script::new()
        .call("load", &[I(0), I(0), I(1), I(0), I(0)], UNSUPPORTED)
        .call("load_by_name", &[P("other"), I(0)], NOT_FOUND)
        .call("load_by_name", &[P("add"), I(OUTSIDE)], MEMORY)
        .call("load_by_name", &[I(OUTSIDE), I(3), I(0)], MEMORY)
        .call("init_execution_context", &[I(0), I(0)], INVALID)
        .model("add", 0)
        .call("init_execution_context", &[I(0), I(OUTSIDE)], MEMORY)
        .call("init_execution_context", &[I(1), I(0)], INVALID)
        // Two inputs: 1, 2 and 3, 4.
        .put(1000, &[0x0403_0201])
        .tensor(800, 3, 1000, 2)
        .call("compute", &[I(0)], INVALID)
        .call("set_input", &[I(0), I(0), I(800)], 0)
        .call("compute", &[I(0)], INVALID)
        .call("get_output", &[I(0), I(0), I(1100), I(2), I(0)], RUNTIME)
        .tensor(800, 3, 1002, 2)
        .call("set_input", &[I(0), I(1), I(800)], 0)
        .call("set_input", &[I(0), I(2), I(800)], INVALID)
        .call("set_input", &[I(7), I(0), I(800)], INVALID)
        .call("set_input", &[I(0), I(0), I(OUTSIDE)], MEMORY)
        // Another type, no type, too much data for the shape, data and shape outside memory, another shape, too many
        // dimensions.
        .tensor(800, 1, 1000, 8)
        .call("set_input", &[I(0), I(0), I(800)], INVALID)
        .tensor(800, 6, 1000, 2)
        .call("set_input", &[I(0), I(0), I(800)], INVALID)
        .tensor(800, 3, 1000, 3)
        .call("set_input", &[I(0), I(0), I(800)], INVALID)
        .tensor(800, 3, OUTSIDE, 2)
        .call("set_input", &[I(0), I(0), I(800)], MEMORY)
        .put(800, &[OUTSIDE, 2, 3, 1000, 2])
        .call("set_input", &[I(0), I(0), I(800)], MEMORY)
        .tensor(800, 3, 1000, 3)
        .put(904, &[3])
        .call("set_input", &[I(0), I(0), I(800)], INVALID)
        .call("set_input", &[I(0), I(1), I(800)], 0)
        .put(800, &[900, 17, 3, 1000, 2])
        .call("set_input", &[I(0), I(0), I(800)], TOO_LARGE)
        .tensor(800, 3, 1002, 2)
        .call("set_input", &[I(0), I(1), I(800)], 0)
        .call("compute", &[I(0)], 0)
        .call("compute", &[I(7)], INVALID)
        .call("get_output", &[I(0), I(0), I(1100), I(2), I(0)], 0)
        .holds(0, words(&[2]))
        .holds(1100, [4, 6])
        .call("get_output", &[I(0), I(1), I(1100), I(2), I(0)], INVALID)
        .call("get_output", &[I(7), I(0), I(1100), I(2), I(0)], INVALID)
        .call("get_output", &[I(0), I(0), I(1100), I(1), I(0)], TOO_LARGE)
        .call("get_output", &[I(0), I(0), I(OUTSIDE), I(2), I(0)], MEMORY)
        .call("get_output", &[I(0), I(0), I(1100), I(2), I(OUTSIDE)], MEMORY)
        // Again with another first input.
        .tensor(800, 3, 1002, 2)
        .call("set_input", &[I(0), I(0), I(800)], 0)
        .call("compute", &[I(0)], 0)
        .call("get_output", &[I(0), I(0), I(1100), I(2), I(0)], 0)
        .holds(1100, [6, 8])
        // Models that do not like what they get, or give too much.
        .model("refuse", 1)
        .call("set_input", &[I(1), I(0), I(800)], 0)
        .call("set_input", &[I(1), I(1), I(800)], 0)
        .call("compute", &[I(1)], INVALID)
        .model("wide", 2)
        .call("set_input", &[I(2), I(0), I(800)], 0)
        .call("set_input", &[I(2), I(1), I(800)], 0)
        .call("compute", &[I(2)], TOO_LARGE)
}

#[test]
fn models_are_loaded_by_name_and_computed() {
    everything().check(with_models);
}

#[test]
fn every_function_is_seen_to_succeed_and_to_fail() {
    let covered = everything().covered;
    for import in IMPORTS {
        let expected = (import.name != "load", true);
        assert_eq!(covered.get(import.name), Some(&expected), "{}", import.name);
    }
}

#[test]
fn handles_are_bounded() {
    let mut script = Script::new();
    for _ in 0..64 {
        script = script.call("load_by_name", &[P("add"), I(0)], 0).call("init_execution_context", &[I(0), I(0)], 0);
    }
    script = script.call("load_by_name", &[P("add"), I(0)], TOO_LARGE);
    script.call("init_execution_context", &[I(0), I(0)], TOO_LARGE).check(with_models);
}

#[test]
fn every_call_of_a_model_is_paid_for_and_recorded() {
    let outcome = with_models(Guest::new(&everything().module())).run();
    let hash = |pairs: &[[u8; 2]]| {
        let mut hasher = Sha256::new_with_prefix(Sha256::digest(b"depx/tensors/v1"));
        hasher.update((pairs.len() as u32).to_be_bytes());
        for pair in pairs {
            hasher.update(b"\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x02");
            hasher.update(pair);
        }
        Hash(hasher.finalize().into())
    };
    let [first, second] = &outcome.inferences[..] else { panic!("{:?}", outcome.inferences) };
    for (inference, inputs, output) in [(first, [[1, 2], [3, 4]], [4, 6]), (second, [[3, 4], [3, 4]], [6, 8])] {
        assert_eq!(inference.model, blob_hash(b"add"));
        assert_eq!(inference.input, hash(&inputs));
        assert_eq!(inference.output, hash(&[output]));
        assert_eq!(inference.fuel, FUEL);
    }
    // Two that succeeded, and two that did not.
    assert!(outcome.fuel_used > 4 * FUEL);
    let guest = with_models(Guest::new(&everything().module())).limits(|limits| limits.fuel = 4 * FUEL);
    let outcome = guest.run();
    assert_eq!((outcome.status, outcome.fuel_used), (Status::OutOfFuel, 4 * FUEL));
}

fn one_call() -> Vec<u8> {
    let script = Script::new()
        .call("load_by_name", &[P("m"), I(0)], 0)
        .call("init_execution_context", &[I(0), I(0)], 0)
        .put(1000, &[0x0403_0201])
        .tensor(800, 3, 1000, 2)
        .call("set_input", &[I(0), I(0), I(800)], 0)
        .call("set_input", &[I(0), I(1), I(800)], 0)
        .call("compute", &[I(0)], 0);
    wat(&script.module())
}

fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions {
        backends: vec![(DeterminismClass::Pinned, Arc::new(Arithmetic))],
        ..RuntimeOptions::default()
    })
    .unwrap()
}

#[test]
fn jobs_declare_models_and_their_results_name_them() {
    let runtime = runtime();
    let job = JobBuilder::new(&one_call()).batch(["a", "b"]).model("m", b"add").build(&runtime);
    let result = runtime.run_job(&job, &Cancel::default()).unwrap();
    assert_eq!(result.core.status, Status::Success, "{:?}", result.detail);
    let called: Vec<_> = result.output.inferences.iter().map(|leaf| (leaf.item, leaf.model, leaf.fuel)).collect();
    assert_eq!(called, [(0, blob_hash(b"add"), FUEL), (1, blob_hash(b"add"), FUEL)]);
    let bytes = depx_protocol::Canonical::to_bytes(&result.output);
    assert!(depx_protocol::JobOutput::verified(&bytes, &result.core).is_ok());
}

#[test]
fn models_that_cannot_be_used_are_results_and_backends_that_fail_are_faults() {
    let runtime = runtime();
    let job = |model: &[u8]| JobBuilder::new(&one_call()).model("m", model).build(&runtime);
    let refused = runtime.run_job(&job(b"not a model"), &Cancel::default()).unwrap();
    assert_eq!((refused.core.status, refused.core.code, refused.core.item_count), (Status::InvalidModel, 1, 0));
    assert_eq!(refused.detail.as_deref(), Some("model \"m\": nothing that can be added"));
    let exact = JobBuilder::new(&one_call()).model("m", b"add");
    let exact = exact.spec(|spec| spec.class = DeterminismClass::Exact).build(&runtime);
    let refused = runtime.run_job(&exact, &Cancel::default()).unwrap();
    assert_eq!((refused.core.status, refused.core.code), (Status::InvalidModel, 2));
    for model in ["broken", "fail"] {
        let fault = runtime.run_job(&job(model.as_bytes()), &Cancel::default());
        let Err(HostFault::Inference { reason }) = fault else { panic!("{model}: {fault:?}") };
        assert!(reason == "the library is not well" || reason == "the device is lost", "{reason}");
    }
}

/// A row of bytes.
fn row(bytes: &[u8]) -> RawTensor {
    RawTensor { element_type: TensorType::U8, shape: vec![1, bytes.len() as u32], data: bytes.to_vec().into() }
}

/// A job that runs a model alone, on items that are tensors or not.
fn alone(model: &[u8], items: &[Vec<u8>]) -> JobBuilder {
    let job = JobBuilder::new(model).batch(items.to_vec());
    job.spec(|spec| (spec.program, spec.class) = (Program::Model(Blob::of(model)), DeterminismClass::Pinned))
}

#[test]
fn a_model_can_be_the_program() {
    let runtime = runtime();
    let item = |rows: &[&[u8]]| TensorPack(rows.iter().map(|bytes| row(bytes)).collect()).to_bytes();
    let good = item(&[&[1, 2], &[3, 255]]);
    let mut scalar = row(&[3, 4]);
    scalar.shape = vec![2, 1];
    let items = [
        good.clone(),
        b"no tensors".to_vec(),
        item(&[&[1, 2]]),
        TensorPack(vec![row(&[1, 2]), scalar]).to_bytes(),
        TensorPack(vec![row(&[1, 2]), RawTensor { shape: vec![1, 3], ..row(&[3, 4]) }]).to_bytes(),
        good.clone(),
    ];
    let result = runtime.run_job(&alone(b"add", &items).build(&runtime), &Cancel::default()).unwrap();
    let output = TensorPack(vec![row(&[4, 1])]).to_bytes();
    let fuel = FUEL + (good.len() + output.len()) as u64;
    let told: Vec<_> = result.output.items.iter().map(|item| (item.leaf.status, item.leaf.code)).collect();
    let unfit = (Status::InvalidItem, 2);
    assert_eq!(
        told,
        [(Status::Success, 0), (Status::InvalidItem, 1), unfit, unfit, (Status::InvalidItem, 1), (Status::Success, 0)]
    );
    for index in [0, 5] {
        let item = &result.output.items[index];
        assert_eq!((&item.stdout[..], item.leaf.fuel_used), (&output[..], fuel));
    }
    assert_eq!(result.output.items[2].leaf.fuel_used, items[2].len() as u64, "reading it was not free");
    assert_eq!(result.detail.as_deref(), Some("item 1: it is not an encoding of tensors"));
    assert_eq!((result.core.status, result.core.code, result.core.item_count), (Status::InvalidItem, 1, 6));
    let called: Vec<_> = result.output.inferences.iter().map(|leaf| (leaf.item, leaf.model, leaf.fuel)).collect();
    assert_eq!(called, [(0, blob_hash(b"add"), FUEL), (5, blob_hash(b"add"), FUEL)]);
    assert!(JobOutput::verified(&result.output.to_bytes(), &result.core).is_ok());

    let limited = |limit: fn(&mut depx_protocol::Limits)| {
        let job = alone(b"add", &[item(&[&[1, 2], &[3, 255]])]).spec(|spec| limit(&mut spec.limits));
        let result = runtime.run_job(&job.build(&runtime), &Cancel::default()).unwrap();
        (result.core.status, result.core.code, result.core.fuel_used, result.core.output_len)
    };
    assert_eq!(limited(|limits| limits.fuel = FUEL), (Status::OutOfFuel, 0, FUEL, 0));
    assert_eq!(limited(|limits| limits.output_bytes = 3), (Status::LimitExceeded, 3, fuel, 0));
}

#[test]
fn a_program_that_is_no_usable_model_is_a_result_and_a_backend_that_fails_is_a_fault() {
    let runtime = runtime();
    let run = |model: &[u8], change: fn(&mut depx_protocol::JobSpec)| {
        let items = [TensorPack(vec![row(&[1, 2]), row(&[3, 4])]).to_bytes()];
        runtime.run_job(&alone(model, &items).spec(change).build(&runtime), &Cancel::default())
    };
    let refused = |model: &[u8], change| {
        let result = run(model, change).unwrap();
        (result.core.status, result.core.code, result.core.item_count, result.detail.unwrap())
    };
    let unusable = "model \"the program\": nothing that can be added".to_owned();
    assert_eq!(refused(b"not a model", |_| ()), (Status::InvalidModel, 1, 0, unusable));
    let exact = "jobs of class D0 cannot use models; ask for D1 or D2".to_owned();
    assert_eq!(refused(b"add", |spec| spec.class = DeterminismClass::Exact), (Status::InvalidModel, 2, 0, exact));
    assert!(matches!(run(b"fail", |_| ()), Err(HostFault::Inference { .. })));
    assert!(matches!(run(b"add", |spec| spec.args = vec!["x".into()]), Err(HostFault::Spec(_))));
    let unfit = run(b"refuse", |_| ()).unwrap().core;
    assert_eq!((unfit.status, unfit.code, unfit.item_count), (Status::InvalidItem, 2, 1));
}
