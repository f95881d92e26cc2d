//! A receipt with everything needed to check it offline.

use crate::assignment::{AssignmentError, SignedAssignment};
use crate::cbor::{Canonical, DecodeError};
use crate::hash::Hash;
use crate::identity::{Address, IdentityError};
use crate::job::{SignedJobSpec, SpecError};
use crate::receipt::{SignedReceipt, commitment};
use crate::result::ResultCore;
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
        let assignment = &self.assignment.assignment;
        let body = &self.receipt.body;
        self.receipt.verify(&assignment.settlement).map_err(BundleError::Receipt)?;
        let result = self.result.hash();
        let refused = self.result.item_count == 0 && self.result.status.is_refusal();
        let expected_items = if refused { 0 } else { self.job.spec.input.items() };
        let agreements = [
            ("job and assignment", assignment.job == job),
            ("job and result", self.result.job == job),
            ("job and receipt", body.job == job),
            ("assignment and receipt: lease", body.lease == assignment.lease),
            ("assignment and receipt: attempt", body.attempt == assignment.attempt),
            ("assignment and receipt: executor", body.executor == assignment.executor),
            ("assignment and result: profile", self.result.profile == assignment.profile),
            ("job and result: class", self.result.class == self.job.spec.class),
            ("job and result: number of items", self.result.item_count == expected_items),
            ("version of receipt and result", body.version == crate::VERSION && self.result.version == crate::VERSION),
            ("receipt and result", body.result == result),
            ("claimed times", body.started_ms <= body.finished_ms),
            (
                "commitment and salt",
                body.commit == commitment(&job, &body.lease, &body.executor, &body.result, &self.salt),
            ),
        ];
        if let Some((parts, _)) = agreements.iter().find(|(_, agree)| !agree) {
            return Err(BundleError::Disagreement { parts });
        }
        Ok(Verified {
            job,
            client: self.job.spec.client,
            coordinator: assignment.coordinator,
            executor: body.executor,
            result,
        })
    }
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
