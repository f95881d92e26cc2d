//! Key files, readable by their owner alone: 64 hexadecimal digits, or what a passphrase made of them.

use crate::sealed::{self, Passphrase};
use crate::{Global, show};
use anyhow::{Context, Result, bail};
use depx_protocol::SecretKey;
use serde_json::json;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tempfile::NamedTempFile;

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
        make(path, None)?;
    }
    load(path, || bail!("only `depx node` asks for the passphrase of a key"))
}

/// Reads the key at `path`; asks for its passphrase if it has one.
pub(crate) fn load(path: &Path, passphrase: impl FnOnce() -> Result<Passphrase>) -> Result<SecretKey> {
    let text = read(path)?;
    if !text.starts_with(sealed::MARK) {
        return SecretKey::from_hex(&text).with_context(|| format!("{} holds no key", path.display()));
    }
    let opened = passphrase().and_then(|passphrase| sealed::open(&text, &passphrase));
    opened.with_context(|| format!("cannot open key {}, which has a passphrase", path.display()))
}

/// A key that nobody had before.
pub(crate) fn random() -> Result<SecretKey> {
    // All but one in 2^128 random values are keys.
    let found = (0..4).find_map(|_| SecretKey::from_bytes(&depx_transport::random()).ok());
    found.context("the operating system's randomness is broken")
}

/// Whether the key at `path` is encrypted.
pub(crate) fn has_passphrase(path: &Path) -> Result<bool> {
    Ok(read(path)?.starts_with(sealed::MARK))
}

fn read(path: &Path) -> Result<String> {
    /// Bytes of a key file.
    const MAX_BYTES: u64 = 4096;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("cannot read key {}", path.display()))?;
    Ok(text)
}

/// Makes a key at `path`, encrypted if there is a passphrase. What is there is kept.
pub(crate) fn make(path: &Path, passphrase: Option<&Passphrase>) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make directory {}", directory.display()))?;
    let key = random()?;
    let text = match passphrase {
        Some(passphrase) => sealed::seal(&key, passphrase)?,
        None => key.to_hex(),
    };
    let cannot = || format!("cannot write key {}", path.display());
    // Written beside and put in place whole: whoever makes the same key at the same time finds this one, or this finds theirs.
    let mut file = NamedTempFile::new_in(directory).with_context(cannot)?;
    writeln!(file, "{text}").and_then(|()| file.as_file().sync_all()).with_context(cannot)?;
    match file.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != ErrorKind::AlreadyExists => Err(failed.error).with_context(cannot),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn all_who_make_a_key_at_once_get_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("home/key");
        let addresses: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..16).map(|_| scope.spawn(|| load_or_make(&path).map(|key| key.address()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
        let files = std::fs::read_dir(directory.path().join("home")).unwrap().count();
        assert_eq!(files, 1, "nothing is left behind");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_holds_no_key_is_refused_and_kept() {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a key").unwrap();
        let error = format!("{:#}", load_or_make(file.path()).map(|_| ()).unwrap_err());
        assert!(error.contains("holds no key") && error.contains("64 hexadecimal digits"), "{error}");
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "not a key");
    }
}
