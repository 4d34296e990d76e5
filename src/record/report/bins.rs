//! Values over time in a fixed number of bins.

/// Bins of a page's plots.
const BINS: usize = 240;
/// No bin is shorter.
const BIN_NANOS_MIN: i64 = 100_000_000;

/// The time that a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first_ns: i64,
    bin_ns: i64,
    count: usize,
}

impl Span {
    /// Bins from `first_ns` to `last_ns`.
    pub(super) fn new(first_ns: i64, last_ns: i64) -> Self {
        let length = (last_ns - first_ns).max(1);
        let bin_ns = (length / BINS as i64 + 1).max(BIN_NANOS_MIN);
        Self { first_ns, bin_ns, count: (length / bin_ns + 1) as usize }
    }

    /// The bin of an instant; instants outside go to the nearest.
    pub(super) fn bin(self, t_ns: i64) -> usize {
        ((t_ns - self.first_ns).max(0) / self.bin_ns).min(self.count as i64 - 1) as usize
    }

    /// Middle of a bin, seconds.
    pub(super) fn seconds(self, bin: usize) -> f64 {
        (self.first_ns + self.bin_ns * bin as i64 + self.bin_ns / 2) as f64 * 1e-9
    }

    pub(super) fn bin_seconds(self) -> f64 {
        self.bin_ns as f64 * 1e-9
    }

    pub(super) fn count(self) -> usize {
        self.count
    }
}

/// Finite values of each bin.
#[derive(Clone, Debug)]
pub(super) struct Bins {
    span: Span,
    values: Vec<Vec<f32>>,
}

impl Bins {
    pub(super) fn new(span: Span) -> Self {
        Self { span, values: vec![Vec::new(); span.count()] }
    }

    pub(super) fn add(&mut self, t_ns: i64, value: f64) {
        if value.is_finite() {
            self.values[self.span.bin(t_ns)].push(value as f32);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(Vec::is_empty)
    }

    /// One point for each bin that has values: seconds and what `of` makes of the sorted values.
    fn points(&self, of: impl Fn(&[f32]) -> f64) -> Vec<(f64, f64)> {
        let filled = self.values.iter().enumerate().filter(|(_, values)| !values.is_empty());
        filled
            .map(|(bin, values)| {
                let mut sorted = values.clone();
                sorted.sort_by(f32::total_cmp);
                (self.span.seconds(bin), of(&sorted))
            })
            .collect()
    }

    pub(super) fn mean(&self) -> Vec<(f64, f64)> {
        self.points(|values| values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64)
    }

    /// The smallest value that the given share of the bin does not exceed.
    pub(super) fn quantile(&self, share: f64) -> Vec<(f64, f64)> {
        self.points(|values| {
            let rank = (share * values.len() as f64).ceil() as usize;
            f64::from(values[rank.clamp(1, values.len()) - 1])
        })
    }
}

/// Counts of each bin.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    span: Span,
    counts: Vec<f64>,
}

impl Counts {
    pub(super) fn new(span: Span) -> Self {
        Self { span, counts: vec![0.0; span.count()] }
    }

    pub(super) fn add(&mut self, t_ns: i64, count: f64) {
        self.counts[self.span.bin(t_ns)] += count;
    }

    pub(super) fn total(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// Counts a second.
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        // The last bin is rarely full: its rate would be too low.
        let full = self.counts.len().saturating_sub(1).max(1);
        self.scaled(1.0 / self.span.bin_seconds()).into_iter().take(full).collect()
    }

    /// Counts of each bin.
    pub(super) fn each(&self) -> Vec<(f64, f64)> {
        self.scaled(1.0)
    }

    fn scaled(&self, scale: f64) -> Vec<(f64, f64)> {
        let counts = self.counts.iter().enumerate();
        counts.map(|(bin, count)| (self.span.seconds(bin), count * scale)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_has_a_bin_and_long_recordings_have_few() {
        for length in [1, 50_000_000, 10_000_000_000, 8 * 3_600_000_000_000] {
            let span = Span::new(-5, length - 5);
            assert!(span.count() <= BINS + 1, "{length}: {}", span.count());
            assert_eq!((span.bin(-5), span.bin(length - 5)), (0, span.count() - 1));
            assert_eq!(span.bin(i64::MAX / 2), span.count() - 1);
        }
    }

    #[test]
    fn rates_and_quantiles_are_those_of_the_bin() {
        let span = Span::new(0, 1_000_000_000);
        let mut counts = Counts::new(span);
        let mut bins = Bins::new(span);
        for t in 0..50 {
            counts.add(t * 20_000_000, 1.0);
            bins.add(t * 20_000_000, f64::from(t as i32 % 5));
        }
        assert!(counts.rates().iter().all(|(_, rate)| (*rate - 50.0).abs() < 1e-9), "{:?}", counts.rates());
        assert!(bins.quantile(0.5).iter().all(|(_, value)| *value == 2.0));
        assert!(bins.mean().iter().all(|(_, value)| *value == 2.0));
    }
}
