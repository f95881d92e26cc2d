//! Blobs from one peer to another.

use crate::peers::{Peers, honest};
use crate::{GROUP, content};
use bytes::Bytes;
use depx_protocol::Blob;
use depx_protocol::wire::{BlobReply, GetBlob, GroupRange};
use depx_transport::{BlobError, BlobStore, FetchError, MAX_BLOB, Source, fetch, give, write_bytes, write_frame};
use quinn::SendStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinHandle;

/// The bytes that an honest giver sends.
async fn encoded(content: &Bytes, request: GetBlob) -> Bytes {
    let peers = Peers::new(honest(content.clone())).await;
    let (mut send, mut receive) = peers.connection.open_bi().await.unwrap();
    write_frame(&mut send, &request).await.unwrap();
    let reply: BlobReply = depx_transport::read_frame(&mut receive).await.unwrap();
    assert_eq!(reply, BlobReply::Found);
    receive.read_to_end(1 << 30).await.unwrap().into()
}

fn all(blob: Blob) -> GetBlob {
    GetBlob { blob, ranges: vec![GroupRange { first: 0, count: blob.groups() }] }
}

/// A giver that changes or cuts off what an honest one sends, for as many times as `faults` says.
fn faulty<S: Fn(&mut Vec<u8>) + Send + Sync + 'static>(
    content: &Bytes,
    faults: usize,
    spoil: S,
) -> impl Fn(SendStream, GetBlob) -> JoinHandle<()> + use<S> {
    let (content, left, spoil) = (content.clone(), Arc::new(AtomicUsize::new(faults)), Arc::new(spoil));
    move |mut send, request| {
        let (content, left, spoil) = (content.clone(), left.clone(), spoil.clone());
        tokio::spawn(async move {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
                return give(send, request, Some(Source::of_bytes(content).into())).await.unwrap_or_default();
            }
            let mut bytes = Vec::from(Box::pin(encoded(&content, request)).await);
            spoil(&mut bytes);
            write_frame(&mut send, &BlobReply::Found).await.unwrap();
            // The other end stops reading where it finds the fault.
            let _ = write_bytes(&mut send, bytes.into()).await;
        })
    }
}

#[tokio::test]
async fn blobs_of_every_shape_arrive() {
    for len in [0, 1, GROUP, GROUP + 1, 16 * GROUP, 16 * GROUP + 1, 33 * GROUP, 100 * GROUP + 77] {
        let content = content(len);
        let (blob, peers) = (Blob::of(&content), Peers::new(honest(content.clone())).await);
        peers.fetch(&blob).await.unwrap();
        assert_eq!(peers.store.get(&blob).unwrap().unwrap(), content, "{len}");
        assert_eq!(peers.asked(), [blob.groups()]);
        peers.fetch(&blob).await.unwrap();
        let reopened = BlobStore::open(peers.directory.path(), BlobStore::QUOTA).unwrap();
        assert_eq!(reopened.get(&blob).unwrap().unwrap(), content, "{len}");
    }
}

#[tokio::test]
async fn what_is_sent_is_the_walk_through_the_tree() {
    // Three groups, of which the last is asked for: the root, and its right side.
    let content = content(2 * GROUP + 9);
    let request = GetBlob { ranges: vec![GroupRange { first: 2, count: 1 }], ..all(Blob::of(&content)) };
    use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
    let group = |number: usize| {
        let bytes = &content[number * GROUP..content.len().min((number + 1) * GROUP)];
        blake3::Hasher::new().set_input_offset((number * GROUP) as u64).update(bytes).finalize_non_root()
    };
    let left = merge_subtrees_non_root(&group(0), &group(1), Mode::Hash);
    assert_eq!(merge_subtrees_root(&left, &group(2), Mode::Hash), Blob::of(&content).hash.0);
    let expected = [&left[..], &group(2), &content[2 * GROUP..]].concat();
    assert_eq!(encoded(&content, request).await, expected);
}

#[tokio::test]
async fn a_bad_chunk_costs_a_chunk() {
    let content = content(100 * GROUP);
    let blob = Blob::of(&content);
    let nodes = |windows: usize| windows * 18 * 64;
    // In the middle of the fourth window: three windows and some groups are not asked for again.
    let at = nodes(3) + 53 * GROUP;
    let peers = Peers::new(faulty(&content, 1, move |bytes| bytes[at] ^= 1)).await;
    peers.fetch(&blob).await.unwrap();
    assert_eq!(peers.store.get(&blob).unwrap().unwrap(), content);
    let asked = peers.asked();
    assert!(asked.len() == 2 && asked[0] == 100 && (47..=48).contains(&asked[1]), "{asked:?}");
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_given_up() {
    for len in [GROUP, 100 * GROUP] {
        let content = content(len);
        let peers = Peers::new(faulty(&content, usize::MAX, |bytes| bytes.fill(0))).await;
        let error = peers.fetch(&Blob::of(&content)).await.unwrap_err();
        assert!(matches!(error, FetchError::Store(BlobError::Damaged { offset: 0, .. })), "{error}");
        assert!(error.to_string().contains("does not match its hash from byte 0 on"), "{error}");
        assert_eq!(peers.asked().len(), 4);
        assert!(!peers.store.contains(&Blob::of(&content)));
    }
}

#[tokio::test]
async fn a_transfer_that_broke_off_goes_on_also_after_a_restart() {
    let content = content(100 * GROUP);
    let blob = Blob::of(&content);
    let first = Peers::new(faulty(&content, 1, |bytes| bytes.truncate(50 * GROUP))).await;
    let error = first.fetch(&blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Frame(_)), "{error}");
    assert_eq!(first.asked(), [100]);

    let second = Peers::new(honest(content.clone())).await;
    let reopened = BlobStore::open(first.directory.path(), BlobStore::QUOTA).unwrap();
    fetch(&reopened, &blob, &second.connection).await.unwrap();
    assert_eq!(second.asked(), [100 - 48], "three windows were verified");
    assert_eq!(reopened.get(&blob).unwrap().unwrap(), content);
}

#[tokio::test]
async fn only_what_is_damaged_is_fetched_again() {
    let content = content(100 * GROUP);
    let (blob, peers) = (Blob::of(&content), Peers::new(honest(content.clone())).await);
    peers.fetch(&blob).await.unwrap();
    assert_eq!(peers.asked(), [100]);
    let path = peers.directory.path().join(blob.hash.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7 * GROUP] ^= 1;
    bytes[99 * GROUP] ^= 0x80;
    std::fs::write(&path, bytes).unwrap();
    assert!(peers.store.get(&blob).unwrap().is_none());
    peers.fetch(&blob).await.unwrap();
    assert_eq!(peers.asked(), [2]);
    assert_eq!(peers.store.get(&blob).unwrap().unwrap(), content);
}

#[tokio::test]
async fn two_transfers_of_one_blob_do_not_disturb_each_other() {
    let content = content(100 * GROUP);
    let (blob, peers) = (Blob::of(&content), Peers::new(honest(content.clone())).await);
    let (one, other) = tokio::join!(peers.fetch(&blob), peers.fetch(&blob));
    one.and(other).unwrap();
    assert_eq!(peers.store.get(&blob).unwrap().unwrap(), content);
    assert_eq!(peers.store.bytes(), 100 * GROUP as u64 + 99 * 64);
}

#[tokio::test]
async fn a_giver_never_sends_what_it_has_damaged() {
    let content = content(40 * GROUP);
    let directory = tempfile::tempdir().unwrap();
    let blob = Blob::of(&content);
    BlobStore::open(directory.path(), BlobStore::QUOTA).unwrap().put(&blob, content.clone()).unwrap();
    let path = directory.path().join(blob.hash.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20 * GROUP] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let store = BlobStore::open(directory.path(), BlobStore::QUOTA).unwrap();
    let given = store.clone();
    let peers = Peers::new(move |send, request| {
        let store = given.clone();
        tokio::spawn(async move {
            let source = store.source(&request.blob).unwrap();
            if let Err(error) = give(send, request, source.map(Arc::new)).await {
                assert!(error.to_string().contains(&format!("from byte {} on", 20 * GROUP)), "{error}");
                store.doubt(&blob).unwrap();
            }
        })
    })
    .await;
    assert!(matches!(peers.fetch(&blob).await.unwrap_err(), FetchError::Frame(_)));
    assert_eq!(peers.store.partial(&blob).unwrap().unwrap().held(), 16);
    // It knows now.
    let error = peers.fetch(&blob).await.unwrap_err();
    assert!(matches!(error, FetchError::Missing(hash) if hash == blob.hash), "{error}");
    assert_eq!(store.partial(&blob).unwrap().unwrap().held(), 39);
}

#[tokio::test]
async fn what_is_asked_for_must_exist_and_what_is_fetched_must_fit() {
    let content = content(3 * GROUP);
    let blob = Blob::of(&content);
    let range = |first, count| GroupRange { first, count };
    let wrong = [
        vec![range(0, 4)],
        vec![range(0, 0)],
        vec![range(3, 1)],
        vec![range(1, 1), range(0, 1)],
        vec![range(0, 1), range(1, 1)],
        vec![range(u64::MAX, 2)],
    ];
    for ranges in wrong {
        assert!(!GetBlob { blob, ranges: ranges.clone() }.is_valid(), "{ranges:?}");
    }
    assert!(GetBlob { blob, ranges: vec![range(0, 1), range(2, 1)] }.is_valid());

    let peers = Peers::new(honest(content.clone())).await;
    let long = Blob { len: MAX_BLOB + 1, ..blob };
    assert!(matches!(peers.fetch(&long).await.unwrap_err(), FetchError::TooLong(_)));
    let another = Blob { len: blob.len + 1, ..blob };
    assert!(matches!(peers.fetch(&another).await.unwrap_err(), FetchError::Missing(_)));
    let small = BlobStore::open(peers.directory.path().join("small"), 1 << 20).unwrap();
    let large = Blob { len: 2 << 20, ..blob };
    let error = fetch(&small, &large, &peers.connection).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(BlobError::Full { .. })), "{error}");
}
