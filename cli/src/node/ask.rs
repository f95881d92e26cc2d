//! `depx node status` and `depx node drain`.

use super::control::{PATIENCE, Request, SOCKET, short_path};
use crate::{Global, show};
use anyhow::{Context, Result, bail};
use depx_transport::unix_ms;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Bytes of an answer: room for some hundred coordinators with the longest errors.
const MAX_ANSWER: u64 = 1 << 20;

/// Say how the node is that runs here.
#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// The data directory of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Have the node finish what it accepted, and end.
#[derive(clap::Args)]
pub(crate) struct DrainArgs {
    /// The data directory of the node [default: HOME/node]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Return when it has ended
    #[arg(long)]
    wait: bool,
}

pub(super) fn status(global: &Global, args: &StatusArgs) -> Result<ExitCode> {
    let (_, answer) = ask(&data(global, args.data.as_ref()), Request::Status)?;
    show::line(global, &answer, || text(&answer));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn drain(global: &Global, args: &DrainArgs) -> Result<ExitCode> {
    let (mut node, answer) = ask(&data(global, args.data.as_ref()), Request::Drain)?;
    show::line(global, &answer, || "The node takes no new leases, finishes those that it has, and ends.".to_owned());
    if args.wait {
        node.get_ref().set_read_timeout(None).context("cannot wait for the node")?;
        // Its end of the connection is closed with the process.
        let _ = node.read(&mut [0]);
        show::line(global, &json!({"event": "ended"}), || "It has ended.".to_owned());
    }
    Ok(ExitCode::SUCCESS)
}

fn data(global: &Global, named: Option<&PathBuf>) -> PathBuf {
    named.cloned().unwrap_or_else(|| global.home.join("node"))
}

/// Asks the node of this data directory, and gives the connection with its answer.
fn ask(data: &Path, request: Request) -> Result<(BufReader<UnixStream>, Value)> {
    let name = data.display();
    let connected = File::open(data).and_then(|directory| UnixStream::connect(short_path(&directory, SOCKET)));
    let mut stream = match connected {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                bail!("no node runs in {name}; start one with depx node run, or name its directory with --data")
            }
            ErrorKind::PermissionDenied => {
                bail!("this user may not ask the node in {name}; be its user, or root")
            }
            _ => return Err(error).with_context(|| format!("cannot ask the node in {name}")),
        },
    };
    let unanswered = || format!("the node in {name} does not answer; is it hanging, or just ending?");
    stream.set_read_timeout(Some(PATIENCE)).with_context(unanswered)?;
    stream.set_write_timeout(Some(PATIENCE)).with_context(unanswered)?;
    stream.write_all(format!("{}\n", serde_json::to_string(&request)?).as_bytes()).with_context(unanswered)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(MAX_ANSWER).read_line(&mut line).with_context(unanswered)?;
    let answer: Value = serde_json::from_str(&line).with_context(unanswered)?;
    if let Some(error) = answer["error"].as_str() {
        bail!("the node in {name} does not understand this program, {error}; use the release that it runs");
    }
    Ok((stream, answer))
}

/// For people, a line each.
fn text(status: &Value) -> String {
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    let word = |name: &str| status[name].as_str().unwrap_or_default();
    let gibibytes = |name: &str| number(name) as f64 / f64::from(1 << 30);
    let state = if status["draining"] == true { "draining: takes no new leases, then ends" } else { "serving" };
    let mut lines = vec![
        format!("node         {}", word("node")),
        format!("state        {state}"),
        format!("running for  {}", since(number("started_ms"))),
    ];
    for coordinator in status["coordinators"].as_array().into_iter().flatten() {
        let last = coordinator["last_error"].as_str();
        let state = match (coordinator["connected_ms"].as_u64(), last) {
            (Some(connected), None) => format!("connected for {}", since(connected)),
            (Some(connected), Some(error)) => format!("connected for {}; before that: {error}", since(connected)),
            (None, Some(error)) => format!("not connected: {error}"),
            (None, None) => "connecting".to_owned(),
        };
        lines.push(format!(
            "coordinator  {}\n             {state}",
            coordinator["coordinator"].as_str().unwrap_or_default()
        ));
    }
    lines.extend([
        format!("slots        {} of {} busy, {} queued", number("active"), number("slots"), number("queued")),
        format!("receipts     {} signed since the start", show::grouped(number("receipts_signed"))),
        format!("blobs        {:.1} of {:.0} GiB", gibibytes("blobs_bytes"), gibibytes("blobs_quota_bytes")),
        format!(
            "machine      load {:.0}%, {:.1} GiB of memory free",
            status["load"].as_f64().unwrap_or_default() * 100.0,
            gibibytes("memory_available_bytes")
        ),
    ]);
    lines.join("\n")
}

fn since(then_ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(unix_ms().saturating_sub(then_ms) / 1000)).to_string()
}
