//! Worker processes, the isolation that they get, and whether they compute what everybody else does.

use super::{Check, causes};
use crate::node::Settings;
use crate::{Global, local};
use anyhow::{Context, Result};
use bytes::Bytes;
use depx_protocol::{
    Address, Blob, Consistency, DeterminismClass, Hash, JobInput, JobSpec, Limits, ModelRef, Program, VERSION,
};
use depx_runtime::{Cancel, Job, WorkerLauncher};
use depx_worker::{Layer, ProcessLauncher};

/// Chains of integer and float operations that lead to no traps, NaNs included, over memory that grows; `self_test.wat`.
const NUMBERS: &[u8] = include_bytes!("self_test.wasm");
const DIGITS: &[u8] = include_bytes!("../../../guest-sdk/examples/digits/digits.wasm");
const MODEL: &[u8] = include_bytes!("../../../models/zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../../models/zoo/digits/heldout.images");

/// What the two jobs come to on every machine: their results' hashes, which change with each new version of the runtime's rules.
const GOLDEN: [(DeterminismClass, &str); 2] = [
    (DeterminismClass::Exact, "1a58146832b5f2178f6878dc9ef68f4f7433affecabe6d3ef3c0f9d34e11a34d"),
    (DeterminismClass::Reproducible, "efaf6a264697d728589056efa93dd281eee53823ff03ef6b7f54a2dedc01e042"),
];

/// Starts workers as a node would, says what isolates them, and has them compute.
pub(super) fn workers(global: &Global, settings: &Settings, tell: &mut impl FnMut(Check)) {
    let launcher = match local::passing_workers(global, settings.compile_limits()) {
        Ok(launcher) => launcher,
        Err(error) => {
            return tell(Check::failed(
                "workers",
                causes(&error),
                "see what is above; without workers there are no jobs",
            ));
        }
    };
    isolation(&launcher, settings, tell);
    for (class, golden) in GOLDEN {
        tell(same(&launcher, class, golden));
    }
}

fn isolation(launcher: &ProcessLauncher, settings: &Settings, tell: &mut impl FnMut(Check)) {
    for layer in Layer::ALL {
        let name = format!("isolation {}", layer.name());
        tell(match launcher.missing().iter().find(|missing| missing.layer == layer) {
            None => Check::ok(name, "in force"),
            Some(missing) => {
                let finding = format!("workers do without {layer}: {}", missing.reason);
                match settings.allow_weak_sandbox {
                    true => {
                        Check::warning(name, format!("{finding}; allow_weak_sandbox lets them work"), layer.remedy())
                    }
                    false => Check::failed(name, finding, layer.remedy()),
                }
            }
        });
    }
}

fn same(launcher: &ProcessLauncher, class: DeterminismClass, golden: &str) -> Check {
    let name = format!("self-test {}", class.name());
    let Some((_, profile)) = launcher.profiles().into_iter().find(|(offered, _)| *offered == class) else {
        return Check::warning(name, "models cannot be run", "see onnx runtime, above");
    };
    let result = job(class, profile).and_then(|job| {
        let result = launcher.launch()?.run(&job, &Cancel::default())?;
        Ok(result.core.hash().to_string())
    });
    match result {
        Ok(result) if result == golden => Check::ok(name, format!("result {}, as it must be", &golden[..8])),
        Ok(result) => Check::failed(
            name,
            format!("the result is {result}, and it must be {golden}"),
            "do not offer this machine: others would outvote it. Use a released build of depx; test the memory; undo overclocking",
        ),
        Err(error) => {
            Check::failed(name, causes(&error), "see the isolation, above; the job is small and runs everywhere")
        }
    }
}

/// The job of a class: numbers without a model, or an image of a digit.
fn job(class: DeterminismClass, profile: Hash) -> Result<Job> {
    let model = Bytes::from_static(MODEL);
    let image = Bytes::from_static(IMAGES.get(..64).context("an image is missing")?);
    let (program, input, models) = match class {
        DeterminismClass::Exact => (Bytes::from_static(NUMBERS), Bytes::new(), Vec::new()),
        _ => (Bytes::from_static(DIGITS), image, vec![ModelRef { name: "digits".to_owned(), blob: Blob::of(&model) }]),
    };
    let spec = JobSpec {
        version: VERSION,
        client: Address([0; 20]),
        nonce: [0; 16],
        created_ms: 0,
        program: Program::Command(Blob::of(&program)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models,
        input: JobInput::Compute(Blob::of(&input)),
        class,
        consistency: Consistency::Eventual,
        limits: Limits::DEFAULT,
    };
    let blobs = [program, input, model].map(|content| (Blob::of(&content).hash, content)).into();
    Ok(Job { id: spec.id(), profile, spec, blobs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_runtime::{Runtime, RuntimeOptions, with_execution_stack};
    use std::path::Path;

    #[test]
    fn the_golden_results_are_those_of_this_release() {
        let library = depx_models::OnnxRuntime::open(None);
        if std::env::var("DEPX_REQUIRE_ORT").is_ok_and(|value| value == "1") {
            assert!(library.is_ok(), "DEPX_REQUIRE_ORT=1, and there is no library");
        }
        let options = RuntimeOptions::default();
        let runtime = Runtime::new(match library {
            Ok(library) => options.with_library(library),
            Err(_) => options,
        })
        .unwrap();
        for (class, golden) in GOLDEN {
            let Some((_, profile)) = runtime.profiles().into_iter().find(|(offered, _)| *offered == class) else {
                eprintln!("skipped: models cannot be run here");
                continue;
            };
            let job = job(class, profile).unwrap();
            let result = with_execution_stack(|| runtime.run_job(&job, &Cancel::default())).unwrap();
            assert_eq!(result.core.status, depx_protocol::Status::Success, "{:?}", result.detail);
            assert_eq!(result.core.hash().to_string(), golden, "{}: put it into GOLDEN", class.name());
        }
    }

    #[test]
    fn the_program_is_made_of_its_text() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doctor/self_test.wasm"));
        let program = wat::parse_str(include_str!("self_test.wat")).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &program).unwrap();
        }
        assert!(std::fs::read(path).unwrap() == program, "{} is stale; UPDATE_EXPECT=1 writes it", path.display());
    }
}
