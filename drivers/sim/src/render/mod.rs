//! Camera images of the ground-truth rat, rendered in process.
