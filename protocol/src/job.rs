//! What a client asks for.

use crate::batch::{BatchSignature, Sign};
use crate::cbor::{self, Canonical, DecodeError};
use crate::consensus::Consistency;
use crate::hash::{Hash, Tag, blob_hash};
use crate::identity::{Address, IdentityError, SecretKey};
use crate::{VERSION, merkle};
use minicbor::bytes::ByteVec;
use minicbor::encode::{self, Encoder};
use minicbor::{Decode, Encode};
use std::convert::Infallible;

/// A job, complete: with the blobs that it names, any node can execute it and gets the same result.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct JobSpec {
    /// [`VERSION`].
    #[n(0)]
    pub version: u16,
    /// Who submits, and signs.
    #[n(1)]
    pub client: Address,
    /// Makes two otherwise equal jobs different.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce: [u8; 16],
    /// When the client made the spec, in Unix milliseconds. The guest's clocks start here.
    #[n(3)]
    pub created_ms: u64,
    /// What runs, once or per item.
    #[n(4)]
    pub program: Program,
    /// Its arguments, without the program's name.
    #[cbor(n(5), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ENTRIES }>")]
    pub args: Vec<String>,
    /// Its environment, as (name, value).
    #[cbor(n(6), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ENTRIES }>")]
    pub env: Vec<(String, String)>,
    /// Read-only files.
    #[cbor(n(7), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ENTRIES }>")]
    pub files: Vec<InputFile>,
    /// Models that it may call.
    #[cbor(n(8), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ENTRIES }>")]
    pub models: Vec<ModelRef>,
    /// What it is given, once or per item.
    #[n(9)]
    pub input: JobInput,
    /// How equal the results of two nodes must be.
    #[n(10)]
    pub class: DeterminismClass,
    /// How many nodes execute it.
    #[n(11)]
    pub consistency: Consistency,
    /// What each execution may use.
    #[n(12)]
    pub limits: Limits,
}

/// Content named by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode)]
pub struct Blob {
    /// Plain BLAKE3 of the content.
    #[n(0)]
    pub hash: Hash,
    /// Length of the content in bytes.
    #[n(1)]
    pub len: u64,
}

impl Blob {
    /// The name of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self { hash: blob_hash(content), len: content.len() as u64 }
    }

    /// How many groups it has in which it travels, at least one.
    pub fn groups(&self) -> u64 {
        self.len.div_ceil(crate::wire::GROUP).max(1)
    }

    /// Whether `content` is what this names.
    pub fn matches(&self, content: &[u8]) -> bool {
        self.len == content.len() as u64 && self.hash == blob_hash(content)
    }
}

/// What a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Program {
    /// A WASI command, a WebAssembly module. It reads what it is given from standard input.
    #[n(0)]
    Command(#[n(0)] Blob),
    /// A model, an ONNX file, alone: it is given the encoding of its inputs, a [`TensorPack`](crate::TensorPack), and its output
    /// is that of its outputs.
    #[n(1)]
    Model(#[n(0)] Blob),
}

impl Program {
    /// The blob that holds it.
    pub fn blob(&self) -> &Blob {
        match self {
            Self::Command(blob) | Self::Model(blob) => blob,
        }
    }
}

/// A file that the guest can read.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct InputFile {
    /// Relative path, components joined by `/`, none of them empty, `.` or `..`.
    #[n(0)]
    pub path: String,
    /// Its content.
    #[n(1)]
    pub blob: Blob,
}

/// A model that the guest can load by name.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ModelRef {
    /// The name that the guest uses.
    #[n(0)]
    pub name: String,
    /// The ONNX file.
    #[n(1)]
    pub blob: Blob,
}

/// The kind of a job follows from its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub enum JobInput {
    /// One execution, which is given this blob.
    #[n(0)]
    Compute(#[n(0)] Blob),
    /// One execution per item of this [`ItemPack`], each in a fresh instance.
    #[n(1)]
    Batch {
        /// The encoded pack.
        #[n(0)]
        pack: Blob,
        /// The number of items in it.
        #[n(1)]
        items: u64,
    },
}

impl JobInput {
    /// The blob that holds the input.
    pub fn blob(&self) -> &Blob {
        match self {
            Self::Compute(blob) | Self::Batch { pack: blob, .. } => blob,
        }
    }

    /// The number of executions.
    pub fn items(&self) -> u64 {
        match self {
            Self::Compute(_) => 1,
            Self::Batch { items, .. } => *items,
        }
    }

    /// The items in `content`, which must be the blob that this input names: one for a compute job, else as many as stated.
    pub fn unpack(&self, content: &[u8]) -> Result<ItemPack, DecodeError> {
        match self {
            Self::Compute(_) => Ok(ItemPack::new([content])),
            Self::Batch { items, .. } => {
                let pack = ItemPack::from_bytes(content)?;
                let found = pack.0.len() as u64;
                if found == *items { Ok(pack) } else { Err(DecodeError::ItemCount { found, stated: *items }) }
            }
        }
    }
}

/// The items of a batch: a CBOR array of byte strings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct ItemPack(
    #[cbor(n(0), decode_with = "cbor::list::<_, _, { JobSpec::MAX_ITEMS as usize }>")] pub Vec<ByteVec>,
);

impl Canonical for ItemPack {}

impl ItemPack {
    /// From the items' contents.
    pub fn new<T: Into<Vec<u8>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self(items.into_iter().map(|item| ByteVec::from(item.into())).collect())
    }

    /// The input root: a tree over the items' contents.
    pub fn root(&self) -> Hash {
        merkle::root(self.0.iter().map(|item| item.as_slice()))
    }
}

/// Hashes the items of an input one by one, as they stand in the blob that it names.
#[derive(Clone, Debug)]
pub struct InputHasher {
    hasher: blake3::Hasher,
    len: u64,
    packed: bool,
}

impl InputHasher {
    /// For as many items as `input` states.
    pub fn new(input: &JobInput) -> Self {
        match input {
            JobInput::Compute(_) => Self { hasher: blake3::Hasher::new(), len: 0, packed: false },
            JobInput::Batch { items, .. } => Self::pack(*items),
        }
    }

    /// For an [`ItemPack`] of so many items.
    pub fn pack(items: u64) -> Self {
        let mut this = Self { hasher: blake3::Hasher::new(), len: 0, packed: true };
        this.head(|encoder| encoder.array(items).map(|_| ()));
        this
    }

    /// Adds the next item.
    pub fn push(&mut self, item: &[u8]) {
        if self.packed {
            self.head(|encoder| encoder.bytes_len(item.len() as u64).map(|_| ()));
        }
        self.add(item);
    }

    /// The blob, if these were all the items.
    pub fn finish(self) -> Blob {
        Blob { hash: Hash(self.hasher.finalize().into()), len: self.len }
    }

    fn head(&mut self, encode: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), encode::Error<Infallible>>) {
        let mut head = Vec::with_capacity(9);
        match encode(&mut Encoder::new(&mut head)) {
            Ok(()) => self.add(&head),
            Err(error) => unreachable!("writing to memory cannot fail: {error}"),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }
}

/// How equal the results of honest nodes are. Nodes are compared only within one class and profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DeterminismClass {
    /// Exact everywhere: WebAssembly alone, and integer inference.
    #[n(0)]
    Exact,
    /// Reproducible float inference: one order of operations on every processor.
    #[n(1)]
    Reproducible,
    /// Pinned: one build of the vendor's kernels on one kind of processor.
    #[n(2)]
    Pinned,
}

impl DeterminismClass {
    /// The short name used in the documentation and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "D0",
            Self::Reproducible => "D1",
            Self::Pinned => "D2",
        }
    }
}

/// What one execution (one item) may use. Whoever exceeds a deterministic limit ends with a status that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Limits {
    /// Units of the fuel schedule.
    #[n(0)]
    pub fuel: u64,
    /// Pages of 64 KiB of linear memory, all memories together.
    #[n(1)]
    pub memory_pages: u32,
    /// Elements of all tables together.
    #[n(2)]
    pub table_elements: u32,
    /// Bytes of standard output and output files together.
    #[n(3)]
    pub output_bytes: u64,
    /// Bytes of standard error that are kept; the rest is counted and dropped.
    #[n(4)]
    pub log_bytes: u64,
    /// Files and directories in the guest's file system, the job's own included.
    #[n(5)]
    pub files: u32,
    /// Bytes that the guest's file system may hold beyond the job's own files.
    #[n(6)]
    pub file_bytes: u64,
    /// Wall-clock time in milliseconds for the whole job. The only limit that is not deterministic: a node that exceeds it
    /// has failed, and its guest has not.
    #[n(7)]
    pub wall_ms: u64,
}

impl Limits {
    /// What `depx run` and `depx submit` use unless told otherwise: about ten seconds of one core, 256 MiB.
    pub const DEFAULT: Self = Self {
        fuel: 20_000_000_000,
        memory_pages: 4096,
        table_elements: 100_000,
        output_bytes: 16 << 20,
        log_bytes: 64 << 10,
        files: 4096,
        file_bytes: 64 << 20,
        wall_ms: 60_000,
    };
}

impl Canonical for JobSpec {}

impl JobSpec {
    /// At most this many entries in each list of a spec.
    pub const MAX_ENTRIES: usize = 1024;
    /// At most this many bytes in all arguments, variables, paths and names together.
    pub const MAX_TEXT: usize = 64 << 10;
    /// At most this many items in a batch.
    pub const MAX_ITEMS: u64 = 1 << 20;
    /// The last moment that a spec can be made at, in Unix milliseconds (in the year 2262): in nanoseconds it fits 63 bits,
    /// so that a guest's clock does not overflow however long the guest runs.
    pub const MAX_CREATED_MS: u64 = i64::MAX as u64 / 1_000_000;

    /// The identity of the job: the tagged hash of its canonical encoding.
    pub fn id(&self) -> Hash {
        Tag::Job.hash(&[&self.to_bytes()])
    }

    /// Every blob that an executor needs, in the order program, files, models, input.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(self.program.blob())
            .chain(self.files.iter().map(|file| &file.blob))
            .chain(self.models.iter().map(|model| &model.blob))
            .chain(std::iter::once(self.input.blob()))
    }

    /// Every model among them.
    pub fn model_blobs(&self) -> impl Iterator<Item = &Blob> {
        let program = match &self.program {
            Program::Model(onnx) => Some(onnx),
            Program::Command(_) => None,
        };
        program.into_iter().chain(self.models.iter().map(|model| &model.blob))
    }

    /// Checks what the encoding cannot: versions, bounds, paths, duplicates.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.version != VERSION {
            return Err(SpecError::Version { version: self.version });
        }
        if self.created_ms > Self::MAX_CREATED_MS {
            return Err(SpecError::Created { created_ms: self.created_ms });
        }
        let lists = [self.args.len(), self.env.len(), self.files.len(), self.models.len()];
        let text = self.args.iter().map(String::len).sum::<usize>()
            + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.files.iter().map(|file| file.path.len()).sum::<usize>()
            + self.models.iter().map(|model| model.name.len()).sum::<usize>();
        if lists.iter().any(|&len| len > Self::MAX_ENTRIES) || text > Self::MAX_TEXT {
            return Err(SpecError::TooLarge);
        }
        if !(1..=Self::MAX_ITEMS).contains(&self.input.items()) {
            return Err(SpecError::Items { items: self.input.items() });
        }
        let alone = lists.iter().all(|&len| len == 0);
        if matches!(self.program, Program::Model(_)) && !alone {
            return Err(SpecError::ModelAlone);
        }
        let has_nul = |text: &String| text.contains('\0');
        if self.args.iter().any(has_nul) || self.env.iter().any(|(name, value)| has_nul(name) || has_nul(value)) {
            return Err(SpecError::Nul);
        }
        if let Some((name, _)) = self.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(SpecError::Variable { name: excerpt(name) });
        }
        for (position, file) in self.files.iter().enumerate() {
            let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
            if file.path.split('/').any(bad)
                || self.files[..position].iter().any(|other| clash(&other.path, &file.path))
            {
                return Err(SpecError::Path { path: excerpt(&file.path) });
            }
        }
        for (position, model) in self.models.iter().enumerate() {
            if model.name.is_empty() || self.models[..position].iter().any(|other| other.name == model.name) {
                return Err(SpecError::ModelName { name: excerpt(&model.name) });
            }
        }
        Ok(())
    }

    /// The randomness of one item, the same for every executor.
    pub fn seed(id: &Hash, item: u64) -> Hash {
        Tag::Seed.hash(&[&id.0, &item.to_be_bytes()])
    }
}

/// Whether two paths cannot both be files: equal, or one the directory of the other.
fn clash(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The beginning of a text from outside, short enough to be shown and logged.
fn excerpt(text: &str) -> String {
    text[..text.floor_char_boundary(100)].to_owned()
}

/// A spec that no node will take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Made for another version.
    #[error("the job spec has version {version}, this program speaks version {VERSION}")]
    Version {
        /// What the spec says.
        version: u16,
    },
    /// Made too far in the future.
    #[error("the job spec says it was made at {created_ms} ms; it must be Unix time, and before the year 2262")]
    Created {
        /// What the spec says.
        created_ms: u64,
    },
    /// Too many entries or too much text.
    #[error(
        "the job spec's lists may hold {} entries each and {} bytes of text together; put larger data in input files",
        JobSpec::MAX_ENTRIES,
        JobSpec::MAX_TEXT
    )]
    TooLarge,
    /// An empty or enormous batch.
    #[error("a batch has 1 to {} items, not {items}; split it into several jobs", JobSpec::MAX_ITEMS)]
    Items {
        /// What the spec says.
        items: u64,
    },
    /// A model with what only commands have.
    #[error("a job that runs a model has neither arguments, environment, files nor further models")]
    ModelAlone,
    /// NUL in an argument or variable.
    #[error("arguments and environment variables cannot contain a NUL character")]
    Nul,
    /// An impossible variable name.
    #[error("{name:?} cannot be the name of an environment variable")]
    Variable {
        /// The name, or its beginning.
        name: String,
    },
    /// A path that is absolute, leaves its root, or clashes with another.
    #[error(
        "{path:?} cannot be an input file: paths are relative, without '.', '..' or empty parts, and all different"
    )]
    Path {
        /// The path, or its beginning.
        path: String,
    },
    /// An empty or repeated model name.
    #[error("{name:?} cannot name a model: names are not empty and all different")]
    ModelName {
        /// The name, or its beginning.
        name: String,
    },
    /// Not signed by the client that it names.
    #[error("the job spec's signature does not match its client")]
    Signature(#[from] IdentityError),
}

/// A spec and its client's signature.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct SignedJobSpec {
    /// The spec.
    #[n(0)]
    pub spec: JobSpec,
    /// The client's, of the job's identity.
    #[n(1)]
    pub signature: BatchSignature,
}

impl Canonical for SignedJobSpec {}

impl SignedJobSpec {
    /// Signs `spec` as the client that it names.
    ///
    /// # Panics
    ///
    /// If `key` is not the client's.
    pub fn sign(spec: JobSpec, key: &SecretKey) -> Self {
        Sign::sign_all(vec![spec], key).remove(0)
    }

    /// Checks the signature and the spec itself, and gives the job's identity.
    pub fn verify(&self) -> Result<Hash, SpecError> {
        self.spec.validate()?;
        let id = self.spec.id();
        if self.signature.recover(&id.0, Self::digest)? != self.spec.client {
            return Err(IdentityError::Signature.into());
        }
        Ok(id)
    }

    fn digest(root: &Hash) -> Hash {
        Tag::JobBatch.hash(&[&root.0])
    }
}

impl Sign for JobSpec {
    type Signed = SignedJobSpec;

    fn sign_all(specs: Vec<Self>, key: &SecretKey) -> Vec<SignedJobSpec> {
        let named = |spec: &Self| spec.client == key.address();
        assert!(specs.iter().all(named), "a job spec is signed by the client that it names");
        let ids: Vec<_> = specs.iter().map(|spec| spec.id().0).collect();
        let signatures = BatchSignature::sign_all(&ids, key, SignedJobSpec::digest);
        specs.into_iter().zip(signatures).map(|(spec, signature)| SignedJobSpec { spec, signature }).collect()
    }
}
