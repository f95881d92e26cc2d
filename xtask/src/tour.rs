//! Keeps the README's tour a real transcript: runs the commands in its `console` blocks, all in one shell, and replaces what
//! is written below them by what they print.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cache::Cache;
use crate::process::step;
use crate::workspace::Workspace;
use crate::{c_guests, demo, ort};

const README: &str = "README.md";
const FENCE: &str = "```";
const OPENING: &str = "```console";
/// Begins a command; what follows up to the next is its output.
const PROMPT: &str = "$ ";
/// Ends a command's output. No program prints it.
const MARK: &str = "\u{1}end of output";

/// Runs the tour and rewrites the README.
pub(crate) fn tour(workspace: &Workspace, cache: &Cache) -> Result<()> {
    ort::find_or_fetch(cache)?;
    c_guests::build(workspace, cache)?;
    demo::build(workspace, &["--bin", "depx"])?;
    let home = workspace.target("tour");
    if home.exists() {
        fs::remove_dir_all(&home).context("the traces of an earlier tour cannot be removed")?;
    }
    fs::create_dir_all(&home).context("no folder for the tour can be made")?;

    let path = workspace.root().join(README);
    let text = fs::read_to_string(&path).context("the README cannot be read")?;
    let commands = commands(&text);
    step(format!("Running the {} commands of the tour", commands.len()));
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(script(&commands)).current_dir(workspace.root()).env("DEPX_HOME", home.join("home"));
    shell.stdin(Stdio::null()).stderr(Stdio::inherit());
    let printed = shell.output().context("bash cannot be started")?.stdout;
    let printed = String::from_utf8(printed).context("a command of the tour prints something else than text")?;
    let outputs: Vec<&str> = printed.split_terminator(&format!("{MARK}\n")).collect();
    ensure!(outputs.len() == commands.len(), "the shell ended after {} of {} commands", outputs.len(), commands.len());
    fs::write(&path, rewrite(&text, &outputs)).context("the README cannot be written")
}

/// The commands of all console blocks, in order.
fn commands(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        match line {
            OPENING => inside = true,
            FENCE => inside = false,
            _ if inside => commands.extend(line.strip_prefix(PROMPT)),
            _ => {}
        }
    }
    commands
}

/// A script that runs every command as a person at a terminal would see it, and says where each output ends.
fn script(commands: &[&str]) -> String {
    let lines = commands.iter().map(|command| format!("{{ {command}\n}} 2>&1\nprintf '%s\\n' '{MARK}'\n"));
    lines.collect()
}

/// The text with new outputs.
fn rewrite(text: &str, outputs: &[&str]) -> String {
    let mut outputs = outputs.iter();
    let mut inside = false;
    let mut rewritten = String::new();
    let mut keep = |line: &str| {
        rewritten.push_str(line);
        rewritten.push('\n');
    };
    for line in text.lines() {
        match line {
            OPENING => inside = true,
            FENCE => inside = false,
            _ => {}
        }
        let is_command = inside && line.starts_with(PROMPT);
        if !inside || is_command || line == OPENING {
            keep(line);
        }
        if is_command {
            outputs.next().into_iter().flat_map(|output| output.lines()).for_each(|line| keep(line.trim_end()));
        }
    }
    rewritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_replaced_and_all_else_stays() {
        let text = "a\n```console\n$ one\nold\n$ two\n```\n$ not this\n```sh\n$ nor this\n```\n";
        assert_eq!(commands(text), ["one", "two"]);
        let expected = "a\n```console\n$ one\nnew\nnewer\n$ two\n```\n$ not this\n```sh\n$ nor this\n```\n";
        assert_eq!(rewrite(text, &["new\nnewer \n", ""]), expected);
    }

    #[test]
    fn commands_share_a_shell_and_their_outputs_are_told_apart() {
        let script = script(&["export A=1", "echo $A; echo oops >&2", "false"]);
        let printed = Command::new("bash").arg("-c").arg(script).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let outputs: Vec<_> = printed.split_terminator(&format!("{MARK}\n")).collect();
        assert_eq!(outputs, ["", "1\noops\n", ""]);
    }
}
