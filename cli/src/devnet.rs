//! `depx devnet`: a coordinator and some nodes, each a process of its own, on this machine.

use crate::network::{CoordinatorName, block_on, until_stopped};
use crate::{Global, show};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::builder::RangedU64ValueParser;
use depx_protocol::Address;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Start a coordinator and some nodes on this machine.
#[derive(clap::Args)]
pub(crate) struct DevnetArgs {
    /// How many nodes, at most 64
    #[arg(long, value_name = "N", default_value = "4", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    nodes: usize,
    /// How many of them lie
    #[arg(long, value_name = "N", default_value_t = 0)]
    liars: usize,
    /// Where the processes keep their data [default: a directory that is removed afterwards]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Run a command against the network, with DEPX_COORDINATOR set, and stop when it ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A process that takes longer than this to start will not.
const START: Duration = Duration::from_secs(30);

pub(crate) fn devnet(global: &Global, args: &DevnetArgs) -> Result<ExitCode> {
    let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
    let data = args.data.as_deref().unwrap_or(temporary.path());
    block_on(async {
        let stopped = until_stopped(false)?;
        let network = Devnet::start(global, data, args.nodes, args.liars).await?;
        let nodes: Vec<_> =
            network.nodes.iter().map(|node| json!({"node": node.address.to_string(), "lies": node.lies})).collect();
        let value = json!({"event": "ready", "coordinator": network.coordinator.to_string(), "nodes": nodes});
        show::line(global, &value, || {
            let list: Vec<String> = network
                .nodes
                .iter()
                .map(|node| format!("  node {}{}", node.address, if node.lies { " (lies)" } else { "" }))
                .collect();
            format!(
                "ready; submit jobs with\n  depx submit --coordinator {} …\n{}",
                network.coordinator,
                list.join("\n")
            )
        });
        if let Some((program, rest)) = args.command.split_first() {
            let mut command = Command::new(program);
            command.args(rest).env("DEPX_COORDINATOR", network.coordinator.to_string()).kill_on_drop(true);
            let status = tokio::select! {
                status = command.status() => status.with_context(|| format!("cannot run {program}")),
                () = stopped => Err(anyhow!("stopped before {program} ended")),
            };
            network.stop().await;
            return Ok(exit_code(status?));
        }
        stopped.await;
        network.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// What a shell makes of how a command ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A running network. Dropping it kills its processes.
pub(crate) struct Devnet {
    pub(crate) coordinator: CoordinatorName,
    pub(crate) nodes: Vec<DevNode>,
    processes: Vec<Child>,
}

/// One of its nodes.
pub(crate) struct DevNode {
    pub(crate) address: Address,
    pub(crate) lies: bool,
}

impl Devnet {
    /// Starts `nodes` nodes, the last `liars` of which lie, and waits until all are connected.
    pub(crate) async fn start(global: &Global, data: &Path, nodes: usize, liars: usize) -> Result<Self> {
        ensure!(liars <= nodes, "{liars} of {nodes} nodes cannot lie; start more with --nodes");
        let mut coordinator = Process::start(global, data, "coordinator", &["coordinator", "--listen", "127.0.0.1:0"])?;
        let listening = coordinator.event("listening").await?;
        let name = text(&listening, "coordinator")?;
        let mut started = Vec::new();
        for number in 0..nodes {
            let lies = number >= nodes - liars;
            // Its jobs are this user's own, and a user can seldom make cgroups.
            let mut arguments = vec!["node", "run", "--slots", "1", "--allow-weak-sandbox", "--coordinator", name];
            if lies {
                arguments.extend(["--inject-fault", "wrong-output"]);
            }
            started.push((Process::start(global, data, &format!("node-{}", number + 1), &arguments)?, lies));
        }
        let mut network = Self {
            coordinator: name.parse().map_err(anyhow::Error::msg)?,
            nodes: Vec::new(),
            processes: vec![coordinator.detach()],
        };
        for (mut process, lies) in started {
            let started = process.event("started").await?;
            let address = text(&started, "node")?.parse()?;
            process.event("connected").await?;
            network.nodes.push(DevNode { address, lies });
            network.processes.push(process.detach());
        }
        Ok(network)
    }

    /// Lets every process finish in its own time, nodes first.
    pub(crate) async fn stop(mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        for process in self.processes.iter_mut().rev() {
            drop(process.stdin.take());
        }
        for process in self.processes.iter_mut().rev() {
            // Whoever does not stop is killed when dropped.
            let _ = timeout(PATIENCE, process.wait()).await;
        }
    }
}

fn text<'a>(event: &'a Value, name: &str) -> Result<&'a str> {
    event[name].as_str().with_context(|| format!("an event without {name:?}: {event}"))
}

/// A `depx` process whose events are read.
struct Process {
    name: String,
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(global: &Global, data: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(program);
        command.args(arguments).arg("--data").arg(data.join(name)).arg("--home").arg(&global.home);
        command.args(["--json", "--follow-stdin", "--log", &global.log]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let Some(stdout) = child.stdout.take() else { bail!("{name} has no standard output") };
        Ok(Self { name: name.to_owned(), child, events: BufReader::new(stdout).lines() })
    }

    /// Waits for an event of this name.
    async fn event(&mut self, wanted: &str) -> Result<Value> {
        let found = timeout(START, async {
            while let Some(line) = self.events.next_line().await? {
                let event: Value = serde_json::from_str(&line)?;
                if event["event"] == wanted {
                    return Ok(event);
                }
            }
            bail!("{} ended before it was {wanted}; the reason is above", self.name)
        });
        found.await.with_context(|| format!("{} was not {wanted} within {} s", self.name, START.as_secs()))?
    }

    /// From now on events are read and dropped, so that the process never waits for a reader.
    fn detach(self) -> Child {
        let Self { child, mut events, .. } = self;
        tokio::spawn(async move { while let Ok(Some(_)) = events.next_line().await {} });
        child
    }
}
