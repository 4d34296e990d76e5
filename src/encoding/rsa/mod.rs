//! Representational similarity: which behaviours look alike to an array, to a layer of the network, to a model.
//!
//! Conditions are behaviours. [`ConditionSums`] holds running sums for each behaviour and cell of blocks, so that a bin costs
//! one addition a channel, live as offline, and an RDM of everything so far O(K²·U) for each fold; both give the same numbers
//! because they are the same sums. Distances are cross-validated (unbiased: pure noise gives 0 on average, sometimes less);
//! RDMs are compared by the whitened unbiased cosine, as `rsatoolbox` does.

mod beside;
mod compare;
mod sums;

pub use beside::{Beside, beside};
pub use compare::{Ceiling, correlation, cosine, noise_ceiling, whitened_cosine};
pub use sums::{ConditionSums, Noise, Rdm};
