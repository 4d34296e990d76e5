//! Labels of bins, and reading them from a file.

use std::path::{Path, PathBuf};

use super::super::store::Grid;

/// A behaviour for each bin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// Names of the behaviours.
    pub names: Vec<String>,
    /// Index of each bin's behaviour; `None` = not labelled.
    pub bins: Vec<Option<usize>>,
    /// Where the labels came from, for the report.
    pub source: String,
}

/// Why a label file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// It cannot be read.
    #[error("{path}: {reason}; expected a CSV file of behaviour labels")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A line is wrong.
    #[error("{path}, line {line}: {found}; expected {expected}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
}

/// A span of time with a label.
struct Bout {
    start_ns: i64,
    end_ns: i64,
    label: usize,
}

impl Labels {
    /// Reads a CSV file with the header `start_s,end_s,label` (bouts) or `t_s,label` (each label holds until the next line),
    /// times in seconds of rig time. Lines that begin with `#` are left out.
    ///
    /// # Errors
    /// A file that cannot be read, another header, a line that is no label.
    pub fn read_csv(path: &Path, grid: Grid, bins: usize) -> Result<Self, LabelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| LabelError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
        let mut labels = Self::parse_csv(&text, grid, bins).map_err(|(line, found, expected)| LabelError::Line {
            path: path.to_owned(),
            line,
            found,
            expected: expected.to_owned(),
        })?;
        labels.source = path.display().to_string();
        Ok(labels)
    }

    fn parse_csv(text: &str, grid: Grid, bins: usize) -> Result<Self, (usize, String, &'static str)> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (at, header) = lines.next().ok_or((1, "an empty file".to_owned(), "a header line"))?;
        let is_bouts = match header.replace(' ', "").as_str() {
            "start_s,end_s,label" => true,
            "t_s,label" => false,
            _ => return Err((at, format!("{header:?}"), "the header start_s,end_s,label or t_s,label")),
        };
        let mut labels = Self { bins: vec![None; bins], ..Self::default() };
        let mut bouts: Vec<Bout> = Vec::new();
        for (at, line) in lines {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let wrong = |expected| (at, format!("{line:?}"), expected);
            let time =
                |text: &str| text.parse::<f64>().ok().filter(|t| t.is_finite()).map(|t| (t * 1e9).round() as i64);
            let (start_ns, end_ns, name) = match (is_bouts, fields.as_slice()) {
                (true, [start, end, name]) => (time(start), time(end), *name),
                (false, [t, name]) => (time(t), Some(i64::MAX), *name),
                _ => return Err(wrong("as many fields as the header has")),
            };
            let (Some(start_ns), Some(end_ns)) = (start_ns, end_ns) else { return Err(wrong("times in seconds")) };
            if end_ns <= start_ns || bouts.last().is_some_and(|last| !is_bouts && last.start_ns > start_ns) {
                return Err(wrong("times that rise"));
            }
            if let (false, Some(last)) = (is_bouts, bouts.last_mut()) {
                last.end_ns = start_ns;
            }
            bouts.push(Bout { start_ns, end_ns, label: labels.index(name) });
        }
        for bout in bouts {
            let first = grid.bin(bout.start_ns.max(0)).unwrap_or(0);
            for (bin, label) in labels.bins.iter_mut().enumerate().skip(first) {
                let middle = grid.middle_ns(bin);
                if middle >= bout.end_ns {
                    break;
                }
                if middle >= bout.start_ns {
                    *label = Some(bout.label);
                }
            }
        }
        Ok(labels)
    }

    /// The index of a name, which is added when it is new; an empty name is no label.
    fn index(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// Labels of numbers, one a bin, as motion mappers give them: counted from 1, 0 = none.
    pub fn of_numbers(numbers: &[i64], source: &str) -> Self {
        let mut known: Vec<i64> = numbers.iter().copied().filter(|number| *number > 0).collect();
        known.sort_unstable();
        known.dedup();
        let bins = numbers.iter().map(|number| known.binary_search(number).ok()).collect();
        Self { names: known.iter().map(|n| format!("behaviour {n}")).collect(), bins, source: source.to_owned() }
    }

    /// Bins of each behaviour.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        self.bins.iter().flatten().for_each(|label| counts[*label] += 1);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { bin_ns: 20_000_000 };

    #[test]
    fn bouts_and_changes_are_read_alike() {
        let bouts = Labels::parse_csv("start_s,end_s,label\n0.02,0.06,Walk\n# a remark\n0.06,9,Rear\n", GRID, 5);
        let changes = Labels::parse_csv("t_s, label\n0.02,Walk\n0.06,Rear\n", GRID, 5);
        let bouts = bouts.expect("well formed");
        assert_eq!(bouts.bins, [None, Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(Ok(bouts), changes);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, word) in [
            ("", 1, "header"),
            ("time;label\n", 1, "header"),
            ("t_s,label\n1\n", 2, "fields"),
            ("t_s,label\nsoon,Walk\n", 2, "seconds"),
            ("t_s,label\nNaN,Walk\n", 2, "seconds"),
            ("start_s,end_s,label\n2,1,Walk\n", 2, "rise"),
            ("t_s,label\n2,Walk\n1,Rear\n", 3, "rise"),
        ] {
            let (at, _, expected) = Labels::parse_csv(text, GRID, 5).expect_err(text);
            assert!(at == line && expected.contains(word), "{text:?}: line {at}, {expected}");
        }
    }

    #[test]
    fn numbers_count_from_one_and_nought_is_none() {
        let labels = Labels::of_numbers(&[0, 7, 3, 7], "motion mapper");
        assert_eq!(labels.bins, [None, Some(1), Some(0), Some(1)]);
        assert_eq!((labels.names[1].as_str(), labels.counts()), ("behaviour 7", vec![1, 2]));
    }
}
