//! Compiling for others: a process that turns modules into artifacts and executes none of them.

use crate::artifact::compatibility;
use crate::engine::{self, EngineOptions};
use crate::prepare::instrumented;
use crate::{HostFault, PrepareError};
use depx_protocol::Hash;
use wasmtime::Engine;

/// Turns modules into what [`crate::ArtifactStore`] keeps and [`crate::GivenModules`] execute. Nothing becomes executable here.
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

    /// Validates, instruments and compiles a module.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, PrepareError> {
        let instrumented = instrumented(wasm).map_err(PrepareError::Refused)?;
        let compiled = self.engine.precompile_module(&instrumented);
        Ok(compiled.map_err(|error| HostFault::engine(format_args!("{error:#}")))?)
    }
}
