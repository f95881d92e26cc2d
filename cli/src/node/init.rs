//! `depx node init`.

use super::survey::Survey;
use super::{Place, config, passphrase};
use crate::data::Claim;
use crate::network::CoordinatorName;
use crate::{Global, identity, show};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::NamedTempFile;

/// Make what a node needs, and look at this machine.
#[derive(clap::Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    place: Place,
    /// A coordinator to serve, for the configuration file; may be given several times
    #[arg(long = "coordinator", value_name = "0xADDRESS@HOST:PORT")]
    coordinators: Vec<CoordinatorName>,
    /// Encrypt the node's key with a passphrase, which is asked for
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
    /// Encrypt the node's key with the passphrase in the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Whether something was made, or was there and is as it was.
#[derive(Clone, Copy, PartialEq)]
enum Done {
    Made,
    Kept,
}

pub(super) fn init(global: &Global, args: &InitArgs) -> Result<ExitCode> {
    let data = args.place.data(global);
    let (key_path, config_path) = (data.join("key"), args.place.config_path(global));
    let with_passphrase = args.passphrase || args.passphrase_file.is_some();
    // Before anything is made.
    ensure!(
        args.coordinators.is_empty() || !config_path.exists(),
        "{} is there already and is kept as it is; write the coordinators into it",
        config_path.display()
    );
    let _claim = Claim::on(&data, "node")?;
    let mut passphrase = None;
    let made_key = if key_path.exists() { Done::Kept } else { Done::Made };
    if made_key == Done::Made {
        passphrase = with_passphrase.then(|| passphrase::new(args.passphrase_file.as_deref())).transpose()?;
        identity::make(&key_path, passphrase.as_ref())?;
    }
    let encrypted = identity::has_passphrase(&key_path)?;
    ensure!(
        encrypted || !with_passphrase,
        "{} is there already, without a passphrase, and is kept as it is; to have one, remove the key, which gives the node another \
         address",
        key_path.display()
    );
    let opened = || passphrase.map_or_else(|| passphrase::existing(args.passphrase_file.as_deref()), Ok);
    let address = identity::load(&key_path, opened)?.address();
    let made_config = write_config(&config_path, &args.coordinators)?;

    let survey = Survey::of(&data)?;
    let value = json!({"event": "node-initialised", "node": address.to_string(),
        "key": key_path, "key_made": made_key == Done::Made, "key_has_passphrase": encrypted,
        "config": config_path, "config_made": made_config == Done::Made, "machine": survey.json()});
    show::line(global, &value, || {
        let done = |done| if done == Done::Made { "made" } else { "was there, kept as it is" };
        let kind = if encrypted { "with a passphrase" } else { "without a passphrase" };
        format!(
            "key        {} ({}, {kind})\nconfig     {} ({})\n{}\naddress    {address}\n\n{}",
            key_path.display(),
            done(made_key),
            config_path.display(),
            done(made_config),
            survey.text(),
            next(args, global, &config_path, encrypted)
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// What an operator does next.
fn next(args: &InitArgs, global: &Global, config: &Path, encrypted: bool) -> String {
    let mut options = String::new();
    for (option, path) in [("--data", &args.place.data), ("--config", &args.place.config)] {
        if let Some(path) = path {
            options.push_str(&format!(" {option} {}", path.display()));
        }
    }
    if global.home != crate::default_home() {
        options.push_str(&format!(" --home {}", global.home.display()));
    }
    let passphrase = match (&args.passphrase_file, encrypted) {
        (Some(file), true) => format!(" --passphrase-file {}", file.display()),
        _ => String::new(),
    };
    let set = match args.coordinators.is_empty() {
        true => format!("Set coordinators in {}, which says what else can be set.", config.display()),
        false => format!("Look through {}, which says what can be set.", config.display()),
    };
    format!(
        "Next:\n  1. {set}\n  2. depx doctor{options}\n     finds out what this machine lacks, and how to mend it.\n  \
         3. depx node run{options}{passphrase}\n     offers this machine; packaging/depx-node.service does so as a service."
    )
}

fn write_config(path: &Path, coordinators: &[CoordinatorName]) -> Result<Done> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = coordinators.iter().map(|name| format!("\"{name}\"")).collect();
    let set = [("coordinators", format!("[{}]", names.join(", ")))];
    let text = config::example(if coordinators.is_empty() { &[] } else { &set });
    let cannot = || format!("cannot write the configuration file {}", path.display());
    let mut file = NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(Done::Made),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Ok(Done::Kept),
        Err(failed) => Err(failed.error).with_context(cannot),
    }
}
