//! Peers that break the rules: each is refused with a sentence, and whoever refused goes on.

use bytes::Bytes;
use depx_client::ClientError;
use depx_coordinator::CoordinatorEvent;
use depx_node::NodeEvent;
use depx_protocol::wire::{
    ALPN_CLIENT, ALPN_NODE, BlobReply, ClientEvent, GetBlob, Hello, LeaseMessage, MAX_FRAME, Offer, RefuseReason,
};
use depx_protocol::{
    Address, Assignment, Blob, ChannelProof, Consistency, DeterminismClass, JobInput, LeaseId, Role, SecretKey,
    Settlement, SignedAssignment, SignedJobSpec, VERSION,
};
use depx_tests::{Behaviour, PATIENCE, PROFILE, TestCoordinator, TestNode, chain, echo_job, key};
use depx_transport::{
    Guest, client_endpoint, dial, greet, random, read_frame, server_endpoint, unix_ms, write_bytes, write_frame,
};
use quinn::{Connection, Endpoint};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// A coordinator that does whatever a test makes it do.
struct Puppeteer {
    endpoint: Endpoint,
    address: SocketAddr,
}

impl Puppeteer {
    fn start() -> Self {
        let (endpoint, _) =
            server_endpoint(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[ALPN_NODE], &key(1)).expect("it binds");
        let address = endpoint.local_addr().expect("it has an address");
        Self { endpoint, address }
    }

    /// Welcomes the next node.
    async fn welcome(&self) -> Guest {
        let incoming = timeout(PATIENCE, self.endpoint.accept()).await.expect("in time").expect("it is open");
        let connection = incoming.await.expect("the handshake succeeds");
        greet(connection, &key(1), Duration::from_secs(1)).await.expect("the node greets")
    }

    /// Starts a node and welcomes it.
    async fn node(&self, behaviour: Behaviour) -> (TestNode, Guest) {
        let (node, guest) = tokio::join!(TestNode::start(10, self.address, behaviour), self.welcome());
        (node, guest)
    }
}

fn job() -> (SignedJobSpec, HashMap<depx_protocol::Hash, Bytes>) {
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    (SignedJobSpec::sign(spec, &key(2)), blobs)
}

fn assignment(job: &SignedJobSpec) -> Assignment {
    let now_ms = unix_ms();
    Assignment {
        version: VERSION,
        job: job.spec.id(),
        lease: LeaseId(random()),
        attempt: 0,
        coordinator: key(1).address(),
        executor: key(10).address(),
        profile: PROFILE,
        issued_ms: now_ms,
        expires_ms: now_ms + 10_000,
        settlement: Settlement::default(),
    }
}

/// Makes an offer and gives the node's answer.
async fn answer(connection: &Connection, offer: &Offer) -> LeaseMessage {
    let (mut send, mut receive) = connection.open_bi().await.expect("the connection is there");
    write_frame(&mut send, offer).await.expect("the node reads");
    timeout(PATIENCE, read_frame(&mut receive)).await.expect("in time").expect("the node answers")
}

#[tokio::test]
async fn a_node_refuses_bad_assignments_and_takes_the_next_good_one() {
    let puppeteer = Puppeteer::start();
    let (mut node, guest) = puppeteer.node(Behaviour::Echo).await;
    let (good_job, _) = job();
    let good = assignment(&good_job);
    let sign = |assignment: &Assignment| SignedAssignment::sign(assignment.clone(), &key(1));
    let forged = |assignment: &Assignment| {
        let signature =
            SignedAssignment::sign(Assignment { coordinator: key(3).address(), ..assignment.clone() }, &key(3))
                .signature;
        SignedAssignment { assignment: assignment.clone(), signature }
    };
    let mut unsigned_job = good_job.clone();
    unsigned_job.spec.args.push("more".to_owned());
    let by_another = Assignment { coordinator: key(3).address(), ..good.clone() };

    use RefuseReason::{Invalid, Unsupported};
    let cases = [
        ("forged", good_job.clone(), forged(&good), Invalid, "not signed by the coordinator"),
        ("altered job", unsigned_job, sign(&good), Invalid, "signature does not match its client"),
        (
            "another coordinator's",
            good_job.clone(),
            SignedAssignment::sign(by_another, &key(3)),
            Invalid,
            "is connected",
        ),
        (
            "for another node",
            good_job.clone(),
            sign(&Assignment { executor: Address([9; 20]), ..good.clone() }),
            Invalid,
            "not for this node",
        ),
        (
            "for another job",
            good_job.clone(),
            sign(&Assignment { job: PROFILE, ..good.clone() }),
            Invalid,
            "another job",
        ),
        (
            "expired",
            good_job.clone(),
            sign(&Assignment { issued_ms: good.issued_ms - 9, expires_ms: good.issued_ms - 1, ..good.clone() }),
            Invalid,
            "clocks",
        ),
        (
            "of another version",
            good_job.clone(),
            sign(&Assignment { version: 9, ..good.clone() }),
            Invalid,
            "version 9",
        ),
        (
            "of another profile",
            good_job.clone(),
            sign(&Assignment { profile: good.job, ..good.clone() }),
            Unsupported,
            "does not offer profile",
        ),
    ];
    for (name, job, assignment, expected, sentence) in cases {
        match answer(&guest.connection, &Offer { job, assignment }).await {
            LeaseMessage::Refuse { reason, detail } => {
                assert_eq!(reason, expected, "{name}: {detail}");
                assert!(detail.contains(sentence), "{name}: {detail}");
            }
            other => panic!("{name}: the node said {other:?}"),
        }
    }
    let offer = Offer { job: good_job, assignment: sign(&good) };
    let (mut send, mut receive) = guest.connection.open_bi().await.expect("the connection is there");
    write_frame(&mut send, &offer).await.expect("the node reads");
    assert_eq!(read_frame::<LeaseMessage>(&mut receive).await.expect("an answer"), LeaseMessage::Accept);
    send.reset(1u32.into()).expect("it is open");
    // The refusals come first.
    while !node.abandoned().await.contains("cancelled") {}
    let LeaseMessage::Refuse { reason, detail } = answer(&guest.connection, &offer).await else {
        panic!("a replay is taken")
    };
    assert_eq!(reason, RefuseReason::Replayed, "{detail}");
}

#[tokio::test]
async fn a_node_survives_oversized_and_senseless_frames() {
    let puppeteer = Puppeteer::start();
    let (mut node, guest) = puppeteer.node(Behaviour::Echo).await;
    let too_long = u32::try_from(MAX_FRAME + 1).expect("it fits").to_be_bytes();
    let cases: [(&[u8], &str); 4] = [
        (&too_long, "is over the limit"),
        (&[0, 0, 0, 0], "a frame of no bytes"),
        (&[0, 0, 0, 5, 1, 2, 3, 4, 5], "something else than the message expected"),
        (&[0, 0, 0, 5, 1, 2], "ended the conversation early"),
    ];
    for (bytes, sentence) in cases {
        let (mut send, _receive) = guest.connection.open_bi().await.expect("the connection is there");
        write_bytes(&mut send, Bytes::copy_from_slice(bytes)).await.expect("it is sent");
        send.finish().expect("it is open");
        let reason = node.abandoned().await;
        assert!(reason.contains(sentence), "{reason}");
    }
    let (job, _) = job();
    let assignment = SignedAssignment::sign(assignment(&job), &key(1));
    assert_eq!(answer(&guest.connection, &Offer { job, assignment }).await, LeaseMessage::Accept);
}

#[tokio::test]
async fn a_blob_that_does_not_match_its_hash_costs_the_lease_and_nothing_else() {
    let puppeteer = Puppeteer::start();
    let (mut node, guest) = puppeteer.node(Behaviour::Echo).await;
    let (job, blobs) = job();
    let (forger, honest) = (guest.connection.clone(), blobs.clone());
    for (forge, sentence) in [(true, "does not match its hash"), (false, "")] {
        let give = async {
            loop {
                let (mut send, mut receive) = forger.accept_bi().await.expect("the node asks");
                let GetBlob { blob, .. } = read_frame(&mut receive).await.expect("it asks properly");
                let mut content = honest[&blob.hash].to_vec();
                if forge {
                    content[0] ^= 1;
                }
                write_frame(&mut send, &BlobReply::Found).await.expect("it reads");
                // A group alone is sent as it is.
                write_bytes(&mut send, content.into()).await.expect("it reads");
            }
        };
        let lease = async {
            let (mut send, mut receive) = guest.connection.open_bi().await.expect("the connection is there");
            let offer = Offer { job: job.clone(), assignment: SignedAssignment::sign(assignment(&job), &key(1)) };
            write_frame(&mut send, &offer).await.expect("the node reads");
            // A node that is quick does not say first that it accepts.
            match read_frame(&mut receive).await.expect("an answer") {
                LeaseMessage::Accept => read_frame(&mut receive).await.expect("an outcome"),
                outcome => outcome,
            }
        };
        let outcome = tokio::select! {
            outcome = timeout(PATIENCE, lease) => outcome.expect("in time"),
            () = give => unreachable!("it gives forever"),
        };
        match outcome {
            LeaseMessage::Failed { detail } if forge => {
                assert!(detail.contains(sentence), "{detail}");
                assert!(node.abandoned().await.contains(sentence));
            }
            LeaseMessage::Reveal(_) if !forge => {}
            other => panic!("forged {forge}: the node said {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_coordinator_does_not_take_a_blob_that_does_not_match_its_hash() {
    let coordinator = TestCoordinator::start();
    let _node = TestNode::start(10, coordinator.address, Behaviour::Echo).await;
    let (endpoint, _) = client_endpoint(ALPN_CLIENT).expect("it opens");
    let dialled = dial(&endpoint, coordinator.address, key(1).address(), &key(2), None).await.expect("it is let in");
    let (job, _) = job();
    let (mut send, mut receive) = dialled.connection.open_bi().await.expect("a stream");
    write_frame(&mut send, &job).await.expect("it is read");
    let forge = async {
        let mut asked = 0;
        while let Ok((mut send, mut receive)) = dialled.connection.accept_bi().await {
            let GetBlob { blob, .. } = read_frame(&mut receive).await.expect("it asks properly");
            write_frame(&mut send, &BlobReply::Found).await.expect("it reads");
            write_bytes(&mut send, vec![0; blob.len as usize].into()).await.expect("it reads");
            asked += 1;
        }
        asked
    };
    let heard = async {
        loop {
            match read_frame(&mut receive).await.expect("it says what happens") {
                ClientEvent::Need { blobs } => assert_eq!(blobs.len(), 2),
                ClientEvent::Failed { reason } => break reason,
                other => panic!("the coordinator said {other:?}"),
            }
        }
    };
    let reason = tokio::select! {
        reason = timeout(PATIENCE, heard) => reason.expect("in time"),
        asked = forge => panic!("the coordinator went after {asked} blobs"),
    };
    assert!(reason.contains("does not match its hash from byte 0 on"), "{reason}");
    // It goes on.
    let (spec, blobs) = echo_job(&key(3), Consistency::Eventual, b"input");
    coordinator.client(key(3)).await.submit(spec, &blobs, |_| ()).await.expect("the next job has a result");
}

#[tokio::test]
async fn a_missing_blob_is_named() {
    let (mut coordinator, mut node) = {
        let coordinator = TestCoordinator::start();
        let node = TestNode::start(10, coordinator.address, Behaviour::Echo).await;
        (coordinator, node)
    };
    let client = coordinator.client(key(2)).await;
    let (mut spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    let other = Blob::of(b"something that the client does not have");
    spec.input = JobInput::Compute(other);
    let error = client.submit(spec, &blobs, |_| ()).await.unwrap_err();
    assert!(matches!(error, ClientError::MissingBlob(hash) if hash == other.hash), "{error}");
    // Both go on.
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    client.submit(spec, &blobs, |_| ()).await.expect("the next job has a result");
    coordinator.event(|event| matches!(event, CoordinatorEvent::Agreed { .. }).then_some(())).await;
    node.event(|event| matches!(event, NodeEvent::Completed { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_peer_of_another_protocol_is_told_so() {
    let coordinator = TestCoordinator::start();
    let (endpoint, _) = client_endpoint(b"h3").expect("it opens");
    let error =
        dial(&endpoint, coordinator.address, key(1).address(), &key(2), None).await.err().expect("no common protocol");
    assert!(chain(&error).contains("does not speak the DePX protocol"), "{}", chain(&error));
    coordinator.client(key(2)).await;
}

#[tokio::test]
async fn a_client_cannot_pose_as_a_node_nor_reuse_a_proof() {
    let mut coordinator = TestCoordinator::start();
    let (endpoint, _) = client_endpoint(ALPN_CLIENT).expect("it opens");
    // The proof of another connection: over another exporter.
    let stolen = ChannelProof::sign(&key(2), Role::Client, &[0; 32]);
    for (version, sentence) in [(VERSION, "not bound to this connection"), (9, "version 9")] {
        let connection =
            endpoint.connect(coordinator.address, "depx").expect("it dials").await.expect("TLS accepts anyone");
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        write_frame(&mut send, &Hello { version, proof: stolen, capabilities: None }).await.expect("it is read");
        let reason = coordinator
            .event(|event| if let CoordinatorEvent::Stranger { reason, .. } = event { Some(reason) } else { None });
        assert!(reason.await.contains(sentence));
        // Refused in words, or by closing the stream; never welcomed.
        let welcome = read_frame::<depx_protocol::wire::Welcome>(&mut receive).await;
        assert!(!matches!(welcome, Ok(depx_protocol::wire::Welcome::Accepted { .. })), "{welcome:?}");
    }
    coordinator.client(key(2)).await;
}

#[tokio::test]
async fn a_node_does_not_serve_somebody_else_at_its_coordinators_address() {
    let puppeteer = Puppeteer::start();
    let node = TestNode::start_with(10, puppeteer.address, Behaviour::Echo, |_| ());
    let incoming = timeout(PATIENCE, puppeteer.endpoint.accept()).await.expect("in time").expect("it is open");
    let connection = incoming.await.expect("the handshake succeeds");
    let _guest = greet(connection, &key(5), Duration::from_secs(1)).await.expect("the node greets");
    let error = node.ended().await.unwrap_err();
    assert!(chain(&error).contains("answers instead of coordinator"), "{}", chain(&error));
}

#[tokio::test]
async fn a_coordinator_refuses_stale_replayed_and_foreign_jobs() {
    let coordinator = TestCoordinator::start();
    let _node = TestNode::start(10, coordinator.address, Behaviour::Echo).await;
    let client = coordinator.client(key(2)).await;
    let submit =
        async |spec: depx_protocol::JobSpec, blobs: &HashMap<_, _>| match client.submit(spec, blobs, |_| ()).await {
            Ok(_) => "accepted".to_owned(),
            Err(error) => chain(&error),
        };
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    let mut stale = spec.clone();
    stale.created_ms -= 6 * 60 * 1000;
    assert!(submit(stale, &blobs).await.contains("compare the two machines' clocks"));
    assert_eq!(submit(spec.clone(), &blobs).await, "accepted");
    assert!(submit(spec, &blobs).await.contains("submitted before"));

    // Somebody else's job over this client's connection: signed by its own client, and yet not the one connected.
    let (endpoint, _) = client_endpoint(ALPN_CLIENT).expect("it opens");
    let dialled = dial(&endpoint, coordinator.address, key(1).address(), &key(3), None).await.expect("it connects");
    let (signed, _) = job();
    let (mut send, mut receive) = dialled.connection.open_bi().await.expect("a stream");
    write_frame(&mut send, &signed).await.expect("it is read");
    let depx_protocol::wire::ClientEvent::Failed { reason } = read_frame(&mut receive).await.expect("an answer") else {
        panic!("a foreign job is taken")
    };
    assert!(reason.contains("is connected"), "{reason}");
}

#[tokio::test]
async fn a_spec_of_another_client_is_not_signed_and_costs_no_other() {
    let coordinator = TestCoordinator::start();
    let _node = TestNode::start(10, coordinator.address, Behaviour::Echo).await;
    let client = coordinator.client(key(2)).await;
    let (foreign, _) = echo_job(&key(3), Consistency::Eventual, b"input");
    let (own, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    let (refused, accepted) = tokio::join!(client.submit(foreign, &blobs, |_| ()), client.submit(own, &blobs, |_| ()));
    assert!(matches!(refused, Err(ClientError::Unsigned)), "{refused:?}");
    accepted.expect("the client's own job has a result");
}

#[tokio::test]
async fn a_newer_connection_of_one_identity_replaces_the_older() {
    let mut coordinator = TestCoordinator::start();
    let first = TestNode::start(10, coordinator.address, Behaviour::Echo).await;
    let left =
        |event| if let CoordinatorEvent::NodeLeft { node, reason } = event { Some((node, reason)) } else { None };
    let second = raw_node(coordinator.address, &key(10)).await;
    let (node, reason) = coordinator.event(left).await;
    assert_eq!(node, key(10).address());
    assert!(!reason.is_empty());
    // The older does not come back: the two would replace each other for ever.
    assert!(
        first.ended().await.unwrap_err().to_string().contains("give each node a data directory and key of its own")
    );
    drop(second);
}

/// A node that answers every offer that it is busy; gives how many it got.
async fn always_busy(node: depx_transport::Dialled) -> usize {
    let mut offers = 0;
    while let Ok((mut send, mut receive)) = node.connection.accept_bi().await {
        let _: Offer = read_frame(&mut receive).await.expect("an offer");
        offers += 1;
        let refusal = LeaseMessage::Refuse { reason: RefuseReason::Busy, detail: "later".to_owned() };
        write_frame(&mut send, &refusal).await.expect("it is read");
    }
    offers
}

#[tokio::test]
async fn a_node_that_is_always_busy_is_asked_again_and_not_for_ever() {
    let coordinator = TestCoordinator::start();
    let busy = tokio::spawn(always_busy(raw_node(coordinator.address, &key(10)).await));
    let client = coordinator.client(key(2)).await;
    let (spec, blobs) = echo_job(&key(2), Consistency::Eventual, b"input");
    let submission = timeout(PATIENCE, client.submit(spec, &blobs, |_| ()));
    let error = submission.await.expect("the job ends").unwrap_err();
    assert!(chain(&error).contains("no further node offers class D0"), "{}", chain(&error));
    coordinator.stop().await;
    assert!(busy.await.expect("no panic") > 2, "it was not asked again");
}

/// A node's connection without a node.
async fn raw_node(coordinator: SocketAddr, key: &SecretKey) -> depx_transport::Dialled {
    let (endpoint, _) = client_endpoint(ALPN_NODE).expect("it opens");
    let capabilities = depx_protocol::wire::Capabilities {
        software: "puppet".to_owned(),
        slots: 1,
        profiles: vec![(DeterminismClass::Exact, PROFILE)],
    };
    dial(&endpoint, coordinator, depx_tests::key(1).address(), key, Some(capabilities)).await.expect("it connects")
}
