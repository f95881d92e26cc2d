//! What a node takes that has nothing to do.

use crate::Plan;
use crate::figure::{Entry, Figure, Goal};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "net.node_idle",
        unit: "MiB",
        goal: Goal::AtMost(60.0),
        baseline: "the node's own process, MiB",
        method: "Memory of a process `depx node run` with one slot and of its workers, a minute after it connected to three coordinators: \
                 each page divided by the number of processes that share it (PSS).",
    },
    Entry {
        name: "net.node_idle_processor",
        unit: "%",
        goal: Goal::AtMost(0.5),
        baseline: "",
        method: "Processor time of the same processes in that minute, of one core.",
    },
];

const COORDINATORS: usize = 3;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let depx = own.with_file_name("depx").with_extension(std::env::consts::EXE_EXTENSION);
    ensure!(depx.is_file(), "{} is missing; `cargo xtask bench` builds it", depx.display());
    let home = tempfile::tempdir().context("a temporary folder cannot be made")?;
    let (mut coordinators, mut names) = (Vec::new(), Vec::new());
    for number in 0..COORDINATORS {
        let data = home.path().join(number.to_string());
        let mut coordinator = Daemon::start(&depx, home.path(), &data, &["coordinator", "--listen", "127.0.0.1:0"])?;
        names.push(coordinator.event("listening")?["coordinator"].as_str().context("no name")?.to_owned());
        coordinators.push(coordinator);
    }
    let mut arguments = vec!["node", "run", "--slots", "1", "--allow-weak-sandbox"];
    names.iter().for_each(|name| arguments.extend(["--coordinator", name]));
    let mut node = Daemon::start(&depx, home.path(), &home.path().join("node"), &arguments)?;
    (0..COORDINATORS).try_for_each(|_| node.event("connected").map(drop))?;
    // Starting is not idling.
    sleep(Duration::from_secs(2));
    let processes = tree(node.child.id());
    let before = ticks(&processes);
    let seconds = plan.turns(60, 20);
    sleep(Duration::from_secs(seconds as u64));
    let busy = (ticks(&processes) - before) / seconds as f64;
    let own = memory(node.child.id());
    let all = processes.iter().filter_map(|process| memory(*process)).sum();
    Ok(vec![ENTRIES[0].figure(all, own), ENTRIES[1].figure(busy, None)])
}

/// A `depx --json` process, killed when dropped.
struct Daemon {
    child: Child,
    events: BufReader<ChildStdout>,
}

impl Daemon {
    fn start(depx: &Path, home: &Path, data: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(depx);
        command.args(arguments).arg("--json").arg("--data").arg(data).arg("--home").arg(home);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("depx does not start")?;
        let events = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, events })
    }

    /// Waits for an event of this name.
    fn event(&mut self, wanted: &str) -> Result<Value> {
        loop {
            let mut line = String::new();
            ensure!(self.events.read_line(&mut line)? > 0, "depx ended before it was {wanted}");
            let event: Value = serde_json::from_str(&line)?;
            if event["event"] == wanted {
                return Ok(event);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and those that it has started.
fn tree(process: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> =
        lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
    [process].into_iter().chain(children.into_iter().flat_map(tree)).collect()
}

/// Processor time of all, in hundredths of a second.
fn ticks(processes: &[u32]) -> f64 {
    let times = processes.iter().filter_map(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which is in parentheses, user and system time are the 12th and 13th fields.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    times.sum()
}

/// A process's share of memory, in MiB.
fn memory(process: u32) -> Option<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
