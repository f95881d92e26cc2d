//! A receipt with everything needed to check it offline.

use crate::assignment::{AssignmentError, SignedAssignment};
use crate::cbor::{Canonical, DecodeError};
use crate::hash::Hash;
use crate::identity::{Address, IdentityError};
use crate::job::{JobSpec, SignedJobSpec, SpecError};
use crate::receipt::{SignedReceipt, commitment};
use crate::result::ResultCore;
use crate::wire::Vote;
use minicbor::{Decode, Encode};

/// The content of a `.receipt` file.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ReceiptBundle {
    /// What was asked for.
    #[n(0)]
    pub job: SignedJobSpec,
    /// To whom it was leased.
    #[n(1)]
    pub assignment: SignedAssignment,
    /// What came out.
    #[n(2)]
    pub result: ResultCore,
    /// Opens the commitment.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// Who says so.
    #[n(4)]
    pub receipt: SignedReceipt,
}

impl Canonical for ReceiptBundle {}

/// Who is bound by a verified bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The job's identity.
    pub job: Hash,
    /// Who asked for it.
    pub client: Address,
    /// Who leased it out.
    pub coordinator: Address,
    /// Who executed it and signed the receipt.
    pub executor: Address,
    /// The result's hash.
    pub result: Hash,
}

impl ReceiptBundle {
    /// Decodes and checks a `.receipt` file. Any change of any byte is refused.
    pub fn verify_bytes(bytes: &[u8]) -> Result<(Self, Verified), BundleError> {
        let bundle = Self::from_bytes(bytes)?;
        let verified = bundle.verify()?;
        Ok((bundle, verified))
    }

    /// Checks three signatures and that all five parts speak of the same execution.
    pub fn verify(&self) -> Result<Verified, BundleError> {
        let job = self.job.verify()?;
        self.assignment.verify()?;
        self.verify_execution(job)
    }

    /// Checks what is the executor's: its signature, and that all five parts speak of the same execution. For whoever has
    /// verified the job spec, whose identity is `job`, and has made the assignment.
    pub fn verify_execution(&self, job: Hash) -> Result<Verified, BundleError> {
        verify_execution(job, &self.job.spec, &self.assignment, &self.result, &self.salt, &self.receipt)
    }
}

impl Vote {
    /// Checks what is the executor's of a job that is this one: see [`ReceiptBundle::verify_execution`].
    pub fn verify_execution(&self, job: Hash, spec: &JobSpec) -> Result<Verified, BundleError> {
        verify_execution(job, spec, &self.assignment, &self.result, &self.salt, &self.receipt)
    }
}

fn verify_execution(
    job: Hash,
    spec: &JobSpec,
    assignment: &SignedAssignment,
    result: &ResultCore,
    salt: &[u8; 32],
    receipt: &SignedReceipt,
) -> Result<Verified, BundleError> {
    let assignment = &assignment.assignment;
    let body = &receipt.body;
    receipt.verify(&assignment.settlement).map_err(BundleError::Receipt)?;
    let hash = result.hash();
    let refused = result.item_count == 0 && result.status.is_refusal();
    let expected_items = if refused { 0 } else { spec.input.items() };
    let agreements = [
        ("job and assignment", assignment.job == job),
        ("job and result", result.job == job),
        ("job and receipt", body.job == job),
        ("assignment and receipt: lease", body.lease == assignment.lease),
        ("assignment and receipt: attempt", body.attempt == assignment.attempt),
        ("assignment and receipt: executor", body.executor == assignment.executor),
        ("assignment and result: profile", result.profile == assignment.profile),
        ("job and result: class", result.class == spec.class),
        ("job and result: number of items", result.item_count == expected_items),
        ("version of receipt and result", body.version == crate::VERSION && result.version == crate::VERSION),
        ("receipt and result", body.result == hash),
        ("claimed times", body.started_ms <= body.finished_ms),
        ("commitment and salt", body.commit == commitment(&job, &body.lease, &body.executor, &body.result, salt)),
    ];
    if let Some((parts, _)) = agreements.iter().find(|(_, agree)| !agree) {
        return Err(BundleError::Disagreement { parts });
    }
    Ok(Verified {
        job,
        client: spec.client,
        coordinator: assignment.coordinator,
        executor: body.executor,
        result: hash,
    })
}

/// A bundle that proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a `.receipt` file, or a damaged one.
    #[error("not a receipt file, or a damaged one")]
    Encoding(#[from] DecodeError),
    /// The client's part.
    #[error("the job spec in the receipt file is not valid")]
    Job(#[from] SpecError),
    /// The coordinator's part.
    #[error("the assignment in the receipt file is not valid")]
    Assignment(#[from] AssignmentError),
    /// The executor's part.
    #[error("the receipt is not signed by the executor that it names")]
    Receipt(#[source] IdentityError),
    /// Parts of different executions.
    #[error("the parts of the receipt file do not belong together ({parts})")]
    Disagreement {
        /// Which parts.
        parts: &'static str,
    },
}
