//! Whether cameras that should see the same instants do: proved from what they saw.
//!
//! Whatever moves in front of several cameras changes their pictures at the same frames, whatever each camera's angle.
//! How much of a picture changed from one frame to the next is the camera's *activity*. Its logarithm, without its slow
//! part, is compared window by window with the mean of the other cameras' at lags of a few frames. A camera is
//!
//! - *aligned* in a window where the correlation at lag 0 is the highest, by a margin that the window's length warrants;
//! - *shifted* where another lag is;
//! - *unproved* where nothing moved enough to tell. It is never guessed.
//!
//! A frame delivered twice is to the pixel the one before it, while others saw a change.

use nalgebra::DVector;

/// How windows are judged.
#[derive(Clone, Copy, Debug)]
pub struct AlignmentOptions {
    /// Frames in a window.
    pub window: usize,
    /// Frames from one window to the next.
    pub hop: usize,
    /// Largest lag looked at, frames.
    pub lag_max: usize,
    /// Length of the moving mean that is taken away, frames.
    pub slow: usize,
    /// Lowest correlation that counts.
    pub correlation_min: f64,
    /// How far the best lag must stand above the second.
    pub margin_min: f64,
}

impl Default for AlignmentOptions {
    /// Chosen on the real five-camera video: at 250 frames, a true lag stands out by 0.1 to 0.4 wherever the animal moves.
    fn default() -> Self {
        Self { window: 250, hop: 125, lag_max: 5, slow: 25, correlation_min: 0.35, margin_min: 0.04 }
    }
}

/// What a window says of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// In step with the others.
    Aligned,
    /// Its frames come this many places late (positive) or early.
    Shifted(i32),
    /// Not enough moved to tell.
    Unproved,
}

/// One camera in one window.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct WindowVerdict {
    /// Which camera.
    pub camera: usize,
    /// First frame of the window.
    pub first: usize,
    /// Correlation at the best lag.
    pub correlation: f64,
    /// Best minus second best.
    pub margin: f64,
    /// The verdict.
    pub standing: Standing,
}

/// Judges every camera in every window. `activity[camera][frame]` is the share of the picture that changed since the frame
/// before; all cameras have equally many frames.
///
/// # Panics
/// When the lengths differ.
pub fn judge(activity: &[Vec<f32>], options: &AlignmentOptions) -> Vec<WindowVerdict> {
    let frames = activity.first().map_or(0, Vec::len);
    assert!(activity.iter().all(|one| one.len() == frames), "as many frames of every camera");
    let quick: Vec<DVector<f64>> = activity.iter().map(|one| quick_part(one, options.slow)).collect();
    let mut verdicts = Vec::new();
    let margin = options.lag_max;
    let mut first = margin;
    while first + options.window + margin <= frames {
        let windows: Vec<_> = quick.iter().map(|one| standard(one, first, options.window)).collect();
        for camera in 0..quick.len() {
            verdicts.push(window_verdict(&quick, &windows, camera, first, options));
        }
        first += options.hop;
    }
    verdicts
}

/// Frames (camera, frame) that are to the pixel the one before while most other cameras saw more change than they usually
/// do. `identical[camera][frame]` says which frames equal the one before; a codec may give such frames of a still scene.
pub fn duplicates(activity: &[Vec<f32>], identical: &[Vec<bool>]) -> Vec<(usize, usize)> {
    let usual: Vec<f32> = activity.iter().map(|one| median(one)).collect();
    let is_busy = |camera: usize, frame: usize| activity[camera][frame] > usual[camera];
    let mut found = Vec::new();
    for (camera, frames) in identical.iter().enumerate() {
        for frame in (1..frames.len()).filter(|frame| frames[*frame]) {
            let busy = (0..activity.len()).filter(|other| *other != camera && is_busy(*other, frame)).count();
            if 2 * busy > activity.len() - 1 {
                found.push((camera, frame));
            }
        }
    }
    found.sort_unstable_by_key(|(camera, frame)| (*frame, *camera));
    found
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Log activity without its moving mean.
fn quick_part(activity: &[f32], slow: usize) -> DVector<f64> {
    // A still picture's activity is noise of the codec; a small floor keeps its logarithm from dominating.
    let logs: Vec<f64> = activity.iter().map(|value| (f64::from(*value) + 1e-5).ln()).collect();
    let half = slow / 2;
    DVector::from_fn(logs.len(), |i, _| {
        let near = &logs[i.saturating_sub(half)..(i + half + 1).min(logs.len())];
        logs[i] - near.iter().sum::<f64>() / near.len() as f64
    })
}

/// A window with mean 0 and length 1 (or all zero).
fn standard(signal: &DVector<f64>, first: usize, window: usize) -> DVector<f64> {
    let part = signal.rows(first, window);
    let centred = part.add_scalar(-part.mean());
    let norm = centred.norm();
    if norm > 1e-9 { centred / norm } else { centred * 0.0 }
}

fn window_verdict(
    quick: &[DVector<f64>],
    windows: &[DVector<f64>],
    camera: usize,
    first: usize,
    options: &AlignmentOptions,
) -> WindowVerdict {
    let others = windows.iter().enumerate().filter(|(other, _)| *other != camera).map(|(_, window)| window);
    let mean = others.fold(DVector::zeros(options.window), |sum, window| sum + window);
    let reference = standard(&mean, 0, options.window);
    let reach = options.lag_max as i32;
    let mut lags: Vec<(f64, i32)> = (-reach..=reach)
        .map(|lag| {
            let from = (first as i32 + lag) as usize;
            (standard(&quick[camera], from, options.window).dot(&reference), lag)
        })
        .collect();
    lags.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (correlation, lag) = lags[0];
    let margin = correlation - lags[1].0;
    let standing = match lag {
        _ if correlation < options.correlation_min || margin < options.margin_min => Standing::Unproved,
        0 => Standing::Aligned,
        lag => Standing::Shifted(lag),
    };
    WindowVerdict { camera, first, correlation, margin, standing }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Activity of cameras that watch one movement, each with noise of its own.
    fn watched(frames: usize, cameras: usize) -> Vec<Vec<f32>> {
        let noise = |index: usize, salt: usize| {
            let mixed = (index * 2_654_435_761 + salt * 40_503).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed >> 40) & 0xFFFF) as f32 / 65_536.0
        };
        let movement = |frame: usize| 0.01 * (3.0 * (noise(frame / 2, 7) + noise(frame, 9))).exp();
        (0..cameras)
            .map(|camera| (0..frames).map(|frame| movement(frame) * (0.5 + noise(frame, camera))).collect())
            .collect()
    }

    fn standings(activity: &[Vec<f32>], camera: usize) -> Vec<Standing> {
        let verdicts = judge(activity, &AlignmentOptions::default());
        verdicts.into_iter().filter(|v| v.camera == camera).map(|v| v.standing).collect()
    }

    #[test]
    fn cameras_in_step_are_aligned() {
        let activity = watched(2_000, 5);
        assert!((0..5).all(|camera| standings(&activity, camera).iter().all(|s| *s == Standing::Aligned)));
    }

    #[test]
    fn a_shift_is_found_from_where_it_begins() {
        let mut activity = watched(2_000, 5);
        activity[2].remove(1_000);
        activity[2].push(0.01);
        let found = judge(&activity, &AlignmentOptions::default());
        for verdict in found.iter().filter(|v| v.camera == 2) {
            let expected = if verdict.first + 250 <= 1_000 {
                Standing::Aligned
            } else if verdict.first >= 1_000 {
                Standing::Shifted(-1)
            } else {
                continue;
            };
            assert_eq!(verdict.standing, expected, "window at {}", verdict.first);
        }
    }

    #[test]
    fn stillness_proves_nothing() {
        let activity = vec![vec![0.0; 1_000]; 4];
        assert!(standings(&activity, 1).iter().all(|s| *s == Standing::Unproved));
        assert!(duplicates(&activity, &vec![vec![true; 1_000]; 4]).is_empty());
    }

    #[test]
    fn a_frame_given_twice_is_named() {
        let mut activity = watched(600, 5);
        activity.iter_mut().for_each(|one| one[400] = 1.0);
        activity[3][400] = 0.0;
        let mut identical = vec![vec![false; 600]; 5];
        identical[3][400] = true;
        assert_eq!(duplicates(&activity, &identical), [(3, 400)]);
    }
}
