//! Two peers, one of which may do whatever a test makes it do.

use depx_protocol::wire::GetBlob;
use depx_protocol::{Blob, SecretKey};
use depx_transport::{BlobStore, FetchError, Source, client_endpoint, fetch, give, read_frame, server_endpoint};
use quinn::{Connection, Endpoint, SendStream};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const PROTOCOL: &[u8] = b"depx-blobs-test";

/// A connection to a giver, and the store of whoever fetches.
pub(crate) struct Peers {
    pub(crate) directory: TempDir,
    pub(crate) store: BlobStore,
    pub(crate) connection: Connection,
    pub(crate) requests: Arc<Mutex<Vec<GetBlob>>>,
    _endpoints: [Endpoint; 2],
}

impl Peers {
    pub(crate) async fn new(
        giver: impl Fn(SendStream, GetBlob) -> tokio::task::JoinHandle<()> + Send + Sync + 'static,
    ) -> Self {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap();
        let (server, _) = server_endpoint(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[PROTOCOL], &key).unwrap();
        let (client, _) = client_endpoint(PROTOCOL).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (listening, noted) = (server.clone(), requests.clone());
        tokio::spawn(async move {
            let connection = listening.accept().await.unwrap().await.unwrap();
            while let Ok((send, mut receive)) = connection.accept_bi().await {
                let request: GetBlob = read_frame(&mut receive).await.unwrap();
                noted.lock().unwrap().push(request.clone());
                giver(send, request);
            }
        });
        let connection = client.connect(server.local_addr().unwrap(), "depx").unwrap().await.unwrap();
        let directory = TempDir::new().unwrap();
        let store = BlobStore::open(directory.path(), BlobStore::QUOTA).unwrap();
        Self { directory, store, connection, requests, _endpoints: [server, client] }
    }

    pub(crate) async fn fetch(&self, blob: &Blob) -> Result<(), FetchError> {
        fetch(&self.store, blob, &self.connection).await
    }

    /// What was asked for since this was asked last: for each request how many groups.
    pub(crate) fn asked(&self) -> Vec<u64> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        requests.iter().map(|request| request.ranges.iter().map(|range| range.count).sum()).collect()
    }
}

/// A giver that keeps the rules.
pub(crate) fn honest(content: bytes::Bytes) -> impl Fn(SendStream, GetBlob) -> tokio::task::JoinHandle<()> {
    move |send, request| {
        let content = content.clone();
        tokio::spawn(async move {
            give(send, request, Some(Source::of_bytes(content).into())).await.ok();
        })
    }
}
