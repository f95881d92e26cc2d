//! One value, one encoding.

use crate::variants::{self, Change};
use crate::{samples, strategies};
use depx_protocol::{Canonical, DecodeError, ItemPack};
use proptest::prelude::*;
use std::fmt::Debug;

fn has_one_encoding<T: Canonical + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = value.to_bytes();
    let decoded = T::from_bytes(&bytes).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    prop_assert_eq!(&decoded, value);
    for (change, variant) in variants::of(&bytes) {
        match T::from_bytes(&variant) {
            Err(_) => {}
            Ok(other) => {
                prop_assert!(change.may_be_another_value(), "{:?} was accepted: {:02x?}", change, variant);
                prop_assert_ne!(&other, value, "{:?} means the same: {:02x?}", change, variant);
            }
        }
    }
    for cut in 0..bytes.len() {
        prop_assert!(T::from_bytes(&bytes[..cut]).is_err(), "cut at {}", cut);
    }
    for byte in [0, 0x40, 0x80, 0xf6, 0xff] {
        let longer = [&bytes[..], &[byte]].concat();
        let error = T::from_bytes(&longer).expect_err("one byte too many");
        let trailing = matches!(error, DecodeError::TrailingBytes { position } if position == bytes.len());
        prop_assert!(trailing, "{:?}", error);
    }
    Ok(())
}

macro_rules! every_type {
    ($($name:ident)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(value in strategies::$name()) {
                    has_one_encoding(&value)?;
                }
            )*
        }
    };
}

every_type! {
    job_spec signed_job_spec item_pack tensor_pack assignment signed_assignment result_core snapshot item_leaf host_call_leaf inference_leaf
    job_output receipt_body signed_receipt bundle hello welcome control_message control_reply offer lease_message lease_reply get_blob blob_reply
    client_event
}

#[test]
fn structures_have_a_fixed_number_of_elements() {
    for sample in samples::all().iter().filter(|sample| !matches!(sample.rule, "item-pack" | "tensor-pack")) {
        // The outermost array is the first item that each change is tried on.
        for wanted in [Change::Shorter, Change::ExtraFalse, Change::ExtraNull] {
            let (_, variant) = variants::of(&sample.bytes).into_iter().find(|(change, _)| *change == wanted).unwrap();
            assert_eq!((sample.decode)(&variant), None, "{} with {wanted:?}", sample.name);
        }
    }
}

#[test]
fn an_absent_option_still_has_its_place() {
    let client = samples::hello(depx_protocol::Role::Client, None).to_bytes();
    assert_eq!((client[0], client.last()), (0x83, Some(&0xf6)), "three elements, the last of them null");
}

#[test]
fn errors_say_what_was_wrong() {
    let [mut longer, indefinite] = [vec![0x81, 0x41, 7], vec![0x9f, 0x41, 7, 0xff]];
    assert!(ItemPack::from_bytes(&longer).is_ok());
    let wide = ItemPack::from_bytes(&[0x98, 1, 0x41, 7]).unwrap_err();
    assert_eq!(wide.to_string(), "valid CBOR, but not in canonical form");
    longer.push(0);
    assert_eq!(ItemPack::from_bytes(&longer).unwrap_err().to_string(), "3 bytes were read and more follow");
    let malformed = ItemPack::from_bytes(&indefinite).unwrap_err();
    assert_eq!(malformed.to_string(), "not the expected CBOR structure");
    let cause = std::error::Error::source(&malformed).expect("a cause").to_string();
    assert!(cause.contains("indefinite length"), "{cause}");
}

#[test]
fn a_pack_holds_as_many_items_as_its_job_states() {
    let (spec, pack) = (samples::job_spec(), samples::item_pack());
    assert_eq!(spec.input.unpack(&pack.to_bytes()).expect("three items"), pack);
    let fewer = ItemPack::new(["a", "b"]).to_bytes();
    let error = spec.input.unpack(&fewer).unwrap_err();
    assert_eq!(error.to_string(), "the pack holds 2 items where the job states 3");
    assert!(spec.input.unpack(b"no pack").is_err());
    let compute = samples::compute_spec().input.unpack(&fewer).expect("any bytes");
    assert_eq!(compute, ItemPack::new([fewer]), "a compute job's input is not looked into");
}
