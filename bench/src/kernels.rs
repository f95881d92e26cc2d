//! The programs in `bench/kernels`, built when they are missing or their sources have changed.

use crate::machine;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What metering is measured on.
pub(crate) const COMPUTE: [&str; 11] =
    ["deflate", "fib", "interpreter", "json", "mandelbrot", "matmul", "nbody", "regex", "sha256", "sort", "words"];
/// A program of about a megabyte that returns at once.
pub(crate) const APPLICATION: &str = "application";

const TARGET: &str = "wasm32-wasip1";
/// Says of which sources the modules were built.
const STAMP: &str = "sources.sha256";

/// Built programs.
pub(crate) struct Kernels {
    modules: PathBuf,
}

impl Kernels {
    /// The programs, built if need be.
    pub(crate) fn find_or_build() -> Result<Self> {
        let sources = machine::directory().join("kernels");
        let target = target()?;
        let kernels = Self { modules: target.join(TARGET).join("release") };
        let stamp = stamp(&sources)?;
        if !kernels.is_built_of(&stamp) {
            build(&sources, &target)?;
            fs::write(kernels.modules.join(STAMP), &stamp).context("the folder of built kernels cannot be written")?;
        }
        Ok(kernels)
    }

    /// The module of one program.
    pub(crate) fn module(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.modules.join(name).with_extension("wasm")
    }

    fn is_built_of(&self, stamp: &str) -> bool {
        fs::read_to_string(self.modules.join(STAMP)).is_ok_and(|found| found == stamp)
            && COMPUTE.iter().chain([&APPLICATION]).all(|name| self.path(name).exists())
    }
}

/// `target/kernels`, or its like under `CARGO_TARGET_DIR`.
fn target() -> Result<PathBuf> {
    let directory = machine::directory();
    let root = directory.parent().context("this crate lies in no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target"));
    Ok(root.join(target).join("kernels"))
}

fn build(sources: &Path, target: &Path) -> Result<()> {
    eprintln!("==> Building the kernels");
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--quiet", "--target", TARGET]);
    command.arg("--manifest-path").arg(sources.join("Cargo.toml")).arg("--target-dir").arg(target);
    command.env("RUSTC", compiler()?).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command.env_remove("RUSTC_WRAPPER").env_remove("RUSTC_WORKSPACE_WRAPPER");
    let status = command.status().context("cargo could not be started")?;
    ensure!(status.success(), "the kernels could not be built; what the compiler says is above");
    Ok(())
}

/// The compiler for guests, which `cargo xtask toolchain` finds or makes.
fn compiler() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["xtask", "toolchain"]).current_dir(machine::directory()).stderr(Stdio::inherit());
    let output = command.output().context("cargo could not be started")?;
    ensure!(output.status.success(), "there is no compiler for {TARGET}; what `cargo xtask toolchain` says is above");
    let path =
        String::from_utf8(output.stdout).context("`cargo xtask toolchain` printed something that is not text")?;
    Ok(PathBuf::from(path.trim_end()))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// SHA-256 over the names and contents of all sources.
fn stamp(sources: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(sources, &mut files).with_context(|| format!("{} cannot be read", sources.display()))?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file.strip_prefix(sources).unwrap_or(&file).as_os_str().as_encoded_bytes();
        for part in [name, &content] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { collect(&entry.path(), files)? } else { files.push(entry.path()) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_source_and_every_source_is_measured() {
        let sources = machine::directory().join("kernels/src/bin");
        let mut found: Vec<_> = fs::read_dir(sources)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let mut named: Vec<_> = COMPUTE.iter().chain([&APPLICATION]).map(|&name| name.to_owned()).collect();
        named.sort();
        assert_eq!(found, named);
    }

    #[test]
    fn stamps_change_with_contents_and_names() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            stamp(directory.path()).unwrap()
        };
        let first = write("src/a.rs", "x");
        assert_eq!(write("src/a.rs", "x"), first);
        let changed = write("src/a.rs", "y");
        let added = write("src/b.rs", "");
        assert!(changed != first && added != changed && added != first);
    }
}
