//! What is said of a module that cannot be executed.

use super::features::{OFF, Proposal};
use depx_host_abi::refusal::RefusalCode;
use std::fmt;
use wasmparser::WasmFeatures;

/// Why a module cannot be executed: the same on every node, and part of the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code that goes into the result.
    pub code: RefusalCode,
    /// What was wrong and what to do, in a sentence of at most 400 bytes.
    pub reason: String,
}

/// A refusal says no more than this, in bytes: parts of it come from the module.
const MAX_REASON: usize = 400;

/// Names from the module are cut after this many bytes.
const MAX_NAME: usize = 100;

impl Refusal {
    pub(crate) fn new(code: RefusalCode, reason: impl fmt::Display) -> Self {
        let mut reason = reason.to_string().replace(char::is_control, "\u{fffd}");
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        Self { code, reason }
    }

    /// Of a module that uses a proposal that is off, if `flag` is one.
    pub(super) fn proposal(flag: WasmFeatures) -> Option<Self> {
        let Proposal { name, advice, .. } = OFF.iter().find(|proposal| flag.intersects(proposal.flag))?;
        Some(Self::new(RefusalCode::UnsupportedProposal, format_args!("the module uses {name}, {advice}")))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Self {
        let missing = match error.message() {
            // The one message that comes without its proposal.
            "multiple memories" => Some(WasmFeatures::MULTI_MEMORY),
            _ => error.missing_wasm_feature(),
        };
        missing.and_then(Self::proposal).unwrap_or_else(|| {
            Self::new(
                RefusalCode::Malformed,
                format_args!(
                    "the bytes are not a valid WebAssembly module: {} at byte {}; rebuild it, or fetch it again",
                    error.message(),
                    error.offset()
                ),
            )
        })
    }
}

impl From<wasm_encoder::reencode::Error> for Refusal {
    fn from(error: wasm_encoder::reencode::Error) -> Self {
        match error {
            wasm_encoder::reencode::Error::ParseError(error) => error.into(),
            other => Self::new(RefusalCode::Malformed, other),
        }
    }
}

/// The beginning of a name from the module.
pub(super) fn excerpt(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_printable() {
        let refusal = Refusal::new(RefusalCode::Malformed, format_args!("\u{1b}[31m{}", "ü".repeat(1000)));
        assert!(refusal.reason.len() <= MAX_REASON && refusal.reason.starts_with("\u{fffd}[31mü"));
    }
}
