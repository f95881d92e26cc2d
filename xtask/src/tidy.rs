//! What a reader of the repository should not meet: overlong files, unfinished code, paths of someone's machine, bulk, and
//! promises whose test does not exist.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{read, step};
use crate::workspace::Workspace;

/// Past this a file holds a second thing.
const MAX_LINES: usize = 600;
/// Past this a file belongs into a release or a cache: every clone carries it forever.
const MAX_BYTES: u64 = 1 << 20;
/// Unfinished or silenced code. Split here, so that this file does not name itself.
const STUBS: [&str; 4] =
    [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!("), concat!("#[ign", "ore")];

/// Numbered promises, each naming its tests as `file.rs: function`.
const PROMISES: &str = "SPECIFICATION.md";

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.file, self.what)
    }
}

/// Refuses a checkout with findings, and names them all.
pub(crate) fn tidy(workspace: &Workspace) -> Result<()> {
    step("Checking tidiness");
    let places = machine_places(workspace);
    let mut findings = Vec::new();
    for file in files(workspace)? {
        let path = workspace.root().join(&file);
        if path.is_file() {
            inspect(&file, &path, &places, &mut findings)?;
        }
    }
    let promises = fs::read_to_string(workspace.root().join(PROMISES)).context("the specification cannot be read")?;
    check_promises(&promises, workspace.root(), &mut findings);
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} things are untidy"),
    }
}

/// Tracked files, and those that would be tracked next.
fn files(workspace: &Workspace) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(workspace.root());
    let listed = read(&mut git)?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

/// Folders that exist on this machine and have no place in a published file.
fn machine_places(workspace: &Workspace) -> Vec<String> {
    let mut places = vec![workspace.root().display().to_string()];
    if let Some(home) = std::env::home_dir() {
        places.extend([".cargo", ".rustup", ".cache"].map(|inside| home.join(inside).display().to_string()));
    }
    places
}

fn inspect(file: &str, path: &Path, places: &[String], findings: &mut Vec<Finding>) -> Result<()> {
    let mut find = |what: String| findings.push(Finding { file: file.to_owned(), what });
    let bytes = fs::metadata(path).with_context(|| format!("{file} cannot be read"))?.len();
    if bytes > MAX_BYTES {
        find(format!("{bytes} bytes, {MAX_BYTES} are allowed"));
        return Ok(());
    }
    let content = fs::read(path).with_context(|| format!("{file} cannot be read"))?;
    // Compiled files are searched too: panic messages carry paths.
    let text = String::from_utf8_lossy(&content);
    for place in places {
        if let Some(line) = text.lines().position(|line| line.contains(place.as_str())) {
            find(format!("line {} names {place}, a folder of this machine", line + 1));
        }
    }
    if !file.ends_with(".rs") {
        return Ok(());
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        find(format!("{lines} lines, {MAX_LINES} are allowed: what second thing lives there?"));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(stub) = STUBS.iter().find(|stub| line.contains(**stub)) {
            find(format!("line {} holds `{stub}`", number + 1));
        }
    }
    Ok(())
}

/// Finds the tests that the specification names and that do not exist.
fn check_promises(promises: &str, root: &Path, findings: &mut Vec<Finding>) {
    for quoted in promises.split('`').skip(1).step_by(2) {
        let Some((file, test)) = quoted.split_once(".rs: ") else { continue };
        let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
        if !source.contains(&format!("fn {test}(")) {
            findings.push(Finding { file: PROMISES.to_owned(), what: format!("there is no test {test} in {file}.rs") });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, content: &[u8]) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, content).unwrap();
        let mut findings = Vec::new();
        inspect(name, &path, &["/home/someone/project".to_owned()], &mut findings).unwrap();
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn ordinary_files_pass() {
        assert!(findings("a.rs", "fn main() {}\n".repeat(MAX_LINES).as_bytes()).is_empty());
        assert!(findings("a.md", "line\n".repeat(MAX_LINES + 1).as_bytes()).is_empty());
        assert!(findings("a.onnx", &[0xff; MAX_BYTES as usize]).is_empty());
    }

    #[test]
    fn each_fault_is_found() {
        assert!(findings("a.rs", "\n".repeat(MAX_LINES + 1).as_bytes())[0].contains("601 lines"));
        assert!(findings("a.onnx", &[0; MAX_BYTES as usize + 1])[0].contains("bytes"));
        for stub in STUBS {
            assert_eq!(
                findings("a.rs", format!("fn a() {{\n    {stub}\n}}\n").as_bytes()),
                [format!("a.rs: line 2 holds `{stub}`")]
            );
        }
        let binary = b"\0\xff\n/home/someone/project/src/lib.rs\0";
        assert!(findings("a.wasm", binary)[0].starts_with("a.wasm: line 2 names /home/someone/project"));
    }

    #[test]
    fn promises_without_a_test_are_found() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("here.rs"), "#[test]\nfn it_holds() {}\n").unwrap();
        let mut findings = Vec::new();
        let promises = "1. `here.rs: it_holds` 2. `here.rs: it_hol` 3. `there.rs: it_holds` 4. `code`";
        check_promises(promises, home.path(), &mut findings);
        let named: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(named, ["there is no test it_hol in here.rs", "there is no test it_holds in there.rs"]);
    }
}
