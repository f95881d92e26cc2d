//! The whole gate, cheapest first.

use anyhow::Result;

use crate::cache::Cache;
use crate::process::{cargo, is_there, run, step};
use crate::test::test;
use crate::tidy::tidy;
use crate::workspace::Workspace;

/// Formatting, tidiness, lints, documentation, dependencies, tests.
pub(crate) fn check(workspace: &Workspace, cache: &Cache) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut command = cargo();
        command.args(arguments).current_dir(workspace.root());
        command
    };

    step("Checking formatting");
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy(workspace)?;
    step("Linting");
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    step("Building the documentation");
    run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if is_there("cargo", &["deny"]) {
        step("Checking dependencies");
        run(&mut cargo(&["deny", "check"]))?;
    } else {
        step("SKIPPED: dependencies are not checked: `cargo install cargo-deny` makes it possible");
    }
    test(workspace, cache, &[])
}
