//! What decoding hostile bytes costs: no panic, and memory in proportion to the bytes that did arrive.

use crate::samples;
use crate::variants::{self, Change};
use depx_protocol::{Canonical, ItemPack, JobOutput, JobSpec};
use proptest::prelude::*;

/// The most expensive byte is an empty item of a list: one byte for a `Vec` of three words, in a list that doubles.
const PER_BYTE: u64 = 100;
/// What an error message and the first allocation of a list take.
const FIXED: u64 = 4096;

fn decode_within_budget(decode: impl FnOnce(&[u8]) -> bool, bytes: &[u8]) -> Result<bool, TestCaseError> {
    let mut accepted = false;
    let peak = allocation_counter::measure(|| accepted = decode(bytes)).bytes_max;
    let budget = bytes.len() as u64 * PER_BYTE + FIXED;
    prop_assert!(peak <= budget, "{} bytes made the decoder allocate {}", bytes.len(), peak);
    Ok(accepted)
}

/// Decodes `bytes` as every type.
fn decode_as_everything(bytes: &[u8]) -> Result<(), TestCaseError> {
    for sample in samples::all() {
        decode_within_budget(|bytes| (sample.decode)(bytes).is_some(), bytes)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_as_everything(&bytes)?;
    }

    #[test]
    fn nested_arrays(depth in 1usize..20_000, head in proptest::sample::select(vec![0x81u8, 0x82, 0x9f, 0xa1, 0xc6, 0xbf])) {
        decode_as_everything(&vec![head; depth])?;
    }

    #[test]
    fn damaged_messages(
        which in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let samples = samples::all();
        let sample = which.get(&samples);
        let mut bytes = sample.bytes.clone();
        for (position, value) in damage {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        decode_as_everything(&bytes)?;
    }
}

#[test]
fn huge_declared_lengths() {
    let mut refused = 0;
    for sample in samples::all() {
        for (change, bytes) in variants::of(&sample.bytes) {
            if matches!(change, Change::Huge(_)) {
                let accepted = decode_within_budget(|bytes| (sample.decode)(bytes).is_some(), &bytes);
                refused += u32::from(!accepted.unwrap_or_else(|error| panic!("{}: {error}", sample.name)));
            }
        }
    }
    assert!(refused > 1000, "every length of every message was tried: {refused}");
}

#[test]
fn lists_of_the_smallest_items() {
    let list = |len: u32, item: &[u8]| [&[0x9a][..], &len.to_be_bytes(), &item.repeat(len as usize)].concat();
    let pack = list(1 << 20, &[0x40]);
    let accepted = decode_within_budget(|bytes| ItemPack::from_bytes(bytes).is_ok(), &pack).expect("within budget");
    assert!(accepted, "as many items as a job may have");
    let more = list((1 << 20) + 1, &[0x40]);
    let cost = allocation_counter::measure(|| assert!(ItemPack::from_bytes(&more).is_err())).bytes_total;
    assert!(cost < FIXED, "one more is refused before any is read, not after {cost} bytes");

    let items = [&[0x82][..], &list(1 << 16, &[0x82]), &[0x80]].concat();
    decode_within_budget(|bytes| JobOutput::from_bytes(bytes).is_ok(), &items).expect("within budget");
    let spec = [&[0x8d, 1][..], &list(1 << 20, &[0x60])].concat();
    decode_within_budget(|bytes| JobSpec::from_bytes(bytes).is_ok(), &spec).expect("within budget");
}
