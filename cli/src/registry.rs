//! Models that are kept on this machine, by hash, each with what is said of it and what it must compute.

use crate::Global;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depx_protocol::{Blob, Hash};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What is said of a model.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    /// The ONNX file.
    pub(crate) blake3: String,
    pub(crate) bytes: u64,
    /// The version of ONNX's operators that it uses.
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// Of one run.
    pub(crate) fuel: u64,
    pub(crate) golden: Golden,
}

/// An item, and what the model must make of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    /// BLAKE3 of the encoded tensors.
    pub(crate) input: String,
    pub(crate) results: Vec<GoldenResult>,
}

/// What a model made of its item in one class, which it must make wherever the profile is the same.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoldenResult {
    pub(crate) class: String,
    pub(crate) profile: String,
    /// BLAKE3 of the encoded tensors.
    pub(crate) output: String,
}

impl Manifest {
    /// The name by which it can be asked for.
    pub(crate) fn title(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// The models in a directory: `HASH.onnx`, `HASH.json` with its manifest, `HASH.input` with its golden item, and `HASH.checked` with the
/// profiles in which it was found to do what it must.
pub(crate) struct Registry(PathBuf);

/// Digits of a hash that are enough to name a model.
const SHORT: usize = 8;

impl Registry {
    pub(crate) fn of(global: &Global) -> Self {
        Self(global.home.join("models"))
    }

    /// All of them, by name and version.
    pub(crate) fn all(&self) -> Result<Vec<Manifest>> {
        if !self.0.exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(&self.0).with_context(|| format!("cannot list {}", self.0.display()))?;
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let manifest = serde_json::from_slice::<Manifest>(&text);
                all.push(manifest.with_context(|| format!("{} is not a model's manifest", path.display()))?);
            }
        }
        all.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(all)
    }

    /// The one of this name, if there is one: `NAME`, `NAME@VERSION`, or the beginning of its hash.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Manifest>> {
        let named = |manifest: &Manifest| {
            manifest.name == name
                || manifest.title() == name
                || name.len() >= SHORT && manifest.blake3.starts_with(name)
        };
        let mut found: Vec<_> = self.all()?.into_iter().filter(named).collect();
        if let [a, b, ..] = &found[..] {
            bail!("{name:?} can be {} and {}; add the version: NAME@VERSION", a.title(), b.title());
        }
        Ok(found.pop())
    }

    /// The ONNX file.
    pub(crate) fn onnx(&self, manifest: &Manifest) -> Result<Bytes> {
        self.read(manifest, "onnx", &manifest.blake3)
    }

    /// The golden item.
    pub(crate) fn input(&self, manifest: &Manifest) -> Result<Bytes> {
        self.read(manifest, "input", &manifest.golden.input)
    }

    pub(crate) fn add(&self, manifest: &Manifest, onnx: &[u8], input: &[u8]) -> Result<()> {
        ensure!(
            !manifest.name.is_empty() && !manifest.name.contains(['/', '@', '=']),
            "{:?} cannot name a model: names have no '/', '@' or '='",
            manifest.name
        );
        if let Some(other) = self.all()?.iter().find(|other| other.title() == manifest.title()) {
            ensure!(
                other.blake3 == manifest.blake3,
                "{} is another model already; give this one another version",
                other.title()
            );
        }
        std::fs::create_dir_all(&self.0).with_context(|| format!("cannot make directory {}", self.0.display()))?;
        self.write(manifest, "onnx", onnx)?;
        self.write(manifest, "input", input)?;
        self.write(manifest, "json", serde_json::to_string_pretty(manifest)?.as_bytes())
    }

    /// Whether it was found, on this machine, to do what it must in this profile.
    pub(crate) fn is_checked(&self, manifest: &Manifest, profile: Hash) -> bool {
        let checked = std::fs::read_to_string(self.path(manifest, "checked")).unwrap_or_default();
        checked.lines().any(|line| line == profile.to_string())
    }

    pub(crate) fn set_checked(&self, manifest: &Manifest, profiles: &[Hash]) -> Result<()> {
        let lines: String = profiles.iter().map(|profile| format!("{profile}\n")).collect();
        self.write(manifest, "checked", lines.as_bytes())
    }

    fn path(&self, manifest: &Manifest, extension: &str) -> PathBuf {
        self.0.join(format!("{}.{extension}", manifest.blake3))
    }

    fn read(&self, manifest: &Manifest, extension: &str, hash: &str) -> Result<Bytes> {
        let path = self.path(manifest, extension);
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let same = Blob::of(&content).hash.to_string() == hash;
        ensure!(same, "{} is damaged: its content has another hash; add the model again", path.display());
        Ok(content.into())
    }

    /// Beside, then renamed: nobody sees half a file.
    fn write(&self, manifest: &Manifest, extension: &str, content: &[u8]) -> Result<()> {
        let path = self.path(manifest, extension);
        let written = || -> std::io::Result<()> {
            let mut file = NamedTempFile::new_in(&self.0)?;
            file.write_all(content)?;
            file.persist(&path).map(|_| ()).map_err(Into::into)
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whether a path is one, so that it does not name a model of the registry.
pub(crate) fn is_file(path: &Path) -> bool {
    path.components().count() > 1 || path.exists()
}
