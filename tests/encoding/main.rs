//! Neural encoding over whole recordings, simulated neurons and other people's programs.

mod dataset;
mod live;
mod peers;
#[path = "../support/set_up.rs"]
mod set_up;
mod truth;
