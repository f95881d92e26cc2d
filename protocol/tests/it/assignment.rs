//! When a node must not act on an assignment.

use crate::samples::{self, EXPIRES_MS, ISSUED_MS};
use depx_protocol::{
    Address, Assignment, AssignmentError, ChannelProof, Hash, IdentityError, LeaseId, Role, Settlement,
    SignedAssignment,
};

/// As the node of the samples checks it.
fn check(signed: &SignedAssignment, now_ms: u64) -> Result<(), AssignmentError> {
    let (coordinator, executor) = (samples::coordinator().address(), samples::executor().address());
    signed.verify_for(coordinator, executor, samples::job_spec().id(), now_ms).map(drop)
}

#[test]
fn a_good_assignment_is_good_until_it_expires() {
    let signed = samples::signed_assignment();
    for now_ms in [0, ISSUED_MS - 1, ISSUED_MS, EXPIRES_MS - 1] {
        assert_eq!(check(&signed, now_ms), Ok(()), "at {now_ms}");
    }
    for now_ms in [EXPIRES_MS, EXPIRES_MS + 1, u64::MAX] {
        assert_eq!(check(&signed, now_ms), Err(AssignmentError::Expired { late_ms: now_ms - EXPIRES_MS }));
    }
}

#[test]
fn what_is_signed_for_others_is_refused() {
    type Change = fn(&mut Assignment);
    let stranger = samples::key(9).address();
    let cases: [(Change, AssignmentError, &str); 4] = [
        (
            |assignment| assignment.executor = samples::key(9).address(),
            AssignmentError::Executor { named: stranger },
            "the assignment is for 0x",
        ),
        (
            |assignment| assignment.job = Hash::ZERO,
            AssignmentError::Job,
            "the assignment is for another job than the one that came with it",
        ),
        (
            |assignment| assignment.version = 2,
            AssignmentError::Version { version: 2 },
            "the assignment has version 2, this program speaks version 1",
        ),
        (
            |assignment| assignment.issued_ms = EXPIRES_MS + 1,
            AssignmentError::Times,
            "the assignment expires before it was issued",
        ),
    ];
    for (change, expected, message) in cases {
        let mut assignment = samples::assignment();
        change(&mut assignment);
        let error = check(&SignedAssignment::sign(assignment, &samples::coordinator()), ISSUED_MS).unwrap_err();
        assert_eq!(error, expected);
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn another_coordinator_cannot_assign() {
    let assignment = Assignment { coordinator: samples::key(9).address(), ..samples::assignment() };
    let signed = SignedAssignment::sign(assignment, &samples::key(9));
    let (named, connected) = (samples::key(9).address(), samples::coordinator().address());
    assert_eq!(check(&signed, ISSUED_MS), Err(AssignmentError::Coordinator { named, connected }));
    let mut forged = signed;
    forged.assignment.coordinator = connected;
    assert_eq!(check(&forged, ISSUED_MS), Err(AssignmentError::Signature(IdentityError::Signature)));
}

#[test]
fn every_field_is_signed() {
    type Change = fn(&mut Assignment);
    let changes: [Change; 10] = [
        |assignment| assignment.version = 0,
        |assignment| assignment.job.0[0] ^= 1,
        |assignment| assignment.lease = LeaseId([0; 16]),
        |assignment| assignment.attempt += 1,
        |assignment| assignment.coordinator = Address::default(),
        |assignment| assignment.executor = Address::default(),
        |assignment| assignment.profile.0[31] ^= 1,
        |assignment| assignment.issued_ms += 1,
        |assignment| assignment.expires_ms += 1,
        |assignment| assignment.settlement = Settlement::default(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut signed = samples::signed_assignment();
        change(&mut signed.assignment);
        assert!(signed.verify().is_err(), "field {number}");
    }
}

#[test]
#[should_panic(expected = "signed by the coordinator that it names")]
fn nobody_signs_for_another_coordinator() {
    SignedAssignment::sign(samples::assignment(), &samples::executor());
}

#[test]
fn a_channel_proof_is_worth_nothing_elsewhere() {
    let proof = ChannelProof::sign(&samples::executor(), Role::Node, &samples::EXPORTER);
    assert_eq!(proof.verify(Role::Node, &samples::EXPORTER), Ok(samples::executor().address()));
    let mut other_connection = samples::EXPORTER;
    other_connection[0] ^= 1;
    assert!(proof.verify(Role::Node, &other_connection).is_err());
    assert!(proof.verify(Role::Coordinator, &samples::EXPORTER).is_err());
    assert!(proof.verify(Role::Client, &samples::EXPORTER).is_err());
    let stolen = ChannelProof { address: samples::client().address(), ..proof };
    assert!(stolen.verify(Role::Node, &samples::EXPORTER).is_err());
}
