//! The log of a run's host calls: one leaf for each, in a tree that keeps a hash per level.

use depx_protocol::merkle::TreeBuilder;
use depx_protocol::{Canonical, Hash, HostCallLeaf, HostCallLog, Tag};

/// The version of what a leaf says. It is part of the execution profile.
pub(crate) const VERSION: u32 = 1;

/// The calls of one run so far.
#[derive(Default)]
pub(crate) struct CallLog {
    /// Of the call that is being made.
    pub(crate) accesses: Accesses,
    tree: TreeBuilder,
    /// The latest leaf and its encoding: their memory is used again.
    leaf: HostCallLeaf,
    encoded: Vec<u8>,
    kept: Vec<HostCallLeaf>,
    keep: usize,
}

impl CallLog {
    /// An empty log that keeps its first `keep` leaves.
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Appends a call that is over: what it gave, or `None` if it ended the run, and the fuel left before and after it.
    pub(crate) fn record(&mut self, function: u16, arguments: &[u64], result: Option<i32>, fuel: [i64; 2]) {
        let leaf = &mut self.leaf;
        leaf.index = self.tree.count();
        leaf.function = function;
        leaf.arguments.clear();
        leaf.arguments.extend_from_slice(arguments);
        leaf.result = result.map(i32::cast_unsigned);
        [leaf.fuel_before, leaf.fuel_after] = fuel.map(|left| left.max(0).cast_unsigned());
        leaf.memory = self.accesses.take_digest();
        self.encoded.clear();
        leaf.append_to(&mut self.encoded);
        self.tree.push(&self.encoded);
        if self.kept.len() < self.keep {
            self.kept.push(self.leaf.clone());
        }
    }

    /// The whole log in brief, and the leaves that were kept.
    pub(crate) fn finish(self) -> (HostCallLog, Vec<HostCallLeaf>) {
        (HostCallLog::of(&self.tree), self.kept)
    }
}

/// Digests this long at most are made of one piece, which is several times faster for a few bytes.
const PIECE: usize = 16 << 10;

/// What one host call read from and wrote to the guest's memory, in order. The digest is
///
/// ```text
/// BLAKE3 keyed with SHA-256("depx/host-memory/v1"), over { kind ‖ address ‖ length ‖ bytes }…
/// ```
///
/// where the kind is one byte, 0 for read and 1 for written, and address and length take 4 bytes, big-endian. Reading or
/// writing nothing is no access.
#[derive(Default)]
pub(crate) struct Accesses {
    /// What follows all that `hasher` has seen.
    piece: Vec<u8>,
    /// Once there is more than one piece.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Accesses {
    /// `bytes` were read at `at`.
    pub(crate) fn read(&mut self, at: u32, bytes: &[u8]) {
        self.add(0, at, bytes);
    }

    /// `bytes` were written at `at`.
    pub(crate) fn written(&mut self, at: u32, bytes: &[u8]) {
        self.add(1, at, bytes);
    }

    fn add(&mut self, kind: u8, at: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // A memory has at most 4 GiB, and nothing touches all of it.
        let (at, len) = (at.to_be_bytes(), (bytes.len() as u32).to_be_bytes());
        self.piece.push(kind);
        self.piece.extend_from_slice(&at);
        self.piece.extend_from_slice(&len);
        if self.piece.len() + bytes.len() <= PIECE {
            self.piece.extend_from_slice(bytes);
            return;
        }
        let hasher = self.hasher.get_or_insert_with(|| Box::new(blake3::Hasher::new_keyed(Tag::HostMemory.digest())));
        hasher.update(&self.piece).update(bytes);
        self.piece.clear();
    }

    /// The digest of all accesses since the last time, if there were any.
    fn take_digest(&mut self) -> Option<Hash> {
        let digest = match self.hasher.take() {
            Some(mut hasher) => hasher.update(&self.piece).finalize(),
            None if self.piece.is_empty() => return None,
            None => blake3::keyed_hash(Tag::HostMemory.digest(), &self.piece),
        };
        self.piece.clear();
        Some(Hash(digest.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn digests_of_memory_are_pinned_and_made_as_described() {
        let mut accesses = Accesses::default();
        assert_eq!(accesses.take_digest(), None);
        accesses.read(7, b"");
        accesses.written(7, b"");
        assert_eq!(accesses.take_digest(), None, "nothing was touched");
        for len in [1, 100, PIECE - 9 - 15, PIECE - 9 - 14, PIECE, 100_000] {
            let long: Vec<u8> = (0..len).map(|index| index as u8).collect();
            accesses.read(0x0102_0304, b"a");
            accesses.written(5, &long);
            accesses.read(6, b"bcd");
            let header = [&b"\0\x01\x02\x03\x04\0\0\0\x01a\x01\0\0\0\x05"[..], &(len as u32).to_be_bytes()].concat();
            let described = [&header, &long[..], b"\0\0\0\0\x06\0\0\0\x03bcd"].concat();
            let expected = blake3::keyed_hash(Tag::HostMemory.digest(), &described);
            assert_eq!(accesses.take_digest(), Some(Hash(expected.into())), "{len}");
            assert_eq!(accesses.take_digest(), None, "it starts anew");
        }
        accesses.read(1024, b"text");
        expect!["e44963126f36c92b2f7ed068f4500f39086f8ab6977861602c9834fc7af3fc27"]
            .assert_eq(&accesses.take_digest().unwrap().to_string());
    }

    #[test]
    fn the_same_bytes_at_other_places_or_otherwise_divided_have_other_digests() {
        let digest = |touch: &dyn Fn(&mut Accesses)| {
            let mut accesses = Accesses::default();
            touch(&mut accesses);
            accesses.take_digest().unwrap()
        };
        let mut all = vec![
            digest(&|accesses| accesses.read(0, b"abcd")),
            digest(&|accesses| accesses.read(1, b"abcd")),
            digest(&|accesses| accesses.written(0, b"abcd")),
            digest(&|accesses| accesses.read(0, b"abce")),
            digest(&|accesses| {
                accesses.read(0, b"ab");
                accesses.read(2, b"cd");
            }),
            digest(&|accesses| {
                accesses.read(2, b"cd");
                accesses.read(0, b"ab");
            }),
        ];
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
