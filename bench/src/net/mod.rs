//! Jobs over the network, against bare QUIC: a coordinator, a node and a client in this process, over loopback.

pub(crate) mod blob;
mod echo;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod resume;
pub(crate) mod throughput;

use crate::measure::{Turns, take_turns};
use crate::task::{self, key};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depx_client::{Client, JobEvent};
use depx_coordinator::{Coordinator, CoordinatorConfig};
use depx_node::{Node, NodeConfig, NodeEvent};
use depx_protocol::{Blob, Hash, JobInput, Limits, SecretKey, Settlement, Status};
use depx_runtime::{Allocation, EngineOptions, InProcess, Runtime, RuntimeOptions};
use depx_transport::BlobStore;
use echo::Echo;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Whatever starts or stops does so within this time or never.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of standard input of the job that does nothing, and of an echo request.
const REQUEST: usize = 512;

/// A port of the kernel's choice.
fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Something that answers requests, and whose requests are timed.
trait Server: Send + Sync + Sized + 'static {
    /// Starts it, ready for requests.
    fn start() -> impl Future<Output = Result<Self>> + Send;

    /// One request and its answer, checked.
    fn request(&self) -> impl Future<Output = Result<()>> + Send;

    /// Stops it and waits until it has stopped.
    fn stop(self) -> impl Future<Output = Result<()>> + Send;
}

/// A coordinator and a node, connected, and a client. A request is a job that does nothing.
struct Network {
    client: Client,
    key: SecretKey,
    module: Bytes,
    input: Bytes,
    blobs: HashMap<Hash, Bytes>,
    stop: watch::Sender<bool>,
    coordinator: JoinHandle<()>,
    node: JoinHandle<Result<(), depx_node::NodeError>>,
    _data: TempDir,
}

impl Server for Network {
    async fn start() -> Result<Self> {
        let data = tempfile::tempdir().context("a temporary folder cannot be made")?;
        let (stop, stopped) = watch::channel(false);
        let until_stopped =
            |mut stopped: watch::Receiver<bool>| async move { drop(stopped.wait_for(|stop| *stop).await) };

        let config = CoordinatorConfig {
            data: data.path().join("coordinator"),
            blob_quota: BlobStore::QUOTA,
            listen: loopback(),
            heartbeat: CoordinatorConfig::HEARTBEAT,
            queue_timeout: CoordinatorConfig::QUEUE_TIMEOUT,
            resume: CoordinatorConfig::RESUME,
            settlement: Settlement::default(),
        };
        let coordinator_key = key(1)?;
        let coordinator_address = coordinator_key.address();
        let coordinator = Coordinator::bind(config, coordinator_key, |_| ())?;
        let address = coordinator.local_address();
        let coordinator = tokio::spawn(coordinator.run(until_stopped(stopped.clone())));

        let slots = u32::try_from(available_parallelism().map_or(1, NonZeroUsize::get)).unwrap_or(u32::MAX);
        let config = NodeConfig {
            data: data.path().join("node"),
            blob_quota: BlobStore::QUOTA,
            coordinators: vec![(address, coordinator_address)],
            slots,
            limits: Limits::DEFAULT,
            fault: None,
        };
        let engine = EngineOptions { allocation: Allocation::Pooling { slots: 2 * slots }, ..EngineOptions::default() };
        let runtime = Runtime::new(RuntimeOptions { engine, ..RuntimeOptions::default() })?;
        let profiles = runtime.profiles();
        let (tell, mut events) = mpsc::unbounded_channel();
        let told = move |event| {
            if matches!(event, NodeEvent::Connected { .. }) {
                // Nobody listens after the first.
                let _ = tell.send(());
            }
        };
        let node = Node::new(config, key(2)?, InProcess(runtime), profiles, told)?;
        let node = tokio::spawn(node.run(until_stopped(stopped)));
        timeout(PATIENCE, events.recv()).await.context("the node did not connect")?;

        let key = key(3)?;
        let client = Client::connect(address, coordinator_address, key.clone()).await?;
        let (module, input) = (task::noop()?, Bytes::from(vec![7; REQUEST]));
        let blobs = [&module, &input].map(|content| (Blob::of(content).hash, content.clone())).into();
        Ok(Self { client, key, module, input, blobs, stop, coordinator, node, _data: data })
    }

    async fn request(&self) -> Result<()> {
        let spec = task::spec(&self.key, &self.module, JobInput::Compute(Blob::of(&self.input)));
        let mut no_show = None;
        let noted = |event| {
            if let JobEvent::NoShow { detail, .. } = event {
                no_show = Some(detail);
            }
        };
        let submitted = self.client.submit(spec, &self.blobs, noted).await;
        let completed = match no_show {
            Some(detail) => submitted.with_context(|| format!("the node did not deliver: {detail}"))?,
            None => submitted?,
        };
        let status = completed.result.status;
        ensure!(status == Status::Success, "the job ended with {status:?}");
        Ok(())
    }

    async fn stop(self) -> Result<()> {
        self.client.close().await;
        self.stop.send_replace(true);
        timeout(PATIENCE, self.node).await.context("the node did not stop")???;
        Ok(timeout(PATIENCE, self.coordinator).await.context("the coordinator did not stop")??)
    }
}

/// Lets the network and the echo take turns on as many threads as there are cores.
fn race<T: Turn>(turns: usize) -> Result<Turns<2>> {
    let threads =
        tokio::runtime::Builder::new_multi_thread().thread_stack_size(depx_runtime::THREAD_STACK).enable_all().build();
    let threads = threads.context("threads cannot be started")?;
    let network = Arc::new(threads.block_on(Network::start())?);
    let echo = Arc::new(threads.block_on(Echo::start())?);
    let raced = take_turns(
        turns,
        [
            // On threads of the pool, as a service would.
            &mut || threads.block_on(threads.spawn(T::take(network.clone())))?,
            &mut || threads.block_on(threads.spawn(T::take(echo.clone())))?,
        ],
    )?;
    threads.block_on(async {
        Arc::into_inner(network).context("a turn is not over")?.stop().await?;
        Arc::into_inner(echo).context("a turn is not over")?.stop().await
    })?;
    Ok(raced)
}

/// What is done with a server in one turn.
trait Turn {
    /// Gives the time of one request, in seconds.
    fn take<S: Server>(server: Arc<S>) -> impl Future<Output = Result<f64>> + Send + 'static;
}

/// Who races, by their places in a turn.
const JOBS: usize = 0;
const ECHO: usize = 1;
