//! Guests as WebAssembly text, run by the real engine.

mod backend;
mod calls;
mod corpus;
mod inference;
mod jobs;
mod limits;
mod outcomes;
mod prepare;
mod script;
mod snapshot;
mod stream;
mod support;
mod wasi;
