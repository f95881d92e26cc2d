//! What a task developer links to write a DePX task.
//!
//! A task is an ordinary program: it reads its input from standard input, writes its result to standard output, and says
//! through its exit code whether that went well. [`task`] writes the `main` for it, and [`Model`] calls the models that the job
//! declares:
//!
//! ```
//! use depx_sdk::{Model, ModelError, Tensor};
//!
//! #[depx_sdk::task]
//! fn brightest(pixels: &[u8]) -> Result<String, ModelError> {
//!     let shape = [1, pixels.len() as u32];
//!     let scores = Model::load("brightness")?.run(&[Tensor::u8(&shape, pixels)])?.f32(0)?;
//!     Ok(format!("{scores:?}\n"))
//! }
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip1` and run it as a node would with `depx run`. Everything but the
//! calls to models also works in an ordinary build, so that `cargo test` can test what is around them.

mod model;
mod task;
mod tensor;

pub use depx_sdk_macros::task;
pub use model::{Model, ModelError, Outputs};
pub use tensor::Tensor;

/// What the code that [`macro@task`] writes calls. Not for other use.
#[doc(hidden)]
pub mod generated {
    pub use crate::task::{finish, input};
}
