//! The same job that does nothing, through a worker process.

use super::runtime;
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{median, take_turns, wall_time};
use crate::task::{self, ensure_success, job, noop};
use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use depx_protocol::{Blob, JobInput};
use depx_runtime::{
    Allocation, Cancel, EngineOptions, HostFault, Job, Optimize, Worker, WorkerLauncher, with_execution_stack,
};
use depx_worker::{ProcessLauncher, WorkerOptions};
use std::time::{Duration, Instant};

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "sandbox.noop_worker",
        unit: "µs",
        goal: Goal::AtMost(60.0),
        baseline: "the same job on a thread of this process, µs",
        method: "Wall time of a whole job that does nothing through a worker process with every layer of isolation that this machine has: \
                 sent, executed, checked, hashed; unsigned. Median of blocks of 200.",
    },
    Entry {
        name: "net.cancel",
        unit: "ms",
        goal: Goal::AtMost(10.0),
        baseline: "",
        method: "From cancelling a job that spins in a worker process until the slot is free for the next one. Median of several.",
    },
    Entry {
        name: "sandbox.worker_idle",
        unit: "MiB",
        goal: Goal::AtMost(40.0),
        baseline: "the supervisor's own, MiB",
        method: "Resident memory of a worker process that waits for its next job, after those of `sandbox.noop_worker`; without ONNX \
                 Runtime.",
    },
];

/// The argument with which this program starts itself as a worker.
pub(crate) const ARGUMENT: &str = "worker-process";
const BLOCK: usize = 200;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let wasm = noop()?;
    let local = runtime(None)?;
    let job = job(&local, &wasm, JobInput::Compute(Blob::of(b"")), &Bytes::new(), None)?;
    let launcher = ProcessLauncher::new(WorkerOptions {
        arguments: vec![ARGUMENT.into()],
        engine: EngineOptions {
            optimize: Optimize::Speed,
            allocation: Allocation::Pooling { slots: 2 },
            interpreter: false,
        },
        jobs_per_process: u32::MAX,
        allow_missing: true,
        ..WorkerOptions::new(std::env::current_exe().context("cannot tell where this program is")?)
    })?;
    let (mut worker, cancel) = (launcher.launch()?, Cancel::default());
    let mut through_worker = || block(|| ensure_success(&worker.run(&job, &cancel)?));
    let mut on_thread = || block(|| ensure_success(&local.run_job(&job, &cancel)?));
    let turns = with_execution_stack(|| take_turns(plan.turns(100, 30), [&mut through_worker, &mut on_thread]))?;
    let [process, thread] = [0, 1].map(|contender| turns.time(contender) * 1e6);
    let idle = children()?.into_iter().filter_map(resident).fold(0.0, f64::max);
    let own = resident(std::process::id()).context("cannot read this process's status")?;
    let spinning = task::job(&local, &task::spin()?, JobInput::Compute(Blob::of(b"")), &Bytes::new(), None)?;
    let cancelling = (0..plan.turns(20, 5)).map(|_| cancelled(&mut *launcher.launch()?, &spinning));
    let cancelling = median(cancelling.collect::<Result<Vec<_>>>()?) * 1e3;
    Ok(vec![
        ENTRIES[0].figure(process, Some(thread)),
        ENTRIES[1].figure(cancelling, None),
        ENTRIES[2].figure(idle, Some(own)),
    ])
}

/// Cancels a job that has spun for a while; gives how long that took, in seconds.
fn cancelled(worker: &mut dyn Worker, job: &Job) -> Result<f64> {
    let cancel = Cancel::default();
    let (ended, since) = std::thread::scope(|scope| {
        let cancelling = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            let now = Instant::now();
            cancel.cancel();
            now
        });
        let ended = worker.run(job, &cancel);
        let over = Instant::now();
        (ended, cancelling.join().map(|since| over - since))
    });
    ensure!(matches!(ended, Err(HostFault::Cancelled)), "the job was not cancelled: {ended:?}");
    Ok(since.map_err(|_| anyhow!("the thread that cancels panicked"))?.as_secs_f64())
}

/// Does `work` many times; gives how long one took, in seconds.
fn block(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    Ok(wall_time(|| (0..BLOCK).try_for_each(|_| work()))? / BLOCK as f64)
}

/// The processes that threads of this one have started.
fn children() -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task").context("cannot list this process's threads")? {
        let listed =
            std::fs::read_to_string(thread?.path().join("children")).context("cannot list this process's children")?;
        children.extend(listed.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(children)
}

/// Resident memory of a process in MiB.
fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some(kib.parse::<f64>().ok()? / 1024.0)
}
