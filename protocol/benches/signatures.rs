//! Signing and recovering with the native and with the portable implementation of secp256k1, as `identity.rs` uses them.
//! `cargo bench -p depx-protocol --bench signatures`

use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const SECRET: [u8; 32] = [7; 32];
const DIGEST: [u8; 32] = [9; 32];

mod native {
    use super::*;
    use secp256k1::ecdsa::RecoverableSignature;
    use secp256k1::{Message, SecretKey};

    fn sign_digest(key: &SecretKey) -> RecoverableSignature {
        RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(black_box(DIGEST)), key)
    }

    #[divan::bench]
    fn sign(bencher: Bencher<'_, '_>) {
        let key = SecretKey::from_secret_bytes(SECRET).expect("a valid key");
        bencher.bench(|| sign_digest(&key).serialize_compact());
    }

    #[divan::bench]
    fn recover(bencher: Bencher<'_, '_>) {
        let key = SecretKey::from_secret_bytes(SECRET).expect("a valid key");
        let (recovery, compact) = sign_digest(&key).serialize_compact();
        bencher.bench(|| {
            let signature = RecoverableSignature::from_compact(black_box(&compact), recovery).expect("well formed");
            signature.recover_ecdsa(Message::from_digest(DIGEST)).expect("signed").serialize_uncompressed()
        });
    }
}

mod portable {
    use super::*;
    use k256::ecdsa::{Signature, SigningKey, VerifyingKey};

    #[divan::bench]
    fn sign(bencher: Bencher<'_, '_>) {
        let key = SigningKey::from_slice(&SECRET).expect("a valid key");
        bencher.bench(|| key.sign_prehash_recoverable(black_box(&DIGEST)));
    }

    #[divan::bench]
    fn recover(bencher: Bencher<'_, '_>) {
        let key = SigningKey::from_slice(&SECRET).expect("a valid key");
        let (signature, recovery) = key.sign_prehash_recoverable(&DIGEST);
        let compact = signature.to_bytes();
        bencher.bench(|| {
            let signature = Signature::from_slice(black_box(&compact)).expect("well formed");
            let key = VerifyingKey::recover_from_prehash(&DIGEST, &signature, recovery).expect("signed");
            key.to_sec1_point(false)
        });
    }
}
