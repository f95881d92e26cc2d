//! Trees against the definitions of RFC 9162 §2.1, written down as they stand there.

use depx_protocol::merkle::{Proof, TreeBuilder, proofs, root};
use depx_protocol::{Hash, Tag};
use sha2::{Digest, Sha256};

type Node = [u8; 32];

/// §2.1.1.
fn mth(leaves: &[Vec<u8>]) -> Node {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::digest([&[0][..], leaf].concat()).into(),
        _ => {
            let k = split(leaves.len());
            Sha256::digest([&[1][..], &mth(&leaves[..k]), &mth(&leaves[k..])].concat()).into()
        }
    }
}

/// §2.1.3.1.
fn path(m: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let k = split(leaves.len());
    let (mut siblings, other) =
        if m < k { (path(m, &leaves[..k]), mth(&leaves[k..])) } else { (path(m - k, &leaves[k..]), mth(&leaves[..k])) };
    siblings.push(Hash(other));
    siblings
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    (0..).map(|power| 1 << power).take_while(|k| *k < n).last().expect("n is at least two")
}

fn bound(leaves: &[Vec<u8>]) -> Hash {
    Tag::Tree.hash(&[&(leaves.len() as u64).to_be_bytes(), &mth(leaves)])
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("leaf {index}").into_bytes()).collect()
}

#[test]
fn roots_and_proofs_are_those_of_the_definition() {
    let mut streamed = TreeBuilder::new();
    for count in 0..=300 {
        let leaves = leaves(count);
        let expected = bound(&leaves);
        assert_eq!(root(&leaves), expected, "{count} leaves");
        assert_eq!((streamed.root(), streamed.count()), (expected, count as u64), "{count} leaves, streamed");
        streamed.push(format!("leaf {count}").as_bytes());
        let proofs = proofs(&leaves);
        assert_eq!(proofs.len(), count);
        let selected = |index: &usize| count <= 70 || index.is_multiple_of(7) || index + 3 > count;
        for index in (0..count).filter(selected) {
            let definition = Proof { index: index as u64, count: count as u64, path: path(index, &leaves) };
            assert_eq!(proofs[index], definition);
        }
        for (proof, leaf) in proofs.iter().zip(&leaves) {
            assert_eq!(proof.root(leaf), Some(expected), "leaf {} of {count}", proof.index);
        }
    }
}

#[test]
fn a_proof_proves_one_leaf_at_one_place_of_one_tree() {
    for count in (1..=40).chain([63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300]) {
        let leaves = leaves(count);
        let expected = Some(root(&leaves));
        for (index, proof) in proofs(&leaves).iter().enumerate() {
            let with = |index: u64, count: u64| crate::samples::moved(proof, index, count);
            for other in 0..count + 2 {
                if other != index {
                    assert_ne!(with(other as u64, count as u64).root(&leaves[index]), expected, "{index} as {other}");
                }
                if other < count && other != index {
                    assert_ne!(proof.root(&leaves[other]), expected, "leaf {other} in the place of {index}");
                }
            }
            let sizes = [0, count / 2, count - 1, count + 1, count + 2, 2 * count, count.next_power_of_two() + 1];
            for size in sizes.into_iter().filter(|size| *size != count) {
                assert_ne!(with(index as u64, size as u64).root(&leaves[index]), expected, "{count} as {size}");
            }
            for level in 0..=proof.path.len() {
                let mut longer = proof.clone();
                longer.path.insert(level, Hash::ZERO);
                assert_ne!(longer.root(&leaves[index]), expected, "one sibling more at {level}");
                if level < proof.path.len() {
                    let mut shorter = proof.clone();
                    shorter.path.remove(level);
                    assert_ne!(shorter.root(&leaves[index]), expected, "one sibling less at {level}");
                    let mut other = proof.clone();
                    other.path[level].0[31] ^= 1;
                    assert_ne!(other.root(&leaves[index]), expected, "another sibling at {level}");
                }
            }
        }
    }
}

#[test]
fn impossible_shapes_are_refused() {
    let impossible = [
        (0, 0, 0),
        (1, 1, 0),
        (u64::MAX, u64::MAX, 64),
        (0, 1, 1),
        (0, 2, 0),
        (0, 2, 2),
        (0, u64::MAX, 63),
        (u64::MAX - 1, u64::MAX, 64),
        (0, 1 << 63, 62),
    ];
    for (index, count, siblings) in impossible {
        let proof = Proof { index, count, path: vec![Hash::ZERO; siblings] };
        assert_eq!(proof.root(b""), None, "{index} of {count} with {siblings} siblings");
    }
    let largest = Proof { index: 0, count: u64::MAX, path: vec![Hash::ZERO; 64] };
    assert!(largest.root(b"").is_some(), "the largest tree has 64 levels");
}

#[test]
fn the_content_of_an_inner_node_is_no_leaf() {
    let leaves = leaves(2);
    let inner = [&mth(&leaves[..1])[..], &mth(&leaves[1..])].concat();
    assert_ne!(root([inner.clone()]), root(&leaves));
    assert_ne!(root([[&[1][..], &inner].concat()]), root(&leaves));
}
