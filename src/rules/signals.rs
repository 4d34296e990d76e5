//! The values that rules may look at, by name, each with the instant it stands for.

use mimicd_device::{BoardTime, Span};

/// A signal's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalIndex(pub u32);

impl SignalIndex {
    const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// All names that rules may use, fixed when the rig is armed.
#[derive(Clone, Debug, Default)]
pub struct SignalNames {
    names: Vec<String>,
}

impl SignalNames {
    /// No signals yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a signal; names carry their unit (`pose.Snout.height_m`).
    ///
    /// # Panics
    /// If the name is taken: two signals of one name would make rules ambiguous.
    pub fn push(&mut self, name: impl Into<String>) -> SignalIndex {
        let name = name.into();
        assert!(self.find(&name).is_none(), "signal {name} is defined twice");
        self.names.push(name);
        SignalIndex(self.names.len() as u32 - 1)
    }

    /// Adds signals that follow each other; returns the first.
    ///
    /// # Panics
    /// If a name is taken.
    pub fn extend<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) -> SignalIndex {
        let first = SignalIndex(self.names.len() as u32);
        for name in names {
            self.push(name);
        }
        first
    }

    /// The signal called `name`.
    pub fn find(&self, name: &str) -> Option<SignalIndex> {
        self.names.iter().position(|known| known == name).map(|index| SignalIndex(index as u32))
    }

    /// The name of a signal of this table.
    pub fn name(&self, index: SignalIndex) -> &str {
        &self.names[index.as_usize()]
    }

    /// All names in table order.
    pub fn all(&self) -> &[String] {
        &self.names
    }

    /// The known name that is nearest to `name` by edit distance, if any is near.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let distance = |known: &&String| edit_distance(&known.to_lowercase(), &name.to_lowercase());
        let near = self.names.iter().min_by_key(distance)?;
        (distance(&near) <= name.len().max(6) / 2).then_some(near.as_str())
    }
}

/// Levenshtein's distance in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let change = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// One signal as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// Never set.
    Unknown,
    /// Set, but not to be used: the stage that makes it had no answer at `at`.
    Invalid {
        /// When there was no answer.
        at: BoardTime,
    },
    /// A value.
    Value {
        /// Finite.
        value: f64,
        /// The instant it stands for.
        at: BoardTime,
    },
}

/// The current values; set by the loop, read by the rules. Nothing here allocates after construction.
#[derive(Clone, Debug)]
pub struct SignalTable {
    readings: Vec<Reading>,
}

impl SignalTable {
    /// A table for `names`, everything unknown.
    pub fn new(names: &SignalNames) -> Self {
        Self { readings: vec![Reading::Unknown; names.names.len()] }
    }

    /// Sets a signal; a value that is not finite makes it invalid.
    pub fn set(&mut self, index: SignalIndex, at: BoardTime, value: f64) {
        self.readings[index.as_usize()] =
            if value.is_finite() { Reading::Value { value, at } } else { Reading::Invalid { at } };
    }

    /// Sets signals that follow each other from `first` on.
    pub fn set_all(&mut self, first: SignalIndex, at: BoardTime, values: impl IntoIterator<Item = f64>) {
        for (offset, value) in values.into_iter().enumerate() {
            self.set(SignalIndex(first.0 + offset as u32), at, value);
        }
    }

    /// Says that `count` signals from `first` on have no usable value at `at`.
    pub fn invalidate(&mut self, first: SignalIndex, count: usize, at: BoardTime) {
        self.readings[first.as_usize()..][..count].fill(Reading::Invalid { at });
    }

    /// A signal as it stands.
    pub fn reading(&self, index: SignalIndex) -> Reading {
        self.readings[index.as_usize()]
    }

    /// Age of a signal's value or of its absence; `None` if it was never set.
    pub fn age(&self, index: SignalIndex, now: BoardTime) -> Option<Span> {
        match self.reading(index) {
            Reading::Unknown => None,
            Reading::Invalid { at } | Reading::Value { at, .. } => Some(now - at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_is_not() {
        let mut names = SignalNames::new();
        names.extend(["pose.Snout.height_m", "pose.EarL.height_m", "body.knee_L_rad", "time.recording_s"]);
        assert_eq!(names.nearest("pose.snout.hieght_m"), Some("pose.Snout.height_m"));
        assert_eq!(names.nearest("bodyknee_L"), Some("body.knee_L_rad"));
        assert_eq!(names.nearest("xyzzy"), None);
    }

    #[test]
    fn values_that_are_not_finite_are_invalid() {
        let mut names = SignalNames::new();
        let first = names.extend(["a", "b"]);
        let mut table = SignalTable::new(&names);
        assert_eq!(table.reading(first), Reading::Unknown);
        table.set_all(first, BoardTime::from_nanos(5), [1.0, f64::NAN]);
        assert_eq!(table.reading(SignalIndex(1)), Reading::Invalid { at: BoardTime::from_nanos(5) });
        assert_eq!(table.age(first, BoardTime::from_nanos(9)), Some(Span::from_nanos(4)));
    }
}
