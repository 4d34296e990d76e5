//! Neural encoding over whole recordings, simulated neurons and other people's programs.

mod dataset;
mod live;
mod peers;
mod truth;
