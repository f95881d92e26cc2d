//! The example tasks of the SDK, built from source, and the one that is also committed as built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, sha256};
use crate::process::{run, step};
use crate::toolchain::{Target, Toolchain};
use crate::workspace::Workspace;

/// The tests find the folder of freshly built tasks through this variable.
pub(crate) const VARIABLE: &str = "DEPX_GUESTS";

const EXAMPLES: &str = "guest-sdk/examples";
/// The demo's task, which is committed so that a first run needs no compiler for guests.
const PREBUILT: &str = "digits";

/// Tasks that were just built.
#[derive(Debug)]
pub(crate) struct Guests {
    directory: PathBuf,
    builder: String,
}

/// Who built a committed module: the file beside it, in TOML.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    builder: String,
    sha256: String,
}

/// Builds every example for WASI.
pub(crate) fn build(workspace: &Workspace, cache: &Cache) -> Result<Guests> {
    let toolchain = Toolchain::find_or_make(Target::Guest, cache)?;
    step(format!("Building the example tasks with {}", toolchain.builder()));
    let target = workspace.target("guests");
    let mut command = toolchain.cargo(workspace, "build", &target);
    command.args(["--workspace", "--release", "--manifest-path"]).arg(workspace.path(EXAMPLES).join("Cargo.toml"));
    run(&mut command)?;
    let directory = target.join(Target::Guest.triple()).join("release");
    Ok(Guests { directory, builder: toolchain.builder().to_owned() })
}

impl Guests {
    /// The folder that holds the modules.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Compares the committed module with the one built from its source. Only the same builder gives the same bytes; what
    /// the two modules compute is compared by the tests.
    pub(crate) fn compare(&self, workspace: &Workspace) -> Result<()> {
        let committed = committed(workspace);
        let origin = Origin::read(&origin_path(&committed))?;
        let found = sha256(&committed)?;
        if found != origin.sha256 {
            bail!(
                "{} has SHA-256 {found}, and the file beside it says {}: run `cargo xtask guests --update`",
                committed.display(),
                origin.sha256
            );
        }
        if self.builder != origin.builder {
            step(format!("Not comparing the bytes of {PREBUILT}.wasm, which was built with {}", origin.builder));
            return Ok(());
        }
        let built = sha256(&self.built())?;
        if built != found {
            bail!(
                "{} has SHA-256 {found}, and its source builds to {built} with the same compiler: \
                 run `cargo xtask guests --update`",
                committed.display()
            );
        }
        step(format!("{PREBUILT}.wasm is what its source builds to: {built}"));
        Ok(())
    }

    /// Replaces the committed module by the one just built, and says beside it who built it.
    pub(crate) fn update(&self, workspace: &Workspace) -> Result<()> {
        let committed = committed(workspace);
        let built = self.built();
        // Its content alone: a module in the source tree is no program of the host, whatever the linker marked it as.
        let module = fs::read(&built).with_context(|| format!("{} cannot be read", built.display()))?;
        fs::write(&committed, module).with_context(|| format!("{} cannot be written", committed.display()))?;
        let origin = Origin { builder: self.builder.clone(), sha256: sha256(&committed)? };
        fs::write(origin_path(&committed), origin.to_text())?;
        step(format!("{} is now {}", committed.display(), origin.sha256));
        Ok(())
    }

    fn built(&self) -> PathBuf {
        self.directory.join(format!("{PREBUILT}.wasm"))
    }
}

fn committed(workspace: &Workspace) -> PathBuf {
    workspace.path(EXAMPLES).join(PREBUILT).join(format!("{PREBUILT}.wasm"))
}

fn origin_path(committed: &Path) -> PathBuf {
    committed.with_extension("wasm.toml")
}

impl Origin {
    fn read(path: &Path) -> Result<Origin> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read: run `cargo xtask guests --update`", path.display()))?;
        let value = |name| text.lines().find_map(|line| quoted(line, name));
        match (value("builder"), value("sha256")) {
            (Some(builder), Some(sha256)) => Ok(Origin { builder, sha256 }),
            _ => bail!("{} does not name a builder and a SHA-256: run `cargo xtask guests --update`", path.display()),
        }
    }

    fn to_text(&self) -> String {
        format!(
            "# Written by `cargo xtask guests --update`.\nbuilder = \"{}\"\nsha256 = \"{}\"\n",
            self.builder.replace(['"', '\\'], "'"),
            self.sha256
        )
    }
}

/// The value in a line `name = "value"`.
fn quoted(line: &str, name: &str) -> Option<String> {
    Some(line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkout with a committed module and a folder with a built one.
    fn checkout(committed_bytes: &str, built_bytes: &str, builder: &str) -> (tempfile::TempDir, Workspace, Guests) {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().into());
        let place = committed(&workspace);
        let directory = home.path().join("built");
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::create_dir_all(&directory).unwrap();
        let guests = Guests { directory, builder: "rustc 1".to_owned() };
        fs::write(guests.built(), committed_bytes).unwrap();
        guests.update(&workspace).unwrap();
        fs::write(guests.built(), built_bytes).unwrap();
        (home, workspace, Guests { builder: builder.to_owned(), ..guests })
    }

    #[test]
    fn the_same_builder_must_give_the_same_bytes() {
        let (_home, workspace, guests) = checkout("a", "a", "rustc 1");
        guests.compare(&workspace).unwrap();
        let (_home, workspace, guests) = checkout("a", "b", "rustc 1");
        assert!(guests.compare(&workspace).unwrap_err().to_string().contains("its source builds to"));
        let (_home, workspace, guests) = checkout("a", "b", "rustc 2");
        guests.compare(&workspace).unwrap();
    }

    #[test]
    fn a_committed_module_that_is_not_what_was_written_down_is_refused_whoever_built_it() {
        let (_home, workspace, guests) = checkout("a", "a", "rustc 2");
        fs::write(committed(&workspace), "tampered").unwrap();
        assert!(guests.compare(&workspace).unwrap_err().to_string().contains("the file beside it says"));
        fs::write(origin_path(&committed(&workspace)), "sha256 = \"00\"\n").unwrap();
        assert!(guests.compare(&workspace).unwrap_err().to_string().contains("does not name"));
    }

    #[test]
    fn origins_are_read_as_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("origin");
        let origin = Origin { builder: "rustc 1.96.0 (built, x), host".to_owned(), sha256: "ab".repeat(32) };
        fs::write(&path, origin.to_text()).unwrap();
        assert_eq!(Origin::read(&path).unwrap(), origin);
    }
}
