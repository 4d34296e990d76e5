//! Keypoints as signals: place, height and smoothed speed of each.

use mimicd_device::{BoardTime, Span};

use super::signals::{SignalIndex, SignalNames, SignalTable};

/// Speeds follow the keypoint with this time constant: differences of single frames carry mostly noise.
const SPEED_SMOOTHING: Span = Span::from_millis(60);
/// A keypoint that was missing longer than this has no speed until it was seen twice.
const SPEED_GAP_MAX: Span = Span::from_millis(100);
const SIGNALS: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Track {
    at: BoardTime,
    xyz_m: [f64; 3],
    velocity_m_per_s: Option<[f64; 3]>,
}

/// Fills `pose.<keypoint>.x_m`, `.y_m`, `.height_m` and `.speed_m_per_s`.
#[derive(Clone, Debug)]
pub struct PoseSignals {
    first: SignalIndex,
    tracks: Vec<Option<Track>>,
}

impl PoseSignals {
    /// Adds the signals of `keypoints` to `names`.
    pub fn new(names: &mut SignalNames, keypoints: &[String]) -> Self {
        let of = |keypoint: &String| {
            ["x_m", "y_m", "height_m", "speed_m_per_s"].map(|part| format!("pose.{keypoint}.{part}"))
        };
        let first = names.extend(keypoints.iter().flat_map(of));
        Self { first, tracks: vec![None; keypoints.len()] }
    }

    /// Sets all keypoints as they were at `at` (mid-exposure); `None` for one that was not found. World frame, metres.
    pub fn set(
        &mut self,
        table: &mut SignalTable,
        at: BoardTime,
        keypoints_m: impl IntoIterator<Item = Option<[f64; 3]>>,
    ) {
        for (index, (track, found)) in self.tracks.iter_mut().zip(keypoints_m).enumerate() {
            let first = SignalIndex(self.first.0 + (index * SIGNALS) as u32);
            let Some(xyz_m) = found.filter(|xyz_m| xyz_m.iter().all(|value| value.is_finite())) else {
                table.invalidate(first, SIGNALS, at);
                continue;
            };
            let velocity_m_per_s = track.and_then(|track| track.velocity_to(at, xyz_m));
            *track = Some(Track { at, xyz_m, velocity_m_per_s });
            let speed = velocity_m_per_s.map_or(f64::NAN, |v| v.iter().map(|c| c * c).sum::<f64>().sqrt());
            table.set_all(first, at, [xyz_m[0], xyz_m[1], xyz_m[2], speed]);
        }
    }
}

impl Track {
    /// Smoothed velocity when the keypoint is next seen at `at`; `None` after a gap or a step back in time.
    fn velocity_to(&self, at: BoardTime, xyz_m: [f64; 3]) -> Option<[f64; 3]> {
        let span = at - self.at;
        if span <= Span::ZERO || span > SPEED_GAP_MAX {
            return None;
        }
        let newest: [f64; 3] = std::array::from_fn(|axis| (xyz_m[axis] - self.xyz_m[axis]) / span.secs_f64());
        let keep = (-span.secs_f64() / SPEED_SMOOTHING.secs_f64()).exp();
        Some(match self.velocity_m_per_s {
            Some(old) => std::array::from_fn(|axis| keep * old[axis] + (1.0 - keep) * newest[axis]),
            None => newest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Reading;

    fn value(table: &SignalTable, names: &SignalNames, name: &str) -> Option<f64> {
        match table.reading(names.find(name).unwrap()) {
            Reading::Value { value, .. } => Some(value),
            _ => None,
        }
    }

    #[test]
    fn speed_is_that_of_the_keypoint_and_gone_after_a_gap() {
        let mut names = SignalNames::new();
        let mut pose = PoseSignals::new(&mut names, &["Snout".to_owned(), "TailBase".to_owned()]);
        let mut table = SignalTable::new(&names);
        let at = |frame: i64| BoardTime::from_nanos(frame * 20_000_000);
        for frame in 0..50 {
            pose.set(&mut table, at(frame), [Some([frame as f64 * 0.002, 0.0, 0.05]), None]);
        }
        let speed = value(&table, &names, "pose.Snout.speed_m_per_s").unwrap();
        assert!((speed - 0.1).abs() < 1e-9, "{speed}");
        assert_eq!(value(&table, &names, "pose.Snout.height_m"), Some(0.05));
        assert_eq!(value(&table, &names, "pose.TailBase.x_m"), None);
        pose.set(&mut table, at(60), [Some([0.5, 0.0, 0.05]), None]);
        assert_eq!(value(&table, &names, "pose.Snout.speed_m_per_s"), None);
        assert_eq!(value(&table, &names, "pose.Snout.x_m"), Some(0.5));
    }
}
