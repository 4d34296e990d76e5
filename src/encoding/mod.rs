//! Neural encoding models over recorded and live features.
