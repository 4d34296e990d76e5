//! `SCHED_FIFO` priorities of the tiers: edges above the loop, so that capture survives whatever the loop does; the loop above
//! spikes; the twin's rendering last.

use std::thread::Builder;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

pub(super) const BOARD_PRIORITY: u8 = 52;
pub(super) const EDGE_PRIORITY: u8 = 50;
pub(super) const LOOP_PRIORITY: u8 = 40;
pub(super) const SPIKE_PRIORITY: u8 = 20;
/// The simulated rig's rendering: a real camera takes no processor from those above, so it must not either.
const RENDER_PRIORITY: u8 = 10;

/// Gives the calling thread `SCHED_FIFO` at `priority`.
pub(super) fn promote(priority: u8) -> Result<(), thread_priority::Error> {
    let priority =
        ThreadPriority::Crossplatform(priority.try_into().map_err(|_| thread_priority::Error::Priority("range"))?);
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
}

/// Takes the calling thread, one that renders for the twin, below everything that measures.
pub(super) fn step_behind() {
    // Refused: the edges are refused as well, and they count it.
    promote(RENDER_PRIORITY).ok();
}

/// Whether the system grants an edge thread the priority it asks for, tried on a thread of its own.
pub fn real_time_is_allowed() -> bool {
    let tried = Builder::new().name("real-time".to_owned()).spawn(|| promote(EDGE_PRIORITY).is_ok());
    tried.is_ok_and(|thread| thread.join().unwrap_or(false))
}
