//! The bytes in `tests/golden`: if a test here fails, the protocol has changed. `UPDATE_GOLDEN=1` writes the files anew;
//! `check.py` beside them then says whether an independent implementation agrees.

use crate::samples;
use depx_protocol::receipt::commitment;
use depx_protocol::{Address, BatchSignature, Canonical, Hash, JobSpec, SecretKey, Tag, merkle, sha256, wire};
use std::fmt::{Display, Write};
use std::path::PathBuf;

/// A file of `name = value` lines.
struct Vectors {
    file: &'static str,
    text: String,
}

impl Vectors {
    fn new(file: &'static str, about: &str) -> Self {
        Self { file, text: format!("# {about}\n") }
    }

    fn section(&mut self, name: &str) {
        write!(self.text, "\n[{name}]\n").expect("writing to memory");
    }

    fn line(&mut self, name: &str, value: impl Display) {
        writeln!(self.text, "{name} = {value}").expect("writing to memory");
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.line(name, hex::encode(bytes));
    }

    /// Compares with the file, or writes it.
    fn check(self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(self.file);
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            std::fs::write(&path, &self.text)
                .unwrap_or_else(|error| panic!("{} cannot be written: {error}", self.file));
            return;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let changed = golden.lines().zip(self.text.lines()).find(|(golden, now)| golden != now);
        if let Some((golden, now)) = changed {
            panic!("the protocol has changed; {} says\n{golden}\nand the code\n{now}", self.file);
        }
        assert_eq!(golden, self.text, "{} has more or fewer lines than the code gives", self.file);
    }
}

#[test]
fn addresses() {
    let mut vectors =
        Vectors::new("addresses.txt", "Private keys and their addresses, the first ones known from Ethereum.");
    let known = [
        ("one", format!("{:064x}", 1), "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"),
        ("two", format!("{:064x}", 2), "0x2b5ad5c4795c026514f8317c7a215e218dccd6cf"),
        ("three", format!("{:064x}", 3), "0x6813eb9362372eef6200f3b1dbc3f819671cba69"),
        (
            "first-of-hardhat",
            "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80".to_owned(),
            "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        ),
    ];
    for (name, key, address) in &known {
        let secret = SecretKey::from_hex(key).expect("a valid key");
        assert_eq!(secret.address().to_string(), *address, "{name}");
        assert_eq!(address.parse::<Address>(), Ok(secret.address()));
        assert_eq!(secret.to_hex(), *key);
    }
    let largest = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140".to_owned();
    let others = [("largest", largest), ("repeated", "5a".repeat(32))];
    for (name, key) in known.map(|(name, key, _)| (name, key)).into_iter().chain(others) {
        let secret = SecretKey::from_hex(&key).expect("a valid key");
        vectors.section(name);
        vectors.line("key", &key);
        vectors.line("address", secret.address());
    }
    vectors.check();
}

#[test]
fn tags() {
    let mut vectors =
        Vectors::new("tags.txt", "Every domain tag, with the digest of nothing and of two parts, ab and c.");
    let texts: std::collections::BTreeSet<_> = Tag::ALL.map(Tag::text).into_iter().collect();
    assert_eq!(texts.len(), Tag::ALL.len(), "no two tags are equal");
    for tag in Tag::ALL {
        vectors.section(tag.text());
        vectors.line("nothing", tag.hash(&[]));
        vectors.line("abc", tag.hash(&[b"ab", b"c"]));
    }
    vectors.check();
}

#[test]
fn trees() {
    let mut vectors =
        Vectors::new("merkle.txt", "Trees over the texts leaf 0, leaf 1, ...: roots, and each leaf's proof.");
    for count in 0..=9 {
        let leaves: Vec<_> = (0..count).map(|index| format!("leaf {index}")).collect();
        vectors.section(&count.to_string());
        vectors.line("root", merkle::root(&leaves));
        for proof in merkle::proofs(&leaves) {
            let path: Vec<_> = proof.path.iter().map(Hash::to_string).collect();
            vectors.line(&format!("proof {}", proof.index), path.join(" "));
        }
    }
    vectors.check();
}

#[test]
fn encodings() {
    let mut vectors =
        Vectors::new("encodings.txt", "Every type of protocol/cddl/depx.cddl, by rule, and its encoding.");
    for sample in samples::all() {
        vectors.section(&sample.name);
        vectors.bytes("bytes", &sample.bytes);
    }
    vectors.section("frame of lease-reply.open");
    vectors.bytes("bytes", &wire::frame(&wire::LeaseReply::Open).expect("a short message"));
    vectors.check();
}

#[test]
fn digests() {
    let mut vectors = Vectors::new(
        "digests.txt",
        "What is hashed and signed in one execution; the bytes hashed are those of the rule in encodings.txt.",
    );
    let (spec, assignment, result, body) =
        (samples::job_spec(), samples::assignment(), samples::result_core(), samples::receipt_body());
    let id = spec.id();

    vectors.section("job");
    vectors.line("id", id);
    vectors.line("seed of item 0", JobSpec::seed(&id, 0));
    vectors.line("seed of item 2", JobSpec::seed(&id, 2));
    vectors.line("input root", samples::item_pack().root());
    vectors.line("client", spec.client);
    let BatchSignature { proof, signature } = samples::signed_job_spec().signature;
    let root = proof.root(&id.0).expect("a proof");
    vectors.line("root", root);
    vectors.line("signed digest", Tag::JobBatch.hash(&[&root.0]));
    vectors.bytes("signature", &signature.0);

    vectors.section("assignment");
    vectors.line("coordinator", assignment.coordinator);
    let BatchSignature { proof, signature } = samples::signed_assignment().signature;
    let root = proof.root(&assignment.to_bytes()).expect("a proof");
    vectors.line("root", root);
    vectors.line("signed digest", Tag::AssignmentBatch.hash(&[&root.0]));
    vectors.bytes("signature", &signature.0);

    vectors.section("result");
    vectors.line("hash", result.hash());
    vectors.line("output root", result.output_root);
    vectors.line("items root", result.items_root);
    vectors.line("inference root", result.inference_root);
    vectors.line("host calls root", result.host_calls_root);
    vectors.line("snapshot", samples::snapshot().hash());
    vectors.line("memory root of the snapshot", samples::snapshot().memory_root);
    for (index, item) in samples::job_output().items.iter().enumerate() {
        vectors.line(&format!("output hash of item {index}"), item.leaf.output);
        vectors.line(&format!("host calls of item {index}"), item.leaf.host_calls.root);
    }

    vectors.section("commitment");
    vectors.bytes("salt", &samples::SALT);
    vectors.line("commit", commitment(&body.job, &body.lease, &body.executor, &body.result, &samples::SALT));

    vectors.section("receipt");
    vectors.line("hash", body.hash());
    vectors.line("session key", sha256(b"certificate"));
    for (name, receipt) in [("batch", samples::signed_receipt()), ("alone", samples::lone_receipt())] {
        let BatchSignature { proof, signature } = receipt.signature;
        let root = proof.root(&receipt.body.to_bytes()).expect("a proof");
        let mut words = [0; 64];
        words[24..32].copy_from_slice(&samples::settlement().chain_id.to_be_bytes());
        words[44..].copy_from_slice(&samples::settlement().contract.0);
        vectors.section(&format!("signed-receipt.{name}"));
        vectors.line("root", root);
        vectors.line("signed digest", Tag::ReceiptBatch.hash(&[&words, &root.0]));
        vectors.bytes("signature", &signature.0);
        vectors.line("executor", receipt.body.executor);
    }

    vectors.section("channel");
    vectors.bytes("exporter", &samples::EXPORTER);
    let hello = samples::hello(depx_protocol::Role::Node, None);
    vectors.line("signed digest", Tag::Channel.hash(&[&[0], &samples::EXPORTER]));
    vectors.bytes("signature", &hello.proof.signature.0);
    vectors.line("node", hello.proof.address);
    vectors.check();
}
