//! `depx run`.

use crate::input::{JobArgs, PreparedJob};
use crate::local::{self, EngineArgs};
use crate::{Global, identity, show};
use anyhow::{Context, Result};
use depx_protocol::receipt::commitment;
use depx_protocol::{
    Assignment, Canonical, Consistency, Hash, LeaseId, ReceiptBody, ReceiptBundle, SecretKey, Settlement,
    SignedAssignment, SignedJobSpec, VERSION, sign_batch,
};
use depx_runtime::{Cancel, Job, JobResult};
use depx_transport::{random, unix_ms};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Run a WASI command exactly as a node would.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Write a receipt, signed with the key of this machine
    #[arg(long, value_name = "OUT")]
    receipt: Option<PathBuf>,
    /// Write the files that it made under /out into a directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Tell fuel, memory, time and result hash on standard error
    #[arg(long)]
    stats: bool,
}

pub(crate) fn run(global: &Global, args: RunArgs) -> Result<ExitCode> {
    let key = identity::load_or_make(&identity::default_path(global))?;
    let jobs = args.job.prepare(key.address(), Consistency::Eventual, usize::MAX)?;
    let Some(PreparedJob { spec, blobs }) = jobs.into_iter().next() else {
        unreachable!("an unlimited chunk holds every item")
    };
    let runtime = args.engine.runtime(global, args.job.has_models())?;
    let profile = local::profile(&runtime, spec.class)?;
    let signed = SignedJobSpec::sign(spec, &key);
    let job = Job { id: signed.verify()?, spec: signed.spec.clone(), profile, blobs };

    let (started_ms, started) = (unix_ms(), Instant::now());
    let result = runtime.run_job(&job, &Cancel::default())?;
    let elapsed = started.elapsed();

    if let Some(path) = &args.receipt {
        let bundle = local_receipt(signed, &result, profile, &key, started_ms);
        std::fs::write(path, bundle.to_bytes()).with_context(|| format!("cannot write receipt {}", path.display()))?;
    }
    if let Some(directory) = &args.out {
        write_files(directory, &result)?;
    }
    let core = &result.core;
    if global.json {
        let items = result.output.items.iter().zip(&result.logs).map(|(item, log)| {
            json!({"status": format!("{:?}", item.leaf.status), "code": item.leaf.code, "fuel_used": item.leaf.fuel_used,
                "stdout": show::guest_bytes(&item.stdout), "stderr": show::guest_bytes(log)})
        });
        let mut value = show::result(core);
        value["output"] = items.collect();
        value["seconds"] = json!(elapsed.as_secs_f64());
        println!("{value}");
    } else {
        let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
        for (item, log) in result.output.items.iter().zip(&result.logs) {
            // A reader that has enough of it is no failure of the job.
            let _ = stderr.write_all(log).and_then(|()| stdout.write_all(&item.stdout));
        }
        let _ = stdout.flush();
        if args.stats || !matches!(core.status, depx_protocol::Status::Success | depx_protocol::Status::ExitCode) {
            let detail = result.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            let _ = writeln!(stderr, "depx: {}{detail}", show::status(core));
        }
        if args.stats {
            let _ = writeln!(
                stderr,
                "depx: {} item(s), {} fuel, {} KiB of memory, {}\ndepx: result {}",
                core.item_count,
                show::grouped(core.fuel_used),
                show::grouped(u64::from(core.peak_memory_pages) * 64),
                show::duration(elapsed),
                core.hash(),
            );
        }
    }
    Ok(show::exit_code(core))
}

/// A receipt in which one party plays all roles: what was executed is as checkable as ever, that others agree is not claimed.
fn local_receipt(
    job: SignedJobSpec,
    result: &JobResult,
    profile: Hash,
    key: &SecretKey,
    started_ms: u64,
) -> ReceiptBundle {
    let (id, me, settlement) = (result.core.job, key.address(), Settlement::default());
    let assignment = Assignment {
        version: VERSION,
        job: id,
        lease: LeaseId(random()),
        attempt: 0,
        coordinator: me,
        executor: me,
        profile,
        issued_ms: started_ms,
        expires_ms: started_ms,
        settlement,
    };
    let (salt, hash) = (random(), result.core.hash());
    let body = ReceiptBody {
        version: VERSION,
        result: hash,
        job: id,
        lease: assignment.lease,
        attempt: 0,
        executor: me,
        session_key: Hash::ZERO,
        commit: commitment(&id, &assignment.lease, &me, &hash, &salt),
        sequence: 0,
        previous: Hash::ZERO,
        started_ms,
        finished_ms: unix_ms().max(started_ms),
        evidence: Vec::new(),
    };
    let Some(receipt) = sign_batch(vec![body], &settlement, key).pop() else {
        unreachable!("one body gives one receipt")
    };
    ReceiptBundle {
        job,
        assignment: SignedAssignment::sign(assignment, key),
        result: result.core.clone(),
        salt,
        receipt,
    }
}

/// Writes each item's files below `directory`, those of a batch in a directory per item.
fn write_files(directory: &std::path::Path, result: &JobResult) -> Result<()> {
    for item in &result.output.items {
        let base = match result.output.items.len() {
            1 => directory.to_owned(),
            _ => directory.join(format!("{:06}", item.leaf.index)),
        };
        for file in &item.files {
            // Guests' paths come from an in-memory tree: without a root, `..` or empty parts.
            let path = base.join(&file.path);
            let parent = path.parent().unwrap_or(&base);
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make directory {}", parent.display()))?;
            std::fs::write(&path, &*file.content).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}
