//! Where things are in this checkout.

use std::env;
use std::path::{Path, PathBuf};

/// This checkout.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that `cargo xtask` was called in.
    pub(crate) fn find() -> Workspace {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        Workspace::at(manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf))
    }

    /// The checkout in a folder of the caller's choice.
    pub(crate) fn at(root: PathBuf) -> Workspace {
        Workspace { root }
    }

    /// The folder of the root `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the checkout.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// A folder for what is built with other compilers or settings: `target/<name>`, or beside it under
    /// `CARGO_TARGET_DIR` where that is set. Two compilers in one target folder would undo each other's work.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => self.root.join(directory).join(name),
            None => self.root.join("target").join(name),
        }
    }
}
