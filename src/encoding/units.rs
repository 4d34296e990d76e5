//! Units and their spike counts on the grid.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::grid::Grid;

/// Which unit: array, tetrode, and the sorter's number there (0 = everything of the tetrode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct UnitKey {
    /// Array index.
    pub array: u16,
    /// Tetrode of the array.
    pub tetrode: u16,
    /// Unit; 0 = unsorted.
    pub unit: u16,
}

impl std::fmt::Display for UnitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.array, self.tetrode, self.unit)
    }
}

/// Spike counts in bins, by unit.
#[derive(Clone, Debug)]
pub struct SpikeCounts {
    grid: Grid,
    bins: usize,
    units: BTreeMap<UnitKey, Vec<u16>>,
}

impl SpikeCounts {
    /// No units yet.
    pub fn new(grid: Grid) -> Self {
        Self { grid, bins: 0, units: BTreeMap::new() }
    }

    /// Says that bins up to `bins` have been recorded: they count as silent where no spike comes.
    pub fn reach(&mut self, bins: usize) {
        self.bins = self.bins.max(bins);
    }

    /// Counts a spike; one before the recording or after its last bin is left out by [`matrix`](Self::matrix).
    pub fn add(&mut self, t_ns: i64, key: UnitKey) {
        let Some(bin) = self.grid.bin(t_ns) else { return };
        let counts = self.units.entry(key).or_default();
        if counts.len() <= bin {
            counts.resize(bin + 1, 0);
        }
        counts[bin] = counts[bin].saturating_add(1);
    }

    /// Puts a unit's counts in as they are, from the first bin on.
    pub fn insert(&mut self, key: UnitKey, counts: Vec<u16>) {
        self.units.insert(key, counts);
    }

    /// Bins.
    pub const fn bins(&self) -> usize {
        self.bins
    }

    /// Units with at least `spikes` spikes in the first `bins` bins, in order.
    pub fn keys(&self, bins: usize, spikes: u64) -> Vec<UnitKey> {
        let total = |counts: &[u16]| counts.iter().take(bins).map(|count| u64::from(*count)).sum::<u64>();
        self.units.iter().filter(|(_, counts)| total(counts) >= spikes).map(|(key, _)| *key).collect()
    }

    /// A unit's count in a bin.
    pub fn count(&self, key: UnitKey, bin: usize) -> u16 {
        self.units.get(&key).and_then(|counts| counts.get(bin)).copied().unwrap_or(0)
    }

    /// Counts of bins × units.
    pub fn matrix(&self, keys: &[UnitKey], bins: usize) -> Array2<f32> {
        let mut out = Array2::zeros((bins, keys.len()));
        for (key, mut column) in keys.iter().zip(out.columns_mut()) {
            let counts = self.units.get(key).map_or(&[][..], Vec::as_slice);
            column.iter_mut().zip(counts).for_each(|(to, from)| *to = f32::from(*from));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_fall_into_their_bin_and_silence_counts() {
        let mut counts = SpikeCounts::new(Grid::of_millis(20.0));
        let key = UnitKey { array: 1, tetrode: 2, unit: 3 };
        for t_ns in [-1, 0, 19_999_999, 20_000_000] {
            counts.add(t_ns, key);
        }
        counts.reach(4);
        assert_eq!(counts.matrix(&[key], 4).column(0).to_vec(), [2.0, 1.0, 0.0, 0.0]);
        assert_eq!((counts.keys(4, 3), counts.keys(4, 4)), (vec![key], vec![]));
    }
}
