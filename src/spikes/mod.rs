//! Samples to spikes: filter, reference, detect, sort, bin.
