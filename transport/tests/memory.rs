//! What a transfer takes of memory, in a process of its own.

use depx_protocol::SecretKey;
use depx_protocol::wire::GetBlob;
use depx_transport::{BlobStore, Source, client_endpoint, fetch, give, read_frame, server_endpoint};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const LEN: u64 = 128 << 20;
/// Both ends are in this process: what QUIC may have on its way, and the windows being made, sent, verified and stored.
const LIMIT: u64 = 64 << 20;

/// The most memory that this process has had so far, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_large_blob_is_given_and_fetched_in_little_memory() {
    const PROTOCOL: &[u8] = b"depx-blobs-test";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("content");
    File::create(&path).unwrap().set_len(LEN).unwrap();
    let before = peak();

    let source = Arc::new(Source::of_file(File::open(&path).unwrap()).unwrap());
    let blob = *source.blob();
    let key = SecretKey::from_bytes(&[1; 32]).unwrap();
    let (server, _) = server_endpoint(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[PROTOCOL], &key).unwrap();
    let (client, _) = client_endpoint(PROTOCOL).unwrap();
    let listening = server.clone();
    tokio::spawn(async move {
        let connection = listening.accept().await.unwrap().await.unwrap();
        let (send, mut receive) = connection.accept_bi().await.unwrap();
        let request: GetBlob = read_frame(&mut receive).await.unwrap();
        give(send, request, Some(source)).await.unwrap();
        connection.closed().await;
    });
    let connection = client.connect(server.local_addr().unwrap(), "depx").unwrap().await.unwrap();
    let store = BlobStore::open(directory.path().join("store"), BlobStore::QUOTA).unwrap();
    fetch(&store, &blob, &connection).await.unwrap();

    assert!(store.contains(&blob));
    assert_eq!(store.read(&blob, LEN - 3, 9).unwrap().unwrap(), [0; 3][..]);
    let taken = peak() - before;
    assert!(taken <= LIMIT, "{} MiB", taken >> 20);
}
