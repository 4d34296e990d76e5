//! Reconciliation of the board's triggers: those that the host heard of, and those that it knows it did not.

use std::path::Path;

use serde::Serialize;

use crate::record::error::RecordError;
use crate::record::gap::GapUnit;
use crate::record::manifest::{GapEntry, Manifest};
use crate::record::recover::RECORDING;
use crate::record::tables;

/// The table, and the stream of its gaps.
const TRIGGERS: &str = "triggers";

/// The account of the trigger train.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TriggerAccount {
    /// Triggers between the first and the last that the host heard of, both included.
    pub span: u64,
    /// Rows of the triggers table, each trigger once.
    pub heard: u64,
    /// Triggers not heard of that a gap declares.
    pub declared: u64,
    /// Triggers not heard of that nothing declares: must be 0.
    pub undeclared: u64,
    /// Rows of a trigger that has one, or whose index is not that of its time: must be 0.
    pub repeated: u64,
}

impl TriggerAccount {
    /// Whether everything adds up.
    pub const fn adds_up(&self) -> bool {
        self.undeclared == 0 && self.repeated == 0
    }
}

/// The account, where there is a train.
pub(super) fn triggers(folder: &Path, manifest: &Manifest) -> Result<Vec<TriggerAccount>, RecordError> {
    Ok(account(&heard(folder, manifest)?, &manifest.gaps).into_iter().collect())
}

/// Index and time of every trigger that the host heard of, in order.
pub(super) fn heard(folder: &Path, manifest: &Manifest) -> Result<Vec<(i64, i64)>, RecordError> {
    let mut rows = Vec::new();
    tables::scan(folder, manifest, TRIGGERS, &["t_ns", "trigger_index"], |batch| {
        let times = tables::integers(batch, "t_ns");
        rows.extend(
            times.into_iter().zip(tables::integers(batch, "trigger_index")).filter_map(|(t, i)| Some((i?, t?))),
        );
    })?;
    rows.sort_unstable();
    Ok(rows)
}

/// `rows` are indices with their times, in order.
fn account(rows: &[(i64, i64)], gaps: &[GapEntry]) -> Option<TriggerAccount> {
    let (first, last) = (rows.first()?.0, rows.last()?.0);
    let mut found = TriggerAccount { span: (last - first + 1) as u64, ..TriggerAccount::default() };
    let ranges: Vec<&GapEntry> = gaps.iter().filter(|gap| gap.stream == TRIGGERS).collect();
    let mut rows_lost: u64 =
        ranges.iter().filter(|gap| gap.unit != GapUnit::Triggers.as_str()).map(|gap| count(gap)).sum();
    for pair in rows.windows(2) {
        let ((index, time), (next, later)) = (pair[0], pair[1]);
        found.repeated += u64::from(next == index || later <= time);
        for missing in index + 1..next {
            let in_range = |gap: &&GapEntry| {
                gap.unit == GapUnit::Triggers.as_str()
                    && gap.first.is_some_and(|first| first <= missing)
                    && gap.end.is_none_or(|end| missing < end)
            };
            let is_declared = ranges.iter().any(in_range)
                || gaps.iter().any(|gap| gap.stream == RECORDING && (time..=later).contains(&gap.t_ns))
                || take_one(&mut rows_lost);
            found.declared += u64::from(is_declared);
            found.undeclared += u64::from(!is_declared);
        }
    }
    found.heard = rows.len() as u64;
    Some(found)
}

fn count(gap: &GapEntry) -> u64 {
    gap.count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}

fn take_one(left: &mut u64) -> bool {
    let is_left = *left > 0;
    *left = left.saturating_sub(1);
    is_left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(stream: &str, unit: &str, range: Option<(i64, i64)>, count: Option<i64>, t_ns: i64) -> GapEntry {
        GapEntry {
            t_ns,
            stream: stream.to_owned(),
            unit: unit.to_owned(),
            first: range.map(|range| range.0),
            end: range.map(|range| range.1),
            count,
            end_ns: None,
            cause: "device".to_owned(),
        }
    }

    #[test]
    fn triggers_that_were_not_heard_of_are_declared_or_a_problem() {
        let rows: Vec<(i64, i64)> = [5, 6, 9, 10, 12, 20].map(|index| (index, index * 20)).to_vec();
        let account = |gaps: &[GapEntry]| account(&rows, gaps).expect("rows");
        let nothing = account(&[]);
        assert_eq!((nothing.span, nothing.heard, nothing.declared, nothing.undeclared), (16, 6, 0, 10));
        assert!(!nothing.adds_up());
        let range = gap("triggers", "triggers", Some((7, 9)), Some(2), 140);
        let lane = gap("triggers", "rows", None, Some(1), 220);
        let killed = gap(RECORDING, "rows", None, None, 250);
        let other = gap("frames/cam1", "triggers", Some((0, 99)), Some(99), 0);
        assert_eq!(account(&[range.clone(), other]).undeclared, 8);
        let all = account(&[range, lane, killed]);
        assert_eq!((all.declared, all.undeclared, all.repeated), (10, 0, 0));
        let twice = super::account(&[(1, 20), (1, 40), (2, 30)], &[]).expect("rows");
        assert_eq!(twice.repeated, 2);
    }
}
