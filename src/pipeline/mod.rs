//! The threads and the closed loop.
