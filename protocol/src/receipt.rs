//! What an executor signs.

use crate::assignment::{LeaseId, Settlement};
use crate::batch::BatchSignature;
use crate::cbor::{self, Canonical};
use crate::hash::{Hash, Tag};
use crate::identity::{Address, IdentityError, SecretKey};
use minicbor::bytes::ByteVec;
use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};

/// At most this many pieces of evidence in a receipt: a quote per processor and device, and a proof or two.
pub const MAX_EVIDENCE: usize = 8;
/// At most this many bytes of evidence in a receipt: room for a proof of some hundred kilobytes, and little enough for a
/// [`crate::ReceiptBundle`] to fit into one frame.
pub const MAX_EVIDENCE_BYTES: usize = 256 << 10;

/// One executor's statement: "for this lease I got this result".
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ReceiptBody {
    /// [`crate::VERSION`].
    #[n(0)]
    pub version: u16,
    /// [`crate::ResultCore::hash`].
    #[n(1)]
    pub result: Hash,
    /// The job's identity.
    #[n(2)]
    pub job: Hash,
    /// The lease under which it was executed.
    #[n(3)]
    pub lease: LeaseId,
    /// The assignment's.
    #[n(4)]
    pub attempt: u32,
    /// Who executed, and signs.
    #[n(5)]
    pub executor: Address,
    /// SHA-256 of the TLS certificate that the executor was connected with; zero for a local run.
    #[n(6)]
    pub session_key: Hash,
    /// The commitment that was published before.
    #[n(7)]
    pub commit: Hash,
    /// Position in the executor's chain of receipts, from 0.
    #[n(8)]
    pub sequence: u64,
    /// [`ReceiptBody::hash`] of the receipt before; zero for the first.
    #[n(9)]
    pub previous: Hash,
    /// Claimed start of execution, Unix milliseconds.
    #[n(10)]
    pub started_ms: u64,
    /// Claimed end of execution, Unix milliseconds.
    #[n(11)]
    pub finished_ms: u64,
    /// Attestation quotes and proofs, at most [`MAX_EVIDENCE`] and [`MAX_EVIDENCE_BYTES`]; none are defined yet.
    #[cbor(n(12), decode_with = "decode_evidence")]
    pub evidence: Vec<ByteVec>,
}

impl Canonical for ReceiptBody {}

impl ReceiptBody {
    /// What the next receipt of the chain names as its previous.
    pub fn hash(&self) -> Hash {
        Tag::Receipt.hash(&[&self.to_bytes()])
    }
}

fn decode_evidence<C>(decoder: &mut Decoder<'_>, context: &mut C) -> Result<Vec<ByteVec>, decode::Error> {
    let position = decoder.position();
    let pieces: Vec<ByteVec> = cbor::list::<_, _, MAX_EVIDENCE>(decoder, context)?;
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > MAX_EVIDENCE_BYTES {
        return Err(decode::Error::message("the receipt carries too much evidence").at(position));
    }
    Ok(pieces)
}

/// Publishing this binds an executor to a result without showing it, so that nobody can copy it.
pub fn commitment(job: &Hash, lease: &LeaseId, executor: &Address, result: &Hash, salt: &[u8; 32]) -> Hash {
    Tag::Commit.hash(&[&job.0, &lease.0, &executor.0, &result.0, salt])
}

/// A receipt and its executor's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedReceipt {
    /// The statement.
    #[n(0)]
    pub body: ReceiptBody,
    /// The executor's.
    #[n(1)]
    pub signature: BatchSignature,
}

impl Canonical for SignedReceipt {}

/// Signs any number of receipts at once.
///
/// # Panics
///
/// If `key` is not the executor's of every receipt.
pub fn sign_batch(bodies: Vec<ReceiptBody>, settlement: &Settlement, key: &SecretKey) -> Vec<SignedReceipt> {
    assert!(bodies.iter().all(|body| body.executor == key.address()), "a receipt is signed by its executor");
    let leaves: Vec<_> = bodies.iter().map(Canonical::to_bytes).collect();
    let signatures = BatchSignature::sign_all(&leaves, key, |root| batch_digest(root, settlement));
    bodies.into_iter().zip(signatures).map(|(body, signature)| SignedReceipt { body, signature }).collect()
}

impl SignedReceipt {
    /// Checks that the executor whom the receipt names signed it, for this settlement.
    pub fn verify(&self, settlement: &Settlement) -> Result<(), IdentityError> {
        let signer = self.signature.recover(&self.body.to_bytes(), |root| batch_digest(root, settlement))?;
        if signer == self.body.executor { Ok(()) } else { Err(IdentityError::Signature) }
    }
}

/// `SHA-256(SHA-256(tag) ‖ chain id, 32 bytes ‖ contract, left-padded to 32 bytes ‖ root)`: words as a contract has them.
fn batch_digest(root: &Hash, settlement: &Settlement) -> Hash {
    let mut chain = [0; 32];
    chain[24..].copy_from_slice(&settlement.chain_id.to_be_bytes());
    let mut contract = [0; 32];
    contract[12..].copy_from_slice(&settlement.contract.0);
    Tag::ReceiptBatch.hash(&[&chain, &contract, &root.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::Proof;

    #[test]
    fn a_proof_of_an_impossible_shape_leads_to_no_root_at_all() {
        let key = SecretKey::from_bytes(&[3; 32]).expect("a valid key");
        let settlement = Settlement::default();
        let body = ReceiptBody {
            version: crate::VERSION,
            result: Hash::ZERO,
            job: Hash::ZERO,
            lease: LeaseId([0; 16]),
            attempt: 0,
            executor: key.address(),
            session_key: Hash::ZERO,
            commit: Hash::ZERO,
            sequence: 0,
            previous: Hash::ZERO,
            started_ms: 0,
            finished_ms: 0,
            evidence: Vec::new(),
        };
        // Else one signature over "no root" would stand for every receipt.
        let signature = key.sign(&batch_digest(&Hash::ZERO, &settlement));
        let signature = BatchSignature { proof: Proof::default(), signature };
        let receipt = SignedReceipt { body, signature };
        assert_eq!(receipt.verify(&settlement), Err(IdentityError::Signature));
    }
}
