//! Key files: 64 hexadecimal digits, readable by their owner alone.

use crate::{Global, show};
use anyhow::{Context, Result, bail};
use depx_protocol::SecretKey;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Make a key, or show the address of one.
#[derive(clap::Args)]
pub(crate) struct KeygenArgs {
    /// The key file; made if it does not exist, never overwritten [default: HOME/key]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn keygen(global: &Global, args: &KeygenArgs) -> Result<ExitCode> {
    let path = args.out.clone().unwrap_or_else(|| default_path(global));
    let existed = path.exists();
    let key = load_or_make(&path)?;
    show::line(
        global,
        &json!({"event": "key", "address": key.address().to_string(), "path": path, "made": !existed}),
        || format!("{}  {} {}", key.address(), if existed { "from" } else { "made" }, path.display()),
    );
    Ok(ExitCode::SUCCESS)
}

/// The key of whoever uses this machine.
pub(crate) fn default_path(global: &Global) -> PathBuf {
    global.home.join("key")
}

/// Reads the key at `path`, or makes one there.
pub(crate) fn load_or_make(path: &Path) -> Result<SecretKey> {
    if !path.exists() {
        make(path)?;
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read key {}", path.display()))?;
    SecretKey::from_hex(&text).with_context(|| format!("{} holds no key", path.display()))
}

fn make(path: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make directory {}", directory.display()))?;
    }
    // All but one in 2^128 random values are keys.
    let Some(key) = (0..4).find_map(|_| SecretKey::from_bytes(&depx_transport::random()).ok()) else {
        bail!("the operating system's randomness is broken");
    };
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{}", key.to_hex()))
        .with_context(|| format!("cannot write key {}", path.display()))
}
