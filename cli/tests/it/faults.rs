//! Processes that are killed, stopped and started again while jobs are under way.

use crate::support::{COUNT, Daemon, ECHO, Machine};
use bytes::Bytes;
use depx_client::{Client, Completed};
use depx_protocol::{
    Address, Blob, Consistency, DeterminismClass, Hash, JobInput, JobSpec, Limits, Program, SecretKey, VERSION,
};
use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A port that a coordinator can have again after it was killed.
fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("it is bound")
}

/// Submits a job that takes about a second, and waits until a node executes it.
fn dispatched(machine: &Machine, coordinator: &str) -> Daemon {
    machine.guest("count.wasm", COUNT);
    let submit = ["submit", "--coordinator", coordinator, "--consistency", "eventual", "--out", "out", "count.wasm"];
    let client = Daemon::start(machine, submit);
    client.event("dispatched");
    client
}

fn the_only_receipt(machine: &Machine) -> String {
    let mut receipts = std::fs::read_dir(machine.path("out/receipts")).expect("it is there").flatten();
    let name = receipts.next().expect("a receipt").file_name();
    assert!(receipts.next().is_none());
    format!("out/receipts/{}", name.to_string_lossy())
}

#[test]
fn a_node_that_was_killed_goes_on_with_its_lease() {
    let machine = Machine::new();
    let (_coordinator, name) = Daemon::coordinator(&machine, "127.0.0.1:0");
    let (mut node, address) = Daemon::node(&machine, &name, "node");
    let mut client = dispatched(&machine, &name);
    node.signal("KILL");
    node.ended();
    let (_node, again) = Daemon::node(&machine, &name, "node");
    assert_eq!(again, address);
    assert_eq!(client.event("done")["status"], "Success");
    assert_eq!(client.ended(), 0);
    let body = machine.receipt(&the_only_receipt(&machine)).receipt.body;
    assert_eq!((body.executor.to_string(), body.attempt, body.sequence), (address, 0, 0), "the same lease");
}

#[test]
fn a_coordinator_that_was_killed_goes_on_with_its_jobs() {
    let machine = Machine::new();
    let listen = free_port().to_string();
    let (mut coordinator, name) = Daemon::coordinator(&machine, &listen);
    let (node, _) = Daemon::node(&machine, &name, "node");
    let mut client = dispatched(&machine, &name);
    coordinator.signal("KILL");
    coordinator.ended();
    let started = Instant::now();
    let (coordinator, again) = Daemon::coordinator(&machine, &listen);
    assert_eq!(again, name);
    client.event("lost");
    assert_eq!(client.event("done")["status"], "Success");
    assert_eq!(client.ended(), 0);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    coordinator.event("agreed");
    node.event("completed");
    let body = machine.receipt(&the_only_receipt(&machine)).receipt.body;
    assert_eq!((body.attempt, body.sequence), (0, 0), "it was executed once");
}

/// A job that gives `number` back.
fn job(key: &SecretKey, module: &Bytes, number: usize) -> (JobSpec, HashMap<Hash, Bytes>) {
    // The program exits with what the first byte stands for.
    let input = Bytes::from(format!("0 {number}"));
    let consistency = if number.is_multiple_of(10) { Consistency::Session } else { Consistency::Eventual };
    let spec = JobSpec {
        version: VERSION,
        client: key.address(),
        nonce: depx_transport::random(),
        created_ms: depx_transport::unix_ms(),
        program: Program::Command(Blob::of(module)),
        args: Vec::new(),
        env: Vec::new(),
        files: Vec::new(),
        models: Vec::new(),
        input: JobInput::Compute(Blob::of(&input)),
        class: DeterminismClass::Exact,
        consistency,
        limits: Limits::DEFAULT,
    };
    let blobs = [module.clone(), input].into_iter().map(|content| (Blob::of(&content).hash, content)).collect();
    (spec, blobs)
}

/// What was found out about all jobs together.
#[derive(Default)]
struct Ledger {
    leases: HashSet<[u8; 16]>,
    numbers: HashMap<(Address, u64), Hash>,
}

impl Ledger {
    fn enter(&mut self, number: usize, completed: &Completed) {
        assert_eq!(completed.output.items[0].stdout.as_slice(), format!("0 {number}").as_bytes());
        for bundle in &completed.receipts {
            bundle.verify().expect("a receipt that proves something");
            let body = &bundle.receipt.body;
            assert!(self.leases.insert(body.lease.0), "a lease has one receipt");
            assert!(
                self.numbers.insert((body.executor, body.sequence), body.hash()).is_none(),
                "a number is used once"
            );
        }
    }
}

/// 10,000 jobs while nodes, workers and the coordinator are killed at random, or stopped for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_or_done_twice_in_chaos() {
    const JOBS: usize = 10_000;
    let machine = Arc::new(Machine::new());
    let module = Bytes::from(std::fs::read(machine.guest("echo.wasm", ECHO)).expect("it is there"));
    let listen = free_port();
    let (coordinator, name) = Daemon::coordinator(&machine, &listen.to_string());
    let names = ["node-1", "node-2", "node-3"];
    let nodes: Vec<Daemon> = names.iter().map(|data| Daemon::node(&machine, &name, data).0).collect();
    let (address, _) = name.split_once('@').expect("a name");
    let key = SecretKey::from_bytes(&[2; 32]).expect("a key");
    let client = Client::connect(listen, address.parse().expect("an address"), key.clone()).await.expect("it connects");
    let (client, room) = (Arc::new(client), Arc::new(Semaphore::new(64)));
    let done = Arc::new(AtomicUsize::new(0));

    let ended = done.clone();
    let chaos = tokio::task::spawn_blocking(move || chaos(&machine, &name, listen, coordinator, nodes, &ended));
    let mut jobs = JoinSet::new();
    let mut ledger = Ledger::default();
    for number in 0..JOBS {
        let turn = room.clone().acquire_owned().await.expect("it is open");
        let (client, (spec, blobs), done) = (client.clone(), job(&key, &module, number), done.clone());
        jobs.spawn(async move {
            let _turn = turn;
            let completed = client.submit(spec, &blobs, |_| ()).await;
            done.fetch_add(1, Ordering::Relaxed);
            (number, completed)
        });
        while let Some(job) = jobs.try_join_next() {
            let (number, completed) = job.expect("no panic");
            ledger.enter(number, &completed.unwrap_or_else(|error| panic!("job {number}: {error:?}")));
        }
    }
    while let Some(job) = jobs.join_next().await {
        let (number, completed) = job.expect("no panic");
        ledger.enter(number, &completed.unwrap_or_else(|error| panic!("job {number}: {error:?}")));
    }
    assert!(ledger.leases.len() >= JOBS + JOBS / 10, "every job was done, and every tenth by two");
    let kills = chaos.await.expect("no panic");
    assert!(kills.iter().all(|(_, count)| *count > 0), "{kills:?}");
}

/// Does harm until all jobs are done; gives how often it did which.
fn chaos(
    machine: &Machine,
    name: &str,
    listen: SocketAddr,
    mut coordinator: Daemon,
    mut nodes: Vec<Daemon>,
    done: &AtomicUsize,
) -> Vec<(&'static str, usize)> {
    const JOBS: usize = 10_000;
    let mut kills = vec![("node", 0), ("worker", 0), ("coordinator", 0), ("stop", 0)];
    let mut turn = 0;
    while done.load(Ordering::Relaxed) < JOBS {
        let dice = u16::from_be_bytes(depx_transport::random());
        std::thread::sleep(Duration::from_millis(200 + u64::from(dice) % 600));
        let victim = usize::from(dice) % nodes.len();
        // Each in turn, at random moments.
        let what = turn % kills.len();
        match kills[what].0 {
            "node" => {
                nodes[victim].signal("KILL");
                nodes[victim].ended();
                nodes[victim] = Daemon::node(machine, name, &format!("node-{}", victim + 1)).0;
            }
            "worker" => nodes[victim].signal_children("KILL"),
            "coordinator" => {
                coordinator.signal("KILL");
                coordinator.ended();
                coordinator = Daemon::coordinator(machine, &listen.to_string()).0;
            }
            _ => {
                nodes[victim].signal("STOP");
                std::thread::sleep(Duration::from_millis(500));
                nodes[victim].signal("CONT");
            }
        }
        kills[what].1 += 1;
        turn += 1;
    }
    kills
}
