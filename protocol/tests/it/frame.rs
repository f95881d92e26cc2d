//! Frames, and the limits that keep every valid message within one.

use crate::samples;
use depx_protocol::receipt::{MAX_EVIDENCE, MAX_EVIDENCE_BYTES, commitment};
use depx_protocol::wire::{
    Capabilities, ClientEvent, FrameError, GetBlob, GroupRange, LeaseMessage, MAX_FRAME, MAX_NEEDED, MAX_PROFILES,
    MAX_RANGES, MAX_REASON, Offer, Reveal, Vote, Welcome, frame, frame_len,
};
use depx_protocol::{
    Address, Assignment, Blob, Canonical, DeterminismClass, Hash, InputFile, JobInput, JobSpec, ModelRef, ReceiptBody,
    Role, SignedAssignment, SignedJobSpec, sign_batch,
};

#[test]
fn lengths_are_checked_before_anything_is_read() {
    let cases = [
        (0, Err(FrameError::Empty)),
        (1, Ok(1)),
        (MAX_FRAME as u32, Ok(MAX_FRAME)),
        (MAX_FRAME as u32 + 1, Err(FrameError::TooLong { len: MAX_FRAME + 1 })),
        (u32::MAX, Err(FrameError::TooLong { len: u32::MAX as usize })),
        (u32::from_be_bytes(*b"GET "), Err(FrameError::TooLong { len: 0x4745_5420 })),
    ];
    for (announced, expected) in cases {
        assert_eq!(frame_len(u32::to_be_bytes(announced)), expected, "{announced}");
    }
    let error = frame_len(*b"GET ").unwrap_err().to_string();
    assert!(error.contains("1195725856 bytes") && error.contains("1048576"), "{error}");
}

#[test]
fn a_frame_is_its_length_and_the_encoding() {
    let message = Welcome::Refused { reason: "no".into() };
    let framed = frame(&message).expect("a short message");
    let (prefix, body) = framed.split_first_chunk().expect("a prefix");
    assert_eq!(frame_len(*prefix), Ok(body.len()));
    assert_eq!(Welcome::from_bytes(body).expect("the message"), message);
}

#[test]
fn a_message_over_the_limit_is_not_framed() {
    let mut spec = samples::job_spec();
    spec.args = vec!["x".repeat(MAX_FRAME)];
    assert!(matches!(frame(&spec), Err(FrameError::TooLong { len }) if len > MAX_FRAME));
}

#[test]
fn text_for_people_is_cut_when_sent_and_refused_when_too_long() {
    // A character is not cut in two: where one byte is left, no three-byte character follows.
    for (character, kept) in [("x", MAX_REASON), ("ä", MAX_REASON / 2), ("€", MAX_REASON / 3)] {
        for sent in [kept, kept + 1, MAX_REASON + 1] {
            let sent = Welcome::Refused { reason: character.repeat(sent) };
            let received = Welcome::from_bytes(&sent.to_bytes()).expect("cut to the limit");
            assert_eq!(received, Welcome::Refused { reason: character.repeat(kept) });
        }
    }

    let text = |len: usize| [&[0x82, 1, 0x81, 0x79][..], &(len as u16).to_be_bytes(), &vec![b'x'; len]].concat();
    assert!(Welcome::from_bytes(&text(MAX_REASON)).is_ok());
    let error = Welcome::from_bytes(&text(MAX_REASON + 1)).unwrap_err();
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("too long"), "{cause}");
}

#[test]
fn lists_over_their_limit_are_refused() {
    fn accepted<T: Canonical>(value: &T) -> bool {
        T::from_bytes(&value.to_bytes()).is_ok()
    }
    let hello = |profiles: usize| {
        let profiles = vec![(DeterminismClass::Exact, Hash::ZERO); profiles];
        samples::hello(Role::Node, Some(Capabilities { software: String::new(), slots: 1, profiles }))
    };
    let get_blob =
        |ranges: usize| GetBlob { blob: Blob::of(b""), ranges: vec![GroupRange { first: 0, count: 1 }; ranges] };
    let need = |blobs: usize| ClientEvent::Need { blobs: vec![Blob::of(b""); blobs] };
    let agreed = |dissenters: usize| {
        let dissenters = vec![Address::default(); dissenters];
        ClientEvent::Agreed { result: Hash::ZERO, dissenters, output_len: 0 }
    };
    let spec = |args: usize| JobSpec { args: vec![String::new(); args], ..samples::job_spec() };
    let receipt = |pieces: usize, len: usize| {
        let evidence = vec![vec![0; len].into(); pieces];
        ReceiptBody { evidence, ..samples::receipt_body() }
    };
    let path = |len: usize| {
        let mut receipt = samples::signed_receipt();
        receipt.signature.proof.path = vec![Hash::ZERO; len];
        receipt
    };
    let whole = MAX_EVIDENCE_BYTES / MAX_EVIDENCE;
    let cases = [
        ("profiles", accepted(&hello(MAX_PROFILES)), accepted(&hello(MAX_PROFILES + 1))),
        ("needed blobs", accepted(&need(MAX_NEEDED)), accepted(&need(MAX_NEEDED + 1))),
        ("ranges of a blob", accepted(&get_blob(MAX_RANGES)), accepted(&get_blob(MAX_RANGES + 1))),
        ("dissenters", accepted(&agreed(7)), accepted(&agreed(8))),
        ("arguments", accepted(&spec(JobSpec::MAX_ENTRIES)), accepted(&spec(JobSpec::MAX_ENTRIES + 1))),
        ("pieces of evidence", accepted(&receipt(MAX_EVIDENCE, whole)), accepted(&receipt(MAX_EVIDENCE + 1, 0))),
        ("bytes of evidence", accepted(&receipt(1, MAX_EVIDENCE_BYTES)), accepted(&receipt(MAX_EVIDENCE, whole + 1))),
        ("siblings", accepted(&path(64)), accepted(&path(65))),
    ];
    for (what, at_limit, beyond) in cases {
        assert!(at_limit && !beyond, "{what}: accepted at the limit {at_limit}, beyond it {beyond}");
    }
}

/// The largest spec that is valid: every list full, all text used, every number at its widest.
fn largest_spec() -> JobSpec {
    let blob = |index: usize| Blob { hash: Hash([index as u8; 32]), len: u64::MAX };
    let entries = JobSpec::MAX_ENTRIES;
    let mut spec = JobSpec {
        args: vec![String::new(); entries],
        env: (0..entries).map(|index| (format!("{index:04}"), String::new())).collect(),
        files: (0..entries).map(|index| InputFile { path: format!("{index:024}"), blob: blob(index) }).collect(),
        models: (0..entries).map(|index| ModelRef { name: format!("{index:024}"), blob: blob(index) }).collect(),
        input: JobInput::Batch { pack: blob(0), items: JobSpec::MAX_ITEMS },
        ..samples::job_spec()
    };
    spec.args[0] = "x".repeat(JobSpec::MAX_TEXT - entries * (4 + 24 + 24));
    spec
}

#[test]
fn the_largest_valid_messages_fit_into_a_frame() {
    let job = SignedJobSpec::sign(largest_spec(), &samples::client());
    let id = job.verify().expect("the largest spec is valid");
    let one_more = JobSpec { args: [largest_spec().args, vec!["x".into()]].concat(), ..largest_spec() };
    assert!(one_more.validate().is_err(), "no larger spec is");

    let assignment = Assignment { job: id, ..samples::assignment() };
    let (lease, executor) = (assignment.lease, assignment.executor);
    let mut result = samples::result_core();
    (result.job, result.item_count) = (id, JobSpec::MAX_ITEMS);
    let body = ReceiptBody {
        job: id,
        result: result.hash(),
        commit: commitment(&id, &lease, &executor, &result.hash(), &samples::SALT),
        evidence: vec![vec![0xff; MAX_EVIDENCE_BYTES / MAX_EVIDENCE].into(); MAX_EVIDENCE],
        ..samples::receipt_body()
    };
    let receipt = sign_batch(vec![body], &samples::settlement(), &samples::executor()).remove(0);
    let reveal = Reveal { result: result.clone(), salt: samples::SALT, receipt: receipt.clone(), output_len: u64::MAX };
    let assignment = SignedAssignment::sign(assignment, &samples::coordinator());
    let vote = Vote { assignment, result, salt: samples::SALT, receipt };
    vote.clone().into_bundle(job.clone()).verify().expect("the largest bundle is valid");

    let event = ClientEvent::Vote { vote: Box::new(vote.clone()) };
    let offer = Offer { job, assignment: vote.assignment };
    // Not tested with the longest paths: a batch of 2⁶³ statements cannot be made here.
    let longest_paths = 2 * 64 * 34;
    for message in [frame(&event), frame(&offer)] {
        assert!(message.expect("fits").len() + longest_paths < MAX_FRAME * 3 / 4, "and leaves room to spare");
    }
    assert!(frame(&LeaseMessage::Reveal(Box::new(reveal))).is_ok());
}
