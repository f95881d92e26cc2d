//! Arbitrary bytes, decoded as every structure: what is accepted has no other encoding.
#![no_main]

use depx_protocol::wire::{
    BlobReply, ClientEvent, ControlMessage, ControlReply, GetBlob, Hello, LeaseMessage, LeaseReply, Offer, Reveal,
    Welcome,
};
use depx_protocol::{
    Assignment, Canonical, InferenceLeaf, ItemLeaf, ItemPack, JobOutput, JobSpec, ReceiptBody, ReceiptBundle,
    ResultCore, SignedAssignment, SignedJobSpec, SignedReceipt,
};

macro_rules! decode {
    ($bytes:ident as $($structure:ty),*) => {
        $(if let Ok(value) = <$structure>::from_bytes($bytes) {
            assert_eq!(value.to_bytes(), $bytes, stringify!($structure));
        })*
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    decode!(
        bytes as Assignment,
        SignedAssignment,
        ReceiptBundle,
        ItemPack,
        JobSpec,
        SignedJobSpec,
        ReceiptBody,
        SignedReceipt
    );
    decode!(
        bytes as ResultCore,
        ItemLeaf,
        InferenceLeaf,
        JobOutput,
        Hello,
        Welcome,
        ControlMessage,
        Offer,
        LeaseMessage
    );
    decode!(bytes as ControlReply, Reveal, LeaseReply, GetBlob, BlobReply, ClientEvent);
});
