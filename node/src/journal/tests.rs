use super::*;
use crate::history::{LeaseStage, leases};
use depx_protocol::{DeterminismClass, ItemOutput, JobOutput};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[5; 32]).unwrap()
}

fn coordinator() -> Address {
    SecretKey::from_bytes(&[6; 32]).unwrap().address()
}

fn open(directory: &Path) -> Journal {
    Journal::open(directory.join("journal.db"), key()).unwrap()
}

/// As if the program had been killed.
fn killed(directory: &Path) -> TempDir {
    let after = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(directory.join(name), after.path().join(name)).unwrap();
    }
    after
}

fn assignment(number: u8) -> Assignment {
    Assignment {
        version: VERSION,
        job: Hash([number; 32]),
        lease: LeaseId([number; 16]),
        attempt: 0,
        coordinator: coordinator(),
        executor: key().address(),
        profile: Hash::ZERO,
        issued_ms: 0,
        expires_ms: 1,
        settlement: Settlement::default(),
    }
}

fn proof(number: u8, output: Output) -> Proof {
    let nothing = JobOutput { items: Vec::<ItemOutput>::new(), inferences: Vec::new() };
    let result = nothing.result(Hash([number; 32]), DeterminismClass::Exact, Hash::ZERO, Hash::ZERO);
    let (assignment, session_key) = (assignment(number), Hash::ZERO);
    Proof { assignment, session_key, result, output_len: 3, output, started_ms: 1, finished_ms: 2 }
}

fn inline() -> Output {
    Output::Inline(Bytes::from_static(b"out"))
}

fn sequence(reveal: &Reveal) -> u64 {
    reveal.receipt.body.sequence
}

#[tokio::test]
async fn receipts_are_numbered_and_linked_over_kills() {
    let mut directory = tempfile::tempdir().unwrap();
    let mut previous = Hash::ZERO;
    for number in 0..20 {
        let journal = open(directory.path());
        let reveal = journal.proven(proof(number, inline())).await.unwrap();
        assert_eq!(sequence(&reveal), u64::from(number));
        assert_eq!(reveal.receipt.body.previous, previous);
        reveal.receipt.verify(&Settlement::default()).unwrap();
        previous = reveal.receipt.body.hash();
        directory = killed(directory.path());
    }
}

#[tokio::test]
async fn after_a_cut_of_power_no_number_is_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.proven(proof(1, inline())).await.unwrap();
    let kept = killed(directory.path());
    // Signed, and lost with the power.
    let lost = journal.proven(proof(2, inline())).await.unwrap();
    assert_eq!(sequence(&lost), 1);
    let other_start = |transaction: &Transaction<'_>| transaction.execute("UPDATE chain SET boot = 'another'", []);
    Database::open(kept.path().join("journal.db"), SCHEMA_VERSION, SCHEMA).unwrap().write(other_start).unwrap();
    let next = open(kept.path()).proven(proof(3, inline())).await.unwrap();
    assert_eq!(sequence(&next), 1 + RESERVE);
}

#[tokio::test]
async fn numbers_are_set_aside_before_they_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.proven(proof(1, inline())).await.unwrap();
    let reserved = |transaction: &Transaction<'_>| {
        transaction
            .query_row("SELECT next, reserved FROM chain", [], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?)))
    };
    let (next, reserved) = journal.database.write(reserved).unwrap();
    assert_eq!((next, reserved), (1, 1 + RESERVE));
}

#[tokio::test]
async fn how_far_a_lease_is_is_known_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    let blob = Blob { hash: Hash([9; 32]), len: 3 };
    journal.accepted(&assignment(1)).await.unwrap();
    let inlined = journal.proven(proof(2, inline())).await.unwrap();
    journal.accepted(&assignment(3)).await.unwrap();
    let stored = journal.proven(proof(3, Output::Blob(blob))).await.unwrap();
    journal.proven(proof(4, inline())).await.unwrap();
    journal.ended(&assignment(4), ACKNOWLEDGED.into());
    journal.ended(&assignment(5), "failed: as a test".into());
    journal.accepted(&assignment(6)).await.unwrap();

    let after = killed(directory.path());
    let journal = open(after.path());
    let known = |number| journal.known(&assignment(number)).unwrap();
    assert!(matches!(known(0), Known::New));
    assert!(matches!(known(1), Known::Taken));
    assert!(matches!(known(2), Known::Signed(reveal, output) if *reveal == inlined && output == inline()));
    assert!(matches!(known(3), Known::Signed(reveal, output) if *reveal == stored && output == Output::Blob(blob)));
    assert!(matches!(known(4), Known::Ended));
    assert!(matches!(known(5), Known::Ended));
    assert_eq!(journal.outputs().unwrap(), [blob]);
    assert_eq!(journal.numbers.lock().len(), 6);

    let other = Assignment { coordinator: key().address(), ..assignment(2) };
    assert!(matches!(journal.known(&other).unwrap(), Known::Ended), "a lease is its coordinator's alone");

    journal.give_up(coordinator(), |lease| *lease == LeaseId([2; 16])).unwrap();
    // After what was asked before.
    journal.accepted(&assignment(7)).await.unwrap();
    assert!(matches!(known(1), Known::Ended));
    assert!(matches!(known(2), Known::Signed(..)));
    assert!(journal.outputs().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_over_is_listed_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.accepted(&assignment(0)).await.unwrap();
    let mut last = None;
    for number in 0..HISTORY + 3 * HISTORY_SLACK {
        let mut assignment = assignment(1);
        assignment.lease.0[..8].copy_from_slice(&number.to_be_bytes());
        let asked =
            journal.entries.ask(Entry::Ended { assignment: Box::new(assignment), outcome: ACKNOWLEDGED.into() });
        if number % 200 == 0 {
            assert!(asked.await.is_some());
        } else {
            last = Some(asked);
        }
    }
    assert!(last.unwrap().await.is_some());
    let (listed, _) = journal.database.write(recorded).unwrap();
    let most = usize::try_from(HISTORY + 2 * HISTORY_SLACK).unwrap();
    assert!((most / 2..most).contains(&listed.len()), "{} are listed", listed.len());
    let numbers = journal.numbers.lock();
    assert_eq!(numbers.len(), listed.len());
    assert!(listed.iter().all(|(lease, number)| numbers.get(lease) == Some(number)));
    assert!(numbers.contains_key(&LeaseId([0; 16])), "what is not over is not forgotten");
}

#[tokio::test]
async fn what_cannot_be_written_is_not_signed() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.proven(proof(1, inline())).await.unwrap();
    let limit = |pages: u32| {
        let limit = |transaction: &Transaction<'_>| transaction.pragma_update(None, "max_page_count", pages);
        journal.database.write(limit).unwrap();
    };
    limit(1);
    let mut refused = None;
    for number in 2..100 {
        if let Err(error) = journal.proven(proof(number, inline())).await {
            refused = Some((number, error.to_string()));
            break;
        }
    }
    let (number, error) = refused.expect("the disk is full at some time");
    assert!(error.contains("journal cannot be written"), "{error}");
    limit(100_000);
    let reveal = journal.proven(proof(number, inline())).await.unwrap();
    assert_eq!(sequence(&reveal), u64::from(number) - 1, "no number is lost");
}

#[tokio::test]
async fn leases_are_told_from_the_last_with_how_far_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    journal.accepted(&assignment(1)).await.unwrap();
    journal.proven(proof(2, inline())).await.unwrap();
    let third = journal.proven(proof(3, inline())).await.unwrap();
    journal.ended(&assignment(3), ACKNOWLEDGED.to_owned());
    let hostile = format!("failed: \u{1b}[2J{}", "long ".repeat(1000));
    journal.ended(&assignment(4), hostile);
    journal.accepted(&assignment(5)).await.unwrap();
    let told = leases(directory.path(), 4).unwrap();
    let stages: Vec<_> = told.iter().map(|lease| (lease.lease.0[0], &lease.stage)).collect();
    assert_eq!(stages.len(), 4, "as many as were asked for");
    assert!(matches!(
        stages[..],
        [(5, LeaseStage::Executing), (4, _), (3, LeaseStage::Acknowledged), (2, LeaseStage::Signed)]
    ));
    let LeaseStage::Ended(reason) = stages[1].1 else { panic!("{stages:?}") };
    assert!(reason.starts_with("failed:  [2Jlong ") && reason.len() <= depx_protocol::wire::MAX_REASON);
    let third_told = &told[2];
    assert_eq!((third_told.receipt, third_told.result), (Some(1), Some(third.receipt.body.result)));
    assert_eq!((third_told.coordinator, third_told.job), (coordinator(), Hash([3; 32])));
    assert!(third_told.ended_ms.is_some() && told[0].ended_ms.is_none() && told[3].ended_ms.is_none());
}
