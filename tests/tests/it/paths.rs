//! Paths that lose, delay and cut off, and what is left of jobs then.

use depx_client::{Client, Completed, JobEvent};
use depx_node::NodeEvent;
use depx_protocol::{Consistency, SecretKey};
use depx_tests::{Behaviour, Conditions, Relay, TestCoordinator, TestNode, echo_job, key};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

fn client() -> SecretKey {
    key(2)
}

/// Submits a job; tells when a node has it.
async fn submit(client: &Client, dispatched: oneshot::Sender<()>) -> Completed {
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"hello");
    let mut dispatched = Some(dispatched);
    let on_event = |event| match event {
        JobEvent::Dispatched { .. } => drop(dispatched.take().map(|dispatched| dispatched.send(()))),
        JobEvent::NoShow { detail, .. } => panic!("the lease is not given up: {detail}"),
        _ => {}
    };
    client.submit(spec, &blobs, on_event).await.expect("a result")
}

/// Cuts a node off while it executes; gives how long its result took once the path was back.
async fn cut_off(duration: Duration) -> (Duration, Vec<NodeEvent>) {
    let coordinator = TestCoordinator::start_in_earnest();
    let relay = Relay::start(coordinator.address).await;
    let mut node = TestNode::start(10, relay.address, Behaviour::Slow(2500)).await;
    let connected = coordinator.client(client()).await;
    // So that the node has the blobs of the next one.
    submit(&connected, oneshot::channel().0).await;
    let (dispatched, accepted) = oneshot::channel();
    let cut = async {
        accepted.await.expect("a node takes it");
        sleep(Duration::from_millis(200)).await;
        relay.cut(duration).await;
        Instant::now()
    };
    let (completed, back) = tokio::join!(submit(&connected, dispatched), cut);
    let took = back.elapsed();
    assert_eq!(completed.receipts.len(), 1);
    let body = &completed.receipts[0].receipt.body;
    assert_eq!((body.sequence, body.attempt), (1, 0), "it was executed once");
    (took, std::iter::from_fn(|| node.events.try_recv().ok()).collect())
}

#[tokio::test]
async fn after_a_cut_of_five_seconds_a_result_arrives_within_one() {
    let (took, events) = cut_off(Duration::from_secs(5)).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(
        !events.iter().any(|event| matches!(event, NodeEvent::Disconnected { .. })),
        "the connection holds: {events:?}"
    );
}

#[tokio::test]
async fn a_lease_survives_half_a_minute_without_a_path() {
    let (took, _) = cut_off(Duration::from_secs(30)).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn jobs_survive_loss_delay_and_disorder() {
    let coordinator = TestCoordinator::start_in_earnest();
    let (near, far) = (Relay::start(coordinator.address).await, Relay::start(coordinator.address).await);
    let _node = TestNode::start(10, near.address, Behaviour::Echo).await;
    let connected = Client::connect(far.address, coordinator.key.address(), client()).await.expect("it connects");
    for lost in [20, 100] {
        let bad = Conditions { lost, delay_ms: 100, jitter_ms: 30, ..Conditions::default() };
        near.set(bad);
        far.set(bad);
        let jobs = (0..20u8).map(|number| {
            let (spec, blobs) = echo_job(&client(), Consistency::Eventual, &[number; 2000]);
            let connected = &connected;
            async move { connected.submit(spec, &blobs, |_| ()).await.expect("a result") }
        });
        let all = async {
            for (number, job) in jobs.enumerate() {
                assert_eq!(job.await.output.items[0].stdout[0] as usize, number);
            }
        };
        timeout(Duration::from_secs(120), all).await.expect("in time");
    }
}

/// Sometimes longer than what journals take in.
fn input(number: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(if number.is_multiple_of(20) { 20_000 } else { 1 })
}

/// Cuts both paths again and again, sometimes for longer than a connection lasts without an answer.
#[tokio::test]
async fn no_job_is_lost_or_done_twice_while_paths_come_and_go() {
    const JOBS: usize = 600;
    let coordinator = TestCoordinator::start_in_earnest();
    let (near, far) = (Relay::start(coordinator.address).await, Relay::start(coordinator.address).await);
    let _nodes = [
        TestNode::start(10, near.address, Behaviour::Slow(20)).await,
        TestNode::start(11, coordinator.address, Behaviour::Slow(20)).await,
    ];
    let connected = Client::connect(far.address, coordinator.key.address(), client()).await.expect("it connects");
    let connected = Arc::new(connected);
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| {
            let connected = connected.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(number as u64 * 25)).await;
                let (spec, blobs) = echo_job(&client(), Consistency::Eventual, &input(number));
                connected.submit(spec, &blobs, |_| ()).await.expect("a result")
            })
        })
        .collect();
    let cutting = tokio::spawn(async move {
        for seconds in [0.3, 1.0, 2.0, 7.0, 0.2, 0.1] {
            let cut = Duration::from_secs_f64(seconds);
            tokio::join!(near.cut(cut), far.cut(cut));
            sleep(Duration::from_millis(700)).await;
        }
        (near, far)
    });
    let (mut leases, mut numbers) = (HashSet::new(), HashSet::new());
    for (number, job) in jobs.into_iter().enumerate() {
        let completed = timeout(Duration::from_secs(60), job).await.expect("in time").expect("no panic");
        assert_eq!(completed.output.items[0].stdout.as_slice(), input(number));
        for receipt in &completed.receipts {
            let body = &receipt.receipt.body;
            assert!(leases.insert(body.lease), "each lease has one receipt");
            assert!(numbers.insert((body.executor, body.sequence)), "each number is used once");
        }
    }
    assert_eq!(leases.len(), JOBS, "each job was done once");
    cutting.await.expect("no panic");
}
