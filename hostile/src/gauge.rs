//! What child processes take of processor and memory.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often children are looked at: what a process that is killed did since is lost.
const GLANCE: Duration = Duration::from_millis(5);

/// The unit in which Linux tells processor time, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// What happened between the start of a [`Gauge`] and its end.
#[derive(Clone, Copy, Default, Debug)]
pub struct Used {
    /// On the clock.
    pub wall: Duration,
    /// Of all children together.
    pub processor: Duration,
    /// Bytes of memory of the child that had the most, of those that took any.
    pub memory: u64,
}

/// Watches the processes that this one has started, and will start.
pub struct Gauge {
    started: Instant,
    end: Sender<()>,
    thread: JoinHandle<BTreeMap<u32, Seen>>,
}

/// One child: processor time in ticks and the most memory so far in KiB, at first and at last.
#[derive(Clone, Copy)]
struct Seen {
    first: (u64, u64),
    last: (u64, u64),
}

impl Gauge {
    /// Starts watching. Children that are there count from now on, later ones from their beginning.
    pub fn start() -> Self {
        let (end, ended) = channel();
        let mut seen = BTreeMap::new();
        glance(&mut seen, true);
        let watch = move || {
            while ended.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                glance(&mut seen, false);
            }
            glance(&mut seen, false);
            seen
        };
        Self { started: Instant::now(), end, thread: std::thread::spawn(watch) }
    }

    /// Stops watching. To be called while children that are well still live.
    pub fn stop(self) -> Used {
        let wall = self.started.elapsed();
        drop(self.end);
        let seen = self.thread.join().unwrap_or_default();
        let ticks: u64 = seen.values().map(|child| child.last.0 - child.first.0).sum();
        // One that took no more is about to go, or waits.
        let grown = seen.values().filter(|child| child.last.1 > child.first.1);
        let memory = grown.map(|child| child.last.1).max().unwrap_or(0);
        Used { wall, processor: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), memory: memory << 10 }
    }
}

fn glance(seen: &mut BTreeMap<u32, Seen>, at_start: bool) {
    for child in children() {
        let Some(now) = read(child) else { continue };
        let first = if at_start { now } else { (0, 0) };
        let entry = seen.entry(child).or_insert(Seen { first, last: now });
        entry.last = (entry.last.0.max(now.0), entry.last.1.max(now.1));
    }
}

/// Processes that threads of this one have started.
fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Processor time in ticks and the most memory so far in KiB.
fn read(process: u32) -> Option<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    Some((ticks, peak.parse().ok()?))
}
