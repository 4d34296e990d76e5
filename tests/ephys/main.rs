//! Electrodes to units: on the twin's truth, from RHX and from other people's files, without allocation, and in other people's
//! programs.

mod no_alloc;
mod peers;
mod replay;
mod rhx_rig;
#[path = "../support/set_up.rs"]
mod set_up;
mod twin;
