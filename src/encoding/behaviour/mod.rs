//! What the animal is doing: labels on the grid, from a causal classifier or from a file.

mod classifier;
mod features;
mod labels;

pub use classifier::{BehaviourError, Classifier};
pub use features::{HISTORY_BINS, INPUTS, Window};
pub use labels::{LabelError, Labels};
