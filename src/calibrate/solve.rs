//! From views to a solved rig.

use super::bundle::{Bundle, BundleView, Corner, free_lens};
use super::start::{self, Alone, Usable};
use super::{Board, BoardViews, CalibrateError};
use crate::geometry::{Calibration, RigidTransform};

/// Usable views that a camera needs: fewer do not tell a lens from the places of the board.
const VIEWS_MIN: usize = 8;
/// Huber limit of the first adjustment, pixels.
const FIRST_HUBER_PX: f64 = 2.0;
/// Corners further off than so many times the median error are dropped …
const DROP_MEDIANS: f64 = 6.0;
/// … but never those nearer than this, pixels.
const DROP_PX_MIN: f64 = 0.5;
/// Adjustments after dropping; the second finds what the first one's corners had hidden.
const DROP_ROUNDS: usize = 2;
/// A rig whose median error is above this share of a camera's width does not fit together (6.4 px at 640).
const MISFIT_SHARE: f64 = 0.01;
/// So does one in which more than this share of a camera's corners had to be dropped.
const DROPPED_SHARE_MAX: f64 = 0.3;

/// How to solve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SolveOptions {
    /// All five distortion numbers; otherwise k1 and k2 only.
    pub full_lens: bool,
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self { full_lens: true }
    }
}

/// A solved rig.
#[derive(Clone, Debug)]
pub struct Solution {
    pub(super) bundle: Bundle,
    /// Number of the frame of each place of the board.
    pub(super) frames: Vec<u64>,
    pub(super) focal_sd_px: Vec<f64>,
}

impl Solution {
    /// The cameras.
    pub fn calibration(&self) -> Calibration {
        Calibration { cameras: self.bundle.cameras.clone() }
    }

    /// Frames in which the board has a place, and `world_from_board` there.
    pub fn boards(&self) -> impl Iterator<Item = (u64, &RigidTransform)> {
        self.frames.iter().copied().zip(&self.bundle.boards)
    }
}

/// Solves a rig; its world is that of one of its cameras until [`super::World::place`] puts it where it belongs.
///
/// # Errors
/// [`CalibrateError`] names the camera and what it lacks.
pub fn solve(views: &BoardViews, board: &Board, options: &SolveOptions) -> Result<Solution, CalibrateError> {
    let usable = usable(views, board);
    for (index, camera) in views.cameras.iter().enumerate() {
        let seen = views.of(index).filter(|view| !view.corners.is_empty()).count();
        if seen == 0 {
            return Err(CalibrateError::NoBoard {
                camera: camera.name.clone(),
                frames: camera.frames,
                expected: board.to_string(),
                hint: String::new(),
            });
        }
        let found = usable.iter().filter(|view| view.camera == index).count();
        if found < VIEWS_MIN {
            return Err(CalibrateError::TooFewViews { camera: camera.name.clone(), found, least: VIEWS_MIN });
        }
    }
    let alone = views.cameras.iter().enumerate().map(|(index, camera)| {
        let own: Vec<&Usable> = usable.iter().filter(|view| view.camera == index).collect();
        start::alone(camera, &own, options.full_lens)
    });
    let alone: Vec<Alone> = alone.collect::<Result<_, _>>()?;
    let (reference, poses) = start::chain(&alone)?;
    let (mut bundle, frames) = start::bundle(&alone, &poses, &usable, FIRST_HUBER_PX);
    bundle.free = (0..alone.len()).map(|index| free_lens(options.full_lens, index != reference)).collect();
    bundle.solve();
    for _ in 0..DROP_ROUNDS {
        drop_far(&mut bundle);
        bundle.solve();
    }
    check(&bundle)?;
    let focal_sd_px = bundle.focal_sd_px();
    Ok(Solution { bundle, frames, focal_sd_px })
}

/// The views that say where the board is.
fn usable(views: &BoardViews, board: &Board) -> Vec<Usable> {
    let ready = views.views.iter().map(|view| {
        let corner = |seen: &super::Seen| Corner {
            point: seen.point,
            place_m: board.point_m(seen.point),
            pixel: seen.pixel,
            dropped: false,
        };
        Usable { camera: view.camera, frame: view.frame, corners: view.corners.iter().map(corner).collect() }
    });
    ready.filter(|view| start::is_usable(&view.corners)).collect()
}

/// Leaves out corners that lie far off, and takes back those that no longer do.
fn drop_far(bundle: &mut Bundle) {
    let limits: Vec<f64> = (0..bundle.cameras.len())
        .map(|camera| (DROP_MEDIANS * bundle.median_px(Some(camera)).unwrap_or(0.0)).max(DROP_PX_MIN))
        .collect();
    let is_far = |view: &BundleView, corner: &Corner| {
        bundle.error_px(view, corner).is_none_or(|error| error.norm() > limits[view.camera])
    };
    let dropped: Vec<Vec<bool>> =
        bundle.views.iter().map(|view| view.corners.iter().map(|corner| is_far(view, corner)).collect()).collect();
    for (view, dropped) in bundle.views.iter_mut().zip(dropped) {
        // A place that no corner tells any more would be undetermined; its view keeps what it has.
        let kept: Vec<Corner> = view.corners.iter().zip(&dropped).filter(|(_, far)| !**far).map(|(c, _)| *c).collect();
        if start::is_usable(&kept) {
            view.corners.iter_mut().zip(dropped).for_each(|(corner, far)| corner.dropped = far);
        }
    }
}

/// Refuses an answer that no lab should use.
fn check(bundle: &Bundle) -> Result<(), CalibrateError> {
    for (index, camera) in bundle.cameras.iter().enumerate() {
        let median_px = bundle.median_px(Some(index)).unwrap_or(f64::INFINITY);
        let name = &camera.name;
        let advice = "are the videos in step, is the board flat and its size right?";
        if !(median_px < MISFIT_SHARE * f64::from(camera.width_px)) {
            return Err(CalibrateError::Misfit(format!(
                "camera {name} misses its corners by {median_px:.1} px (median); {advice}"
            )));
        }
        let own = bundle.views.iter().filter(|view| view.camera == index).flat_map(|view| &view.corners);
        let (all, dropped) = own.fold((0, 0), |(all, dropped), c| (all + 1, dropped + usize::from(c.dropped)));
        if dropped as f64 > DROPPED_SHARE_MAX * all as f64 {
            let text = format!("{dropped} of the {all} corners of camera {name} lie far off; {advice}");
            return Err(CalibrateError::Misfit(text));
        }
    }
    Ok(())
}
