//! Maps between clock domains, with uncertainty and valid range.
