//! Support for tests that cross crates: networks in one process whose nodes execute with a stand-in.

mod relay;

pub use relay::{Conditions, Relay};

use bytes::Bytes;
use depx_client::Client;
use depx_coordinator::{Coordinator, CoordinatorConfig, CoordinatorEvent};
use depx_node::{Node, NodeConfig, NodeEvent};
use depx_protocol::{
    Blob, Consistency, DeterminismClass, Hash, HostCallLog, ItemLeaf, ItemOutput, JobInput, JobOutput, JobSpec, Limits,
    Program, SecretKey, Settlement, Status, VERSION, merkle,
};
use depx_runtime::{Cancel, HostFault, Job, JobResult, Worker, WorkerLauncher};
pub use depx_transport::chain;
use depx_transport::{BlobStore, random, unix_ms};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Whatever a test waits for comes within this time or never.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test's coordinator looks for nodes.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a test's coordinator waits for a node that is lost.
pub const RESUME: Duration = Duration::from_secs(3);
/// The profile of the stand-in.
pub const PROFILE: Hash = Hash([7; 32]);

/// How a stand-in executes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behaviour {
    /// Gives its input back.
    Echo,
    /// Gives its input back and this byte.
    Append(u8),
    /// Gives its input back after so many milliseconds.
    Slow(u64),
    /// Fails as a host does.
    Fail,
    /// Waits until it is cancelled.
    Hang,
    /// Panics.
    Panic,
}

/// A worker that executes no WebAssembly: the subject of these tests is what is around it.
#[derive(Clone, Copy)]
pub struct StandIn(pub Behaviour);

impl WorkerLauncher for StandIn {
    fn launch(&self) -> Result<Box<dyn Worker>, HostFault> {
        Ok(Box::new(*self))
    }
}

impl Worker for StandIn {
    fn run(&mut self, job: &Job, cancel: &Cancel) -> Result<JobResult, HostFault> {
        let input = job.blobs[&job.spec.input.blob().hash].clone();
        let mut stdout = input.to_vec();
        match self.0 {
            Behaviour::Echo => {}
            Behaviour::Slow(pause_ms) => std::thread::sleep(Duration::from_millis(pause_ms)),
            Behaviour::Append(byte) => stdout.push(byte),
            Behaviour::Fail => return Err(HostFault::Resources { resource: "patience" }),
            Behaviour::Hang => {
                while !cancel.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return Err(HostFault::Cancelled);
            }
            Behaviour::Panic => panic!("a worker that panics"),
        }
        let leaf = ItemLeaf {
            index: 0,
            status: Status::Success,
            code: 0,
            fuel_used: 1,
            peak_memory_pages: 1,
            output: ItemOutput::output_hash(&stdout, &[]),
            output_len: stdout.len() as u64,
            log_len: 0,
            host_calls: HostCallLog::default(),
        };
        let output = JobOutput {
            items: vec![ItemOutput { leaf, stdout: stdout.into(), files: Vec::new() }],
            inferences: Vec::new(),
        };
        let core = output.result(job.id, job.spec.class, job.profile, merkle::root([&input]));
        Ok(JobResult {
            core,
            output,
            logs: vec![Bytes::new()],
            host_calls: Vec::new(),
            times: vec![Duration::ZERO],
            detail: None,
        })
    }
}

/// A key that is the same in every run.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32]).expect("small numbers are keys")
}

/// A compute job that echoes `input`, and its blobs.
pub fn echo_job(client: &SecretKey, consistency: Consistency, input: &[u8]) -> (JobSpec, HashMap<Hash, Bytes>) {
    let module = Bytes::from_static(b"not looked at by the stand-in");
    let input = Bytes::copy_from_slice(input);
    let spec = JobSpec {
        version: VERSION,
        client: client.address(),
        nonce: random(),
        created_ms: unix_ms(),
        program: Program::Command(Blob::of(&module)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input: JobInput::Compute(Blob::of(&input)),
        class: DeterminismClass::Exact,
        consistency,
        limits: Limits { wall_ms: 5_000, ..Limits::DEFAULT },
    };
    let blobs = [module, input].into_iter().map(|content| (Blob::of(&content).hash, content)).collect();
    (spec, blobs)
}

/// A running coordinator.
pub struct TestCoordinator {
    /// Its key.
    pub key: SecretKey,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it tells.
    pub events: mpsc::UnboundedReceiver<CoordinatorEvent>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
    _data: TempDir,
}

impl TestCoordinator {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts one at a given address.
    pub fn start_at(listen: SocketAddr) -> Self {
        Self::start_with(1, listen, Duration::from_millis(500), RESUME)
    }

    /// Starts one with another key on a free port.
    pub fn start_as(number: u8) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_with(number, listen, Duration::from_millis(500), RESUME)
    }

    /// Starts one on a free port that hears and waits for nodes as long as one in earnest.
    pub fn start_in_earnest() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_with(1, listen, CoordinatorConfig::HEARTBEAT, CoordinatorConfig::RESUME)
    }

    fn start_with(number: u8, listen: SocketAddr, heartbeat: Duration, resume: Duration) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let config = CoordinatorConfig {
            data: data.path().to_owned(),
            blob_quota: BlobStore::QUOTA,
            listen,
            heartbeat,
            queue_timeout: QUEUE_TIMEOUT,
            resume,
            settlement: Settlement::default(),
        };
        let (tell, events) = mpsc::unbounded_channel();
        let coordinator =
            Coordinator::bind(config, key(number), move |event| drop(tell.send(event))).expect("it binds");
        let address = coordinator.local_address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(coordinator.run(async { drop(stopped.await) }));
        Self { key: key(number), address, events, stop: Some(stop), task, _data: data }
    }

    /// The next event that `wanted` accepts.
    pub async fn event<T>(&mut self, wanted: impl Fn(CoordinatorEvent) -> Option<T>) -> T {
        next(&mut self.events, wanted).await
    }

    /// A client's connection.
    pub async fn client(&self, key: SecretKey) -> Client {
        Client::connect(self.address, self.key.address(), key).await.expect("the client connects")
    }

    /// Stops it and waits until the port is free again.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.task).await.expect("it stops").expect("it does not panic");
    }
}

/// A running node.
pub struct TestNode {
    /// Its key.
    pub key: SecretKey,
    /// What it tells.
    pub events: mpsc::UnboundedReceiver<NodeEvent>,
    /// Where its data is.
    pub data: TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), depx_node::NodeError>>,
}

impl TestNode {
    /// Starts one and waits until it is connected.
    pub async fn start(number: u8, coordinator: SocketAddr, behaviour: Behaviour) -> Self {
        let mut node = Self::start_with(number, coordinator, behaviour, |_| ());
        node.event(|event| matches!(event, NodeEvent::Connected { .. }).then_some(())).await;
        node
    }

    /// Starts one with an operator's choices.
    pub fn start_with(
        number: u8,
        coordinator: SocketAddr,
        behaviour: Behaviour,
        choose: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        Self::start_in(data, number, coordinator, behaviour, choose)
    }

    /// Starts one that finds what an earlier one left.
    pub fn start_in(
        data: TempDir,
        number: u8,
        coordinator: SocketAddr,
        behaviour: Behaviour,
        choose: impl FnOnce(&mut NodeConfig),
    ) -> Self {
        let mut config = NodeConfig {
            data: data.path().to_owned(),
            blob_quota: BlobStore::QUOTA,
            coordinators: vec![(coordinator, key(1).address())],
            slots: 2,
            limits: Limits::DEFAULT,
            fault: None,
        };
        choose(&mut config);
        let (tell, events) = mpsc::unbounded_channel();
        let profiles = vec![(DeterminismClass::Exact, PROFILE)];
        let key = key(number);
        let told = move |event| drop(tell.send(event));
        let node = Node::new(config, key.clone(), StandIn(behaviour), profiles, told).expect("the node starts");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(node.run(async { drop(stopped.await) }));
        Self { key, events, data, stop: Some(stop), task }
    }

    /// The next event that `wanted` accepts.
    pub async fn event<T>(&mut self, wanted: impl Fn(NodeEvent) -> Option<T>) -> T {
        next(&mut self.events, wanted).await
    }

    /// Why the next lease that ends without a receipt does.
    pub async fn abandoned(&mut self) -> String {
        self.event(|event| if let NodeEvent::Abandoned { reason } = event { Some(reason) } else { None }).await
    }

    /// Stops it; gives how it ended.
    pub async fn stop(self) -> Result<(), depx_node::NodeError> {
        self.stop_and_keep().await.map(drop)
    }

    /// Stops it; gives its data.
    pub async fn stop_and_keep(mut self) -> Result<TempDir, depx_node::NodeError> {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.task).await.expect("it stops").expect("it does not panic").map(|()| self.data)
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<(), depx_node::NodeError> {
        timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic")
    }
}

async fn next<E: std::fmt::Debug, T>(events: &mut mpsc::UnboundedReceiver<E>, wanted: impl Fn(E) -> Option<T>) -> T {
    let found = timeout(PATIENCE, async {
        loop {
            let event = events.recv().await.expect("whoever is watched is still there");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    });
    found.await.expect("the event comes in time")
}
