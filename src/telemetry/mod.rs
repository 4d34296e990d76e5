//! Counters, latency histograms and the event ring.
