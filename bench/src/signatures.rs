//! Why identities are secp256k1 through the C library.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use crate::measure::{processor_time, take_turns};
use anyhow::Result;
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{Message, SecretKey};
use std::hint::black_box;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "protocol.sign",
        unit: "ratio",
        goal: Goal::None,
        baseline: "`k256`, µs",
        method: "Processor time of one recoverable signature with `secp256k1`, which native builds use, over `k256`, which wasm32 builds \
                 use. Median of blocks of 200.",
    },
    Entry {
        name: "protocol.recover",
        unit: "ratio",
        goal: Goal::None,
        baseline: "`k256`, µs",
        method: "The same for recovering the signer's public key.",
    },
];

const SECRET: [u8; 32] = [7; 32];
const DIGEST: [u8; 32] = [9; 32];
/// Calls in one turn, so that the clock's own cost does not show.
const BLOCK: usize = 200;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let native = SecretKey::from_secret_bytes(SECRET)?;
    let portable = k256::ecdsa::SigningKey::from_slice(&SECRET)?;
    let message = || Message::from_digest(black_box(DIGEST));
    let native_sign = || RecoverableSignature::sign_ecdsa_recoverable(message(), &native);
    let portable_sign = || portable.sign_prehash_recoverable(black_box(&DIGEST));
    let native_signed = native_sign();
    let (portable_signed, recovery) = portable_sign();
    let native_recover = || Ok(native_signed.recover_ecdsa(message())?.serialize_uncompressed());
    let portable_recover = || {
        let key = k256::ecdsa::VerifyingKey::recover_from_prehash(black_box(&DIGEST), &portable_signed, recovery)?;
        Ok(key.to_sec1_point(false))
    };
    anyhow::ensure!(native_recover()?[..] == *portable_recover()?.as_bytes(), "the two libraries disagree");

    let turns = plan.turns(100, 20);
    let sign = take_turns(turns, [&mut || block(|| Ok(native_sign())), &mut || block(|| Ok(portable_sign()))])?;
    let recover = take_turns(turns, [&mut || block(native_recover), &mut || block(portable_recover)])?;
    let figure =
        |entry: &Entry, turns: crate::measure::Turns<2>| entry.figure(turns.ratio(0, 1), Some(turns.time(1) * 1e6));
    Ok(vec![figure(&ENTRIES[0], sign), figure(&ENTRIES[1], recover)])
}

/// Does `work` many times; gives the processor time of one, in seconds.
fn block<T>(mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let all = || (0..BLOCK).try_for_each(|_| work().map(|result| drop(black_box(result))));
    Ok(processor_time(all)? / BLOCK as f64)
}
