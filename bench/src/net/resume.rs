//! How soon work goes on after a path was cut.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::median;
use anyhow::{Context, Result};
use depx_client::JobEvent;
use depx_protocol::Consistency;
use depx_tests::{Behaviour, Relay, TestCoordinator, TestNode, echo_job, key};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::sleep;

pub(crate) const ENTRIES: &[Entry] = &[Entry {
    name: "net.resume",
    unit: "ms",
    goal: Goal::AtMost(1000.0),
    baseline: "",
    method: "From the moment at which the path between a node and its coordinator is restored, after a cut of 5 s, until the client has the \
             result of the job that the node executed meanwhile. All in one process, the path a relay over loopback. Median of several.",
}];

/// Nothing passes for so long.
const CUT: Duration = Duration::from_secs(5);

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let threads = threads.context("threads cannot be started")?;
    let times = (0..plan.turns(5, 2)).map(|_| threads.block_on(cut_off())).collect::<Result<Vec<_>>>()?;
    Ok(vec![ENTRIES[0].figure(median(times) * 1e3, None)])
}

async fn cut_off() -> Result<f64> {
    let coordinator = TestCoordinator::start_in_earnest();
    let relay = Relay::start(coordinator.address).await;
    let _node = TestNode::start(10, relay.address, Behaviour::Slow(2000)).await;
    let client = coordinator.client(key(2)).await;
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"hello");
    let (dispatched, accepted) = oneshot::channel::<()>();
    let mut dispatched = Some(dispatched);
    let submission = client.submit(spec, &blobs, |event| {
        if matches!(event, JobEvent::Dispatched { .. }) {
            drop(dispatched.take());
        }
    });
    let cut = async {
        drop(accepted.await);
        // It has the job's blobs.
        sleep(Duration::from_millis(500)).await;
        relay.cut(CUT).await;
        Instant::now()
    };
    let (completed, restored) = tokio::join!(submission, cut);
    completed?;
    Ok(restored.elapsed().as_secs_f64())
}
