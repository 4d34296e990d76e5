//! The event log that the page shows: a bounded list of notices with time and number.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::{Level, Notice};

/// Lines kept; older ones are in the journal.
const LINES_MAX: usize = 500;

/// One line of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventLine {
    /// Counts lines from 1, without gaps.
    pub number: u64,
    /// Wall-clock time in milliseconds since 1970 (UTC); for people only.
    pub unix_millis: u64,
    /// How much it matters.
    pub level: Level,
    /// Where it came from.
    pub source: String,
    /// The line.
    pub text: String,
}

/// The event log. Written by service threads only.
#[derive(Debug, Default)]
pub struct EventLog {
    lines: Mutex<VecDeque<EventLine>>,
}

impl EventLog {
    /// Adds a line here and in the journal.
    pub fn add(&self, notice: Notice) {
        let Notice { level, source, text } = notice;
        match level {
            Level::Info => tracing::info!(source, "{text}"),
            Level::Warning => tracing::warn!(source, "{text}"),
            Level::Error => tracing::error!(source, "{text}"),
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let number = lines.back().map_or(1, |line| line.number + 1);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(EventLine { number, unix_millis: unix_millis(), level, source, text });
    }

    /// The lines after number `seen`, oldest first, as far as they are kept.
    pub fn since(&self, seen: u64) -> Vec<EventLine> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.number > seen).cloned().collect()
    }

    /// Number of the last line; 0 for none.
    pub fn last(&self) -> u64 {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.back().map_or(0, |line| line.number)
    }
}

/// Wall-clock time for people and audit lines; nothing is measured with it.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bounded() {
        let log = EventLog::default();
        for n in 0..LINES_MAX + 5 {
            log.add(Notice::new(Level::Info, "test", format!("line {n}")));
        }
        let all = log.since(0);
        assert_eq!(all.len(), LINES_MAX);
        assert_eq!(all[0].number, 6);
        assert_eq!(log.last(), LINES_MAX as u64 + 5);
        assert_eq!(log.since(log.last() - 2).len(), 2);
    }
}
