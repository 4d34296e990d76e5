//! Maps between clock domains, and the identity of triggers.
//!
//! Four kinds of clock meet here, and the sync board's is the master:
//!
//! - **board ↔ host** ([`PingFit`]): pings give (sent, board, received) triples. The true offset lies inside the round
//!   trip, so of each window only the fastest round trip is kept, and a line through the kept ones gives offset and rate.
//! - **camera → board** and **array → board** ([`LineFit`]): both devices see the trigger train itself. Once each trigger's
//!   identity is known, pairs (device stamp, board stamp) are exact to the device's own resolution, and a line with slow
//!   forgetting follows the drift of two crystals (tens of parts per million, moving by a fraction of one per minute).
//! - **identity** ([`TriggerMatcher`], [`TrainFollower`]): which trigger a frame or an edge belongs to follows from the
//!   device's own counter and is verified against the stretched periods of the coded train. What cannot be proved is flagged.
//!
//! A fit that is contradicted by several samples in a row restarts from them: a device that was reset or whose clock was
//! set is followed within two seconds, and everything in between is flagged. Nothing here reads a clock except [`host_now`]
//! and [`thread_time`].

pub mod alignment;
mod line_fit;
mod map;
mod matcher;
mod ping_fit;
mod train;

pub use line_fit::{LineFit, LineFitOptions, SlopeMemory, Verdict};
pub use map::{ClockMap, Mapped};
pub use matcher::{Match, TriggerMatcher};
pub use ping_fit::{PingFit, PingSample};
pub use train::{EdgeMatch, TrainFollower};

use mimicd_device::{HostTime, Span};
use rustix::time::{ClockId, clock_gettime};

/// Now, on the host's `CLOCK_MONOTONIC`. Read it once at the top of a pass and hand the value down.
pub fn host_now() -> HostTime {
    let now = clock_gettime(ClockId::Monotonic);
    HostTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

/// Does the work and says how long it took by `clock`; zero without one, as in a stepped run.
pub fn timed<T>(clock: Option<fn() -> HostTime>, work: impl FnOnce() -> T) -> (T, Span) {
    let started = clock.map(|now| now());
    let done = work();
    let spent = started.zip(clock).map_or(Span::ZERO, |(started, now)| now() - started);
    (done, spent)
}

/// Processor time that the calling thread has used: grows while it runs, stands while it waits.
pub fn thread_time() -> Span {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Span::from_nanos(used.tv_sec * 1_000_000_000 + used.tv_nsec)
}
