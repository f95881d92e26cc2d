//! `cddl/depx.cddl` says what the code encodes.

use crate::samples;
use crate::variants::{self, Change};
use cddl_cat::cbor::validate_cbor_bytes;

const CDDL: &str = include_str!("../../cddl/depx.cddl");

#[test]
fn every_sample_conforms() {
    for sample in samples::all() {
        if let Err(error) = validate_cbor_bytes(sample.rule, CDDL, &sample.bytes) {
            panic!("{} does not conform to depx.cddl: {error}", sample.name);
        }
    }
}

#[test]
fn what_is_not_in_the_data_model_is_judged_alike() {
    let mut judged = [0, 0];
    for sample in samples::all() {
        for (change, variant) in variants::of(&sample.bytes) {
            // How a value is encoded is beyond CDDL; what it is, is not.
            if matches!(change, Change::Head(_) | Change::Indefinite | Change::Tag | Change::Reserved) {
                continue;
            }
            let decodes = (sample.decode)(&variant).is_some();
            let conforms = validate_cbor_bytes(sample.rule, CDDL, &variant).is_ok();
            assert_eq!(decodes, conforms, "{} with {change:?}: {variant:02x?}", sample.name);
            judged[usize::from(decodes)] += 1;
        }
    }
    assert!(judged.iter().all(|count| *count > 100), "both kinds of variants occur: {judged:?}");
}
