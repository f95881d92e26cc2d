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
//! A batch runs the program once per item, each in a fresh instance. What every item needs alike, such as a table, a parser or an
//! interpreter, can be made once for all of them: nodes run a function of the name `wizer-initialize` when they prepare the
//! module, and start each item from the state that it leaves. The job pays for it once.
//!
//! ```
//! use std::sync::OnceLock;
//!
//! static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();
//!
//! fn squares() -> &'static [u64] {
//!     SQUARES.get_or_init(|| (0..1 << 16).map(|number| number * number).collect())
//! }
//!
//! #[unsafe(export_name = "wizer-initialize")]
//! extern "C" fn initialize() {
//!     squares();
//! }
//!
//! #[depx_sdk::task]
//! fn square_root(input: &[u8]) -> Result<String, std::num::ParseIntError> {
//!     let square: u64 = String::from_utf8_lossy(input).trim().parse()?;
//!     Ok(format!("{}\n", squares().partition_point(|other| *other < square)))
//! }
//! ```
//!
//! The function sees no input, arguments, files or models, and may not write output. Randomness that it keeps, the seed of a
//! `HashMap` for instance, is the same for all items. Where nobody initialises the module, as in an ordinary build, the items make
//! what they need themselves, as above.
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
