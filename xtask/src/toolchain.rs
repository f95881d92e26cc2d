//! The compiler for guests.
//!
//! Any Rust compiler that has the target's standard library will do, and rustup's is preferred. On Debian the library is
//! built once from Debian's own sources instead. rustup is never asked to install anything.

mod aarch64;
mod standard_library;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cache::Cache;
use crate::debian;
use crate::process::{cargo, read};
use crate::stable_crates;
use crate::workspace::Workspace;

pub(crate) use aarch64::Platform;

/// What a crate is compiled to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A task: a WASI preview 1 command.
    Guest,
    /// Nothing but the language: no system to call.
    Pure,
}

impl Target {
    /// The target's name.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Target::Guest => "wasm32-wasip1",
            Target::Pure => "wasm32-unknown-unknown",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.triple())
    }
}

/// A Rust compiler that has the standard library of a [`Target`].
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    builder: String,
    target: Target,
}

impl Toolchain {
    /// The compiler at hand if it has the target, else Debian's with a library built for it.
    pub(crate) fn find_or_make(target: Target, cache: &Cache) -> Result<Toolchain> {
        let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        // Crate identities are hashes that cargo computes, so its release is part of what decides bytes.
        let cargo = version(&mut cargo())?;
        if has_library(&rustc, target) {
            let builder = format!("{}, {cargo}, {}", version(&mut Command::new(&rustc))?, host(&rustc)?);
            return Ok(Toolchain { rustc, builder, target });
        }
        if debian::is_here() {
            let made = standard_library::find_or_make(cache, &host(&rustc)?, &cargo)?;
            return Ok(Toolchain { rustc: made.rustc, builder: made.builder, target });
        }
        bail!("the Rust compiler at hand has no standard library for {target}: run `rustup target add {target}`");
    }

    /// The compiler.
    pub(crate) fn rustc(&self) -> &Path {
        &self.rustc
    }

    /// One line that names everything of the toolchain that decides the bytes of what it builds.
    pub(crate) fn builder(&self) -> &str {
        &self.builder
    }

    /// `cargo <subcommand>` for the target, in a target folder of its own, giving the same bytes in every checkout.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str, target_directory: &Path) -> Command {
        let mut command = cargo();
        command
            .args([subcommand, "--locked", "--target", self.target.triple()])
            .arg("--target-dir")
            .arg(target_directory);
        command.env("RUSTC", &self.rustc).env_remove("RUSTFLAGS").env_remove("RUSTC_WORKSPACE_WRAPPER");
        command.env("CARGO_ENCODED_RUSTFLAGS", remap(&[(workspace.root(), "/depx"), (&registry(), "/cargo")]));
        stable_crates::wrap(&mut command, workspace.root());
        command
    }
}

/// Where cargo unpacks what it fetches. Its path is in panic messages unless it is replaced.
fn registry() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).unwrap_or_default();
    home.join("registry/src")
}

/// Flags that replace paths of this machine, in the form of `CARGO_ENCODED_RUSTFLAGS`.
fn remap(paths: &[(&Path, &str)]) -> OsString {
    let mut flags = OsString::new();
    for (path, name) in paths {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        for part in [OsStr::new("--remap-path-prefix="), path.as_os_str(), OsStr::new("="), OsStr::new(name)] {
            flags.push(part);
        }
    }
    flags
}

fn has_library(rustc: &Path, target: Target) -> bool {
    let mut ask = Command::new(rustc);
    let Ok(directory) = read(ask.args(["--print", "target-libdir", "--target", target.triple()])) else { return false };
    let Ok(files) = fs::read_dir(directory.trim_end()) else { return false };
    files.flatten().any(|file| is_standard_library(&file.file_name().to_string_lossy()))
}

fn is_standard_library(file: &str) -> bool {
    file.starts_with("libstd-") && file.ends_with(".rlib")
}

fn version(program: &mut Command) -> Result<String> {
    Ok(read(program.arg("--version"))?.trim_end().to_owned())
}

fn host(rustc: &Path) -> Result<String> {
    field(&read(Command::new(rustc).args(["--version", "--verbose"]))?, "host")
}

/// A field of what `rustc --version --verbose` prints.
fn field(verbose: &str, name: &str) -> Result<String> {
    let value = verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    match value {
        Some(value) => Ok(value.trim_end().to_owned()),
        None => bail!("rustc does not say its {name}: is the program named by RUSTC a Rust compiler?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_version_are_read() {
        let verbose = "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8\n";
        assert_eq!(field(verbose, "host").unwrap(), "x86_64-unknown-linux-gnu");
        assert_eq!(field(verbose, "LLVM version").unwrap(), "22.1.8");
        assert!(field("gcc 12", "host").unwrap_err().to_string().contains("RUSTC"));
    }

    #[test]
    fn a_standard_library_is_known_by_its_name() {
        assert!(is_standard_library("libstd-d2ab751678e4d319.rlib"));
        assert!(!is_standard_library("libstd_detect-80eca586bbdc69bc.rlib"));
        assert!(!is_standard_library("libstd-d2ab751678e4d319.rmeta"));
    }

    #[test]
    fn paths_with_blanks_stay_one_flag() {
        let flags = remap(&[(Path::new("/a b"), "/depx"), (Path::new("/c"), "/cargo")]);
        assert_eq!(flags, "--remap-path-prefix=/a b=/depx\u{1f}--remap-path-prefix=/c=/cargo");
    }
}
