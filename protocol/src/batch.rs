//! Signatures over many statements at once.

use crate::hash::Hash;
use crate::identity::{Address, IdentityError, SecretKey, Signature};
use crate::merkle::{self, Proof};
use minicbor::{Decode, Encode};

/// One signature for many statements, and where one of them stands among them: many cost as much to sign, and to whoever sees several
/// of them to check, as one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct BatchSignature {
    /// That the statement stands in the signed batch.
    #[n(0)]
    pub proof: Proof,
    /// Over a digest of the batch's root.
    #[n(1)]
    pub signature: Signature,
}

impl BatchSignature {
    /// A signature for each of `statements`, in order; `digest` is of the root over all of them.
    pub(crate) fn sign_all<T: AsRef<[u8]>>(
        statements: &[T],
        key: &SecretKey,
        digest: impl Fn(&Hash) -> Hash,
    ) -> Vec<Self> {
        if statements.is_empty() {
            return Vec::new();
        }
        let signature = key.sign(&digest(&merkle::root(statements)));
        merkle::proofs(statements).into_iter().map(|proof| Self { proof, signature }).collect()
    }

    /// Who signed a batch in which `statement` stands.
    pub(crate) fn recover(&self, statement: &[u8], digest: impl Fn(&Hash) -> Hash) -> Result<Address, IdentityError> {
        let root = self.proof.root(statement).ok_or(IdentityError::Signature)?;
        self.signature.recover(&digest(&root))
    }
}

/// What an identity signs, any number at a time.
pub trait Sign: Sized {
    /// With the signature.
    type Signed;

    /// Signs all of `statements`, in order.
    ///
    /// # Panics
    ///
    /// If one of them names another signer than `key`.
    fn sign_all(statements: Vec<Self>, key: &SecretKey) -> Vec<Self::Signed>;
}
