//! Does it grow? The verdict of a soak.
//!
//! Looks of one recording are not independent: memory goes up and down with every part that is sealed. So each recording gives one
//! level (the median of its looks), the levels of the warm-up are left out, and a straight line is laid through the rest. Its slope
//! has a standard error from the levels' own scatter about the line, and Student's t for so few of them gives the range that holds
//! the true slope in 95 of 100 soaks. A leak is a range that lies wholly above zero, by a slope that matters.

use crate::soak_plot::median;

/// Part of the soak that is warm-up: rings, pools and caches fill, and sealing reaches its pace.
const WARM_UP_PART: f64 = 1.0 / 3.0;
/// Levels below which no line is laid.
const LEVELS_MIN: usize = 5;
/// Growth an hour, in parts of the mean, that is not worth a night's worry: 12 h of it are 6 %.
const TOLERATED_PART: f64 = 0.005;
/// A range as wide as this, in parts of the mean an hour, cannot tell a leak from none.
const BLUR_PART: f64 = 0.10;

/// What can be said of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays, within the stated range.
    Flat,
    /// It grows, beyond its scatter.
    Grows,
    /// The soak was too short or too restless.
    TooShort,
}

/// A slope with its range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trend {
    /// Mean of the levels.
    pub(crate) mean: f64,
    /// Growth an hour.
    pub(crate) per_hour: f64,
    /// Half of the 95 % range of `per_hour`.
    pub(crate) margin: f64,
    /// Levels that the line was laid through.
    pub(crate) levels: usize,
    /// What follows.
    pub(crate) verdict: Verdict,
}

/// One level a recording: its middle in time, and the median of `values`.
pub(crate) fn levels(looks: &[(usize, f64, f64)]) -> Vec<(f64, f64)> {
    looks
        .chunk_by(|a, b| a.0 == b.0)
        .map(|of_one| (median(of_one.iter().map(|look| look.1)), median(of_one.iter().map(|look| look.2))))
        .collect()
}

/// The trend of `levels` (seconds, value) after the warm-up.
pub(crate) fn trend(levels: &[(f64, f64)]) -> Trend {
    let end_s = levels.last().map_or(0.0, |level| level.0);
    let settled: Vec<_> = levels.iter().copied().filter(|level| level.0 >= WARM_UP_PART * end_s).collect();
    let n = settled.len() as f64;
    let mean_of = |of: fn(&(f64, f64)) -> f64| settled.iter().map(of).sum::<f64>() / n.max(1.0);
    let (mean_s, mean) = (mean_of(|level| level.0), mean_of(|level| level.1));
    let none = Trend { mean, per_hour: f64::NAN, margin: f64::NAN, levels: settled.len(), verdict: Verdict::TooShort };
    if settled.len() < LEVELS_MIN {
        return none;
    }
    let sxx: f64 = settled.iter().map(|level| (level.0 - mean_s).powi(2)).sum();
    let sxy: f64 = settled.iter().map(|level| (level.0 - mean_s) * (level.1 - mean)).sum();
    let slope = sxy / sxx;
    let residual: f64 = settled.iter().map(|level| (level.1 - mean - slope * (level.0 - mean_s)).powi(2)).sum();
    let error = (residual / (n - 2.0) / sxx).sqrt();
    let (per_hour, margin) = (slope * 3_600.0, error * 3_600.0 * student(settled.len() - 2));
    let matters = per_hour > TOLERATED_PART * mean;
    let verdict = match () {
        () if per_hour - margin > 0.0 && matters => Verdict::Grows,
        () if per_hour + margin > BLUR_PART * mean => Verdict::TooShort,
        () => Verdict::Flat,
    };
    Trend { per_hour, margin, verdict, ..none }
}

/// Two-sided 95 % quantile of Student's t (Fisher and Yates, table III); between the lines the larger one.
fn student(freedom: usize) -> f64 {
    const TABLE: [(usize, f64); 16] = [
        (1, 12.71),
        (2, 4.30),
        (3, 3.18),
        (4, 2.78),
        (5, 2.57),
        (6, 2.45),
        (7, 2.36),
        (8, 2.31),
        (9, 2.26),
        (10, 2.23),
        (12, 2.18),
        (15, 2.13),
        (20, 2.09),
        (30, 2.04),
        (60, 2.00),
        (120, 1.98),
    ];
    TABLE.iter().rev().find(|(known, _)| *known <= freedom).map_or(f64::INFINITY, |(_, t)| *t)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels every three minutes for an hour: `value(minute)` and a scatter of `noise` that repeats.
    fn hour(noise: f64, value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let scatter = [0.3, -0.8, 0.5, 0.9, -0.6, -0.1, 0.7, -0.9, 0.2, -0.2];
        let level = |k: usize| (180.0 * k as f64, value(3.0 * k as f64) + noise * scatter[k % scatter.len()]);
        (0..20).map(level).collect()
    }

    #[test]
    fn a_leak_a_warm_up_and_noise_are_told_apart() {
        let leak = trend(&hour(3.0, |minute| 400.0 + 0.5 * minute));
        assert_eq!(leak.verdict, Verdict::Grows);
        assert!((leak.per_hour - 30.0).abs() < leak.margin, "{leak:?}");
        let warm_up = trend(&hour(3.0, |minute| 600.0 - 300.0 * (-minute / 4.0).exp()));
        assert_eq!(warm_up.verdict, Verdict::Flat, "{warm_up:?}");
        let noise = trend(&hour(3.0, |_| 500.0));
        assert_eq!(noise.verdict, Verdict::Flat);
        assert!(noise.per_hour.abs() < noise.margin, "{noise:?}");
        assert_eq!(trend(&hour(60.0, |_| 500.0)).verdict, Verdict::TooShort, "a scatter that hides anything");
        assert_eq!(trend(&hour(3.0, |_| 500.0)[..6]).verdict, Verdict::TooShort);
    }

    #[test]
    fn a_recording_gives_one_level() {
        let looks = [(0, 1.0, 5.0), (0, 2.0, 9.0), (0, 3.0, 6.0), (1, 10.0, 1.0)];
        assert_eq!(levels(&looks), [(2.0, 6.0), (10.0, 1.0)]);
    }
}
