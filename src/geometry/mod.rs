//! Camera model, calibration files, triangulation. Pure.
