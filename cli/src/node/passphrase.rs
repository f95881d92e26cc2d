//! Where the passphrase of a node's key comes from.

use crate::sealed::Passphrase;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// The name under which systemd hands it over; `LoadCredential=passphrase:FILE` in the unit.
const CREDENTIAL: &str = "passphrase";

/// The passphrase of a key that there is: from the file that was named, from systemd, or from whoever sits at the terminal.
pub(super) fn existing(file: Option<&Path>) -> Result<Passphrase> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(CREDENTIAL));
    let credential = credential.filter(|path| path.exists());
    match file.or(credential.as_deref()) {
        Some(file) => read(file),
        None if std::io::stdin().is_terminal() => ask("Passphrase of the node's key: "),
        None => bail!(
            "nobody is at a terminal to be asked for it; name a file that has it with --passphrase-file, or hand it over as \
             systemd's credential {CREDENTIAL}"
        ),
    }
}

/// The passphrase for a new key: from the file, or typed twice.
pub(super) fn new(file: Option<&Path>) -> Result<Passphrase> {
    if let Some(file) = file {
        return read(file);
    }
    ensure!(
        std::io::stdin().is_terminal(),
        "nobody is at a terminal to type a passphrase; name a file that has it with --passphrase-file"
    );
    let passphrase = ask("New passphrase for the node's key: ")?;
    ensure!(passphrase.is(&ask("Once more: ")?), "the two passphrases differ; no key was made");
    Ok(passphrase)
}

fn ask(prompt: &str) -> Result<Passphrase> {
    Passphrase::new(&rpassword::prompt_password(prompt).context("cannot ask for a passphrase")?)
}

fn read(file: &Path) -> Result<Passphrase> {
    /// More than the longest passphrase and the end of its line.
    const MAX_BYTES: u64 = 2048;
    let mut text = String::new();
    let done = File::open(file).and_then(|opened| opened.take(MAX_BYTES).read_to_string(&mut text));
    done.with_context(|| format!("cannot read passphrase file {}", file.display()))?;
    Passphrase::new(&text).with_context(|| format!("{} has no passphrase in its first line", file.display()))
}
