//! The panel and the supervisor on a fake rig, over real sockets.

#[path = "../fake_rig/mod.rs"]
mod fake_rig;

mod browser;
mod clients;
mod commands;
mod desk;
#[path = "../support/daemon.rs"]
mod running;
mod security;
