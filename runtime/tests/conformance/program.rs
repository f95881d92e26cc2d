//! A program of the suite, with what its description says.

use bytes::Bytes;
use depx_protocol::{Hash, Limits};
use depx_runtime::{Setting, Task, Volume};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What a description may say; more would be ignored.
const KEYS: [&str; 5] = ["args", "env", "exit_code", "root", "stdout"];

/// A program, what it is given, and what is expected of it.
pub(crate) struct Program {
    /// The file's name, without its extension.
    pub(crate) name: String,
    pub(crate) wasm: Vec<u8>,
    pub(crate) task: Task,
    pub(crate) exit_code: u32,
    /// All that it prints, if that matters.
    pub(crate) stdout: Option<String>,
}

impl Program {
    /// All programs in a folder, sorted by name.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The program at `path`. Beside it may be a description with the extension `json`.
    fn read(path: &Path) -> Self {
        let description = match fs::read(path.with_extension("json")) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            Err(_) => Value::Object(serde_json::Map::new()),
        };
        let unknown = description.as_object().unwrap().keys().find(|key| !KEYS.contains(&key.as_str()));
        assert_eq!(unknown, None, "{}: its description says something that is not understood", path.display());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let files = match &description["root"] {
            Value::Null => Vec::new(),
            root => files(&path.with_file_name(text(root)), ""),
        };
        let setting = Setting {
            args: description["args"].as_array().into_iter().flatten().map(text).collect(),
            env: description["env"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            files: Volume::new(files).unwrap(),
            models: Vec::new(),
            created_ms: 1_700_000_000_000,
            limits: Limits::DEFAULT,
        };
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            wasm: fs::read(path).unwrap(),
            task: Task { setting: Arc::new(setting), input: Bytes::new(), seed: Hash([7; 32]) },
            exit_code: description["exit_code"].as_u64().unwrap_or(0) as u32,
            stdout: description["stdout"].as_str().map(str::to_owned),
        }
    }
}

/// The files below `directory`, by path. Directories come with the files that are in them.
fn files(directory: &Path, prefix: &str) -> Vec<(String, Bytes)> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path(), &format!("{path}/")));
        } else {
            found.push((path, fs::read(entry.path()).unwrap().into()));
        }
    }
    found
}
