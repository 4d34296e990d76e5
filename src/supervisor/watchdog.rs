//! Tells the service manager that the daemon lives: only while the supervisor and every stream move.
//!
//! A stream that stands still for longer than the service's `WatchdogSec` gets the daemon restarted, and the recording
//! then goes on as a new segment. A device that is *declared* lost is not expected to move: it degrades the rig, it does
//! not restart it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::signals::Shutdown;
use crate::panel::Desk;
use crate::pipeline::{RigState, RigView, StreamProgress};

/// How often streams are looked at; feeding happens at a third of the service's limit or faster.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The supervisor's own sign of life.
#[derive(Debug)]
pub struct Pulse {
    beats: AtomicU64,
    begun: Instant,
    busy_until_millis: AtomicI64,
    ended: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            beats: AtomicU64::new(0),
            begun: Instant::now(),
            busy_until_millis: AtomicI64::new(-1),
            ended: AtomicBool::new(false),
        }
    }
}

impl Pulse {
    /// Still here.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        self.busy_until_millis.store(-1, Ordering::Relaxed);
    }

    /// Not here for at most `limit`: a command that takes long.
    pub fn busy_for(&self, limit: Duration) {
        let until = self.begun.elapsed() + limit;
        self.busy_until_millis.store(until.as_millis() as i64, Ordering::Relaxed);
    }

    /// The supervisor has ended: the watchdog thread may end too.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn progress(&self) -> StreamProgress {
        let busy = self.busy_until_millis.load(Ordering::Relaxed) > self.begun.elapsed().as_millis() as i64;
        StreamProgress { name: "supervisor".into(), count: self.beats.load(Ordering::Relaxed), expected: !busy }
    }
}

/// Remembers what each stream had reached when the watchdog was last fed.
#[derive(Debug, Default)]
pub struct Progress {
    fed: Vec<StreamProgress>,
}

impl Progress {
    /// The streams that should have moved since the last feeding and have not; empty: feed now.
    ///
    /// With an empty answer `now` becomes what the next call compares with. A stream that is new, or was not expected
    /// to move before, starts counting here.
    pub fn stuck(&mut self, now: Vec<StreamProgress>) -> Vec<String> {
        let moved = |stream: &StreamProgress| match self.fed.iter().find(|old| old.name == stream.name) {
            Some(old) => !old.expected || old.count != stream.count,
            None => true,
        };
        let stuck: Vec<String> =
            now.iter().filter(|stream| stream.expected && !moved(stream)).map(|stream| stream.name.clone()).collect();
        if stuck.is_empty() {
            self.fed = now;
        }
        stuck
    }
}

/// Announces readiness, then status and life until the pulse ends. Does nothing without a service manager.
///
/// # Errors
/// No thread to be had.
pub fn spawn(
    view: Arc<dyn RigView>,
    desk: Arc<Desk>,
    pulse: Arc<Pulse>,
    shutdown: Shutdown,
) -> std::io::Result<JoinHandle<()>> {
    let limit = sd_notify::watchdog_enabled();
    tell(&[NotifyState::Ready]);
    thread::Builder::new().name("watchdog".into()).spawn(move || {
        let every = limit.map_or(LOOK_EVERY, |limit| LOOK_EVERY.min(limit / 3));
        let mut progress = Progress::default();
        let mut said = String::new();
        let mut stopping = false;
        while !pulse.ended.load(Ordering::Acquire) {
            thread::sleep(every);
            if shutdown.requested() && !stopping {
                tell(&[NotifyState::Stopping]);
                stopping = true;
            }
            let mut streams = view.status().streams;
            streams.push(pulse.progress());
            let stuck = progress.stuck(streams);
            if stuck.is_empty() {
                tell(&[NotifyState::Watchdog]);
            }
            let status = status_line(&desk, &stuck);
            if status != said {
                tell(&[NotifyState::Status(&status)]);
                said = status;
            }
            if stopping {
                // The service manager waits for as long as sealing is seen to go on.
                tell(&[NotifyState::ExtendTimeoutUsec(10_000_000)]);
            }
        }
    })
}

fn status_line(desk: &Desk, stuck: &[String]) -> String {
    let standing = desk.standing();
    let mut line = standing.state.word().to_owned();
    if let (RigState::Recording | RigState::Sealing, Some(name)) = (standing.state, &standing.recording) {
        line = format!("{line} {name}");
    }
    if let Some(fault) = &standing.fault {
        line = format!("{line}: {fault}");
    }
    if !stuck.is_empty() {
        line = format!("{line}; no progress: {}", stuck.join(", "));
    }
    line
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("service manager not reached: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, count: u64, expected: bool) -> StreamProgress {
        StreamProgress { name: name.into(), count, expected }
    }

    #[test]
    fn the_watchdog_is_fed_only_when_all_moved() {
        let mut progress = Progress::default();
        assert!(progress.stuck(vec![stream("a", 1, true), stream("b", 1, true)]).is_empty());
        assert!(progress.stuck(vec![stream("a", 2, true), stream("b", 2, true)]).is_empty());
        assert_eq!(progress.stuck(vec![stream("a", 3, true), stream("b", 2, true)]), ["b"]);
        // Movement is against the last feeding, so a slow stream catches up.
        assert!(progress.stuck(vec![stream("a", 3, true), stream("b", 3, true)]).is_empty());
    }

    #[test]
    fn a_lost_device_and_an_idle_rig_do_not_starve_it() {
        let mut progress = Progress::default();
        assert!(progress.stuck(vec![stream("a", 1, false)]).is_empty());
        assert!(progress.stuck(vec![stream("a", 1, false)]).is_empty());
        // Becomes expected: one look's grace, then it has to move.
        assert!(progress.stuck(vec![stream("a", 1, true)]).is_empty());
        assert_eq!(progress.stuck(vec![stream("a", 1, true)]), ["a"]);
    }

    #[test]
    fn a_busy_supervisor_is_excused_for_a_bounded_time() {
        let pulse = Pulse::default();
        assert!(pulse.progress().expected);
        pulse.busy_for(Duration::from_secs(60));
        assert!(!pulse.progress().expected);
        pulse.busy_for(Duration::ZERO);
        assert!(pulse.progress().expected);
        pulse.busy_for(Duration::from_secs(60));
        pulse.beat();
        assert!(pulse.progress().expected);
    }
}
