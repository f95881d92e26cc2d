//! A job from command-line options: what `run` and `submit` have in common.

use crate::items::Items;
use crate::tensors::Ports;
use crate::{Global, models, registry};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_protocol::{
    Address, Blob, Canonical, Consistency, DeterminismClass, Hash, InputFile, ItemPack, JobInput, JobSpec, Limits,
    ModelRef, Program, VERSION,
};
use depx_transport::{random, unix_ms};
use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Classes of jobs with models.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Class {
    D1,
    D2,
}

/// What to execute, on what, and within which limits.
#[derive(clap::Args, Clone)]
pub(crate) struct JobArgs {
    /// The WASI command, a .wasm file; or a model, an .onnx file or the name of one that `depx models` keeps, which is given tensors: .npy
    /// files, or .npz files of arrays that are named as its inputs
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    /// Its arguments; put `--` before the first one that begins with a hyphen
    #[arg(value_name = "ARGS", trailing_var_arg = true)]
    args: Vec<String>,
    /// A variable of its environment
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A file that it can read, at a path of its own
    #[arg(long, value_name = "GUEST=FILE")]
    file: Vec<String>,
    /// An ONNX model, or one that `depx models` keeps, that it can load by name
    #[arg(long, value_name = "NAME=FILE")]
    model: Vec<String>,
    /// What models may depend on [default: d2]: D1 gives the same bits on every processor, D2 runs whatever ONNX Runtime does, and results are
    /// the same on processors of one kind
    #[arg(long, value_enum, ignore_case = true)]
    class: Option<Class>,
    /// Its standard input [default: this command's own, unless that is a terminal]
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    stdin: Option<PathBuf>,
    /// Run it once per item: the files of a directory in order of their names, or the lines of a file, or of standard input; of a model
    /// also the arrays in a file along their first dimension
    #[arg(long, value_name = "DIR|FILE|-")]
    batch: Option<PathBuf>,
    /// Items of the --batch file are records of so many bytes instead of lines
    #[arg(long, value_name = "BYTES", requires = "batch")]
    record_bytes: Option<usize>,
    /// Fuel that one execution may use
    #[arg(long, value_name = "UNITS", default_value_t = Limits::DEFAULT.fuel)]
    fuel: u64,
    /// Memory that one execution may use, such as 64MiB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    memory: u64,
    /// Output that one execution may produce
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_size)]
    output: u64,
    /// Wall-clock time that the whole job may take on a node, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.wall_ms / 1000)]
    timeout: u64,
}

/// What makes otherwise equal jobs different: the guest's randomness follows from it, and its clocks start there.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) nonce: [u8; 16],
    pub(crate) created_ms: u64,
}

impl Origin {
    /// A job that there has never been before, made now.
    pub(crate) fn fresh() -> Self {
        Self { nonce: random(), created_ms: unix_ms() }
    }
}

/// Content by hash.
pub(crate) type Blobs = HashMap<Hash, Bytes>;

/// A job's spec and all its blobs.
pub(crate) struct PreparedJob {
    pub(crate) spec: JobSpec,
    pub(crate) blobs: Blobs,
    /// Of a program that is a model.
    pub(crate) ports: Option<Arc<Ports>>,
}

impl JobArgs {
    /// The one job that this is, without the blob of its input, and its items.
    pub(crate) fn prepare_streamed(
        &self,
        global: &Global,
        client: Address,
        origin: Origin,
    ) -> Result<(PreparedJob, Items)> {
        let parts = self.parts(global)?;
        let items = self.items(&parts)?;
        let input = items.input()?;
        if let Some(path) = &self.batch {
            ensure!(input.items() > 0, "{} has no items; a batch needs at least one", path.display());
        }
        Ok((parts.job(client, origin, Consistency::Eventual, input)?, items))
    }

    /// Reads everything and makes the specs: one, or for a batch one per `items_per_job` items, each with an origin of its own.
    pub(crate) fn prepare(
        &self,
        global: &Global,
        client: Address,
        consistency: Consistency,
        items_per_job: usize,
    ) -> Result<Vec<PreparedJob>> {
        let parts = self.parts(global)?;
        let job = |content: Vec<u8>, make: &dyn Fn(Blob) -> JobInput| -> Result<PreparedJob> {
            let content = Bytes::from(content);
            let mut job = parts.job(client, Origin::fresh(), consistency, make(Blob::of(&content)))?;
            keep(&mut job.blobs, content);
            Ok(job)
        };
        let items = self.items(&parts)?;
        let mut items = items.iter()?;
        let Some(path) = &self.batch else {
            let content = items.next().context("there is no item")??;
            return Ok(vec![job(content.into(), &JobInput::Compute)?]);
        };
        let mut jobs = Vec::new();
        loop {
            let chunk: Vec<Bytes> = items.by_ref().take(items_per_job.max(1)).collect::<Result<_, _>>()?;
            if chunk.is_empty() {
                break;
            }
            let items = chunk.len() as u64;
            jobs.push(job(ItemPack::new(chunk).to_bytes(), &|pack| JobInput::Batch { pack, items })?);
        }
        ensure!(!jobs.is_empty(), "{} has no items; a batch needs at least one", path.display());
        Ok(jobs)
    }

    /// What the program is given.
    fn items(&self, parts: &Parts) -> Result<Items> {
        let items = match (&self.batch, &parts.ports) {
            (None, _) => Items::Whole(self.standard_input()?.into()),
            (Some(path), Some(ports)) if path.is_file() => return Ok(Items::Given(ports.items(path)?)),
            (Some(path), _) => Items::open(path, self.record_bytes)?,
        };
        Ok(match &parts.ports {
            Some(ports) => Items::Tensors(Box::new(items), ports.clone()),
            None => items,
        })
    }

    /// Reads what all jobs have in common.
    fn parts(&self, global: &Global) -> Result<Parts> {
        let mut blobs = Blobs::new();
        let (content, is_model) = program(global, &self.program)?;
        let ports = if is_model { Some(Arc::new(Ports::of(&content)?)) } else { None };
        let blob = keep(&mut blobs, content);
        let program = if ports.is_some() { Program::Model(blob) } else { Program::Command(blob) };
        ensure!(
            ports.is_none() || self.record_bytes.is_none(),
            "--record-bytes is for commands; a model takes tensors: .npy or .npz files"
        );
        let mut files = Vec::new();
        for option in &self.file {
            let (path, file) = pair(option, "--file", "GUEST=FILE")?;
            files.push(InputFile {
                path: path.trim_start_matches('/').to_owned(),
                blob: keep(&mut blobs, read(Path::new(file))?),
            });
        }
        let mut models = Vec::new();
        for option in &self.model {
            let (name, file) = pair(option, "--model", "NAME=FILE")?;
            let blob = keep(&mut blobs, model(global, Path::new(file))?);
            models.push(ModelRef { name: name.to_owned(), blob });
        }
        let mut env = Vec::new();
        for option in &self.env {
            let (name, value) = pair(option, "--env", "NAME=VALUE")?;
            env.push((name.to_owned(), value.to_owned()));
        }
        let has_models = !models.is_empty() || ports.is_some();
        let class = match self.class {
            None if !has_models => DeterminismClass::Exact,
            Some(_) if !has_models => bail!("--class is for jobs with models; this one is exact (D0) without"),
            Some(Class::D1) => DeterminismClass::Reproducible,
            Some(Class::D2) | None => DeterminismClass::Pinned,
        };
        let memory_pages = u32::try_from(self.memory >> 16).context("--memory is larger than a module can address")?;
        let limits = Limits {
            fuel: self.fuel,
            memory_pages,
            output_bytes: self.output,
            wall_ms: self.timeout.saturating_mul(1000),
            ..Limits::DEFAULT
        };
        Ok(Parts { blobs, program, ports, args: self.args.clone(), env, files, models, class, limits })
    }

    fn standard_input(&self) -> Result<Vec<u8>> {
        match &self.stdin {
            Some(path) => Ok(read(path)?.into()),
            None if std::io::stdin().is_terminal() => Ok(Vec::new()),
            None => {
                let mut input = Vec::new();
                std::io::stdin().read_to_end(&mut input).context("cannot read standard input")?;
                Ok(input)
            }
        }
    }
}

/// What all jobs of one command have in common.
struct Parts {
    blobs: Blobs,
    program: Program,
    ports: Option<Arc<Ports>>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<InputFile>,
    models: Vec<ModelRef>,
    class: DeterminismClass,
    limits: Limits,
}

impl Parts {
    /// A job with this input, whose blob is not among its blobs.
    fn job(
        &self,
        client: Address,
        Origin { nonce, created_ms }: Origin,
        consistency: Consistency,
        input: JobInput,
    ) -> Result<PreparedJob> {
        let spec = JobSpec {
            version: VERSION,
            client,
            nonce,
            created_ms,
            program: self.program,
            args: self.args.clone(),
            env: self.env.clone(),
            files: self.files.clone(),
            models: self.models.clone(),
            input,
            class: self.class,
            consistency,
            limits: self.limits,
        };
        spec.validate()?;
        Ok(PreparedJob { spec, blobs: self.blobs.clone(), ports: self.ports.clone() })
    }
}

/// A command or a model, and whether it is a model: a file whose name ends in .onnx, or the name of one that is kept on this machine.
fn program(global: &Global, path: &Path) -> Result<(Bytes, bool)> {
    let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    if is_onnx || registry::is_file(path) {
        return Ok((read(path)?, is_onnx));
    }
    match models::checked(global, &path.to_string_lossy())? {
        Some(onnx) => Ok((onnx, true)),
        None => Ok((read(path)?, false)),
    }
}

/// A model: a file, or the name of one that is kept on this machine.
fn model(global: &Global, path: &Path) -> Result<Bytes> {
    let kept = if registry::is_file(path) { None } else { models::checked(global, &path.to_string_lossy())? };
    kept.map_or_else(|| read(path), Ok)
}

/// Stores `content` under its hash.
pub(crate) fn keep(blobs: &mut Blobs, content: Bytes) -> Blob {
    let blob = Blob::of(&content);
    blobs.insert(blob.hash, content);
    blob
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Bytes> {
    Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.into())
}

fn pair<'a>(option: &'a str, name: &str, shape: &str) -> Result<(&'a str, &'a str)> {
    match option.split_once('=') {
        Some((left, right)) if !left.is_empty() => Ok((left, right)),
        _ => bail!("{name} {option:?} is not of the form {shape}"),
    }
}

/// Bytes from "1048576", "64KiB", "256MiB" or "1GiB".
fn parse_size(text: &str) -> Result<u64, String> {
    let no_size = || format!("{text:?} is not a size; write for instance 64MiB");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    if digits.is_empty() {
        return Err(no_size());
    }
    let unit: u64 = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        unit => return Err(format!("{unit:?} is not a unit; use KiB, MiB or GiB")),
    };
    let number: u64 = digits.parse().map_err(|_| no_size())?;
    number.checked_mul(unit).ok_or_else(|| format!("{text} is more than any machine has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let good = [("0", 0), ("512", 512), ("64KiB", 65536), ("1 MiB", 1 << 20), ("2Gi", 2 << 30)];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "1MB", "-1", "1.5GiB", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
