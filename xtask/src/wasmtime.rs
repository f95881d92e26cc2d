//! The `wasmtime` command, which benchmarks compare `depx run` with: built by `cargo install` from crates.io, in the release of
//! the engine that `Cargo.lock` pins.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::{Cache, Entry};
use crate::process::{cargo, run, step};
use crate::workspace::Workspace;

/// The benchmarks find the command through this variable; without it they leave its figures out.
pub(crate) const VARIABLE: &str = "DEPX_WASMTIME";

/// What `wasmtime run` needs to compile, cache and run a module, and for its help. The others change nothing about that.
const FEATURES: &str = "run,cranelift,cache,parallel-compilation,clap/default";

/// The command in the cache, built if it is absent, which takes many minutes.
pub(crate) fn find_or_install(workspace: &Workspace, cache: &Cache) -> Result<PathBuf> {
    let version = engine(workspace)?;
    let entry = Entry { name: &format!("wasmtime-{version}"), stamp: FEATURES };
    let place = cache.once(entry, is_whole, |place| {
        step(format!("Building wasmtime {version} from crates.io"));
        let build = place.join("build");
        let mut install = cargo();
        install.args(["install", "wasmtime-cli", "--locked", &format!("--version={version}")]);
        install.args(["--no-default-features", "--features", FEATURES]);
        run(install.arg("--root").arg(place).arg("--target-dir").arg(&build).current_dir(place))?;
        Ok(fs::remove_dir_all(build)?)
    })?;
    Ok(command(&place))
}

/// The command in the cache, if it is there.
pub(crate) fn find(workspace: &Workspace, cache: &Cache) -> Result<Option<PathBuf>> {
    let entry = Entry { name: &format!("wasmtime-{}", engine(workspace)?), stamp: FEATURES };
    Ok(cache.find(entry, is_whole).map(|place| command(&place)))
}

fn command(place: &Path) -> PathBuf {
    place.join("bin/wasmtime").with_extension(env::consts::EXE_EXTENSION)
}

fn is_whole(place: &Path) -> bool {
    command(place).is_file()
}

/// The engine's release.
fn engine(workspace: &Workspace) -> Result<String> {
    let lock = fs::read_to_string(workspace.path("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let version = locked(&lock, "wasmtime").context("Cargo.lock names no wasmtime")?;
    Ok(version.to_owned())
}

/// The version of a package in the text of a `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("\nname = \"{package}\"\nversion = \""))?;
    Some(after.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_one_that_is_locked() {
        let lock = "version = 4\n\n[[package]]\nname = \"wasmtime-environ\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"wasmtime\"\nversion = \"2.3.4\"\nsource = \"x\"\n";
        assert_eq!(locked(lock, "wasmtime"), Some("2.3.4"));
        assert_eq!(locked(lock, "environ"), None);
        let manifest = fs::read_to_string(Workspace::find().path("Cargo.toml")).unwrap();
        let pinned = format!("wasmtime = {{ version = \"={}\"", engine(&Workspace::find()).unwrap());
        assert!(manifest.contains(&pinned), "{pinned}");
    }

    #[test]
    fn looking_for_the_command_never_builds_it() {
        let home = tempfile::tempdir().unwrap();
        let (workspace, cache) = (Workspace::find(), Cache::at(home.path().into()));
        assert_eq!(find(&workspace, &cache).unwrap(), None);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);

        let place = home.path().join(format!("wasmtime-{}", engine(&workspace).unwrap()));
        fs::create_dir_all(place.join("bin")).unwrap();
        fs::write(command(&place), "").unwrap();
        assert_eq!(find(&workspace, &cache).unwrap(), None, "an unfinished one");
        fs::write(place.join("stamp"), FEATURES).unwrap();
        assert_eq!(find(&workspace, &cache).unwrap(), Some(command(&place)));
    }
}
