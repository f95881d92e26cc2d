//! secp256k1 identities, addressed as Ethereum does, so that a contract can `ecrecover` what they sign.
//!
//! Signatures are deterministic (RFC 6979), low-s, and only ever over digests made here under a domain tag.

use crate::hash::{Hash, Tag, parse_hex};
use minicbor::{Decode, Encode};
use sha3::{Digest, Keccak256};
use std::fmt;
use std::str::FromStr;

/// The last 20 bytes of the Keccak-256 of an uncompressed public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct Address(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 20]);

impl Address {
    /// The first eight hexadecimal digits with `0x`, for people to read.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }

    fn of_uncompressed(public_key: &[u8; 65]) -> Self {
        let mut address = [0; 20];
        address.copy_from_slice(&Keccak256::digest(&public_key[1..])[12..]);
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let digits = text.strip_prefix("0x").ok_or(IdentityError::Address)?;
        parse_hex(digits).map(Self).map_err(|_| IdentityError::Address)
    }
}

/// r ‖ s ‖ v, 65 bytes; s is in the lower half of the order, v is 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Signature(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 65]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Signature {
    /// The address whose key signed `digest`.
    pub(crate) fn recover(&self, digest: &Hash) -> Result<Address, IdentityError> {
        let recovery = match self.0[64] {
            27 => 0,
            28 => 1,
            _ => return Err(IdentityError::Signature),
        };
        let mut compact = [0; 64];
        compact.copy_from_slice(&self.0[..64]);
        if compact[32..] > HALF_ORDER[..] {
            return Err(IdentityError::Signature);
        }
        if let Some(signer) = recent::signer(self, digest) {
            return Ok(signer);
        }
        let public_key = curve::recover(&digest.0, &compact, recovery).ok_or(IdentityError::Signature)?;
        let signer = Address::of_uncompressed(&public_key);
        recent::remember(self, digest, signer);
        Ok(signer)
    }
}

/// Signatures that this thread has recovered last. Statements signed in a batch come one by one, and each is checked.
mod recent {
    use super::{Address, Signature};
    use crate::hash::Hash;
    use std::cell::RefCell;

    /// As many as batches are under way at a time: each finds its place by its digest, and whoever fills them all with others makes
    /// the next one take as long as without.
    const PLACES: usize = 64;

    thread_local! {
        static RECENT: RefCell<[Option<(Hash, Signature, Address)>; PLACES]> = const { RefCell::new([None; PLACES]) };
    }

    pub(super) fn signer(signature: &Signature, digest: &Hash) -> Option<Address> {
        RECENT.with_borrow(|recent| match &recent[place(digest)] {
            Some((known, by, signer)) if known == digest && by == signature => Some(*signer),
            _ => None,
        })
    }

    pub(super) fn remember(signature: &Signature, digest: &Hash, signer: Address) {
        RECENT.with_borrow_mut(|recent| recent[place(digest)] = Some((*digest, *signature, signer)));
    }

    fn place(digest: &Hash) -> usize {
        usize::from(digest.0[0]) % PLACES
    }
}

/// Half of the group's order: a larger s is the malleable twin of a signature (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// A private key. It is not printed and not encoded; only [`SecretKey::to_hex`] shows it.
#[derive(Clone)]
pub struct SecretKey {
    key: curve::Key,
    address: Address,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.address)
    }
}

impl SecretKey {
    /// From 32 bytes of good randomness. Fails for zero and for values at or above the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, IdentityError> {
        let key = curve::Key::from_bytes(bytes).ok_or(IdentityError::Key)?;
        let address = Address::of_uncompressed(&key.public_key());
        Ok(Self { key, address })
    }

    /// From 64 hexadecimal digits, as [`SecretKey::to_hex`] writes them.
    pub fn from_hex(text: &str) -> Result<Self, IdentityError> {
        Self::from_bytes(&parse_hex(text.trim()).map_err(|_| IdentityError::Key)?)
    }

    /// 64 hexadecimal digits. Whoever has them can sign as this identity.
    pub fn to_hex(&self) -> String {
        Hash(self.key.to_bytes()).to_string()
    }

    /// 32 secret bytes for one purpose, which `context` names as nothing else does (BLAKE3's key derivation).
    pub fn derive(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.key.to_bytes())
    }

    /// The address under which the world knows this key.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest that this crate made under a tag.
    pub(crate) fn sign(&self, digest: &Hash) -> Signature {
        let (compact, recovery) = self.key.sign(&digest.0);
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = 27 + recovery;
        Signature(bytes)
    }
}

/// Which end of a connection a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Executes jobs.
    #[n(0)]
    Node,
    /// Dispatches jobs.
    #[n(1)]
    Coordinator,
    /// Submits jobs.
    #[n(2)]
    Client,
}

/// Binds an identity to one TLS connection: the peer signs the connection's exported keying material (RFC 9266) and
/// its role, so a proof shown on one connection, or by the other end, is worth nothing on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChannelProof {
    /// Who claims to be at this end.
    #[n(0)]
    pub address: Address,
    /// Over the tagged digest of role and exporter.
    #[n(1)]
    pub signature: Signature,
}

impl ChannelProof {
    /// Proves that the holder of `key` is at the `role` end of the connection that exports `exporter`.
    pub fn sign(key: &SecretKey, role: Role, exporter: &[u8; 32]) -> Self {
        Self { address: key.address(), signature: key.sign(&Self::digest(role, exporter)) }
    }

    /// Checks the proof and gives the proven address.
    pub fn verify(&self, role: Role, exporter: &[u8; 32]) -> Result<Address, IdentityError> {
        let signer = self.signature.recover(&Self::digest(role, exporter))?;
        if signer == self.address { Ok(signer) } else { Err(IdentityError::Signature) }
    }

    fn digest(role: Role, exporter: &[u8; 32]) -> Hash {
        Tag::Channel.hash(&[&[role as u8], exporter])
    }
}

/// A key, address or signature that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not 32 bytes in the valid range.
    #[error("not a secp256k1 private key: expected 64 hexadecimal digits below the group's order")]
    Key,
    /// Not `0x` and 40 digits.
    #[error("not an address: expected 0x and 40 hexadecimal digits")]
    Address,
    /// Malformed, malleable, or by another key.
    #[error("the signature is not a valid one by the named address")]
    Signature,
}

/// libsecp256k1: 1.4 times faster at signing and 2.1 times at recovering than `k256` (`benches/signatures.rs`).
#[cfg(not(target_arch = "wasm32"))]
mod curve {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    use secp256k1::{Message, PublicKey, SecretKey};

    #[derive(Clone)]
    pub(super) struct Key(SecretKey);

    impl Drop for Key {
        fn drop(&mut self) {
            // What the compiler copied elsewhere stays; the longest-lived copy goes.
            self.0.non_secure_erase();
        }
    }

    impl Key {
        pub(super) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
            SecretKey::from_secret_bytes(*bytes).ok().map(Self)
        }

        pub(super) fn to_bytes(&self) -> [u8; 32] {
            self.0.to_secret_bytes()
        }

        pub(super) fn public_key(&self) -> [u8; 65] {
            PublicKey::from_secret_key(&self.0).serialize_uncompressed()
        }

        pub(super) fn sign(&self, digest: &[u8; 32]) -> ([u8; 64], u8) {
            let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(*digest), &self.0);
            let (recovery, compact) = signature.serialize_compact();
            (compact, u8::from(recovery))
        }
    }

    pub(super) fn recover(digest: &[u8; 32], compact: &[u8; 64], recovery: u8) -> Option<[u8; 65]> {
        let recovery = RecoveryId::try_from(i32::from(recovery)).ok()?;
        let signature = RecoverableSignature::from_compact(compact, recovery).ok()?;
        Some(signature.recover_ecdsa(Message::from_digest(*digest)).ok()?.serialize_uncompressed())
    }
}

/// Pure Rust, for targets without a C compiler; the same bytes, as a test on native targets shows.
#[cfg(any(target_arch = "wasm32", test))]
mod pure {
    use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};

    #[derive(Clone)]
    pub(super) struct Key(SigningKey);

    impl Key {
        pub(super) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
            SigningKey::from_slice(bytes).ok().map(Self)
        }

        pub(super) fn to_bytes(&self) -> [u8; 32] {
            self.0.to_bytes().into()
        }

        pub(super) fn public_key(&self) -> [u8; 65] {
            uncompressed(self.0.verifying_key())
        }

        pub(super) fn sign(&self, digest: &[u8; 32]) -> ([u8; 64], u8) {
            let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
            (signature.to_bytes().into(), recovery.to_byte())
        }
    }

    pub(super) fn recover(digest: &[u8; 32], compact: &[u8; 64], recovery: u8) -> Option<[u8; 65]> {
        let signature = Signature::from_slice(compact).ok()?;
        let key = VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::from_byte(recovery)?).ok()?;
        Some(uncompressed(&key))
    }

    fn uncompressed(key: &VerifyingKey) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes.copy_from_slice(key.to_sec1_point(false).as_bytes());
        bytes
    }
}
#[cfg(target_arch = "wasm32")]
use pure as curve;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    /// 32 bytes that look random and are the same in every run.
    fn bytes(label: &str, index: u32) -> [u8; 32] {
        sha256(format!("{label} {index}").as_bytes()).0
    }

    #[test]
    fn both_implementations_give_the_same_bytes() {
        for index in 0..200 {
            let (secret, digest) = (bytes("key", index), bytes("digest", index));
            let native = curve::Key::from_bytes(&secret).expect("a valid key");
            let portable = pure::Key::from_bytes(&secret).expect("a valid key");
            assert_eq!(native.to_bytes(), portable.to_bytes());
            assert_eq!(native.public_key(), portable.public_key());
            let (compact, recovery) = native.sign(&digest);
            assert_eq!((compact, recovery), portable.sign(&digest), "RFC 6979, low s");
            assert_eq!(curve::recover(&digest, &compact, recovery), Some(native.public_key()));
            for recovery in 0..4 {
                let recovered = curve::recover(&digest, &compact, recovery);
                assert_eq!(recovered, pure::recover(&digest, &compact, recovery), "recovery id {recovery}");
            }
        }
    }

    #[test]
    fn both_implementations_refuse_the_same() {
        let n = minus(&[0; 32]);
        let keys = [[0; 32], n, [0xff; 32]];
        for key in keys {
            assert!(curve::Key::from_bytes(&key).is_none() && pure::Key::from_bytes(&key).is_none(), "{key:x?}");
        }
        let mut one = [0; 32];
        one[31] = 1;
        let largest = minus(&one);
        assert!(curve::Key::from_bytes(&largest).is_some() && pure::Key::from_bytes(&largest).is_some());

        let digest = bytes("digest", 0);
        let (good, _) = curve::Key::from_bytes(&bytes("key", 0)).expect("a valid key").sign(&digest);
        // r = 0, s = 0, r = n, s = n, r = 2²⁵⁶ - 1, and an r that is no point's x.
        let with_r = |r: [u8; 32]| [&r[..], &good[32..]].concat();
        let with_s = |s: [u8; 32]| [&good[..32], &s[..]].concat();
        let mut five = [0; 32];
        five[31] = 5;
        for bad in [with_r([0; 32]), with_s([0; 32]), with_r(n), with_s(n), with_r([0xff; 32]), with_r(five)] {
            let compact: [u8; 64] = bad.try_into().expect("64 bytes");
            for recovery in 0..2 {
                assert_eq!(curve::recover(&digest, &compact, recovery), None, "{compact:x?}");
                assert_eq!(pure::recover(&digest, &compact, recovery), None, "{compact:x?}");
            }
        }
    }

    #[test]
    fn every_twin_of_a_signature_is_refused() {
        for index in 0..50 {
            let key = SecretKey::from_bytes(&bytes("key", index)).expect("a valid key");
            let digest = Hash(bytes("digest", index));
            let signature = key.sign(&digest);
            assert_eq!(signature.recover(&digest), Ok(key.address()));

            let s = <[u8; 32]>::try_from(&signature.0[32..64]).expect("32 bytes");
            assert!(s <= HALF_ORDER, "signatures are made with a low s");
            let mut twin = signature;
            twin.0[32..64].copy_from_slice(&minus(&s));
            for v in [27, 28] {
                twin.0[64] = v;
                assert_eq!(twin.recover(&digest), Err(IdentityError::Signature), "high s");
            }
            for v in (0..=255).filter(|v| *v != signature.0[64]) {
                let mut other = signature;
                other.0[64] = v;
                assert_ne!(other.recover(&digest), Ok(key.address()), "v = {v}");
                assert!(matches!(v, 27 | 28) || other.recover(&digest).is_err(), "v = {v}");
            }
        }
    }

    #[test]
    fn half_the_order_is_half_the_order() {
        // n is odd, so n - floor(n / 2) = floor(n / 2) + 1.
        let mut next = HALF_ORDER;
        next[31] += 1;
        assert_eq!(minus(&HALF_ORDER), next);
    }

    /// The group's order minus `value`.
    fn minus(value: &[u8; 32]) -> [u8; 32] {
        let order = parse_hex::<32>("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").expect("hex");
        let mut difference = [0; 32];
        let mut borrow = false;
        for position in (0..32).rev() {
            let (digit, first) = order[position].overflowing_sub(value[position]);
            let (digit, second) = digit.overflowing_sub(u8::from(borrow));
            (difference[position], borrow) = (digit, first || second);
        }
        difference
    }
}
