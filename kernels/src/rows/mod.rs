//! Operators on rows: what is reduced, or depends on a sum, along one axis.
//!
//! A tensor is seen as `[outer, axis, inner]`. With an inner size of one, rows are contiguous; otherwise neighbouring elements belong to
//! different rows, and as many rows as there are lanes are computed side by side. Either way the order of operations in a row is the
//! same, see `fold`. Any range of the outer axis can be computed by itself, which is how callers use several threads.

mod cumulative;
mod each;
mod fold;
mod normalize;
mod reduce;
mod softmax;
#[cfg(test)]
mod tests;

pub use cumulative::{CumulativeSum, cumulative_sum};
pub(crate) use fold::{Fold, LargestNumber, Sum};
pub use normalize::{
    BatchNorm, batch_norm, group_norm, layer_norm, layer_norm_statistics, lp_normalize, mean_variance_norm, rms_norm,
};
pub use reduce::{Reduction, reduce};
pub use softmax::{log_softmax, softmax};
#[cfg(test)]
pub(crate) use tests::REDUCTIONS;
