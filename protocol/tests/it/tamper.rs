//! No byte of a receipt can be changed, left out or added.

use crate::samples;
use depx_protocol::receipt::commitment;
use depx_protocol::{
    Assignment, BundleError, Canonical, DeterminismClass, Hash, ReceiptBody, ReceiptBundle, ResultCore, Settlement,
    SignedAssignment, SignedReceipt, Status, sign_batch,
};

/// Every change of one byte, and every byte left out or added.
fn tampered(good: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..=good.len()).flat_map(move |position| {
        let (before, after) = good.split_at(position);
        let mut variants = Vec::new();
        if let Some((byte, rest)) = after.split_first() {
            let masks = (0..8).map(|bit| 1 << bit).chain([0xff, *byte, byte.wrapping_neg() ^ byte]);
            for mask in masks.filter(|mask| *mask != 0) {
                variants.push((format!("byte {position} ^ {mask:#04x}"), [before, &[byte ^ mask], rest].concat()));
            }
            variants.push((format!("without byte {position}"), [before, rest].concat()));
        }
        for added in [0, 1, 0x40, 0x80, 0xf6, 0xff, before.last().copied().unwrap_or(0x58)] {
            variants.push((format!("{added:#04x} before byte {position}"), [before, &[added], after].concat()));
        }
        variants
    })
}

#[test]
fn no_byte_of_a_receipt_can_be_changed() {
    for receipt in [samples::signed_receipt(), samples::lone_receipt()] {
        let verifies =
            |bytes: &[u8]| SignedReceipt::from_bytes(bytes).is_ok_and(|it| it.verify(&samples::settlement()).is_ok());
        let good = receipt.to_bytes();
        assert!(verifies(&good));
        for (change, bytes) in tampered(&good) {
            // Some additions give the same bytes again.
            assert!(bytes == good || !verifies(&bytes), "{change}");
        }
    }
}

#[test]
fn no_byte_of_a_bundle_can_be_changed() {
    let good = samples::bundle().to_bytes();
    let (bundle, verified) = ReceiptBundle::verify_bytes(&good).expect("the sample is good");
    assert_eq!(bundle, samples::bundle());
    assert_eq!(verified.client, samples::client().address());
    assert_eq!(verified.coordinator, samples::coordinator().address());
    assert_eq!(verified.executor, samples::executor().address());
    assert_eq!((verified.job, verified.result), (samples::job_spec().id(), samples::result_core().hash()));
    for (change, bytes) in tampered(&good) {
        assert!(ReceiptBundle::verify_bytes(&bytes).is_err(), "{change}");
    }
}

#[test]
fn receipts_of_a_batch_are_each_valid_and_only_as_they_are() {
    let batch = samples::receipt_batch();
    for receipt in &batch {
        assert_eq!(receipt.verify(&samples::settlement()), Ok(()));
        for settlement in [
            Settlement::default(),
            Settlement { chain_id: 1, ..samples::settlement() },
            Settlement { contract: samples::client().address(), ..samples::settlement() },
        ] {
            assert!(receipt.verify(&settlement).is_err(), "it cannot be cashed elsewhere");
        }
    }
    let exchanged = SignedReceipt { body: batch[0].body.clone(), ..batch[1].clone() };
    assert!(exchanged.verify(&samples::settlement()).is_err());
    let mut other_batch = batch[3].clone();
    other_batch.signature.signature = samples::lone_receipt().signature.signature;
    assert!(other_batch.verify(&samples::settlement()).is_err());
    assert!(sign_batch(vec![], &samples::settlement(), &samples::executor()).is_empty());
}

#[test]
#[should_panic(expected = "signed by its executor")]
fn nobody_signs_for_another_executor() {
    sign_batch(vec![samples::receipt_body()], &samples::settlement(), &samples::client());
}

/// A bundle in which everything is properly signed, after `change`.
fn resigned(change: fn(&mut Assignment, &mut ResultCore, &mut ReceiptBody)) -> ReceiptBundle {
    let mut bundle = samples::bundle();
    let (mut assignment, mut body) = (samples::assignment(), samples::receipt_body());
    let honest = bundle.result.hash();
    change(&mut assignment, &mut bundle.result, &mut body);
    if bundle.result.hash() != honest {
        body.result = bundle.result.hash();
        body.commit = commitment(&body.job, &body.lease, &body.executor, &body.result, &bundle.salt);
    }
    bundle.receipt = sign_batch(vec![body], &assignment.settlement, &samples::executor()).remove(0);
    bundle.assignment = SignedAssignment::sign(assignment, &samples::coordinator());
    bundle
}

#[test]
fn parts_of_different_executions_do_not_make_a_bundle() {
    resigned(|_, _, _| {}).verify().expect("nothing was changed");
    resigned(|_, result, _| (result.status, result.code) = (Status::OutOfFuel, 0)).verify().expect("another result");
    resigned(|_, result, _| (result.status, result.item_count) = (Status::InvalidModel, 0))
        .verify()
        .expect("a refusal");
    resigned(|assignment, _, _| assignment.settlement = Settlement::default()).verify().expect("another chain");

    type Change = fn(&mut Assignment, &mut ResultCore, &mut ReceiptBody);
    let cases: [(&str, Change); 15] = [
        ("job and assignment", |assignment, _, _| assignment.job = Hash::ZERO),
        ("job and result", |_, result, _| result.job = Hash::ZERO),
        ("job and receipt", |_, _, body| body.job = Hash::ZERO),
        ("assignment and receipt: lease", |_, _, body| body.lease.0[0] ^= 1),
        ("assignment and receipt: attempt", |_, _, body| body.attempt += 1),
        ("assignment and receipt: executor", |assignment, _, _| assignment.executor = samples::key(9).address()),
        ("assignment and result: profile", |_, result, _| result.profile = Hash::ZERO),
        ("job and result: class", |_, result, _| result.class = DeterminismClass::Exact),
        ("job and result: number of items", |_, result, _| result.item_count = 2),
        ("job and result: number of items", |_, result, _| result.item_count = 0),
        ("version of receipt and result", |_, _, body| body.version = 2),
        ("version of receipt and result", |_, result, _| result.version = 2),
        ("receipt and result", |_, _, body| body.result = Hash::ZERO),
        ("claimed times", |_, _, body| body.started_ms = body.finished_ms + 1),
        ("commitment and salt", |_, _, body| body.commit = Hash::ZERO),
    ];
    for (expected, change) in cases {
        match resigned(change).verify() {
            Err(BundleError::Disagreement { parts }) => assert_eq!(parts, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn errors_name_the_bad_part() {
    let mut job = samples::bundle();
    job.job.spec.nonce[0] ^= 1;
    let mut assignment = samples::bundle();
    assignment.assignment.assignment.attempt ^= 1;
    let mut receipt = samples::bundle();
    receipt.receipt.body.sequence ^= 1;
    let cases = [
        (job.verify(), "the job spec in the receipt file is not valid"),
        (assignment.verify(), "the assignment in the receipt file is not valid"),
        (receipt.verify(), "the receipt is not signed by the executor that it names"),
        (ReceiptBundle::verify_bytes(b"PK").map(|(_, verified)| verified), "not a receipt file, or a damaged one"),
    ];
    for (outcome, message) in cases {
        assert_eq!(outcome.unwrap_err().to_string(), message);
    }
}
