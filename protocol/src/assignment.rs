//! A coordinator's lease of one job to one node.

use crate::VERSION;
use crate::batch::{BatchSignature, Sign};
use crate::cbor::Canonical;
use crate::hash::{Hash, Tag, parse_hex};
use crate::identity::{Address, IdentityError, SecretKey};
use minicbor::{Decode, Encode};
use std::fmt;

/// Names one lease; random, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct LeaseId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for LeaseId {
    type Err = crate::hash::ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text).map(Self)
    }
}

/// Where receipts are settled; part of what an executor signs, so that a receipt cannot be cashed twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Settlement {
    /// The chain's id; 0 for a network without a contract.
    #[n(0)]
    pub chain_id: u64,
    /// The contract's address; zero for a network without one.
    #[n(1)]
    pub contract: Address,
}

/// The right, and from acceptance the duty, of one node to execute one job.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Assignment {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// The job's identity.
    #[n(1)]
    pub job: Hash,
    /// This lease.
    #[n(2)]
    pub lease: LeaseId,
    /// How often the job was dispatched before to anyone.
    #[n(3)]
    pub attempt: u32,
    /// Who dispatches, and signs.
    #[n(4)]
    pub coordinator: Address,
    /// Who executes.
    #[n(5)]
    pub executor: Address,
    /// The execution profile within which results are compared.
    #[n(6)]
    pub profile: Hash,
    /// Unix milliseconds.
    #[n(7)]
    pub issued_ms: u64,
    /// Unix milliseconds; worthless afterwards.
    #[n(8)]
    pub expires_ms: u64,
    /// Where the receipt will be settled.
    #[n(9)]
    pub settlement: Settlement,
}

impl Canonical for Assignment {}

/// An assignment and its coordinator's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedAssignment {
    /// The assignment.
    #[n(0)]
    pub assignment: Assignment,
    /// The coordinator's.
    #[n(1)]
    pub signature: BatchSignature,
}

impl Canonical for SignedAssignment {}

impl SignedAssignment {
    /// Signs `assignment` as the coordinator that it names.
    ///
    /// # Panics
    ///
    /// If `key` is not the coordinator's.
    pub fn sign(assignment: Assignment, key: &SecretKey) -> Self {
        Sign::sign_all(vec![assignment], key).remove(0)
    }

    /// Checks version, times and signature: that the coordinator which it names did make this lease.
    pub fn verify(&self) -> Result<&Assignment, AssignmentError> {
        if self.assignment.version != VERSION {
            return Err(AssignmentError::Version { version: self.assignment.version });
        }
        if self.assignment.issued_ms > self.assignment.expires_ms {
            return Err(AssignmentError::Times);
        }
        if self.signature.recover(&self.assignment.to_bytes(), Self::digest)? != self.assignment.coordinator {
            return Err(IdentityError::Signature.into());
        }
        Ok(&self.assignment)
    }

    /// What an executor checks before it accepts: the signature, that the lease is by `coordinator`, for `executor`, for
    /// `job`, and that it has not expired at `now_ms`. Whether the lease was seen before is the executor's to know.
    pub fn verify_for(
        &self,
        coordinator: Address,
        executor: Address,
        job: Hash,
        now_ms: u64,
    ) -> Result<&Assignment, AssignmentError> {
        let assignment = self.verify()?;
        if assignment.coordinator != coordinator {
            return Err(AssignmentError::Coordinator { named: assignment.coordinator, connected: coordinator });
        }
        if assignment.executor != executor {
            return Err(AssignmentError::Executor { named: assignment.executor });
        }
        if assignment.job != job {
            return Err(AssignmentError::Job);
        }
        if now_ms >= assignment.expires_ms {
            return Err(AssignmentError::Expired { late_ms: now_ms - assignment.expires_ms });
        }
        Ok(assignment)
    }

    fn digest(root: &Hash) -> Hash {
        Tag::AssignmentBatch.hash(&[&root.0])
    }
}

impl Sign for Assignment {
    type Signed = SignedAssignment;

    fn sign_all(assignments: Vec<Self>, key: &SecretKey) -> Vec<SignedAssignment> {
        let named = |assignment: &Self| assignment.coordinator == key.address();
        assert!(assignments.iter().all(named), "an assignment is signed by the coordinator that it names");
        let leaves: Vec<_> = assignments.iter().map(Canonical::to_bytes).collect();
        let signatures = BatchSignature::sign_all(&leaves, key, SignedAssignment::digest);
        let signed = |(assignment, signature)| SignedAssignment { assignment, signature };
        assignments.into_iter().zip(signatures).map(signed).collect()
    }
}

/// An assignment that a node must not act on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// Made for another version.
    #[error("the assignment has version {version}, this program speaks version {VERSION}")]
    Version {
        /// What the assignment says.
        version: u16,
    },
    /// Expired before it was issued.
    #[error("the assignment expires before it was issued; its coordinator's clock or configuration is wrong")]
    Times,
    /// Not signed by the coordinator that it names.
    #[error("the assignment is not signed by the coordinator that it names")]
    Signature(#[from] IdentityError),
    /// Signed by somebody else than the peer on this connection.
    #[error("the assignment is by {named}, but {connected} is connected")]
    Coordinator {
        /// Who signed.
        named: Address,
        /// Who is connected.
        connected: Address,
    },
    /// For another node.
    #[error("the assignment is for {named}, not for this node")]
    Executor {
        /// For whom it is.
        named: Address,
    },
    /// For another job than the one sent along.
    #[error("the assignment is for another job than the one that came with it")]
    Job,
    /// Too late.
    #[error("the assignment expired {late_ms} ms ago; if it was just issued, compare the two machines' clocks")]
    Expired {
        /// By how much.
        late_ms: u64,
    },
}
