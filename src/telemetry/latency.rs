//! Latency histograms of the loop's stages.

use hdrhistogram::Histogram;
use mimicd_device::Span;

/// A stretch of the way from a camera's exposure to an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Stage {
    /// Mid-exposure to the arrival of the set's last frame.
    Arrival,
    /// Arrival of the last frame to the start of the loop's work on the set.
    Gather,
    /// Keypoints, without inference.
    PoseOverhead,
    /// Keypoint network.
    PoseInference,
    /// Registration.
    Body,
    /// Imitation, without inference and physics.
    ImitationOverhead,
    /// Networks of the imitation: policy, forecaster and resampler.
    PolicyInference,
    /// Physics.
    Physics,
    /// Rules, outputs, rows for the recorder and the snapshot.
    Rules,
    /// All stages without network inference and physics.
    LoopOverhead,
    /// Mid-exposure to the action emitted.
    CameraToAction,
}

impl Stage {
    /// All stages, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Arrival,
        Self::Gather,
        Self::PoseOverhead,
        Self::PoseInference,
        Self::Body,
        Self::ImitationOverhead,
        Self::PolicyInference,
        Self::Physics,
        Self::Rules,
        Self::LoopOverhead,
        Self::CameraToAction,
    ];

    /// Name as it stands in tables, metrics and on the panel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "arrival",
            Self::Gather => "gather",
            Self::PoseOverhead => "pose_overhead",
            Self::PoseInference => "pose_inference",
            Self::Body => "body",
            Self::ImitationOverhead => "imitation_overhead",
            Self::PolicyInference => "policy_inference",
            Self::Physics => "physics",
            Self::Rules => "rules",
            Self::LoopOverhead => "loop_overhead",
            Self::CameraToAction => "camera_to_action",
        }
    }
}

/// A latency distribution in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct LatencySummary {
    /// How many.
    pub count: u64,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// 99.9th percentile, milliseconds.
    pub p999_ms: f64,
    /// Largest, milliseconds.
    pub max_ms: f64,
}

/// Latencies from 1 µs to 10 s at two digits (tables hold every value; this is for live views), without allocation after construction.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    micros: Histogram<u32>,
}

impl LatencyHistogram {
    const MICROS_MAX: u64 = 10_000_000;

    /// An empty histogram.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    pub fn new() -> Self {
        Self { micros: Histogram::new_with_bounds(1, Self::MICROS_MAX, 2).expect("constant bounds are valid") }
    }

    /// Counts one latency; negative ones as 1 µs, ones over 10 s as 10 s.
    pub fn add(&mut self, latency: Span) {
        let micros = (latency.nanos().max(0) as u64 / 1_000).clamp(1, Self::MICROS_MAX);
        self.micros.saturating_record(micros);
    }

    /// The distribution in numbers.
    pub fn summary(&self) -> LatencySummary {
        let at = |quantile: f64| self.micros.value_at_quantile(quantile) as f64 * 1e-3;
        if self.micros.is_empty() {
            return LatencySummary::default();
        }
        LatencySummary {
            count: self.micros.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.micros.max() as f64 * 1e-3,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.micros.reset();
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Ticks after which a window of [`RecentLatency`] is full: 10 s at 50 Hz.
pub const RECENT_TICKS: u64 = 500;

/// Latencies of the last [`RECENT_TICKS`] to twice as many: what a live view shows must not be what was hours ago.
#[derive(Clone, Debug, Default)]
pub struct RecentLatency {
    filling: LatencyHistogram,
    full: LatencyHistogram,
}

impl RecentLatency {
    /// Counts one latency.
    pub fn add(&mut self, latency: Span) {
        if self.filling.micros.len() >= RECENT_TICKS {
            std::mem::swap(&mut self.filling, &mut self.full);
            self.filling.clear();
        }
        self.filling.add(latency);
    }

    /// The distribution in numbers; `scratch` is overwritten.
    pub fn summary(&self, scratch: &mut LatencyHistogram) -> LatencySummary {
        scratch.clear();
        for part in [&self.filling, &self.full] {
            scratch.micros.add(&part.micros).expect("all have the same constant bounds");
        }
        scratch.summary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_listed_in_the_order_of_their_numbers() {
        for (index, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index, "{}", stage.name());
        }
    }

    #[test]
    fn quantiles_and_extremes_are_kept() {
        let mut histogram = LatencyHistogram::new();
        assert_eq!(histogram.summary(), LatencySummary::default());
        (1..=1_000).for_each(|i| histogram.add(Span::from_micros(i * 10)));
        histogram.add(Span::from_nanos(-5));
        let summary = histogram.summary();
        assert_eq!(summary.count, 1_001);
        assert!((summary.p50_ms - 5.0).abs() < 0.06 && (summary.p99_ms - 9.9).abs() < 0.12);
        assert!((summary.max_ms - 10.0).abs() < 0.12);
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let (mut recent, mut scratch) = (RecentLatency::default(), LatencyHistogram::new());
        (0..RECENT_TICKS).for_each(|_| recent.add(Span::from_millis(90)));
        assert_eq!(recent.summary(&mut scratch).count, RECENT_TICKS);
        (0..RECENT_TICKS).for_each(|_| recent.add(Span::from_millis(5)));
        assert!(recent.summary(&mut scratch).max_ms > 80.0, "still within two windows");
        recent.add(Span::from_millis(5));
        let summary = recent.summary(&mut scratch);
        assert_eq!(summary.count, RECENT_TICKS + 1);
        assert!(summary.max_ms < 6.0, "{summary:?}");
    }
}
