//! Directories that one process at a time uses.

use anyhow::{Context, Result, bail};
use std::fs::{File, TryLockError};
use std::path::Path;

/// Held for as long as a process uses a directory: two nodes with one key would replace each other at the coordinator and
/// tear each other's chain of receipts.
pub(crate) struct Claim {
    _lock: File,
}

impl Claim {
    /// Makes `directory` if it does not exist, and claims it for this `depx` command. The claim ends with the process, however
    /// it ends.
    pub(crate) fn on(directory: &Path, command: &str) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make directory {}", directory.display()))?;
        let path = directory.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another depx {command} is using {}; stop it, or give this one a directory of its own with --data",
                directory.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("node");
        let claim = Claim::on(&directory, "node").unwrap();
        let error = Claim::on(&directory, "node").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("another depx node") && error.contains("--data"), "{error}");
        Claim::on(&home.path().join("other"), "node").unwrap();
        drop(claim);
        Claim::on(&directory, "node").unwrap();
    }
}
