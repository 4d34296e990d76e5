//! Electrodes to units: on the twin's truth, without allocation, and in other people's programs.

mod no_alloc;
mod peers;
mod twin;
