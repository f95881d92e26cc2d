//! Jobs through a coordinator and nodes, over real QUIC.

use depx_client::{Client, Completed, JobEvent};
use depx_coordinator::CoordinatorEvent;
use depx_node::{InjectedFault, Node, NodeConfig, NodeEvent};
use depx_protocol::{Address, Consistency, Limits, SecretKey};
use depx_tests::{Behaviour, PATIENCE, StandIn, TestCoordinator, TestNode, chain, echo_job, key};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

async fn network(behaviours: &[Behaviour]) -> (TestCoordinator, Vec<TestNode>) {
    let coordinator = TestCoordinator::start();
    let mut nodes = Vec::new();
    for (number, behaviour) in (10..).zip(behaviours) {
        nodes.push(TestNode::start(number, coordinator.address, *behaviour).await);
    }
    (coordinator, nodes)
}

fn client() -> SecretKey {
    key(2)
}

/// Runs one job on some nodes, while others `join` them after the first vote, so that it is certain who is asked first.
async fn run<J>(
    coordinator: &TestCoordinator,
    consistency: Consistency,
    join: impl Future<Output = J>,
) -> (Completed, J) {
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), consistency, b"hello");
    let (voted, first_vote) = tokio::sync::oneshot::channel::<()>();
    let mut voted = Some(voted);
    let submission = connected.submit(spec, &blobs, |event| {
        if matches!(event, JobEvent::Vote(_)) {
            drop(voted.take());
        }
    });
    let joined = async {
        drop(first_vote.await);
        join.await
    };
    let (completed, joined) = timeout(PATIENCE, async { tokio::join!(submission, joined) }).await.expect("in time");
    (completed.expect("a result"), joined)
}

/// Runs one job on `behaviours`, and on `late` nodes that join after the first vote; checks output, number of receipts and
/// dissenters.
async fn check(
    behaviours: &[Behaviour],
    late: &[Behaviour],
    consistency: Consistency,
    votes: usize,
    dissenters: &[u8],
) {
    let (coordinator, _nodes) = network(behaviours).await;
    let join = async {
        let mut nodes = Vec::new();
        for (number, behaviour) in (10..).skip(behaviours.len()).zip(late) {
            nodes.push(TestNode::start(number, coordinator.address, *behaviour).await);
        }
        nodes
    };
    let (completed, _late) = run(&coordinator, consistency, join).await;
    assert_eq!(completed.output.items[0].stdout.as_slice(), b"hello");
    assert_eq!(completed.receipts.len(), votes, "{behaviours:?}");
    let expected: BTreeSet<Address> = dissenters.iter().map(|number| key(*number).address()).collect();
    assert_eq!(completed.dissenters.iter().copied().collect::<BTreeSet<_>>(), expected);
    let executors: BTreeSet<_> = completed.receipts.iter().map(|receipt| receipt.receipt.body.executor).collect();
    assert_eq!(executors.len(), votes, "every vote is by another node");
}

use Behaviour::{Append, Echo, Fail, Hang, Panic, Slow};

#[tokio::test]
async fn eventual_takes_one_vote() {
    check(&[Echo, Echo, Echo], &[], Consistency::Eventual, 1, &[]).await;
}

#[tokio::test]
async fn session_takes_two_equal_votes_and_no_third() {
    check(&[Echo, Echo, Echo, Echo], &[], Consistency::Session, 2, &[]).await;
}

#[tokio::test]
async fn session_outvotes_a_liar() {
    check(&[Append(1), Echo], &[Echo], Consistency::Session, 3, &[10]).await;
}

#[tokio::test]
async fn strong_outvotes_two_liars() {
    check(&[Append(1), Append(2), Echo, Echo, Echo], &[Echo, Echo], Consistency::Strong, 7, &[10, 11]).await;
}

#[tokio::test]
async fn nodes_that_fail_or_panic_are_replaced() {
    check(&[Fail, Panic, Echo, Echo], &[], Consistency::Session, 2, &[]).await;
}

#[tokio::test]
async fn without_a_majority_there_is_no_result() {
    let (mut coordinator, _nodes) = network(&[Append(1), Append(2), Append(3)]).await;
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Session, b"hello");
    let error = timeout(PATIENCE, connected.submit(spec, &blobs, |_| ())).await.expect("in time").unwrap_err();
    assert!(chain(&error).contains("no result has a majority; 3 voted"), "{}", chain(&error));
    let reason = coordinator
        .event(|event| if let CoordinatorEvent::Failed { reason, .. } = event { Some(reason) } else { None });
    assert!(reason.await.contains("majority"));
}

#[tokio::test]
async fn an_injected_fault_is_caught_and_named() {
    let coordinator = TestCoordinator::start();
    let lie = Some(InjectedFault::WrongOutput);
    let mut liar = TestNode::start_with(10, coordinator.address, Echo, |config| config.fault = lie);
    liar.event(|event| matches!(event, NodeEvent::Connected { .. }).then_some(())).await;
    let _honest = TestNode::start(11, coordinator.address, Echo).await;
    let late = TestNode::start(12, coordinator.address, Echo);
    let (completed, _late) = run(&coordinator, Consistency::Session, late).await;
    assert_eq!(completed.output.items[0].stdout.as_slice(), b"hello");
    assert_eq!(completed.dissenters, [key(10).address()]);
}

#[tokio::test]
async fn a_job_waits_for_nodes() {
    let coordinator = TestCoordinator::start();
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Session, b"patience");
    let address = coordinator.address;
    let nodes = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let first = TestNode::start(10, address, Echo).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        (first, TestNode::start(11, address, Echo).await)
    };
    let (completed, _nodes) = tokio::join!(connected.submit(spec, &blobs, |_| ()), nodes);
    assert_eq!(completed.expect("a result").receipts.len(), 2);
}

#[tokio::test]
async fn many_jobs_at_once_chain_their_receipts_without_gaps() {
    const JOBS: usize = 200;
    let (coordinator, _nodes) = network(&[Echo]).await;
    let connected = std::sync::Arc::new(coordinator.client(client()).await);
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| {
            let connected = connected.clone();
            let (spec, blobs) = echo_job(&client(), Consistency::Eventual, &number.to_be_bytes());
            tokio::spawn(async move { connected.submit(spec, &blobs, |_| ()).await.expect("a result") })
        })
        .collect();
    let mut bodies = Vec::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let completed = timeout(PATIENCE, job).await.expect("in time").expect("no panic");
        assert_eq!(completed.output.items[0].stdout.as_slice(), number.to_be_bytes());
        bodies.push(completed.receipts[0].receipt.body.clone());
    }
    bodies.sort_by_key(|body| body.sequence);
    assert!(bodies.iter().map(|body| body.sequence).eq(0..JOBS as u64), "numbers without gaps");
    assert!(bodies.windows(2).all(|pair| pair[1].previous == pair[0].hash()), "each names the one before");
}

#[tokio::test]
async fn nodes_come_back_after_the_coordinator_does() {
    let (coordinator, mut nodes) = network(&[Echo]).await;
    let address = coordinator.address;
    coordinator.stop().await;
    nodes[0].event(|event| matches!(event, NodeEvent::Disconnected { .. }).then_some(())).await;
    let coordinator = TestCoordinator::start_at(address);
    nodes[0].event(|event| matches!(event, NodeEvent::Connected { .. }).then_some(())).await;
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"again");
    connected.submit(spec, &blobs, |_| ()).await.expect("a result");
}

#[tokio::test]
async fn a_node_serves_several_coordinators_and_goes_on_without_one_that_is_not_itself() {
    let (first, second, third) = (TestCoordinator::start(), TestCoordinator::start_as(4), TestCoordinator::start_as(5));
    let named = [&first, &second].map(|coordinator| (coordinator.address, coordinator.key.address()));
    // Somebody else answers there.
    let wrong = (third.address, key(6).address());
    let choose = |config: &mut NodeConfig| config.coordinators = named.into_iter().chain([wrong]).collect();
    let mut node = TestNode::start_with(10, first.address, Echo, choose);
    let (mut connected, mut rejected) = (BTreeSet::new(), None);
    while connected.len() < 2 || rejected.is_none() {
        match node.event(Some).await {
            NodeEvent::Connected { coordinator } => {
                connected.insert(coordinator);
            }
            NodeEvent::Rejected { coordinator, reason } => rejected = Some((coordinator, reason)),
            _ => {}
        }
    }
    let (coordinator, reason) = rejected.expect("one is");
    assert_eq!(coordinator, wrong.1);
    assert!(reason.contains("answers instead of"), "{reason}");
    for coordinator in [&first, &second] {
        let connected = Client::connect(coordinator.address, coordinator.key.address(), client()).await;
        let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"hello");
        let completed = connected.expect("it connects").submit(spec, &blobs, |_| ()).await.expect("a result");
        assert_eq!(completed.receipts[0].assignment.assignment.coordinator, coordinator.key.address());
    }
    node.stop().await.expect("it stops cleanly");
}

#[tokio::test]
async fn a_node_without_coordinators_or_with_one_twice_does_not_start() {
    let data = tempfile::tempdir().expect("a directory");
    let named = (([127, 0, 0, 1], 1).into(), key(1).address());
    for coordinators in [Vec::new(), vec![named, named]] {
        let config = NodeConfig {
            data: data.path().to_owned(),
            blob_quota: 1 << 30,
            coordinators,
            slots: 1,
            limits: Limits::DEFAULT,
            fault: None,
        };
        let error = Node::new(config, key(10), StandIn(Echo), Vec::new(), |_| ()).err().expect("it does not start");
        assert!(error.to_string().contains("each coordinator once"), "{error}");
    }
}

#[tokio::test]
async fn a_job_that_is_submitted_again_while_it_runs_is_the_same_job() {
    let (coordinator, _nodes) = network(&[Slow(500)]).await;
    let (first, second) = (coordinator.client(client()).await, coordinator.client(client()).await);
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"once");
    let again = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        second.submit(spec.clone(), &blobs, |_| ()).await
    };
    let (one, other) = tokio::join!(first.submit(spec.clone(), &blobs, |_| ()), again);
    let (one, other) = (one.expect("a result"), other.expect("a result"));
    assert_eq!(one.receipts, other.receipts, "it was executed once");
    assert_eq!(one.receipts[0].receipt.body.sequence, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_job() {
    let (coordinator, mut nodes) = network(&[Hang]).await;
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"never mind");
    let submission = connected.submit(spec, &blobs, |_| ());
    assert!(timeout(Duration::from_millis(500), submission).await.is_err(), "the job hangs");
    assert!(nodes[0].abandoned().await.contains("cancelled"));
}

#[tokio::test]
async fn a_job_over_the_operators_limits_is_refused_with_the_limit() {
    let coordinator = TestCoordinator::start();
    let limits = Limits { fuel: 1000, ..Limits::DEFAULT };
    let mut node = TestNode::start_with(10, coordinator.address, Echo, |config| config.limits = limits);
    node.event(|event| matches!(event, NodeEvent::Connected { .. }).then_some(())).await;
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"too much");
    let submission = connected.submit(spec, &blobs, |_| ());
    tokio::select! {
        _ = submission => panic!("nobody may execute it"),
        reason = node.abandoned() => assert!(reason.contains("fuel, this node allows 1000"), "{reason}"),
    }
}

#[tokio::test]
async fn a_node_that_stops_finishes_what_it_accepted() {
    let coordinator = TestCoordinator::start();
    let node = TestNode::start(10, coordinator.address, Slow(300)).await;
    let connected = coordinator.client(client()).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, b"last words");
    let (dispatched, accepted) = tokio::sync::oneshot::channel::<()>();
    let mut dispatched = Some(dispatched);
    let submission = connected.submit(spec, &blobs, |event| {
        if matches!(event, JobEvent::Dispatched { .. }) {
            drop(dispatched.take());
        }
    });
    let (completed, stopped) = tokio::join!(submission, async {
        drop(accepted.await);
        node.stop().await
    });
    completed.expect("the accepted job has a result");
    stopped.expect("the node stops cleanly");
}

#[tokio::test]
async fn a_node_mends_what_its_disk_has_damaged() {
    let (coordinator, mut nodes) = network(&[Echo]).await;
    let connected = coordinator.client(client()).await;
    let input: Vec<u8> = (0..3 << 18).flat_map(u32::to_le_bytes).collect();
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, &input);
    let hash = spec.input.blob().hash;
    let completed =
        timeout(PATIENCE, connected.submit(spec, &blobs, |_| ())).await.expect("in time").expect("a result");
    assert_eq!(completed.output.items[0].stdout[..], input);

    // The same node again, which has forgotten what it had in memory.
    let data = nodes.pop().expect("it runs").stop_and_keep().await.expect("it stops cleanly");
    let path = data.path().join("blobs").join(hash.to_string());
    let mut bytes = std::fs::read(&path).expect("it is kept");
    assert_eq!(bytes, input);
    bytes[1 << 20] ^= 1;
    std::fs::write(&path, bytes).expect("it is written");
    let mut node = TestNode::start_in(data, 10, coordinator.address, Echo, |_| ());
    node.event(|event| matches!(event, NodeEvent::Connected { .. }).then_some(())).await;
    let (spec, blobs) = echo_job(&client(), Consistency::Eventual, &input);
    let completed =
        timeout(PATIENCE, connected.submit(spec, &blobs, |_| ())).await.expect("in time").expect("a result");
    assert_eq!(completed.output.items[0].stdout[..], input);
    assert_eq!(std::fs::read(&path).expect("it is kept"), input);
}
