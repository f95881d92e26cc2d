//! Arbitrary values of every type, valid or not in what they say.

use depx_protocol::merkle::Proof;
use depx_protocol::wire::{
    BlobReply, Capabilities, ClientEvent, ControlMessage, ControlReply, GetBlob, GroupRange, Hello, LeaseMessage,
    LeaseReply, Offer, RefuseReason, Reveal, Vote, Welcome,
};
use depx_protocol::{
    Address, Assignment, BatchSignature, Blob, ChannelProof, Consistency, DeterminismClass, Hash, HostCallLeaf,
    HostCallLog, InferenceLeaf, InputFile, ItemLeaf, ItemOutput, ItemPack, JobInput, JobOutput, JobSpec, LeaseId,
    Limits, ModelRef, OutputFile, Program, RawTensor, ReceiptBody, ReceiptBundle, ResultCore, Settlement, Signature,
    SignedAssignment, SignedJobSpec, SignedReceipt, Snapshot, SnapshotGlobal, Status, TensorPack, TensorType,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Numbers of every width of head.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..30,
        200u64..300,
        65_500u64..65_600,
        any::<u32>().prop_map(u64::from),
        any::<u64>(),
        Just(u64::MAX)
    ]
}

fn small() -> impl Strategy<Value = u32> {
    number().prop_map(|number| number as u32)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-z]{20,30}"]
}

fn reason() -> impl Strategy<Value = String> {
    prop_oneof![4 => text(), 1 => Just("ä".repeat(512))]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

fn batch_signature() -> impl Strategy<Value = BatchSignature> {
    let proof = (number(), number(), vec(hash(), 0..5)).prop_map(|(index, count, path)| Proof { index, count, path });
    (proof, signature()).prop_map(|(proof, signature)| BatchSignature { proof, signature })
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<[u8; 65]>().prop_map(Signature)
}

fn class() -> impl Strategy<Value = DeterminismClass> {
    select(vec![DeterminismClass::Exact, DeterminismClass::Reproducible, DeterminismClass::Pinned])
}

fn status() -> impl Strategy<Value = Status> {
    select(vec![
        Status::Success,
        Status::ExitCode,
        Status::Trap,
        Status::OutOfFuel,
        Status::LimitExceeded,
        Status::InvalidModule,
        Status::InvalidModel,
        Status::InvalidInput,
        Status::InvalidItem,
    ])
}

fn blob() -> impl Strategy<Value = Blob> {
    (hash(), number()).prop_map(|(hash, len)| Blob { hash, len })
}

fn program() -> impl Strategy<Value = Program> {
    prop_oneof![blob().prop_map(Program::Command), blob().prop_map(Program::Model)]
}

fn input() -> impl Strategy<Value = JobInput> {
    prop_oneof![
        blob().prop_map(JobInput::Compute),
        (blob(), number()).prop_map(|(pack, items)| JobInput::Batch { pack, items })
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (number(), small(), small(), number(), number(), small(), number(), number()).prop_map(
        |(fuel, memory_pages, table_elements, output_bytes, log_bytes, files, file_bytes, wall_ms)| Limits {
            fuel,
            memory_pages,
            table_elements,
            output_bytes,
            log_bytes,
            files,
            file_bytes,
            wall_ms,
        },
    )
}

pub(crate) fn job_spec() -> impl Strategy<Value = JobSpec> {
    let consistency = select(vec![Consistency::Eventual, Consistency::Session, Consistency::Strong]);
    let texts = (
        vec(text(), 0..4),
        vec((text(), text()), 0..4),
        vec((text(), blob()).prop_map(|(path, blob)| InputFile { path, blob }), 0..4),
        vec((text(), blob()).prop_map(|(name, blob)| ModelRef { name, blob }), 0..4),
    );
    let head = (any::<u16>(), address(), any::<[u8; 16]>(), number(), program());
    (head, texts, input(), class(), consistency, limits()).prop_map(
        |(
            (version, client, nonce, created_ms, program),
            (args, env, files, models),
            input,
            class,
            consistency,
            limits,
        )| {
            JobSpec {
                version,
                client,
                nonce,
                created_ms,
                program,
                args,
                env,
                files,
                models,
                input,
                class,
                consistency,
                limits,
            }
        },
    )
}

pub(crate) fn signed_job_spec() -> impl Strategy<Value = SignedJobSpec> {
    (job_spec(), batch_signature()).prop_map(|(spec, signature)| SignedJobSpec { spec, signature })
}

pub(crate) fn item_pack() -> impl Strategy<Value = ItemPack> {
    vec(bytes(), 0..30).prop_map(ItemPack::new)
}

pub(crate) fn tensor_pack() -> impl Strategy<Value = TensorPack> {
    let element_type = select(vec![
        TensorType::F16,
        TensorType::F32,
        TensorType::F64,
        TensorType::U8,
        TensorType::I32,
        TensorType::I64,
    ]);
    let tensor = (element_type, vec(small(), 0..=8), bytes()).prop_map(|(element_type, shape, data)| RawTensor {
        element_type,
        shape,
        data: data.into(),
    });
    vec(tensor, 0..4).prop_map(TensorPack)
}

pub(crate) fn assignment() -> impl Strategy<Value = Assignment> {
    let settlement = (number(), address()).prop_map(|(chain_id, contract)| Settlement { chain_id, contract });
    let lease = any::<[u8; 16]>().prop_map(LeaseId);
    (any::<u16>(), hash(), lease, small(), address(), address(), hash(), number(), number(), settlement).prop_map(
        |(version, job, lease, attempt, coordinator, executor, profile, issued_ms, expires_ms, settlement)| {
            Assignment {
                version,
                job,
                lease,
                attempt,
                coordinator,
                executor,
                profile,
                issued_ms,
                expires_ms,
                settlement,
            }
        },
    )
}

pub(crate) fn signed_assignment() -> impl Strategy<Value = SignedAssignment> {
    (assignment(), batch_signature()).prop_map(|(assignment, signature)| SignedAssignment { assignment, signature })
}

pub(crate) fn result_core() -> impl Strategy<Value = ResultCore> {
    let numbers = (small(), number(), small(), number(), number());
    (any::<u16>(), class(), status(), numbers, any::<[[u8; 32]; 8]>(), number()).prop_map(
        |(version, class, status, numbers, hashes, snapshot_fuel)| {
            let (code, fuel_used, peak_memory_pages, item_count, output_len) = numbers;
            let [job, profile, input_root, output_root, items_root, host_calls_root, inference_root, snapshot] =
                hashes.map(Hash);
            ResultCore {
                version,
                job,
                class,
                profile,
                status,
                code,
                fuel_used,
                peak_memory_pages,
                item_count,
                input_root,
                output_root,
                output_len,
                items_root,
                host_calls_root,
                inference_root,
                snapshot,
                snapshot_fuel,
            }
        },
    )
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let global = (small(), bytes()).prop_map(|(index, bits)| SnapshotGlobal { index, bits: bits.into() });
    (hash(), small(), hash(), vec(global, 0..4)).prop_map(|(module, memory_pages, memory_root, globals)| Snapshot {
        module,
        memory_pages,
        memory_root,
        globals,
    })
}

pub(crate) fn item_leaf() -> impl Strategy<Value = ItemLeaf> {
    (number(), status(), small(), number(), small(), hash(), number(), number(), host_call_log()).prop_map(
        |(index, status, code, fuel_used, peak_memory_pages, output, output_len, log_len, host_calls)| ItemLeaf {
            index,
            status,
            code,
            fuel_used,
            peak_memory_pages,
            output,
            output_len,
            log_len,
            host_calls,
        },
    )
}

fn host_call_log() -> impl Strategy<Value = HostCallLog> {
    (number(), hash()).prop_map(|(count, root)| HostCallLog { count, root })
}

pub(crate) fn host_call_leaf() -> impl Strategy<Value = HostCallLeaf> {
    let arguments = vec(number(), 0..=HostCallLeaf::MAX_ARGUMENTS);
    let (result, memory) = (proptest::option::of(small()), proptest::option::of(hash()));
    (number(), any::<u16>(), arguments, result, number(), number(), memory).prop_map(
        |(index, function, arguments, result, fuel_before, fuel_after, memory)| HostCallLeaf {
            index,
            function,
            arguments,
            result,
            fuel_before,
            fuel_after,
            memory,
        },
    )
}

pub(crate) fn inference_leaf() -> impl Strategy<Value = InferenceLeaf> {
    (number(), hash(), hash(), hash(), number()).prop_map(|(item, model, input, output, fuel)| InferenceLeaf {
        item,
        model,
        input,
        output,
        fuel,
    })
}

pub(crate) fn job_output() -> impl Strategy<Value = JobOutput> {
    let file = (text(), bytes()).prop_map(|(path, content)| OutputFile { path, content: content.into() });
    let item = (item_leaf(), bytes(), vec(file, 0..3)).prop_map(|(leaf, stdout, files)| ItemOutput {
        leaf,
        stdout: stdout.into(),
        files,
    });
    (vec(item, 0..4), vec(inference_leaf(), 0..4)).prop_map(|(items, inferences)| JobOutput { items, inferences })
}

pub(crate) fn receipt_body() -> impl Strategy<Value = ReceiptBody> {
    let numbers = (any::<u16>(), small(), number(), number(), number());
    let evidence = vec(bytes().prop_map(Into::into), 0..4);
    (any::<[[u8; 32]; 5]>(), any::<[u8; 16]>(), address(), numbers, evidence).prop_map(
        |(hashes, lease, executor, (version, attempt, sequence, started_ms, finished_ms), evidence)| {
            let [result, job, session_key, commit, previous] = hashes.map(Hash);
            ReceiptBody {
                version,
                result,
                job,
                lease: LeaseId(lease),
                attempt,
                executor,
                session_key,
                commit,
                sequence,
                previous,
                started_ms,
                finished_ms,
                evidence,
            }
        },
    )
}

pub(crate) fn signed_receipt() -> impl Strategy<Value = SignedReceipt> {
    (receipt_body(), batch_signature()).prop_map(|(body, signature)| SignedReceipt { body, signature })
}

fn vote() -> impl Strategy<Value = Vote> {
    (signed_assignment(), result_core(), any::<[u8; 32]>(), signed_receipt())
        .prop_map(|(assignment, result, salt, receipt)| Vote { assignment, result, salt, receipt })
}

pub(crate) fn bundle() -> impl Strategy<Value = ReceiptBundle> {
    (signed_job_spec(), vote()).prop_map(|(job, vote)| vote.into_bundle(job))
}

fn channel_proof() -> impl Strategy<Value = ChannelProof> {
    (address(), signature()).prop_map(|(address, signature)| ChannelProof { address, signature })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let capabilities = (reason(), small(), vec((class(), hash()), 0..4))
        .prop_map(|(software, slots, profiles)| Capabilities { software, slots, profiles });
    (any::<u16>(), channel_proof(), proptest::option::of(capabilities))
        .prop_map(|(version, proof, capabilities)| Hello { version, proof, capabilities })
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome> {
    prop_oneof![
        (channel_proof(), number()).prop_map(|(proof, heartbeat_ms)| Welcome::Accepted { proof, heartbeat_ms }),
        reason().prop_map(|reason| Welcome::Refused { reason })
    ]
}

pub(crate) fn control_message() -> impl Strategy<Value = ControlMessage> {
    let heartbeat = (small(), small(), any::<u16>(), number())
        .prop_map(|(active, queued, load, memory)| ControlMessage::Heartbeat { active, queued, load, memory });
    prop_oneof![heartbeat, Just(ControlMessage::Drain)]
}

pub(crate) fn control_reply() -> impl Strategy<Value = ControlReply> {
    number().prop_map(|time_ms| ControlReply::Alive { time_ms })
}

pub(crate) fn offer() -> impl Strategy<Value = Offer> {
    (signed_job_spec(), signed_assignment()).prop_map(|(job, assignment)| Offer { job, assignment })
}

pub(crate) fn lease_message() -> impl Strategy<Value = LeaseMessage> {
    let reasons = select(vec![
        RefuseReason::Busy,
        RefuseReason::Invalid,
        RefuseReason::Replayed,
        RefuseReason::OverLimit,
        RefuseReason::Unsupported,
        RefuseReason::Draining,
    ]);
    let reveal = (result_core(), any::<[u8; 32]>(), signed_receipt(), number())
        .prop_map(|(result, salt, receipt, output_len)| Reveal { result, salt, receipt, output_len });
    prop_oneof![
        Just(LeaseMessage::Accept),
        (reasons, reason()).prop_map(|(reason, detail)| LeaseMessage::Refuse { reason, detail }),
        reason().prop_map(|detail| LeaseMessage::Failed { detail }),
        hash().prop_map(|commit| LeaseMessage::Commit { commit }),
        reveal.prop_map(|reveal| LeaseMessage::Reveal(Box::new(reveal)))
    ]
}

pub(crate) fn lease_reply() -> impl Strategy<Value = LeaseReply> {
    prop_oneof![Just(LeaseReply::Open), Just(LeaseReply::Done)]
}

pub(crate) fn get_blob() -> impl Strategy<Value = GetBlob> {
    let range = (number(), number()).prop_map(|(first, count)| GroupRange { first, count });
    (blob(), vec(range, 0..30)).prop_map(|(blob, ranges)| GetBlob { blob, ranges })
}

pub(crate) fn blob_reply() -> impl Strategy<Value = BlobReply> {
    prop_oneof![Just(BlobReply::Found), Just(BlobReply::Missing)]
}

pub(crate) fn client_event() -> impl Strategy<Value = ClientEvent> {
    prop_oneof![
        vec(blob(), 0..30).prop_map(|blobs| ClientEvent::Need { blobs }),
        hash().prop_map(|job| ClientEvent::Queued { job }),
        address().prop_map(|executor| ClientEvent::Dispatched { executor }),
        (address(), reason()).prop_map(|(executor, detail)| ClientEvent::NoShow { executor, detail }),
        vote().prop_map(|vote| ClientEvent::Vote { vote: Box::new(vote) }),
        (hash(), vec(address(), 0..=7), number()).prop_map(|(result, dissenters, output_len)| ClientEvent::Agreed {
            result,
            dissenters,
            output_len
        }),
        reason().prop_map(|reason| ClientEvent::Failed { reason })
    ]
}
