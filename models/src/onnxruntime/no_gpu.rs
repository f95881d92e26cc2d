//! What there is of GPUs without the feature `cuda`: none.

use depx_kernels::Threads;
use ort::ep::ExecutionProviderDispatch;
use ort::operator::OperatorDomain;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use std::sync::Arc;

#[derive(Clone)]
pub(super) enum Gpu {}

impl Gpu {
    pub(super) fn description(&self) -> &str {
        match *self {}
    }

    pub(super) fn is_broken(&self) -> bool {
        match *self {}
    }

    pub(super) fn provider(&self) -> Option<ExecutionProviderDispatch> {
        match *self {}
    }

    pub(super) fn replaces(&self, _name: &str) -> bool {
        match *self {}
    }

    pub(super) fn add_operators(&self, _: OperatorDomain, _: &Arc<Threads>) -> ort::Result<OperatorDomain> {
        match *self {}
    }

    pub(super) fn reproducible_session(&self, _: SessionBuilder, _: &[u8]) -> ort::Result<Session> {
        match *self {}
    }
}
