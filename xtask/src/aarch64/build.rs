//! `depx` and the runtime's tests, built for one architecture or another.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::cargo;
use crate::toolchain::Platform;
use crate::workspace::Workspace;

/// Programs of one architecture.
pub(super) struct Build {
    pub(super) depx: PathBuf,
    /// The runtime's own tests and those of what it offers.
    pub(super) tests: Vec<PathBuf>,
}

impl Build {
    /// For this machine: with the whole workspace, as its tests are built, so that nothing is built twice.
    pub(super) fn here(workspace: &Workspace) -> Result<Build> {
        Build::with(cargo().args(["test", "--workspace"]).current_dir(workspace.root()))
    }

    /// For another platform: only what is needed.
    pub(super) fn on(platform: &Platform, workspace: &Workspace) -> Result<Build> {
        Build::with(platform.cargo(workspace, "test").args(["--package", "depx-runtime", "--package", "depx-cli"]))
    }

    /// One command builds all, because what cargo is asked for decides the features of what it depends on.
    fn with(cargo: &mut Command) -> Result<Build> {
        cargo.args(["--no-run", "--locked", "--lib", "--test", "it", "--message-format", "json-render-diagnostics"]);
        let output = cargo.stderr(Stdio::inherit()).output().context("cargo could not be started")?;
        if !output.status.success() {
            bail!("the build failed: {}", output.status);
        }
        Build::of(&String::from_utf8_lossy(&output.stdout))
    }

    /// From cargo's messages, one JSON object per line.
    fn of(messages: &str) -> Result<Build> {
        let (mut depx, mut tests) = (None, Vec::new());
        for line in messages.lines() {
            let message: Value = serde_json::from_str(line).with_context(|| format!("cargo said {line}"))?;
            let Some(executable) = message["executable"].as_str().map(PathBuf::from) else { continue };
            let of_runtime =
                message["manifest_path"].as_str().is_some_and(|path| path.ends_with("/runtime/Cargo.toml"));
            if message["profile"]["test"] == true {
                tests.extend(of_runtime.then_some(executable));
            } else if message["target"]["name"] == "depx" {
                depx = Some(executable);
            }
        }
        if tests.len() != 2 {
            bail!("cargo built {} programs with the runtime's tests instead of two", tests.len());
        }
        Ok(Build { depx: depx.context("cargo did not build depx")?, tests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let message = |package: &str, name: &str, test: bool| {
            let executable = format!("/target/{package}/{name}");
            let manifest = format!("/checkout/{package}/Cargo.toml");
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": manifest, "target": {"name": name},
                "profile": {"test": test}, "executable": executable,
            })
            .to_string()
        };
        let library = r#"{"reason":"compiler-artifact","manifest_path":"/x/runtime/Cargo.toml","executable":null}"#;
        let finished = r#"{"reason":"build-finished","success":true}"#;
        let mut messages = vec![library.to_owned(), message("runtime", "depx_runtime", true)];
        messages.extend([message("cli", "depx", true), message("cli", "it", true), message("cli", "depx", false)]);
        messages.extend([message("runtime", "it", true), finished.to_owned()]);
        let build = Build::of(&messages.join("\n")).unwrap();
        assert_eq!(build.depx, PathBuf::from("/target/cli/depx"));
        assert_eq!(build.tests, ["/target/runtime/depx_runtime", "/target/runtime/it"].map(PathBuf::from));

        assert!(Build::of(&messages[..4].join("\n")).is_err_and(|error| error.to_string().contains("1 programs")));
        messages.remove(4);
        assert!(Build::of(&messages.join("\n")).is_err_and(|error| error.to_string().contains("depx")));
        assert!(Build::of("warning").is_err());
    }
}
