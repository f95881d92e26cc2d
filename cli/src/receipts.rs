//! `depx verify` and `depx replay`.

use crate::input::{Blobs, keep, read};
use crate::local::{self, EngineArgs};
use crate::{Global, run, show};
use anyhow::{Context, Result, bail};
use depx_protocol::{
    Blob, Canonical, DeterminismClass, ItemLeaf, ItemPack, JobInput, JobSpec, Program, ReceiptBundle, ResultCore,
    Verified,
};
use depx_runtime::{Cancel, Job};
use depx_transport::bounded;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check a receipt offline: three signatures, and that all parts speak of the same execution.
#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// The receipt file
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
}

/// Execute again what a receipt speaks of, and compare the result.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// The receipt file
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// A file that the job needs (module, model, input); found by its hash
    #[arg(long, value_name = "FILE")]
    blob: Vec<PathBuf>,
    /// A directory of such files, named by their hashes [default: blobs beside the receipt or its directory]
    #[arg(long, value_name = "DIR")]
    blobs: Vec<PathBuf>,
    /// What its items came to, as `submit` writes it: names the first item that differs [default: items beside the receipt's
    /// directory, if it belongs to the receipt's result]
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn verify(global: &Global, args: &VerifyArgs) -> Result<ExitCode> {
    let (bundle, verified) = load(&args.receipt)?;
    let mut value = show::result(&bundle.result);
    value["verified"] = json!(true);
    value["client"] = json!(verified.client.to_string());
    value["coordinator"] = json!(verified.coordinator.to_string());
    value["executor"] = json!(verified.executor.to_string());
    // For a local run no coordinator speaks.
    let alone = verified.coordinator == verified.executor;
    value["local"] = json!(alone);
    value["sequence"] = json!(bundle.receipt.body.sequence);
    let nobody = run::is_nobody(verified.client);
    show::line(global, &value, || {
        let core = &bundle.result;
        let signers = match alone {
            true => "signed by the machine that ran it for itself",
            false => "signed by client, coordinator and executor",
        };
        let client = if nobody { "nobody: a local run".to_owned() } else { verified.client.to_string() };
        let rows = [
            ("job", verified.job.to_string()),
            ("result", verified.result.to_string()),
            ("status", show::status(core)),
            ("items", core.item_count.to_string()),
            ("fuel", show::grouped(core.fuel_used)),
            ("class", format!("{}, profile {}", core.class.name(), core.profile.short())),
            ("client", client),
            ("coordinator", verified.coordinator.to_string()),
            ("executor", format!("{}, receipt {}", verified.executor, bundle.receipt.body.sequence)),
        ];
        let rows: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<12} {value}")).collect();
        format!("valid: {signers}, and all parts agree\n{}", rows.join("\n"))
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn replay(global: &Global, args: &ReplayArgs) -> Result<ExitCode> {
    let (bundle, verified) = load(&args.receipt)?;
    let blobs = args.find_blobs(&bundle)?;
    let claimed_items = match &args.items {
        Some(path) => Some(items(path, &bundle.result)?),
        None => items(&args.beside().join("../items").join(verified.job.short()), &bundle.result).ok(),
    };
    let claimed = &bundle.result;
    let runtime = args.engine.runtime(global, claimed.class != DeterminismClass::Exact, 0)?;
    let profile = local::profile(&runtime, claimed.class)?;
    if profile != claimed.profile {
        bail!(
            "the receipt's result belongs to execution profile {} of class {}, this machine has {}; results of different \
             profiles cannot be compared, so replay it on a machine like the executor's",
            claimed.profile,
            claimed.class.name(),
            profile,
        );
    }
    let job = Job { id: verified.job, spec: bundle.job.spec.clone(), profile, blobs };
    let done = runtime.run_job(&job, &Cancel::default())?;
    let replayed = &done.core;
    let differences = differences(claimed, replayed);
    let leaves: Vec<_> = done.output.items.into_iter().map(|item| item.leaf).collect();
    let first = claimed_items.and_then(|claimed| first_difference(&claimed, &leaves));
    let same = differences.is_empty();
    let value = json!({
        "same": same, "claimed": verified.result.to_string(), "replayed": replayed.hash().to_string(),
        "executor": verified.executor.to_string(), "differences": differences,
        "first_item": first.as_ref().map(|first| json!({
            "item": first.item, "differences": first.parts, "host_calls_differ": first.host_calls_differ,
        })),
    });
    show::line(global, &value, || {
        if same {
            format!("same: executing the job again gives result {}", verified.result)
        } else {
            let list = differences.iter().map(|name| format!("  {name}"));
            let list: Vec<String> = list.chain(first.map(|first| first.told())).collect();
            format!(
                "DIFFERENT: {} signed result {}, executing the job again gives {}; these parts differ:\n{}",
                verified.executor,
                verified.result,
                replayed.hash(),
                list.join("\n"),
            )
        }
    });
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads and checks a receipt file.
pub(crate) fn load(path: &Path) -> Result<(ReceiptBundle, Verified)> {
    /// No receipt is longer: it holds a job spec and a few hundred bytes.
    const MAX_RECEIPT: u64 = 2 << 20;
    let length = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if length > MAX_RECEIPT {
        bail!("{} has {length} bytes; no receipt is longer than {MAX_RECEIPT}", path.display());
    }
    ReceiptBundle::verify_bytes(&read(path)?).with_context(|| format!("{} proves nothing", path.display()))
}

impl ReplayArgs {
    /// The directory of the receipt.
    fn beside(&self) -> &Path {
        self.receipt.parent().unwrap_or(Path::new("."))
    }

    fn find_blobs(&self, bundle: &ReceiptBundle) -> Result<Blobs> {
        let mut given = Blobs::new();
        for path in &self.blob {
            keep(&mut given, read(path)?);
        }
        let mut directories = self.blobs.clone();
        let beside = self.beside();
        directories.extend([beside.join("blobs"), beside.join("../blobs")]);
        let mut found = Blobs::new();
        for (role, blob) in roles(&bundle.job.spec) {
            let on_disk =
                || directories.iter().find_map(|directory| std::fs::read(directory.join(blob.hash.to_string())).ok());
            let content = match given.get(&blob.hash) {
                Some(content) => content.clone(),
                None => on_disk().map(bytes::Bytes::from).with_context(|| {
                    format!(
                        "the job needs its {role}, the file with BLAKE3 hash {} ({} bytes); give it with --blob",
                        blob.hash, blob.len
                    )
                })?,
            };
            if !blob.matches(&content) {
                bail!("the file named {} is damaged: its content has another hash; fetch it again", blob.hash);
            }
            found.insert(blob.hash, content);
        }
        Ok(found)
    }
}

/// Every blob that a job needs, with what it is for.
fn roles(spec: &JobSpec) -> impl Iterator<Item = (String, Blob)> {
    let files = spec.files.iter().map(|file| (format!("file {:?}", bounded(&file.path)), file.blob));
    let models = spec.models.iter().map(|model| (format!("model {:?}", bounded(&model.name)), model.blob));
    let input = match spec.input {
        JobInput::Compute(_) => "input",
        JobInput::Batch { .. } => "batch of inputs",
    };
    let input = (input.to_owned(), *spec.input.blob());
    let program = match spec.program {
        Program::Command(module) => ("module", module),
        Program::Model(onnx) => ("model", onnx),
    };
    std::iter::once((program.0.to_owned(), program.1)).chain(files).chain(models).chain([input])
}

/// What each item of a result came to, from a file that is checked against the result: a pack of encoded leaves.
fn items(path: &Path, result: &ResultCore) -> Result<Vec<ItemLeaf>> {
    let pack = ItemPack::from_bytes(&read(path)?);
    let pack = pack.ok().filter(|pack| pack.root() == result.items_root);
    let pack = pack.with_context(|| format!("{} does not hold the items of this receipt's result", path.display()))?;
    Ok(pack.0.iter().map(|leaf| ItemLeaf::from_bytes(leaf)).collect::<Result<_, _>>()?)
}

/// The first item of two results that is not the same.
#[derive(PartialEq, Eq, Debug)]
struct FirstDifference {
    item: u64,
    /// Names of what differs.
    parts: Vec<&'static str>,
    host_calls_differ: bool,
}

fn first_difference(claimed: &[ItemLeaf], replayed: &[ItemLeaf]) -> Option<FirstDifference> {
    let (item, (claimed, replayed)) = (0..).zip(claimed.iter().zip(replayed)).find(|(_, (a, b))| a != b)?;
    let parts = [
        ("status", (claimed.status, claimed.code) == (replayed.status, replayed.code)),
        ("fuel used", claimed.fuel_used == replayed.fuel_used),
        ("peak memory", claimed.peak_memory_pages == replayed.peak_memory_pages),
        ("output", (claimed.output, claimed.output_len) == (replayed.output, replayed.output_len)),
        ("log length", claimed.log_len == replayed.log_len),
        ("host calls", claimed.host_calls == replayed.host_calls),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect();
    Some(FirstDifference { item, parts, host_calls_differ: claimed.host_calls != replayed.host_calls })
}

impl FirstDifference {
    /// For people.
    fn told(&self) -> String {
        let calls = if self.host_calls_differ {
            "its log of host calls differs too, so `depx run --host-calls` shows where"
        } else {
            "its log of host calls is the same: it was told the same and made something else of it"
        };
        format!("the first item that differs is {}, in {}; {calls}", self.item, self.parts.join(", "))
    }
}

/// The names of the parts in which two results differ.
fn differences(claimed: &ResultCore, replayed: &ResultCore) -> Vec<String> {
    let parts = [
        ("status", claimed.status == replayed.status && claimed.code == replayed.code),
        ("fuel used", claimed.fuel_used == replayed.fuel_used),
        ("peak memory", claimed.peak_memory_pages == replayed.peak_memory_pages),
        ("number of items", claimed.item_count == replayed.item_count),
        ("inputs", claimed.input_root == replayed.input_root),
        ("outputs", claimed.output_root == replayed.output_root && claimed.output_len == replayed.output_len),
        ("items", claimed.items_root == replayed.items_root),
        ("host calls", claimed.host_calls_root == replayed.host_calls_root),
        ("snapshot", claimed.snapshot == replayed.snapshot && claimed.snapshot_fuel == replayed.snapshot_fuel),
        ("inferences", claimed.inference_root == replayed.inference_root),
    ];
    parts.iter().filter(|(_, same)| !same).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use depx_protocol::{Hash, HostCallLog, Status};

    fn leaf(index: u64) -> ItemLeaf {
        ItemLeaf {
            index,
            status: Status::Success,
            code: 0,
            fuel_used: 1,
            peak_memory_pages: 1,
            output: Hash::ZERO,
            output_len: 0,
            log_len: 0,
            host_calls: HostCallLog::default(),
        }
    }

    #[test]
    fn the_first_item_that_differs_is_named_with_what_differs() {
        let claimed: Vec<_> = (0..4).map(leaf).collect();
        assert_eq!(first_difference(&claimed, &claimed), None);
        let mut replayed = claimed.clone();
        replayed[3].log_len = 1;
        replayed[2].output_len = 7;
        let first = first_difference(&claimed, &replayed).expect("a difference");
        assert_eq!((first.item, &*first.parts, first.host_calls_differ), (2, &["output"][..], false));
        assert!(
            first.told().starts_with("the first item that differs is 2, in output; its log of host calls is the same")
        );
        replayed[1].host_calls.count = 1;
        replayed[1].fuel_used = 2;
        let first = first_difference(&claimed, &replayed).expect("a difference");
        assert_eq!((first.item, &*first.parts, first.host_calls_differ), (1, &["fuel used", "host calls"][..], true));
    }
}
