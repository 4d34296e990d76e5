//! The recorder from outside: what goes in comes out, in our tables and in other people's formats, whatever happens.

mod crash;
mod daemon;
mod disturbed;
mod docs;
mod exports;
mod golden;
mod readers;
mod roundtrip;
#[path = "../support/daemon.rs"]
mod running;
mod support;
mod twin;
