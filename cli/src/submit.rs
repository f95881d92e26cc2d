//! `depx submit`.

use crate::input::{JobArgs, PreparedJob};
use crate::network::{CoordinatorName, block_on};
use crate::tensors::Ports;
use crate::{Global, identity, show};
use anyhow::{Context, Result};
use depx_client::{Client, ClientError, Completed, JobEvent};
use depx_protocol::{Address, Canonical, Consistency, Hash, ItemPack, ResultCore};
use depx_transport::chain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Have a job executed by a coordinator's nodes.
#[derive(clap::Args)]
pub(crate) struct SubmitArgs {
    /// The coordinator, as it prints itself when it starts
    #[arg(long, env = "DEPX_COORDINATOR", value_name = "0xADDRESS@HOST:PORT")]
    coordinator: CoordinatorName,
    /// How many nodes execute it: 1 (eventual), 2 of 3 must agree (session), 5 of 7 must agree (strong)
    #[arg(long, value_enum, default_value_t = ConsistencyName::Session)]
    consistency: ConsistencyName,
    /// Split a batch into jobs of so many items
    #[arg(long, value_name = "N", default_value_t = 1000)]
    items_per_job: usize,
    /// Where to write output, receipts and what is needed to replay them [default: depx-JOB]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(clap::ValueEnum, Clone, Copy)]
pub(crate) enum ConsistencyName {
    Eventual,
    Session,
    Strong,
}

impl From<ConsistencyName> for Consistency {
    fn from(name: ConsistencyName) -> Self {
        match name {
            ConsistencyName::Eventual => Self::Eventual,
            ConsistencyName::Session => Self::Session,
            ConsistencyName::Strong => Self::Strong,
        }
    }
}

pub(crate) fn submit(global: &Global, args: SubmitArgs) -> Result<ExitCode> {
    let key = identity::load_or_make(&identity::default_path(global))?;
    let jobs = args.job.prepare(global, key.address(), args.consistency.into(), args.items_per_job)?;
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("depx-{}", jobs[0].spec.id().short())));
    block_on(async {
        let coordinator = args.coordinator.resolve()?;
        let client = Client::connect(coordinator, args.coordinator.address, key).await?;
        let report = run(global, client, jobs, &out).await?;
        if global.json {
            report.print_json();
        } else {
            report.print_text(&out);
        }
        Ok(report.exit_code())
    })
}

/// What became of a submission.
pub(crate) struct Report {
    /// In order of the jobs.
    pub(crate) jobs: Vec<JobReport>,
    /// For all of them together.
    pub(crate) elapsed: Duration,
}

/// What became of one job.
pub(crate) struct JobReport {
    pub(crate) job: Hash,
    pub(crate) latency: Duration,
    pub(crate) outcome: Result<Completed, ClientError>,
}

/// Jobs that are under way at a time.
const CONCURRENT: usize = 64;

/// Submits all jobs over one connection and writes what comes back below `out`.
pub(crate) async fn run(global: &Global, client: Client, jobs: Vec<PreparedJob>, out: &Path) -> Result<Report> {
    let store = Output::create(out)?;
    let bar = progress_bar(global, jobs.iter().map(|job| job.spec.input.items()).sum());
    let client = Arc::new(client);
    let ports = jobs.first().and_then(|job| job.ports.clone());
    let room = Arc::new(Semaphore::new(CONCURRENT));
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (position, PreparedJob { spec, blobs, .. }) in jobs.into_iter().enumerate() {
        store.keep_blobs(&blobs)?;
        let (client, bar, room, global) = (client.clone(), bar.clone(), room.clone(), global.clone());
        running.spawn(async move {
            let _place = room.acquire_owned().await;
            let (job, items) = (spec.id(), spec.input.items());
            let started = Instant::now();
            let outcome = client.submit(spec, &blobs, |event| tell(&global, &bar, job, &event)).await;
            bar.inc(items);
            (position, JobReport { job, latency: started.elapsed(), outcome })
        });
    }
    let mut reports = BTreeMap::new();
    while let Some(done) = running.join_next().await {
        let (position, report) = done.context("a submission panicked")?;
        reports.insert(position, report);
    }
    bar.finish_and_clear();
    if let Ok(client) = Arc::try_unwrap(client) {
        client.close().await;
    }
    let report = Report { jobs: reports.into_values().collect(), elapsed: started.elapsed() };
    store.keep_results(&report, ports.as_deref())?;
    Ok(report)
}

fn progress_bar(global: &Global, items: u64) -> ProgressBar {
    let target = if global.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(items), target);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} items  {elapsed}  {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tell(global: &Global, bar: &ProgressBar, job: Hash, event: &JobEvent) {
    let value = match event {
        JobEvent::Queued => json!({"event": "queued"}),
        JobEvent::Dispatched { executor } => json!({"event": "dispatched", "executor": executor.to_string()}),
        JobEvent::NoShow { executor, detail } => {
            bar.println(format!("node {executor} did not deliver job {}: {detail}", job.short()));
            json!({"event": "no-show", "executor": executor.to_string(), "detail": detail})
        }
        JobEvent::Lost { reason } => {
            bar.println(format!("job {} is followed over another connection: {reason}", job.short()));
            json!({"event": "lost", "reason": reason})
        }
        JobEvent::Vote(bundle) => {
            let body = &bundle.receipt.body;
            json!({"event": "vote", "executor": body.executor.to_string(), "result": body.result.to_string()})
        }
    };
    if global.json {
        let mut value = value;
        value["job"] = json!(job.to_string());
        show::print(value);
    }
}

impl Report {
    /// The jobs that have a result.
    pub(crate) fn completed(&self) -> impl Iterator<Item = &Completed> {
        self.jobs.iter().filter_map(|job| job.outcome.as_ref().ok())
    }

    /// Every node's votes, and how many of them were against the majority.
    pub(crate) fn votes(&self) -> BTreeMap<Address, (usize, usize)> {
        let mut votes = BTreeMap::<Address, (usize, usize)>::new();
        for completed in self.completed() {
            let result = completed.result.hash();
            for receipt in &completed.receipts {
                let body = &receipt.receipt.body;
                let entry = votes.entry(body.executor).or_default();
                entry.0 += 1;
                entry.1 += usize::from(body.result != result);
            }
        }
        votes
    }

    /// Latencies of all jobs, sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut latencies: Vec<_> = self.jobs.iter().map(|job| job.latency).collect();
        latencies.sort();
        latencies
    }

    fn failures(&self) -> impl Iterator<Item = (&JobReport, &ClientError)> {
        self.jobs.iter().filter_map(|job| job.outcome.as_ref().err().map(|error| (job, error)))
    }

    /// The code of the first job that did not succeed.
    fn exit_code(&self) -> ExitCode {
        if self.failures().next().is_some() {
            return ExitCode::FAILURE;
        }
        let unsuccessful = self.completed().map(|completed| &completed.result).find(|result| !is_success(result));
        unsuccessful.map_or(ExitCode::SUCCESS, show::exit_code)
    }

    /// A line of JSON for each job.
    pub(crate) fn print_json(&self) {
        for job in &self.jobs {
            let mut value = match &job.outcome {
                Ok(completed) => show::result(&completed.result),
                Err(error) => json!({"job": job.job.to_string(), "error": chain(error)}),
            };
            value["event"] = json!("done");
            value["seconds"] = json!(job.latency.as_secs_f64());
            show::print(value);
        }
    }

    /// What people want to know.
    fn print_text(&self, out: &Path) {
        for (job, error) in self.failures() {
            show::print(format_args!("job {} has no result: {}", job.job.short(), chain(error)));
        }
        for completed in self.completed().filter(|completed| !is_success(&completed.result)) {
            show::print(format_args!("job {}: {}", completed.job.short(), show::status(&completed.result)));
        }
        show::print(self.summary());
        for (node, (votes, against)) in self.votes() {
            let verdict = if against == 0 { String::new() } else { format!(", {against} against the majority") };
            show::print(format_args!("  node {node}: {votes} vote(s){verdict}"));
        }
        show::print(format_args!(
            "output in {}, receipts in {}",
            out.join("output").display(),
            out.join("receipts").display()
        ));
    }

    /// Two lines: how much, and how fast.
    pub(crate) fn summary(&self) -> String {
        let done = self.completed().count();
        let items: u64 = self.completed().map(|completed| completed.result.item_count).sum();
        let fuel: u64 = self.completed().map(|completed| completed.result.fuel_used).sum();
        let latencies = self.latencies();
        let at = |percent| show::duration(show::percentile(&latencies, percent));
        format!(
            "{done} of {} jobs agreed: {} items, {} fuel, in {}\nlatency of a job: p50 {}, p90 {}, p99 {}",
            self.jobs.len(),
            show::grouped(items),
            show::grouped(fuel),
            show::duration(self.elapsed),
            at(50),
            at(90),
            at(99),
        )
    }
}

fn is_success(result: &ResultCore) -> bool {
    result.status == depx_protocol::Status::Success
}

/// The directory that a submission fills: `output`, `files/`, `receipts/`, and `items/` and `blobs/` for replaying.
struct Output {
    directory: PathBuf,
}

impl Output {
    fn create(directory: &Path) -> Result<Self> {
        for name in ["receipts", "blobs"] {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).with_context(|| format!("cannot make directory {}", path.display()))?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    fn keep_blobs(&self, blobs: &HashMap<Hash, bytes::Bytes>) -> Result<()> {
        for (hash, content) in blobs {
            let path = self.directory.join("blobs").join(hash.to_string());
            if !path.exists() {
                std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn keep_results(&self, report: &Report, ports: Option<&Ports>) -> Result<()> {
        let mut text = Vec::new();
        let mut item_number = 0;
        for completed in report.completed() {
            for item in &completed.output.items {
                let tensors = ports.map(|ports| ports.files(&item.stdout));
                if tensors.is_none() {
                    text.extend_from_slice(&item.stdout);
                }
                for file in tensors.as_ref().unwrap_or(&item.files) {
                    let path = self.directory.join(format!("files/{item_number:06}")).join(&file.path);
                    write(&path, &file.content)?;
                }
                item_number += 1;
            }
            let leaves = completed.output.items.iter().map(|item| item.leaf.to_bytes());
            let leaves = ItemPack::new(leaves).to_bytes();
            write(&self.directory.join("items").join(completed.job.short()), &leaves)?;
            for receipt in &completed.receipts {
                write(
                    &receipt_path(&self.directory, completed.job, receipt.receipt.body.executor),
                    &receipt.to_bytes(),
                )?;
            }
        }
        write(&self.directory.join("output"), &text)
    }
}

/// Where a submission keeps one receipt.
pub(crate) fn receipt_path(out: &Path, job: Hash, executor: Address) -> PathBuf {
    out.join("receipts").join(format!("{}-{}.receipt", job.short(), executor.short()))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make directory {}", parent.display()))?;
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
