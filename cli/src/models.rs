//! `depx models`.

use crate::registry::{Golden, GoldenResult, Manifest, Registry};
use crate::tensors::{Ports, seeded};
use crate::{Global, input, local, show};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_models::onnx;
use depx_protocol::{
    Address, Blob, Consistency, DeterminismClass, Hash, JobInput, JobSpec, Limits, Program, Status, VERSION,
};
use depx_runtime::{Cancel, Job, Runtime, RuntimeOptions, with_execution_stack};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Keep models on this machine, and know what they are and do.
#[derive(clap::Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(clap::Subcommand)]
enum ModelsCommand {
    /// Keep a model, with what it makes of an item, so that every machine can be asked whether it makes the same
    Add(AddArgs),
    /// Tell which models there are
    List,
    /// Tell what a model takes, gives and costs
    Inspect(NameArgs),
    /// Run models on their items and compare what they give with what they must
    Verify(VerifyArgs),
    /// Tell how fast a model is on this machine
    Bench(BenchArgs),
}

#[derive(clap::Args)]
struct AddArgs {
    /// The model
    #[arg(value_name = "FILE.onnx")]
    file: PathBuf,
    /// Its name
    #[arg(long)]
    name: String,
    /// Its version
    #[arg(long, value_name = "VERSION", default_value = "1")]
    model_version: String,
    /// Its licence, such as MIT
    #[arg(long, value_name = "SPDX")]
    licence: String,
    /// The item to run it on, an .npy or .npz file [default: numbers from a fixed seed]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

#[derive(clap::Args)]
struct NameArgs {
    /// A name, NAME@VERSION, the beginning of a hash, or a file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
}

#[derive(clap::Args)]
struct VerifyArgs {
    /// Which ones [default: all]
    #[arg(value_name = "MODEL")]
    models: Vec<String>,
}

#[derive(clap::Args)]
struct BenchArgs {
    #[command(flatten)]
    name: NameArgs,
    /// For how long to run it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    seconds: u64,
}

/// Classes in which models run.
const CLASSES: [DeterminismClass; 2] = [DeterminismClass::Reproducible, DeterminismClass::Pinned];

pub(crate) fn models(global: &Global, args: ModelsArgs) -> Result<ExitCode> {
    let registry = Registry::of(global);
    match args.command {
        ModelsCommand::Add(args) => add(global, &registry, &args),
        ModelsCommand::List => list(global, &registry),
        ModelsCommand::Inspect(args) => inspect(global, &registry, &args),
        ModelsCommand::Verify(args) => verify(global, &registry, &args),
        ModelsCommand::Bench(args) => bench(global, &registry, &args),
    }
}

fn add(global: &Global, registry: &Registry, args: &AddArgs) -> Result<ExitCode> {
    let onnx = input::read(&args.file)?;
    let info = onnx::inspect(&onnx)?;
    let ports = Ports::of(&onnx)?;
    let item = match &args.input {
        Some(file) => ports.item(input::read(file)?)?,
        None => seeded(&info.inputs),
    };
    let runtime = runtime(global)?;
    let mut results = Vec::new();
    for class in CLASSES {
        match infer(&runtime, class, &onnx, &item)? {
            Ok(output) => results.push(GoldenResult {
                class: class.name().to_owned(),
                profile: local::profile(&runtime, class)?.to_string(),
                output: Blob::of(&output).hash.to_string(),
            }),
            Err(reason) if class == DeterminismClass::Pinned => bail!("the model cannot be run: {reason}"),
            Err(reason) => tracing::warn!("the model cannot be run in class {}: {reason}", class.name()),
        }
    }
    let manifest = Manifest {
        name: args.name.clone(),
        version: args.model_version.clone(),
        licence: args.licence.clone(),
        blake3: Blob::of(&onnx).hash.to_string(),
        bytes: onnx.len() as u64,
        opset: info.opset,
        inputs: info.inputs.iter().map(|input| format!("{} {input}", input.name)).collect(),
        outputs: info.outputs.iter().map(|output| format!("{} {output}", output.name)).collect(),
        fuel: info.fuel,
        golden: Golden { input: Blob::of(&item).hash.to_string(), results },
    };
    registry.add(&manifest, &onnx, &item)?;
    check(&runtime, registry, &manifest)?;
    tell(global, &manifest);
    Ok(ExitCode::SUCCESS)
}

fn list(global: &Global, registry: &Registry) -> Result<ExitCode> {
    for manifest in registry.all()? {
        show::line(global, &json!(manifest), || {
            let classes: Vec<_> = manifest.golden.results.iter().map(|result| result.class.as_str()).collect();
            format!(
                "{}  {}  {} bytes  {}  {} fuel  {}",
                &manifest.blake3[..16],
                manifest.title(),
                show::grouped(manifest.bytes),
                classes.join(" "),
                show::grouped(manifest.fuel),
                manifest.licence
            )
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// The manifest of a model in the registry, or what a file says of itself.
fn inspect(global: &Global, registry: &Registry, NameArgs { model }: &NameArgs) -> Result<ExitCode> {
    if let Some(manifest) = registry.find(&model.to_string_lossy())? {
        tell(global, &manifest);
        return Ok(ExitCode::SUCCESS);
    }
    let onnx = input::read(model)?;
    let info = onnx::inspect(&onnx)?;
    let ports = |specs: &[depx_models::TensorSpec]| -> Vec<String> {
        specs.iter().map(|spec| format!("{} {spec}", spec.name)).collect()
    };
    let (hash, inputs, outputs) = (Blob::of(&onnx).hash.to_string(), ports(&info.inputs), ports(&info.outputs));
    let value = json!({"blake3": hash, "bytes": onnx.len(), "opset": info.opset, "inputs": inputs, "outputs": outputs,
        "fuel": info.fuel, "nodes": info.nodes, "weight_bytes": info.weight_bytes});
    show::line(global, &value, || {
        format!(
            "blake3   {hash}\nbytes    {}\nopset    {}\nnodes    {}\ninputs   {}\noutputs  {}\nfuel     {}",
            show::grouped(onnx.len() as u64),
            info.opset,
            info.nodes,
            inputs.join(", "),
            outputs.join(", "),
            show::grouped(info.fuel)
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn tell(global: &Global, manifest: &Manifest) {
    show::line(global, &json!(manifest), || {
        let golden: Vec<_> = manifest
            .golden
            .results
            .iter()
            .map(|result| format!("{} {} (profile {})", result.class, &result.output[..16], &result.profile[..8]))
            .collect();
        format!(
            "model    {}, {}\nblake3   {}\nbytes    {}\nopset    {}\ninputs   {}\noutputs  {}\nfuel     {}\ngolden   {}",
            manifest.title(),
            manifest.licence,
            manifest.blake3,
            show::grouped(manifest.bytes),
            manifest.opset,
            manifest.inputs.join(", "),
            manifest.outputs.join(", "),
            show::grouped(manifest.fuel),
            golden.join(", ")
        )
    });
}

fn verify(global: &Global, registry: &Registry, args: &VerifyArgs) -> Result<ExitCode> {
    let mut wanted = Vec::new();
    for name in &args.models {
        wanted.push(registry.find(name)?.with_context(|| format!("there is no model named {name:?}"))?);
    }
    if args.models.is_empty() {
        wanted = registry.all()?;
    }
    let runtime = runtime(global)?;
    let mut code = ExitCode::SUCCESS;
    for manifest in wanted {
        let checks = check(&runtime, registry, &manifest)?;
        for (class, verdict) in checks {
            let value = json!({"model": manifest.title(), "blake3": manifest.blake3, "class": class, "verdict": verdict.word()});
            show::line(global, &value, || format!("{}: {} {class}", verdict.word(), manifest.title()));
            if verdict == Verdict::Different {
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// What came of running a model on its item in one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Same,
    Different,
    /// It was recorded in another profile.
    NotComparable,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "DIFFERENT",
            Self::NotComparable => "not comparable (recorded in another profile)",
        }
    }
}

/// Runs a model on its golden item in every class in which it was run before, and remembers where it does what it must.
fn check(runtime: &Runtime, registry: &Registry, manifest: &Manifest) -> Result<Vec<(String, Verdict)>> {
    let (onnx, item) = (registry.onnx(manifest)?, registry.input(manifest)?);
    let (mut checks, mut same) = (Vec::new(), Vec::new());
    for class in CLASSES {
        let Some(golden) = manifest.golden.results.iter().find(|result| result.class == class.name()) else { continue };
        let profile = local::profile(runtime, class)?;
        let verdict = if golden.profile == profile.to_string() {
            let output = infer(runtime, class, &onnx, &item)?.map(|output| Blob::of(&output).hash.to_string());
            if output.is_ok_and(|output| output == golden.output) { Verdict::Same } else { Verdict::Different }
        } else {
            Verdict::NotComparable
        };
        if verdict == Verdict::Same {
            same.push(profile);
        }
        checks.push((class.name().to_owned(), verdict));
    }
    registry.set_checked(manifest, &same)?;
    Ok(checks)
}

/// The model of this name in the registry, which was found, now or before, to do on this machine what it must.
pub(crate) fn checked(global: &Global, name: &str) -> Result<Option<Bytes>> {
    let registry = Registry::of(global);
    let Some(manifest) = registry.find(name)? else { return Ok(None) };
    let runtime = runtime(global)?;
    let known = |class| registry.is_checked(&manifest, local::profile(&runtime, class).unwrap_or(Hash::ZERO));
    if !CLASSES.into_iter().all(known) {
        let checks = check(&runtime, &registry, &manifest)?;
        if let Some((class, _)) = checks.iter().find(|(_, verdict)| *verdict == Verdict::Different) {
            bail!(
                "{} does not give in class {class} what it must; this machine's results cannot be trusted",
                manifest.title()
            );
        }
    }
    registry.onnx(&manifest).map(Some)
}

fn bench(global: &Global, registry: &Registry, args: &BenchArgs) -> Result<ExitCode> {
    let model = &args.name.model;
    let (onnx, item) = match registry.find(&model.to_string_lossy())? {
        Some(manifest) => (registry.onnx(&manifest)?, registry.input(&manifest)?),
        None => {
            let onnx = input::read(model)?;
            let item = seeded(&onnx::inspect(&onnx)?.inputs);
            (onnx, item)
        }
    };
    let fuel = onnx::inspect(&onnx)?.fuel;
    let runtime = runtime(global)?;
    for class in CLASSES {
        if let Err(reason) = infer(&runtime, class, &onnx, &item)? {
            show::line(global, &json!({"class": class.name(), "refused": reason}), || {
                format!("{}: {reason}", class.name())
            });
            continue;
        }
        let job = job(&runtime, class, &onnx, &item)?;
        let mut times = Vec::new();
        let end = Instant::now() + Duration::from_secs(args.seconds);
        with_execution_stack(|| -> Result<()> {
            while times.is_empty() || Instant::now() < end {
                let started = Instant::now();
                runtime.run_job(&job, &Cancel::default())?;
                times.push(started.elapsed());
            }
            Ok(())
        })?;
        times.sort();
        let at = |percent| show::percentile(&times, percent);
        let (p50, p99) = (at(50), at(99));
        let per_fuel = p50.as_secs_f64() * 1e9 / fuel as f64;
        let value = json!({"class": class.name(), "runs": times.len(), "p50_s": p50.as_secs_f64(), "p99_s": p99.as_secs_f64(),
            "fuel": fuel, "ns_per_fuel": per_fuel});
        show::line(global, &value, || {
            format!(
                "{}: p50 {}, p99 {} of {} runs; {} fuel, {per_fuel:.3} ns each",
                class.name(),
                show::duration(p50),
                show::duration(p99),
                show::grouped(times.len() as u64),
                show::grouped(fuel)
            )
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime(global: &Global) -> Result<Runtime> {
    Runtime::new(RuntimeOptions::default().with_library(local::library(global)?)).context("cannot set up the runtime")
}

fn job(runtime: &Runtime, class: DeterminismClass, onnx: &Bytes, item: &Bytes) -> Result<Job> {
    let spec = JobSpec {
        version: VERSION,
        client: Address([0; 20]),
        nonce: [0; 16],
        created_ms: 0,
        program: Program::Model(Blob::of(onnx)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input: JobInput::Compute(Blob::of(item)),
        class,
        consistency: Consistency::Eventual,
        limits: Limits { fuel: u64::MAX, output_bytes: 1 << 30, wall_ms: 3_600_000, ..Limits::DEFAULT },
    };
    let blobs = [onnx, item].map(|content| (Blob::of(content).hash, content.clone())).into();
    Ok(Job { id: spec.id(), profile: local::profile(runtime, class)?, spec, blobs })
}

/// What a model makes of an item, or why it makes nothing.
fn infer(runtime: &Runtime, class: DeterminismClass, onnx: &Bytes, item: &Bytes) -> Result<Result<Bytes, String>> {
    let result = runtime.run_job(&job(runtime, class, onnx, item)?, &Cancel::default())?;
    if result.core.status != Status::Success {
        return Ok(Err(result.detail.unwrap_or_default()));
    }
    let output = result.output.items.into_iter().next().context("the job has no item")?;
    ensure!(!output.stdout.is_empty(), "the model gave nothing");
    Ok(Ok(Vec::from(output.stdout).into()))
}
