//! Where the world's origin and axes are.

use nalgebra::{Matrix3, Vector3};

use super::bundle::{BundleView, Corner};
use super::transform::{compose, inverse, similarity};
use super::{Board, CalibrateError, Solution};
use crate::geometry::{Calibration, CameraModel, MOVED_SHARE, RigidTransform};

/// The board may differ in size from what an older calibration sees by this share; more is a wrong length of a square.
const SCALE_SHARE_MAX: f64 = 0.02;
/// Corners in 3D that an older world is found from, at least.
const POINTS_MIN: usize = 50;
/// Corners within so many times the median distance decide where the old world is; those that a moved camera has bent do not.
const AGREE_MEDIANS: f64 = 3.0;
/// Rounds of choosing them.
const AGREE_ROUNDS: usize = 10;
/// A view further off than this is left out of a corner's place in the old world, pixels: its camera has moved.
const OLD_OUTLIER_PX: f64 = 4.0;

/// How the world is chosen.
#[derive(Clone, Debug)]
pub enum World {
    /// The board in one frame lies on the floor: origin at the board's middle, x along its columns, z up out of the print.
    Board {
        /// The frame; `None`: the first of those in which most cameras see the board.
        frame: Option<u64>,
        /// The printed face's height above the floor, metres.
        height_m: f64,
    },
    /// The world of an older calibration of the same cameras, most of which have not moved since.
    Keep(Calibration),
}

/// What an older calibration makes of a camera's views.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Moved {
    /// Its name.
    pub camera: String,
    /// Median distance of the corners from where the older calibration expects them, pixels.
    pub offset_px: f64,
    /// Whether that is too far for a camera that stands where it stood (0.4 % of the width, as the live alarm has it).
    pub moved: bool,
}

impl World {
    /// Puts a solution into this world; says which frame decided, and what moved against an older calibration.
    ///
    /// # Errors
    /// [`CalibrateError::World`] when the frame has no board, or when the older calibration has other cameras or sees
    /// the board in another size.
    pub fn place(&self, solution: &mut Solution, board: &Board) -> Result<(Option<u64>, Vec<Moved>), CalibrateError> {
        match self {
            Self::Board { frame, height_m } => {
                let index = chosen(solution, *frame)?;
                // Half a turn about the columns: the board's z points into it.
                let turned = Matrix3::from_diagonal(&Vector3::new(1.0, -1.0, -1.0));
                let world_from_board = RigidTransform {
                    rotation: turned,
                    translation_m: Vector3::new(0.0, 0.0, *height_m) - turned * board.middle_m(),
                };
                let world_from_rig = compose(&world_from_board, &inverse(&solution.bundle.boards[index]));
                apply(solution, &world_from_rig);
                Ok((Some(solution.frames[index]), Vec::new()))
            }
            Self::Keep(old) => keep(solution, old, board).map(|moved| (None, moved)),
        }
    }
}

/// Index of the place of the board that makes the world.
fn chosen(solution: &Solution, frame: Option<u64>) -> Result<usize, CalibrateError> {
    if let Some(frame) = frame {
        return solution.frames.iter().position(|other| *other == frame).ok_or_else(|| {
            let nearest = solution.frames.iter().min_by_key(|other| other.abs_diff(frame));
            let nearest = nearest.map_or(String::new(), |other| format!("; the nearest frame with one is {other}"));
            CalibrateError::World(format!("frame {frame} has no board that can be used{nearest}"))
        });
    }
    let views = |index: usize| solution.bundle.views.iter().filter(|view| view.board == index).count();
    let best = (0..solution.frames.len()).rev().max_by_key(|index| views(*index));
    best.ok_or_else(|| CalibrateError::World("no frame has a board".to_owned()))
}

fn apply(solution: &mut Solution, world_from_rig: &RigidTransform) {
    let rig_from_world = inverse(world_from_rig);
    for camera in &mut solution.bundle.cameras {
        camera.cam_from_world = compose(&camera.cam_from_world, &rig_from_world);
    }
    for board in &mut solution.bundle.boards {
        *board = compose(world_from_rig, board);
    }
}

fn keep(solution: &mut Solution, old: &Calibration, board: &Board) -> Result<Vec<Moved>, CalibrateError> {
    let failed = |text: String| CalibrateError::World(text);
    let frames = solution.bundle.cameras.iter().map(|new| (new.name.as_str(), new.width_px, new.height_px));
    let old = old.for_frames(frames).map_err(|error| failed(format!("the older calibration: {error}")))?.cameras;
    let (rig, world) = common_points(solution, &old, board);
    if rig.len() < POINTS_MIN {
        let count = rig.len();
        return Err(failed(format!(
            "the older calibration sees {count} corners in 3D, expected at least {POINTS_MIN}"
        )));
    }
    let mut weights = vec![1.0; rig.len()];
    let mut scale = f64::NAN;
    for _ in 0..AGREE_ROUNDS {
        let Some((world_from_rig, found)) = similarity(&rig, &world, &weights) else { break };
        scale = found;
        let off = |(a, b): (&Vector3<f64>, &Vector3<f64>)| (world_from_rig.apply(&(a * found)) - b).norm();
        let distances: Vec<f64> = rig.iter().zip(&world).map(off).collect();
        let mut sorted = distances.clone();
        sorted.sort_by(f64::total_cmp);
        let limit = AGREE_MEDIANS * sorted[sorted.len() / 2].max(1e-9);
        weights.iter_mut().zip(&distances).for_each(|(weight, off)| *weight = f64::from(u8::from(*off <= limit)));
    }
    if !((scale - 1.0).abs() <= SCALE_SHARE_MAX) {
        let times = 1.0 / scale;
        return Err(failed(format!(
            "the board is {times:.3} times as large as the older calibration sees it, expected within 2 %: is the length of a \
             square right?"
        )));
    }
    // Lengths are the board's.
    if let Some((world_from_rig, _)) = similarity(&rig, &world, &weights) {
        apply(solution, &world_from_rig);
    }
    Ok(moved(solution, &old))
}

/// Corners that the older calibration's cameras triangulate: where they are in the solution, and where in its world.
fn common_points(solution: &Solution, old: &[CameraModel], board: &Board) -> (Vec<Vector3<f64>>, Vec<Vector3<f64>>) {
    let bundle = &solution.bundle;
    let seen = bundle.triangulated(old, board.points(), OLD_OUTLIER_PX);
    let (mut rig, mut world) = (Vec::new(), Vec::new());
    for (place, corners) in bundle.boards.iter().zip(&seen) {
        for (point, found) in corners.iter().enumerate() {
            if let Some(found) = found {
                rig.push(place.apply(&board.point_m(point as u32)));
                world.push(*found);
            }
        }
    }
    (rig, world)
}

/// How far each camera's corners lie from where the older calibration expects them.
fn moved(solution: &Solution, old: &[CameraModel]) -> Vec<Moved> {
    let bundle = &solution.bundle;
    let cameras = old.iter().enumerate().map(|(index, old)| {
        let own = bundle.views.iter().filter(|view| view.camera == index);
        let corners = own.flat_map(|view| view.corners.iter().filter(|c| !c.dropped).map(move |corner| (view, corner)));
        let off = |(view, corner): (&BundleView, &Corner)| {
            old.project(&bundle.boards[view.board].apply(&corner.place_m)).map(|pixel| (pixel - corner.pixel).norm())
        };
        let mut offsets: Vec<f64> = corners.filter_map(off).collect();
        offsets.sort_by(f64::total_cmp);
        let offset_px = offsets.get(offsets.len() / 2).copied().unwrap_or(f64::NAN);
        let limit_px = MOVED_SHARE * f64::from(old.width_px);
        Moved { camera: old.name.clone(), offset_px, moved: !(offset_px <= limit_px) }
    });
    cameras.collect()
}
