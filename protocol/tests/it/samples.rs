//! One execution from spec to bundle, with fixed keys, and every message at least once. The golden vectors are made of
//! these values: a change here changes them.

use depx_protocol::merkle::Proof;
use depx_protocol::receipt::commitment;
use depx_protocol::wire::{
    BlobReply, Capabilities, ClientEvent, ControlMessage, ControlReply, GetBlob, GroupRange, Hello, LeaseMessage,
    LeaseReply, Offer, RefuseReason, Reveal, Vote, Welcome,
};
use depx_protocol::{
    Address, Assignment, Blob, Canonical, ChannelProof, Consistency, DeterminismClass, Hash, HostCallLeaf, HostCallLog,
    InferenceLeaf, InputFile, ItemLeaf, ItemOutput, ItemPack, JobInput, JobOutput, JobSpec, LeaseId, Limits, ModelRef,
    OutputFile, Program, RawTensor, ReceiptBody, ReceiptBundle, ResultCore, Role, SecretKey, Settlement, Sign,
    SignedAssignment, SignedJobSpec, SignedReceipt, Snapshot, SnapshotGlobal, Status, Tag, TensorPack, TensorType,
    VERSION, sign_batch,
};

pub(crate) const EXPORTER: [u8; 32] = [0xe7; 32];
pub(crate) const SALT: [u8; 32] = [0x5a; 32];
pub(crate) const ISSUED_MS: u64 = 1_760_000_000_500;
pub(crate) const EXPIRES_MS: u64 = ISSUED_MS + 60_000;

pub(crate) fn client() -> SecretKey {
    key(1)
}

pub(crate) fn coordinator() -> SecretKey {
    key(2)
}

pub(crate) fn executor() -> SecretKey {
    key(3)
}

/// The key with this number: 32 bytes, big-endian.
pub(crate) fn key(number: u8) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[31] = number;
    SecretKey::from_bytes(&bytes).expect("a small number is a valid key")
}

pub(crate) fn item_pack() -> ItemPack {
    ItemPack::new(["first item", "", "third item"])
}

/// A batch job that fills every field.
pub(crate) fn job_spec() -> JobSpec {
    JobSpec {
        version: VERSION,
        client: client().address(),
        nonce: *b"sixteen bytes!!!",
        created_ms: 1_760_000_000_000,
        program: Program::Command(Blob::of(b"\0asm")),
        args: vec!["--verbose".into(), "grüße".into()],
        env: vec![("LANG".into(), "C".into()), ("EMPTY".into(), String::new())],
        files: vec![InputFile { path: "data/table.csv".into(), blob: Blob::of(b"1,2\n") }],
        models: vec![ModelRef { name: "digits".into(), blob: Blob::of(b"onnx") }],
        input: JobInput::Batch { pack: Blob::of(&item_pack().to_bytes()), items: 3 },
        class: DeterminismClass::Reproducible,
        consistency: Consistency::Session,
        limits: Limits::DEFAULT,
    }
}

pub(crate) fn compute_spec() -> JobSpec {
    JobSpec { input: JobInput::Compute(Blob::of(b"standard input")), ..job_spec() }
}

/// A job that runs a model alone.
pub(crate) fn model_spec() -> JobSpec {
    let (args, env, files, models) = (vec![], vec![], vec![], vec![]);
    JobSpec { program: Program::Model(Blob::of(b"onnx")), args, env, files, models, ..job_spec() }
}

/// Inputs of a model: two floats in a row, and a single byte.
pub(crate) fn tensor_pack() -> TensorPack {
    let tensor = |element_type, shape: &[u32], data: &[u8]| RawTensor {
        element_type,
        shape: shape.to_vec(),
        data: data.to_vec().into(),
    };
    let floats = [1.0f32.to_le_bytes(), (-2.5f32).to_le_bytes()].concat();
    TensorPack(vec![tensor(TensorType::F32, &[1, 2], &floats), tensor(TensorType::U8, &[], &[7])])
}

/// Three specs under one signature; [`signed_job_spec`] is the second.
fn job_batch() -> Vec<SignedJobSpec> {
    let numbered = |nonce| if nonce == 1 { job_spec() } else { JobSpec { nonce: [nonce; 16], ..job_spec() } };
    Sign::sign_all((0..3).map(numbered).collect(), &client())
}

pub(crate) fn signed_job_spec() -> SignedJobSpec {
    job_batch().swap_remove(1)
}

pub(crate) fn settlement() -> Settlement {
    Settlement { chain_id: 8453, contract: Address([0xc0; 20]) }
}

pub(crate) fn assignment() -> Assignment {
    Assignment {
        version: VERSION,
        job: job_spec().id(),
        lease: LeaseId([0x1e; 16]),
        attempt: 1,
        coordinator: coordinator().address(),
        executor: executor().address(),
        profile: Tag::Profile.hash(&[b"a profile"]),
        issued_ms: ISSUED_MS,
        expires_ms: EXPIRES_MS,
        settlement: settlement(),
    }
}

pub(crate) fn signed_assignment() -> SignedAssignment {
    let other = Assignment { attempt: 9, ..assignment() };
    Sign::sign_all(vec![assignment(), other], &coordinator()).swap_remove(0)
}

/// What an item called: a write, which read memory, a call without memory, and one that ended the run.
pub(crate) fn host_calls() -> Vec<HostCallLeaf> {
    let call = |index, function, arguments: &[u64], result, memory| HostCallLeaf {
        index,
        function,
        arguments: arguments.to_vec(),
        result,
        fuel_before: 1_000_000 - 300 * index,
        fuel_after: 1_000_000 - 300 * index - 256,
        memory,
    };
    vec![
        call(0, 27, &[1, 1024, 1, 1036], Some(0), Some(Tag::HostMemory.hash(&[b"memory"]))),
        call(1, 24, &[4, u64::MAX - 9, 1, 1036], Some(28), None),
        call(2, 39, &[3], None, None),
    ]
}

pub(crate) fn host_call_log() -> HostCallLog {
    let leaves = host_calls();
    HostCallLog {
        count: leaves.len() as u64,
        root: depx_protocol::merkle::root(leaves.iter().map(Canonical::to_bytes)),
    }
}

/// Three items: one succeeds, one writes a file, one traps.
pub(crate) fn job_output() -> JobOutput {
    let item = |index: u64, status, code, stdout: &[u8], files: Vec<OutputFile>| ItemOutput {
        leaf: ItemLeaf {
            index,
            status,
            code,
            fuel_used: 1_000_000 + index,
            peak_memory_pages: 17,
            output: ItemOutput::output_hash(stdout, &files),
            output_len: ItemOutput::output_len(stdout, &files),
            log_len: 5,
            host_calls: if index == 0 { host_call_log() } else { HostCallLog::default() },
        },
        stdout: stdout.to_vec().into(),
        files,
    };
    let file = OutputFile { path: "out.bin".into(), content: vec![0, 1, 2, 0xff].into() };
    let inference = |item| InferenceLeaf {
        item,
        model: Blob::of(b"onnx").hash,
        input: Tag::Tree.hash(&[b"input"]),
        output: Tag::Tree.hash(&[b"output"]),
        fuel: 4096,
    };
    JobOutput {
        items: vec![
            item(0, Status::Success, 0, b"7\n", vec![]),
            item(1, Status::Success, 0, b"", vec![file]),
            item(2, Status::Trap, 3, b"partial", vec![]),
        ],
        inferences: vec![inference(0), inference(1)],
    }
}

/// What the initialisation of the job's module left: two pages with a single byte set, and a global of each size.
pub(crate) fn snapshot() -> Snapshot {
    let global = |index, bits: &[u8]| SnapshotGlobal { index, bits: bits.to_vec().into() };
    Snapshot {
        module: job_spec().program.blob().hash,
        memory_pages: 2,
        memory_root: Snapshot::memory_root(&snapshot_memory()),
        globals: vec![global(0, &[0, 0, 16, 0]), global(2, &[1; 8]), global(3, &[2; 16])],
    }
}

pub(crate) fn snapshot_memory() -> Vec<u8> {
    let mut memory = vec![0; 2 << 16];
    memory[70_000] = 7;
    memory
}

/// The items started from [`snapshot`].
pub(crate) fn result_core() -> ResultCore {
    let result = job_output().result(job_spec().id(), job_spec().class, assignment().profile, item_pack().root());
    result.starting_from(snapshot().hash(), 70_000)
}

pub(crate) fn receipt_body() -> ReceiptBody {
    let (Assignment { job, lease, attempt, executor, .. }, result) = (assignment(), result_core().hash());
    ReceiptBody {
        version: VERSION,
        result,
        job,
        lease,
        attempt,
        executor,
        session_key: depx_protocol::sha256(b"certificate"),
        commit: commitment(&job, &lease, &executor, &result, &SALT),
        sequence: 41,
        previous: Tag::Receipt.hash(&[b"the receipt before"]),
        started_ms: ISSUED_MS + 10,
        finished_ms: ISSUED_MS + 1_234,
        evidence: vec![],
    }
}

/// Five receipts under one signature; [`signed_receipt`] is the fourth.
pub(crate) fn receipt_batch() -> Vec<SignedReceipt> {
    let numbered = |offset| match offset {
        3 => receipt_body(),
        _ => ReceiptBody { sequence: 38 + offset, evidence: vec![vec![offset as u8; 3].into()], ..receipt_body() },
    };
    sign_batch((0..5).map(numbered).collect(), &settlement(), &executor())
}

pub(crate) fn signed_receipt() -> SignedReceipt {
    receipt_batch().swap_remove(3)
}

/// A receipt that was signed alone, as an idle node does.
pub(crate) fn lone_receipt() -> SignedReceipt {
    sign_batch(vec![receipt_body()], &settlement(), &executor()).swap_remove(0)
}

pub(crate) fn vote() -> Vote {
    Vote { assignment: signed_assignment(), result: result_core(), salt: SALT, receipt: signed_receipt() }
}

pub(crate) fn bundle() -> ReceiptBundle {
    vote().into_bundle(signed_job_spec())
}

pub(crate) fn hello(role: Role, capabilities: Option<Capabilities>) -> Hello {
    Hello { version: VERSION, proof: ChannelProof::sign(&executor(), role, &EXPORTER), capabilities }
}

fn capabilities() -> Capabilities {
    let profiles = vec![
        (DeterminismClass::Exact, Tag::Profile.hash(&[b"exact"])),
        (DeterminismClass::Pinned, Tag::Profile.hash(&[b"pinned"])),
    ];
    Capabilities { software: "depx 0.1.0".into(), slots: 4, profiles }
}

fn reveal() -> Reveal {
    let output_len = job_output().to_bytes().len() as u64;
    Reveal { result: result_core(), salt: SALT, receipt: signed_receipt(), output_len }
}

/// An encoded value.
pub(crate) struct Sample {
    /// The CDDL rule, and the beginning of `name`.
    pub(crate) rule: &'static str,
    /// The rule, and which of several.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Decodes bytes as this sample's type, and gives the encoding of what it decoded.
    pub(crate) decode: fn(&[u8]) -> Option<Vec<u8>>,
}

/// At least one value of every type that has an encoding of its own.
pub(crate) fn all() -> Vec<Sample> {
    let assignment = signed_assignment();
    let detail = || "the blob 00ff is missing".to_owned();
    let address = executor().address();
    let full = signed_receipt().body;
    vec![
        sample("job-spec", "batch", job_spec()),
        sample("job-spec", "compute", compute_spec()),
        sample("job-spec", "model", model_spec()),
        sample("signed-job-spec", "", signed_job_spec()),
        sample("item-pack", "", item_pack()),
        sample("item-pack", "empty", ItemPack::default()),
        sample("tensor-pack", "", tensor_pack()),
        sample("tensor-pack", "empty", TensorPack::default()),
        sample("assignment", "", assignment.assignment.clone()),
        sample("signed-assignment", "", assignment.clone()),
        sample("result-core", "", result_core()),
        sample("snapshot", "", snapshot()),
        sample("item-leaf", "", job_output().items[2].leaf.clone()),
        sample("host-call-leaf", "memory", host_calls().remove(0)),
        sample("host-call-leaf", "error", host_calls().remove(1)),
        sample("host-call-leaf", "end", host_calls().remove(2)),
        sample("inference-leaf", "", job_output().inferences[0].clone()),
        sample("job-output", "", job_output()),
        sample("job-output", "empty", JobOutput::default()),
        sample("receipt-body", "", full.clone()),
        sample("receipt-body", "evidence", ReceiptBody { evidence: vec![vec![1].into(), vec![].into()], ..full }),
        sample("signed-receipt", "batch", signed_receipt()),
        sample("signed-receipt", "alone", lone_receipt()),
        sample("receipt-bundle", "", bundle()),
        sample("hello", "node", hello(Role::Node, Some(capabilities()))),
        sample("hello", "client", hello(Role::Client, None)),
        sample("welcome", "accepted", {
            let proof = ChannelProof::sign(&coordinator(), Role::Coordinator, &EXPORTER);
            Welcome::Accepted { proof, heartbeat_ms: 30_000 }
        }),
        sample("welcome", "refused", Welcome::Refused { reason: detail() }),
        sample(
            "control-message",
            "heartbeat",
            ControlMessage::Heartbeat { active: 2, queued: 3, load: 750, memory: 1 << 33 },
        ),
        sample("control-message", "drain", ControlMessage::Drain),
        sample("control-reply", "alive", ControlReply::Alive { time_ms: 1_750_000_000_000 }),
        sample("offer", "", Offer { job: signed_job_spec(), assignment }),
        sample("lease-message", "accept", LeaseMessage::Accept),
        sample("lease-message", "refuse", LeaseMessage::Refuse { reason: RefuseReason::Busy, detail: detail() }),
        sample("lease-message", "failed", LeaseMessage::Failed { detail: detail() }),
        sample("lease-message", "commit", LeaseMessage::Commit { commit: receipt_body().commit }),
        sample("lease-message", "reveal", LeaseMessage::Reveal(Box::new(reveal()))),
        sample("lease-reply", "open", LeaseReply::Open),
        sample("lease-reply", "done", LeaseReply::Done),
        sample("get-blob", "", {
            let range = |first, count| GroupRange { first, count };
            GetBlob {
                blob: Blob { hash: Hash([0xb1; 32]), len: 1 << 30 },
                ranges: vec![range(0, 3), range(300, 65_236)],
            }
        }),
        sample("blob-reply", "found", BlobReply::Found),
        sample("blob-reply", "missing", BlobReply::Missing),
        sample("client-event", "need", ClientEvent::Need { blobs: job_spec().blobs().copied().collect() }),
        sample("client-event", "queued", ClientEvent::Queued { job: job_spec().id() }),
        sample("client-event", "dispatched", ClientEvent::Dispatched { executor: address }),
        sample("client-event", "no-show", ClientEvent::NoShow { executor: address, detail: detail() }),
        sample("client-event", "vote", ClientEvent::Vote { vote: Box::new(vote()) }),
        sample("client-event", "agreed", {
            let result = result_core().hash();
            ClientEvent::Agreed { result, dissenters: vec![address, client().address()], output_len: 1234 }
        }),
        sample("client-event", "failed", ClientEvent::Failed { reason: detail() }),
    ]
}

fn sample<T: Canonical + PartialEq + std::fmt::Debug>(rule: &'static str, which: &str, value: T) -> Sample {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).expect("what was encoded decodes"), value);
    let name = if which.is_empty() { rule.to_owned() } else { format!("{rule}.{which}") };
    Sample { rule, name, bytes, decode: |bytes| T::from_bytes(bytes).ok().map(|value| value.to_bytes()) }
}

/// The proof of `receipt` with another claimed place.
pub(crate) fn moved(proof: &Proof, index: u64, count: u64) -> Proof {
    Proof { index, count, path: proof.path.clone() }
}
