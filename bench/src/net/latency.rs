//! How long one job takes that does nothing.

use super::{ECHO, JOBS, Server, Turn, race};
use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::median;
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "net.noop_p50",
        unit: "ratio",
        goal: Goal::AtMost(3.0),
        baseline: "p50 of the echo, µs",
        method: "p50 of the time from submitting a 1-of-1 job that does nothing, with 512 bytes of input that are known already, to its \
                 verified result, over the p50 of 512 bytes echoed by bare quinn on one stream each with the same transport \
                 configuration. One in flight; coordinator, node, client and echo in one process over loopback; blocks of 20 in turns.",
    },
    Entry {
        name: "net.noop_time",
        unit: "µs",
        goal: Goal::None,
        baseline: "p50 of the echo, µs",
        method: "The p50 of the job in `net.noop_p50`.",
    },
];

/// Requests one after another in one turn.
const BLOCK: usize = 20;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let turns = race::<OneByOne>(plan.turns(200, 50))?;
    let (job, echo) = (turns.time(JOBS) * 1e6, turns.time(ECHO) * 1e6);
    Ok(vec![ENTRIES[0].figure(turns.ratio(JOBS, ECHO), Some(echo)), ENTRIES[1].figure(job, Some(echo))])
}

/// [`BLOCK`] requests one after another; gives their median time.
struct OneByOne;

impl Turn for OneByOne {
    async fn take<S: Server>(server: Arc<S>) -> Result<f64> {
        let mut times = Vec::with_capacity(BLOCK);
        for _ in 0..BLOCK {
            let before = Instant::now();
            server.request().await?;
            times.push(before.elapsed().as_secs_f64());
        }
        Ok(median(times))
    }
}
