//! Compiling for others: a process that turns modules into artifacts and executes none of them.

use crate::artifact::compatibility;
use crate::engine::{self, EngineOptions};
use crate::{HostFault, PrepareError, snapshot};
use depx_protocol::Hash;
use wasmtime::Engine;

/// Turns modules into what [`crate::ArtifactStore`] keeps and [`crate::GivenModules`] execute. Nothing becomes executable
/// here: an initialisation is interpreted, and leaves the same state as everywhere.
pub struct Compiler {
    engine: Engine,
    compatibility: Hash,
}

impl Compiler {
    /// A compiler for runtimes with these options.
    pub fn new(options: &EngineOptions) -> Result<Self, HostFault> {
        let engine = engine::engine(options)?;
        Ok(Self { compatibility: compatibility(&engine), engine })
    }

    /// What the artifacts are compatible with: the engine's version, target and settings.
    pub fn compatibility(&self) -> Hash {
        self.compatibility
    }

    /// Validates, instruments, initialises and compiles a module; `name` is the hash of `wasm`.
    pub fn compile(&self, name: Hash, wasm: &[u8]) -> Result<Vec<u8>, PrepareError> {
        let ready = snapshot::ready(engine::interpreter, name, wasm)?;
        let compiled = self.engine.precompile_module(&ready);
        Ok(compiled.map_err(|error| HostFault::engine(format_args!("{error:#}")))?)
    }
}
