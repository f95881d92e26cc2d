//! How many jobs go through that do nothing.

use super::{ECHO, JOBS, Server, Turn, race};
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::process_time;
use anyhow::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "net.noop_throughput",
        unit: "ratio",
        goal: Goal::AtLeast(0.15),
        baseline: "echoes per second",
        method: "The jobs of `net.noop_p50` per second over its echoes per second, 256 in flight, in turns of one second.",
    },
    Entry {
        name: "net.jobs",
        unit: "jobs/s",
        goal: Goal::AtLeast(15_000.0),
        baseline: "echoes per second",
        method: "The jobs of `net.noop_throughput` per second: coordinator, node and client on the cores of this machine, every signature \
                 made and checked, the receipt chain stored.",
    },
    Entry {
        name: "net.job_processor",
        unit: "µs",
        goal: Goal::None,
        baseline: "the same of an echo, µs",
        method: "Processor time, of all threads and the kernel's work for them, per job of `net.noop_throughput`.",
    },
];

const IN_FLIGHT: usize = 256;
/// How long each turn takes.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let turns = race::<Elapsed>(plan.turns(15, 5))?;
    let (jobs, echoes) = (1.0 / turns.time(JOBS), 1.0 / turns.time(ECHO));
    let processor = race::<Processor>(plan.turns(7, 2))?;
    Ok(vec![
        // Throughputs are to each other as times are the other way round.
        ENTRIES[0].figure(turns.ratio(ECHO, JOBS), Some(echoes)),
        ENTRIES[1].figure(jobs, Some(echoes)),
        ENTRIES[2].figure(processor.time(JOBS) * 1e6, Some(processor.time(ECHO) * 1e6)),
    ])
}

/// A flood; gives the time divided by the number of requests.
struct Elapsed;

/// A flood; gives the processor time of the whole process divided by the number of requests.
struct Processor;

impl Turn for Elapsed {
    async fn take<S: Server>(server: Arc<S>) -> Result<f64> {
        let before = Instant::now();
        let done = flood(server).await?;
        Ok(before.elapsed().as_secs_f64() / done)
    }
}

impl Turn for Processor {
    async fn take<S: Server>(server: Arc<S>) -> Result<f64> {
        let before = process_time();
        let done = flood(server).await?;
        Ok((process_time() - before) / done)
    }
}

/// Keeps [`IN_FLIGHT`] requests going for as long as [`TURN`]; gives how many were answered.
async fn flood<S: Server>(server: Arc<S>) -> Result<f64> {
    let started = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let server = server.clone();
        lanes.spawn(async move {
            let mut done = 0.0;
            while started.elapsed() < TURN {
                server.request().await?;
                done += 1.0;
            }
            anyhow::Ok(done)
        });
    }
    let mut done = 0.0;
    while let Some(lane) = lanes.join_next().await {
        done += lane??;
    }
    Ok(done)
}
