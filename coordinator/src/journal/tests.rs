use super::*;
use depx_protocol::{
    Consistency, DeterminismClass, JobInput, JobSpec, LeaseId, Limits, Program, SecretKey, Settlement, VERSION,
};
use std::fs;
use std::path::Path;

fn open(directory: &Path) -> Journal {
    Journal::open(directory.join("journal.db")).unwrap()
}

fn spec(number: u8) -> Arc<SignedJobSpec> {
    let key = SecretKey::from_bytes(&[7; 32]).unwrap();
    let spec = JobSpec {
        version: VERSION,
        client: key.address(),
        nonce: [number; 16],
        created_ms: 1,
        program: Program::Command(Blob::of(b"module")),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input: JobInput::Compute(Blob::of(b"input")),
        class: DeterminismClass::Exact,
        consistency: Consistency::Eventual,
        limits: Limits::DEFAULT,
    };
    Arc::new(SignedJobSpec::sign(spec, &key))
}

fn assignment(number: u8) -> Assignment {
    let address = SecretKey::from_bytes(&[7; 32]).unwrap().address();
    Assignment {
        version: VERSION,
        job: Hash([number; 32]),
        lease: LeaseId([number; 16]),
        attempt: 0,
        coordinator: address,
        executor: address,
        profile: Hash::ZERO,
        issued_ms: 0,
        expires_ms: 1,
        settlement: Settlement::default(),
    }
}

#[tokio::test]
async fn jobs_are_known_after_a_kill_until_their_clients_have_everything() {
    let (running, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = open(running.path());
    let job = |number| spec(number).spec.id();
    let blob = Blob { hash: Hash([9; 32]), len: 1 << 20 };
    journal.accepted(job(1), spec(1), Vec::new()).await.unwrap();
    journal.accepted(job(1), spec(1), vec![assignment(1), assignment(2)]).await.unwrap();
    journal.accepted(job(2), spec(2), vec![assignment(3)]).await.unwrap();
    let output = Output::Inline(Bytes::from_static(b"out"));
    journal.over(job(2), Bytes::from_static(b"told"), output.clone()).await.unwrap();
    journal.over(job(3), Bytes::from_static(b"more"), Output::Blob(blob)).await.unwrap();
    journal.over(job(4), Bytes::new(), output.clone()).await.unwrap();
    journal.forget(job(4));
    journal.accepted(job(5), spec(5), Vec::new()).await.unwrap();

    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(running.path().join(name), after.path().join(name)).unwrap();
    }
    let journal = open(after.path());
    let unfinished = journal.unfinished().unwrap();
    let found: Vec<_> = unfinished.iter().map(|unfinished| (unfinished.job, unfinished.leases.len())).collect();
    assert_eq!(found, [(job(1), 2), (job(5), 0)]);
    assert_eq!(unfinished[0].leases, [assignment(1), assignment(2)]);
    assert_eq!(unfinished[0].spec, *spec(1));
    assert_eq!(journal.outputs().unwrap(), [blob]);
    let over = journal.outcome(job(2)).unwrap().unwrap();
    assert_eq!(over, Over { told: Bytes::from_static(b"told"), output });
    assert_eq!(journal.outcome(job(3)).unwrap().unwrap().output, Output::Blob(blob));
    assert_eq!(journal.outcome(job(1)).unwrap(), None, "it is not over");
    assert_eq!(journal.outcome(job(4)).unwrap(), None, "its client has everything");
    assert_eq!(journal.numbers.lock().len(), 4);
}

#[tokio::test]
async fn what_nobody_fetches_is_forgotten_after_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path());
    for number in 1..=2 {
        let output = Output::Inline(Bytes::new());
        journal.over(spec(number).spec.id(), Bytes::new(), output).await.unwrap();
    }
    let age = |transaction: &Transaction<'_>| {
        transaction.execute("UPDATE job SET over_ms = over_ms - ? WHERE number = 1", [RETENTION_MS])
    };
    journal.database.write(age).unwrap();
    drop(journal);
    let journal = open(directory.path());
    assert_eq!(journal.outcome(spec(1).spec.id()).unwrap(), None);
    assert!(journal.outcome(spec(2).spec.id()).unwrap().is_some());
}
