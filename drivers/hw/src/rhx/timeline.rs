//! RHX's 32-bit frame timestamps, made one 64-bit sample count.
//!
//! Lost data shows only here: RHX sends what it has, and the timestamp jumps. The rules:
//!
//! | next timestamp against the expected one | meaning | sample index |
//! |---|---|---|
//! | equal | consecutive (also across the wrap after 39.8 h) | + 1 |
//! | ahead, by no more than time has passed | that many samples are missing | + missing |
//! | behind, or ahead of what time allows | another run: the counter restarted | + what time says is missing; [`Step::Restart`] |

use super::frames::BLOCK_FRAMES;

/// What a timestamp says about the samples before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first timestamp ever.
    First,
    /// Directly follows the one before.
    Next,
    /// This many samples are missing before it.
    Gap(u64),
    /// The counter began anew; how much is missing is known only by the host's clock.
    Restart,
}

/// Slack on what time allows, in samples: RHX delivers in bursts and may run ahead of our clock.
const SLACK_SECS: f64 = 2.0;

/// Extends timestamps.
#[derive(Clone, Debug)]
pub struct Timeline {
    rate_hz: f64,
    /// Next expected timestamp and the sample index that it stands for.
    next: Option<(u32, u64)>,
}

impl Timeline {
    /// A timeline at `rate_hz` that has seen nothing.
    pub fn new(rate_hz: f64) -> Self {
        Self { rate_hz, next: None }
    }

    /// Takes `timestamp`, seen `elapsed_secs` after the one before; gives its sample index and what came before it.
    pub fn take(&mut self, timestamp: u32, elapsed_secs: f64) -> (u64, Step) {
        let (index, step) = match self.next {
            None => (u64::from(timestamp), Step::First),
            Some((expected, index)) if timestamp == expected => (index, Step::Next),
            Some((expected, index)) => {
                let ahead = u64::from(timestamp.wrapping_sub(expected));
                let allowed = (self.rate_hz * (elapsed_secs * 1.5 + SLACK_SECS)) as u64;
                if ahead <= allowed {
                    (index + ahead, Step::Gap(ahead))
                } else {
                    // What has just come was itself taken during the silence.
                    let missing = ((elapsed_secs * self.rate_hz) as u64).saturating_sub(BLOCK_FRAMES as u64);
                    (index + missing, Step::Restart)
                }
            }
        };
        self.next = Some((timestamp.wrapping_add(1), index + 1));
        (index, step)
    }

    /// Skips `count` samples that are known to follow the last one directly.
    pub fn advance(&mut self, count: u32) {
        if let Some((timestamp, index)) = &mut self.next {
            *timestamp = timestamp.wrapping_add(count);
            *index += u64::from(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_gaps_and_restarts() {
        let mut line = Timeline::new(30_000.0);
        assert_eq!(line.take(u32::MAX - 1, 0.0), (u64::from(u32::MAX) - 1, Step::First));
        assert_eq!(line.take(u32::MAX, 0.0), (u64::from(u32::MAX), Step::Next));
        assert_eq!(line.take(0, 0.0), (1 << 32, Step::Next));
        assert_eq!(line.take(129, 0.0), ((1 << 32) + 129, Step::Gap(128)));
        line.advance(10);
        assert_eq!(line.take(140, 0.0), ((1 << 32) + 140, Step::Next));
        assert_eq!(line.take(0, 0.0), ((1 << 32) + 141, Step::Restart));
        assert_eq!(line.take(1, 0.0), ((1 << 32) + 142, Step::Next));
        // A minute of silence may hide a minute of samples, not an hour.
        assert_eq!(line.take(1_800_002, 60.0), ((1 << 32) + 142 + 1_800_001, Step::Gap(1_800_000)));
        // Another run, a minute later: the index goes on where the clock says it should be.
        let end = (1 << 32) + 142 + 1_800_001;
        assert_eq!(line.take(7, 60.0), (end + 1 + 1_800_000 - 128, Step::Restart));
    }

    #[test]
    fn a_gap_over_the_wrap_is_counted() {
        let mut line = Timeline::new(30_000.0);
        line.take(u32::MAX - 10, 0.0);
        assert_eq!(line.take(9, 0.0).1, Step::Gap(19));
    }
}
