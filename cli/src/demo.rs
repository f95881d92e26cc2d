//! `depx demo`: real images, a real model, a real network, and one node that lies.

use crate::devnet::Devnet;
use crate::input::{Blobs, PreparedJob, keep};
use crate::network::block_on;
use crate::submit::{self, Report, receipt_path};
use crate::{Global, identity, local, show};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_client::Client;
use depx_protocol::{
    Address, Canonical, Consistency, DeterminismClass, ItemPack, JobInput, JobSpec, Limits, ModelRef, Program,
    SecretKey, VERSION,
};
use depx_transport::{random, unix_ms};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// See a batch of images classified on a local network in which one node lies.
#[derive(clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to leave output and receipts
    #[arg(long, value_name = "DIR", default_value = "depx-demo")]
    out: PathBuf,
}

const MODULE: &[u8] = include_bytes!("../../guest-sdk/examples/digits/digits.wasm");
const MODEL: &[u8] = include_bytes!("../../models/zoo/digits/digits.onnx");
const IMAGES: &[u8] = include_bytes!("../../models/zoo/digits/heldout.images");
const LABELS: &str = include_str!("../../models/zoo/digits/heldout.labels");
/// Eight rows of eight pixels.
const IMAGE_BYTES: usize = 64;
const IMAGES_PER_JOB: usize = 30;
const NODES: usize = 4;
/// The model card promises as much.
const ACCURACY: f64 = 0.97;

pub(crate) fn demo(global: &Global, args: &DemoArgs) -> Result<ExitCode> {
    let started = Instant::now();
    let key = identity::load_or_make(&identity::default_path(global))?;
    // Better said now than by every node.
    drop(local::library(global)?);
    let data = tempfile::tempdir().context("cannot make a temporary directory")?;
    forget(&args.out).context("cannot remove the receipts of an earlier demo")?;
    let say = |text: String| {
        if !global.json {
            show::print(text);
        }
    };

    say(format!("Starting a coordinator and {NODES} nodes on this machine, the last of which lies."));
    let (network, report) = block_on(async {
        let network = Devnet::start(global, data.path(), NODES, 1).await?;
        for (number, node) in (1..).zip(&network.nodes) {
            say(format!("  node {number}  {}{}", node.address, if node.lies { "  (lies)" } else { "" }));
        }
        say(format!(
            "\nClassifying {} images of handwritten digits; two of three nodes must agree.",
            IMAGES.len() / IMAGE_BYTES
        ));
        let client = Client::connect(network.coordinator.resolve()?, network.coordinator.address, key.clone()).await?;
        let report = submit::run(global, client, jobs(&key), &args.out).await?;
        if global.json {
            report.print_json();
        }
        let nodes: Vec<(Address, bool)> = network.nodes.iter().map(|node| (node.address, node.lies)).collect();
        network.stop().await;
        Ok((nodes, report))
    })?;
    let liar =
        network.iter().find(|(_, lies)| *lies).map(|(address, _)| *address).context("no node was told to lie")?;
    say(vote_table(&network, &report));
    say(format!("\n{}", report.summary()));

    let agreed = report.completed().count() == report.jobs.len();
    ensure!(agreed, "not every job has a result; the reasons are in the output of `depx demo --json`");
    let (right, total) = accuracy(&report);
    let accuracy = right as f64 / total as f64;
    say(format!("accuracy against the labels: {right} of {total} ({:.1}%)", accuracy * 100.0));

    let caught: Vec<Address> =
        report.votes().iter().filter(|(_, (_, against))| *against > 0).map(|(node, _)| *node).collect();
    let lies = report.votes().get(&liar).map_or(0, |(_, against)| *against);
    say(format!("\nCAUGHT: node {liar} signed {lies} result(s) that the others contradict."));

    // One honest receipt and one of the liar's, for the same job.
    let disputed = report.completed().find(|completed| completed.dissenters == [liar]);
    let disputed = disputed.context("the liar was never outvoted")?;
    let executors = disputed.receipts.iter().map(|receipt| receipt.receipt.body.executor);
    let honest = executors.into_iter().find(|executor| *executor != liar).context("nobody contradicted the liar")?;
    let path_of = |executor| receipt_path(&args.out, disputed.job, executor);
    say("\nAnyone who has a receipt can check it, and execute the job again:".to_owned());
    let verified = depx(global, "verify", &path_of(honest))?;
    let same = depx(global, "replay", &path_of(honest))?;
    say("\nThe liar's receipt is signed just as well, and proves the lie:".to_owned());
    let signed = depx(global, "verify", &path_of(liar))?;
    let different = !depx(global, "replay", &path_of(liar))?;

    let receipts = report.completed().map(|completed| completed.receipts.len()).sum::<usize>();
    let directory = args.out.join("receipts");
    let elapsed = show::duration(started.elapsed());
    say(format!("\n{receipts} signed receipts are in {}; the demo took {elapsed}.", directory.display()));

    let held = [
        ("the liar, and nobody else, is caught", caught == [liar]),
        ("the accuracy is what the model card promises", accuracy >= ACCURACY),
        ("an honest receipt verifies", verified),
        ("an honest receipt replays to the same result", same),
        ("the liar's receipt verifies", signed),
        ("the liar's receipt replays to another result", different),
    ];
    if global.json {
        let held: serde_json::Map<_, _> = held.iter().map(|(what, held)| ((*what).to_owned(), json!(held))).collect();
        let liar = liar.to_string();
        show::print(json!({"event": "demo", "accuracy": accuracy, "liar": liar, "receipts": directory, "held": held}));
    }
    if let Some((what, _)) = held.iter().find(|(_, held)| !held) {
        bail!("the demo did not hold: not so that {what}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes the receipts of an earlier demo from `out`, and nothing else that may be there.
fn forget(out: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(out.join("receipts")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "receipt") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Runs this program on a receipt, as a user would. Gives whether it succeeded.
fn depx(global: &Global, command: &str, receipt: &Path) -> Result<bool> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut child = std::process::Command::new(program);
    child.arg(command).arg(receipt).arg("--home").arg(&global.home);
    if global.json {
        child.arg("--json");
    } else {
        show::print(format_args!("> depx {command} {}", receipt.display()));
    }
    Ok(child.status().with_context(|| format!("cannot run depx {command}"))?.success())
}

/// Each job's votes: a row per job, a column per node.
fn vote_table(nodes: &[(Address, bool)], report: &Report) -> String {
    let columns = (1..=nodes.len()).map(|n| format!("node {n:<8}"));
    let heading: String = std::iter::once(format!("{:<10}", "job")).chain(columns).collect();
    let mut rows = vec![heading.trim_end().to_owned()];
    for completed in report.completed() {
        let result = completed.result.hash();
        let mut row = format!("{:<10}", completed.job.short());
        for (node, _) in nodes {
            let vote =
                completed.receipts.iter().map(|receipt| &receipt.receipt.body).find(|body| body.executor == *node);
            let cell = match vote {
                None => "-".to_owned(),
                Some(body) if body.result == result => body.result.short(),
                Some(body) => format!("{} LIE", body.result.short()),
            };
            row.push_str(&format!("{cell:<13}"));
        }
        rows.push(row.trim_end().to_owned());
    }
    rows.join("\n")
}

/// How many labels were found, of how many.
fn accuracy(report: &Report) -> (usize, usize) {
    let answers = report.completed().flat_map(|completed| &completed.output.items).map(|item| item.stdout.trim_ascii());
    let right = answers.zip(LABELS.lines()).filter(|(answer, label)| *answer == label.as_bytes()).count();
    (right, LABELS.lines().count())
}

fn jobs(key: &SecretKey) -> Vec<PreparedJob> {
    let images: Vec<&[u8]> = IMAGES.chunks(IMAGE_BYTES).collect();
    let job = |images: &[&[u8]]| {
        let mut blobs = Blobs::new();
        let module = keep(&mut blobs, Bytes::from_static(MODULE));
        let model = keep(&mut blobs, Bytes::from_static(MODEL));
        let pack = keep(&mut blobs, ItemPack::new(images.iter().copied()).to_bytes().into());
        let spec = JobSpec {
            version: VERSION,
            client: key.address(),
            nonce: random(),
            created_ms: unix_ms(),
            program: Program::Command(module),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            models: vec![ModelRef { name: "digits".to_owned(), blob: model }],
            input: JobInput::Batch { pack, items: images.len() as u64 },
            class: DeterminismClass::Pinned,
            consistency: Consistency::Session,
            limits: Limits::DEFAULT,
        };
        PreparedJob { spec, blobs, ports: None }
    };
    images.chunks(IMAGES_PER_JOB).map(job).collect()
}
