//! `depx run`.

use crate::input::{JobArgs, Origin, PreparedJob};
use crate::local::{self, EngineArgs};
use crate::tensors::Ports;
use crate::{Global, calls, identity, show};
use anyhow::{Context, Result};
use depx_protocol::receipt::commitment;
use depx_protocol::{
    Address, Assignment, Canonical, Hash, ItemOutput, LeaseId, OutputFile, ReceiptBody, ReceiptBundle, ResultCore,
    SecretKey, Settlement, SignedAssignment, SignedJobSpec, VERSION, sign_batch,
};
use depx_runtime::{Cancel, Finished, Job, Streamed};
use depx_transport::{random, unix_ms};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Run a WASI command, or a model alone, exactly as a node would.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Where its clocks start: Unix milliseconds, or `now` [default: the start of 2026]
    #[arg(long, value_name = "MS|now", value_parser = parse_timestamp, default_value_t = TIMESTAMP_MS, hide_default_value = true)]
    timestamp: u64,
    /// What its randomness follows from, beside all else in the job: up to 32 hexadecimal digits, or `random`
    #[arg(long, value_name = "HEX|random", value_parser = parse_seed, default_value = "0")]
    seed: Seed,
    /// Write a receipt, signed with the key of this machine
    #[arg(long, value_name = "OUT")]
    receipt: Option<PathBuf>,
    /// Write the files that it made under /out, or the tensors that a model gave, into a directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the calls that it makes of its host into a file, a line for each
    #[arg(long, value_name = "FILE")]
    host_calls: Option<PathBuf>,
    /// Tell fuel, memory, time and result hash on standard error
    #[arg(long)]
    stats: bool,
}

/// A plausible moment, the same in every run: 2026-01-01T00:00:00Z in Unix milliseconds.
const TIMESTAMP_MS: u64 = 1_767_225_600_000;

/// The client of every local run. The key is public, so its signature says that nobody in particular asked for the job.
const NOBODY: [u8; 32] = *b"nobody asked for this depx run..";

type Seed = [u8; 16];

pub(crate) fn run(global: &Global, args: RunArgs) -> Result<ExitCode> {
    let key = identity::load_or_make(&identity::default_path(global))?;
    let nobody = SecretKey::from_bytes(&NOBODY)?;
    let origin = Origin { nonce: args.seed, created_ms: args.timestamp };
    let (PreparedJob { spec, blobs, ports }, items) = args.job.prepare_streamed(global, nobody.address(), origin)?;
    let runtime = args.engine.runtime(
        global,
        spec.model_blobs().next().is_some(),
        if args.host_calls.is_some() { calls::KEPT } else { 0 },
    )?;
    let profile = local::profile(&runtime, spec.class)?;
    let signed = SignedJobSpec::sign(spec, &nobody);
    let job = Job { id: signed.verify()?, spec: signed.spec.clone(), profile, blobs };

    if let Some(path) = &args.receipt {
        // Found out before anything is executed; what is there stays until there is a result.
        let place = File::options().create(true).append(true).open(path);
        place.with_context(|| cannot_write_receipt(path))?;
    }
    let (started_ms, started) = (unix_ms(), Instant::now());
    let mut output = Output::open(global, &args, job.spec.input.items(), ports)?;
    let take = |finished: Finished| output.take(&finished).map_err(io::Error::other);
    let ran = runtime.run_stream(&job, items.iter()?, take, &Cancel::default());
    let elapsed = started.elapsed();
    let kept = ran.map_err(anyhow::Error::from).and_then(|streamed| {
        if let Some(path) = &args.receipt {
            let bundle = local_receipt(signed, &streamed.core, profile, &key, started_ms);
            std::fs::write(path, bundle.to_bytes()).with_context(|| cannot_write_receipt(path))?;
        }
        output.close()?;
        Ok(streamed)
    });
    let Streamed { core, detail } = kept.inspect_err(|_| output.give_up())?;
    if global.json {
        let mut value = show::result(&core);
        value["detail"] = json!(detail);
        value["seconds"] = json!(elapsed.as_secs_f64());
        output.finish_json(&value);
        return Ok(show::exit_code(&core));
    }
    let mut stderr = io::stderr().lock();
    if args.stats || !matches!(core.status, depx_protocol::Status::Success | depx_protocol::Status::ExitCode) {
        let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        let _ = writeln!(stderr, "depx: {}{detail}", show::status(&core));
    }
    if args.stats {
        let _ = writeln!(
            stderr,
            "depx: {} item(s), {} fuel, {} KiB of memory, {}\ndepx: result {}",
            core.item_count,
            show::grouped(core.fuel_used),
            show::grouped(u64::from(core.peak_memory_pages) * 64),
            show::duration(elapsed),
            core.hash(),
        );
    }
    Ok(show::exit_code(&core))
}

/// Where what the items came to goes, each when it is its turn.
struct Output {
    json: bool,
    /// Where files go, below a directory for each item if there are several.
    directory: Option<PathBuf>,
    several: bool,
    host_calls: Option<(PathBuf, BufWriter<File>)>,
    /// Of a program that is a model.
    ports: Option<Arc<Ports>>,
    taken: u64,
}

/// How the object begins that `--json` prints.
const OUTPUT: &str = "{\"output\":[";

impl Output {
    fn open(global: &Global, args: &RunArgs, items: u64, ports: Option<Arc<Ports>>) -> Result<Self> {
        let create = |path: &PathBuf| {
            let file = File::create(path).with_context(|| cannot_write_calls(path))?;
            anyhow::Ok((path.clone(), BufWriter::new(file)))
        };
        let host_calls = args.host_calls.as_ref().map(create).transpose()?;
        Ok(Self { json: global.json, directory: args.out.clone(), several: items > 1, host_calls, ports, taken: 0 })
    }

    fn take(&mut self, finished: &Finished) -> Result<()> {
        let ItemOutput { leaf, stdout, files } = &finished.output;
        let (stdout, files) = match &self.ports {
            Some(ports) => (self.shown(ports, stdout).into(), ports.files(stdout).into()),
            None => (Cow::from(&stdout[..]), Cow::from(files)),
        };
        if let Some((path, file)) = &mut self.host_calls {
            let written = calls::write(file, leaf.index, &leaf.host_calls, &finished.host_calls);
            written.with_context(|| cannot_write_calls(path))?;
        }
        if let Some(directory) = &self.directory {
            let several = self.several.then(|| directory.join(format!("{:06}", leaf.index)));
            write_files(several.as_ref().unwrap_or(directory), &files)?;
        }
        // A reader that has enough of it is no failure of the job.
        let _ = if self.json {
            let value = json!({"status": format!("{:?}", leaf.status), "code": leaf.code, "fuel_used": leaf.fuel_used,
                "stdout": show::guest_bytes(&stdout), "stderr": show::guest_bytes(&finished.log)});
            write!(io::stdout(), "{}{value}", if self.taken == 0 { OUTPUT } else { "," })
        } else {
            io::stderr().write_all(&finished.log).and_then(|()| io::stdout().write_all(&stdout))
        };
        self.taken += 1;
        Ok(())
    }

    /// What standard output gets of the tensors that a model gave: what people can read, or files for other programs.
    fn shown(&self, ports: &Ports, output: &[u8]) -> Vec<u8> {
        match () {
            () if self.json => output.to_vec(),
            () if self.directory.is_some() => Vec::new(),
            () if io::stdout().is_terminal() => ports.text(output).into_bytes(),
            () => ports.files(output).iter().flat_map(|file| file.content.iter().copied()).collect(),
        }
    }

    /// All items were taken.
    fn close(&mut self) -> Result<()> {
        let _ = io::stdout().flush();
        match &mut self.host_calls {
            Some((path, file)) => file.flush().with_context(|| cannot_write_calls(path)),
            None => Ok(()),
        }
    }

    /// The rest of the object that the items are in.
    fn finish_json(&self, value: &Value) {
        let before = if self.taken == 0 { OUTPUT } else { "" };
        show::print(format_args!("{before}],{}", &value.to_string()[1..]));
    }

    /// There is no result: ends the line.
    fn give_up(&self) {
        let _ = io::stdout().flush();
        if self.json && self.taken > 0 {
            show::print("]}");
        }
    }
}

fn cannot_write_receipt(path: &Path) -> String {
    format!("cannot write receipt {}", path.display())
}

fn cannot_write_calls(path: &Path) -> String {
    format!("cannot write host calls to {}", path.display())
}

/// A receipt in which this machine is coordinator and executor, and nobody the client: what was executed is as checkable as ever,
/// that others agree is not claimed.
fn local_receipt(
    job: SignedJobSpec,
    result: &ResultCore,
    profile: Hash,
    key: &SecretKey,
    started_ms: u64,
) -> ReceiptBundle {
    let (id, me, settlement) = (result.job, key.address(), Settlement::default());
    let assignment = Assignment {
        version: VERSION,
        job: id,
        lease: LeaseId(random()),
        attempt: 0,
        coordinator: me,
        executor: me,
        profile,
        issued_ms: started_ms,
        expires_ms: started_ms,
        settlement,
    };
    let (salt, hash) = (random(), result.hash());
    let body = ReceiptBody {
        version: VERSION,
        result: hash,
        job: id,
        lease: assignment.lease,
        attempt: 0,
        executor: me,
        session_key: Hash::ZERO,
        commit: commitment(&id, &assignment.lease, &me, &hash, &salt),
        sequence: 0,
        previous: Hash::ZERO,
        started_ms,
        finished_ms: unix_ms().max(started_ms),
        evidence: Vec::new(),
    };
    let Some(receipt) = sign_batch(vec![body], &settlement, key).pop() else {
        unreachable!("one body gives one receipt")
    };
    ReceiptBundle { job, assignment: SignedAssignment::sign(assignment, key), result: result.clone(), salt, receipt }
}

/// Whether `client` stands for no one: its key is public.
pub(crate) fn is_nobody(client: Address) -> bool {
    SecretKey::from_bytes(&NOBODY).is_ok_and(|key| key.address() == client)
}

fn parse_timestamp(text: &str) -> Result<u64, String> {
    if text == "now" {
        return Ok(unix_ms());
    }
    text.parse().map_err(|_| "expected a time in Unix milliseconds, or `now`".to_owned())
}

/// Short seeds are numbers: `1` is `01` is `00…01`.
fn parse_seed(text: &str) -> Result<Seed, String> {
    if text == "random" {
        return Ok(random());
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|_| digits && text.len() <= 2 * size_of::<Seed>());
    number.map(u128::to_be_bytes).ok_or_else(|| "expected up to 32 hexadecimal digits, or `random`".to_owned())
}

/// Writes an item's files below `base`.
fn write_files(base: &Path, files: &[OutputFile]) -> Result<()> {
    for file in files {
        // Guests' paths come from an in-memory tree: without a root, `..` or empty parts.
        let path = base.join(&file.path);
        let parent = path.parent().unwrap_or(base);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make directory {}", parent.display()))?;
        std::fs::write(&path, &*file.content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_numbers_of_any_length() {
        let seed = |low| u128::to_be_bytes(low);
        let good = [("0", 0), ("1", 1), ("0001", 1), ("fF", 255), (&*"f".repeat(32), u128::MAX)];
        for (text, number) in good {
            assert_eq!(parse_seed(text), Ok(seed(number)), "{text}");
        }
        for bad in ["", "+1", "0x1", "g", &"0".repeat(33)] {
            assert!(parse_seed(bad).is_err_and(|error| error.contains("32 hexadecimal digits")), "{bad}");
        }
        assert_ne!(parse_seed("random"), parse_seed("random"));
    }

    #[test]
    fn timestamps_are_milliseconds_or_now() {
        assert_eq!(parse_timestamp("5"), Ok(5));
        assert!(parse_timestamp("now").is_ok_and(|now| now > TIMESTAMP_MS));
        for bad in ["", "-1", "yesterday", "1.5"] {
            assert!(parse_timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_has_a_key() {
        assert!(SecretKey::from_bytes(&NOBODY).is_ok());
    }
}
