//! Bundle adjustment: all lenses, all camera poses and all places of the board at once.
//!
//! Levenberg–Marquardt on the reprojection error with Huber's loss. A view ties one camera to one place of the board and to
//! nothing else, so the places (six numbers each) are eliminated (Schur complement) and only the cameras' system (fifteen
//! numbers each) is solved.

use nalgebra::{DMatrix, DVector, Matrix2, Matrix2x3, Matrix6, SMatrix, SVector, Vector2, Vector3, Vector6};

use super::transform::nudged;
use crate::geometry::{CameraModel, Observation, RigidTransform, TriangulationOptions, triangulate_robust};

/// Numbers of a lens: fx, fy, cx, cy, k1, k2, p1, p2, k3.
const LENS: usize = 9;
/// Numbers of a camera: its lens, its rotation, its translation.
pub(super) const CAMERA: usize = LENS + 6;

type CameraBlock = SMatrix<f64, CAMERA, CAMERA>;
type CameraVector = SVector<f64, CAMERA>;
type Cross = SMatrix<f64, CAMERA, 6>;

/// Steps at most.
const STEPS_MAX: usize = 100;
/// It has arrived when a step betters the cost by less than this share.
const GAIN_SMALL: f64 = 1e-9;
/// Points nearer than this are behind the camera, metres.
const DEPTH_MIN_M: f64 = 1e-3;

/// A corner of the board in a view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    /// Number of the board's corner.
    pub(super) point: u32,
    /// Where it is on the board.
    pub(super) place_m: Vector3<f64>,
    /// Where it was seen.
    pub(super) pixel: Vector2<f64>,
    /// Left out, because it lies far off.
    pub(super) dropped: bool,
}

/// What one camera saw of the board in one place.
#[derive(Clone, Debug)]
pub(super) struct BundleView {
    pub(super) camera: usize,
    pub(super) board: usize,
    pub(super) corners: Vec<Corner>,
}

/// Which numbers of a camera are solved for, in the order of [`CAMERA`].
pub(super) type Free = [bool; CAMERA];

/// The problem and, once solved, its answer. The cameras' common frame is called the rig's here.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// `cam_from_world` is `cam_from_rig`.
    pub(super) cameras: Vec<CameraModel>,
    pub(super) free: Vec<Free>,
    /// `rig_from_board`.
    pub(super) boards: Vec<RigidTransform>,
    pub(super) views: Vec<BundleView>,
    /// Errors beyond this count only linearly, pixels.
    pub(super) huber_px: f64,
}

/// Weak knowledge about lenses, which decides where the views do not: deviations of the principal point (share of the
/// width) and of k1, k2, p1, p2, k3 …
const MIDDLE_SD_SHARE: f64 = 0.02;
const DISTORTION_SD: [f64; 5] = [1.0, 1.0, 0.02, 0.02, 1.0];
/// … each of which costs as much as one corner so many pixels off, which is what corners are found to.
const PRIOR_PX: f64 = 0.1;

/// Sums of one linearisation.
struct Normal {
    cameras: Vec<CameraBlock>,
    cameras_gradient: Vec<CameraVector>,
    boards: Vec<Matrix6<f64>>,
    boards_gradient: Vec<Vector6<f64>>,
    /// One for each view.
    cross: Vec<Cross>,
}

/// The cameras' system with the boards eliminated.
struct Reduced {
    system: DMatrix<f64>,
    right: DVector<f64>,
    /// Each board's damped inverse.
    inverses: Vec<Matrix6<f64>>,
}

/// Which lens is solved for.
pub(super) fn free_lens(is_full: bool, has_pose: bool) -> Free {
    let mut free = [true; CAMERA];
    if !is_full {
        // Tangential terms and the sixth power.
        free[6..LENS].fill(false);
    }
    free[LENS..].fill(has_pose);
    free
}

impl Bundle {
    /// Solves; gives the cost (half the sum of squared pixels, beyond the Huber limit linear). Infinite when a start has a
    /// corner behind its camera.
    pub(super) fn solve(&mut self) -> f64 {
        let middles = self.middles();
        let mut cost = self.cost(&middles);
        let mut damping = 1e-3;
        for _ in 0..STEPS_MAX {
            if !cost.is_finite() {
                break;
            }
            let normal = self.normal(&middles);
            let before = cost;
            // Raise the damping until a step helps.
            while damping < 1e12 {
                let tried = self.stepped(&normal, damping).map(|next| (next.cost(&middles), next));
                match tried {
                    Some((next_cost, next)) if next_cost < cost => {
                        (*self, cost) = (next, next_cost);
                        damping = (damping * 0.2).max(1e-9);
                        break;
                    }
                    _ => damping *= 8.0,
                }
            }
            if before - cost <= GAIN_SMALL * before {
                break;
            }
        }
        cost
    }

    /// Error of a corner, pixels; `None` when it is behind the camera.
    pub(super) fn error_px(&self, view: &BundleView, corner: &Corner) -> Option<Vector2<f64>> {
        let in_rig = self.boards[view.board].apply(&corner.place_m);
        let camera = &self.cameras[view.camera];
        (camera.depth_m(&in_rig) > DEPTH_MIN_M).then(|| camera.project(&in_rig)).flatten().map(|p| p - corner.pixel)
    }

    /// Lengths of all used errors of a camera (of all cameras for `None`), pixels, in order of size.
    pub(super) fn errors_px(&self, camera: Option<usize>) -> Vec<f64> {
        let views = self.views.iter().filter(|view| camera.is_none_or(|camera| camera == view.camera));
        let used = views.flat_map(|view| view.corners.iter().filter(|c| !c.dropped).map(move |corner| (view, corner)));
        let mut errors: Vec<f64> =
            used.map(|(view, corner)| self.error_px(view, corner).map_or(f64::INFINITY, |e| e.norm())).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// Median of [`Bundle::errors_px`]; `None` where no corner is used.
    pub(super) fn median_px(&self, camera: Option<usize>) -> Option<f64> {
        let errors = self.errors_px(camera);
        errors.get(errors.len() / 2).copied()
    }

    /// Where cameras (in this problem's order, not necessarily its own) see every corner of every place of the board, from
    /// two views or more: `[board][point]`, in the world of those cameras. A view further off than `outlier_px` is left out.
    pub(super) fn triangulated(
        &self,
        cameras: &[CameraModel],
        points: u32,
        outlier_px: f64,
    ) -> Vec<Vec<Option<Vector3<f64>>>> {
        let options = TriangulationOptions { outlier_px, ..TriangulationOptions::default() };
        let blank = vec![Observation::NONE; cameras.len()];
        let mut seen = vec![vec![blank; points as usize]; self.boards.len()];
        for view in &self.views {
            for corner in view.corners.iter().filter(|corner| !corner.dropped) {
                let observation = Observation { pixel: corner.pixel, confidence: 1.0 };
                seen[view.board][corner.point as usize][view.camera] = observation;
            }
        }
        let place = |views: &Vec<Observation>| Some(triangulate_robust(cameras, views, &options)?.xyz_m);
        seen.iter().map(|corners| corners.iter().map(place).collect()).collect()
    }

    /// Standard deviation of each camera's focal length (the worse of fx and fy), pixels, from the curvature at the answer
    /// and the errors that remain; infinite where it is not determined.
    pub(super) fn focal_sd_px(&self) -> Vec<f64> {
        let normal = self.normal(&self.middles());
        let Some(Reduced { system, .. }) = self.reduced(&normal, 0.0) else {
            return vec![f64::INFINITY; self.cameras.len()];
        };
        let errors = self.errors_px(None);
        let free = self.free.iter().flatten().filter(|free| **free).count() + 6 * self.boards.len();
        let spare = (2 * errors.len()).saturating_sub(free).max(1) as f64;
        let variance = errors.iter().map(|e| e * e).sum::<f64>() / spare;
        let Some(inverse) = system.cholesky().map(|c| c.inverse()) else {
            return vec![f64::INFINITY; self.cameras.len()];
        };
        let sd =
            |camera: usize, axis: usize| (inverse[(camera * CAMERA + axis, camera * CAMERA + axis)] * variance).sqrt();
        (0..self.cameras.len()).map(|camera| sd(camera, 0).max(sd(camera, 1))).collect()
    }

    /// Where the priors put the principal points: the images' middles.
    fn middles(&self) -> Vec<[f64; 2]> {
        self.cameras.iter().map(|c| [c.width_px, c.height_px].map(|size| 0.5 * (f64::from(size) - 1.0))).collect()
    }

    fn cost(&self, middles: &[[f64; 2]]) -> f64 {
        let mut cost = 0.0;
        for view in &self.views {
            for corner in view.corners.iter().filter(|corner| !corner.dropped) {
                let Some(error) = self.error_px(view, corner) else { return f64::INFINITY };
                let length = error.norm();
                cost += if length <= self.huber_px {
                    0.5 * length * length
                } else {
                    self.huber_px * (length - 0.5 * self.huber_px)
                };
            }
        }
        for (camera, middle) in self.cameras.iter().zip(middles) {
            cost += priors(camera, middle).iter().map(|(_, off, weight)| 0.5 * weight * off * off).sum::<f64>();
        }
        cost
    }

    fn normal(&self, middles: &[[f64; 2]]) -> Normal {
        let mut normal = Normal {
            cameras: vec![CameraBlock::zeros(); self.cameras.len()],
            cameras_gradient: vec![CameraVector::zeros(); self.cameras.len()],
            boards: vec![Matrix6::zeros(); self.boards.len()],
            boards_gradient: vec![Vector6::zeros(); self.boards.len()],
            cross: vec![Cross::zeros(); self.views.len()],
        };
        for (view, cross) in self.views.iter().zip(&mut normal.cross) {
            let (camera, board) = (&self.cameras[view.camera], &self.boards[view.board]);
            for corner in view.corners.iter().filter(|corner| !corner.dropped) {
                let Some((pixel, mut by_camera, by_board)) = linearise(camera, board, &corner.place_m) else {
                    continue;
                };
                for held in (0..CAMERA).filter(|at| !self.free[view.camera][*at]) {
                    by_camera.column_mut(held).fill(0.0);
                }
                let error = pixel - corner.pixel;
                let weight = (self.huber_px / error.norm()).min(1.0);
                let weighted = by_camera.transpose() * weight;
                normal.cameras[view.camera] += weighted * by_camera;
                normal.cameras_gradient[view.camera] += weighted * error;
                *cross += weighted * by_board;
                let weighted = by_board.transpose() * weight;
                normal.boards[view.board] += weighted * by_board;
                normal.boards_gradient[view.board] += weighted * error;
            }
        }
        for (index, (camera, middle)) in self.cameras.iter().zip(middles).enumerate() {
            for (at, off, weight) in priors(camera, middle) {
                if self.free[index][at] {
                    normal.cameras[index][(at, at)] += weight;
                    normal.cameras_gradient[index][at] += weight * off;
                }
            }
            // What is held keeps its place.
            for at in (0..CAMERA).filter(|at| !self.free[index][*at]) {
                normal.cameras[index][(at, at)] = 1.0;
            }
        }
        normal
    }

    /// The cameras' system with the boards eliminated; `None` when a board is not determined.
    fn reduced(&self, normal: &Normal, damping: f64) -> Option<Reduced> {
        let size = CAMERA * self.cameras.len();
        let mut system = DMatrix::zeros(size, size);
        let mut right = DVector::zeros(size);
        for (camera, (block, gradient)) in normal.cameras.iter().zip(&normal.cameras_gradient).enumerate() {
            let mut damped = *block;
            (0..CAMERA).for_each(|at| damped[(at, at)] *= 1.0 + damping);
            system.fixed_view_mut::<CAMERA, CAMERA>(camera * CAMERA, camera * CAMERA).copy_from(&damped);
            right.fixed_rows_mut::<CAMERA>(camera * CAMERA).copy_from(&-gradient);
        }
        let mut inverses = Vec::with_capacity(self.boards.len());
        for block in &normal.boards {
            let mut damped = *block;
            (0..6).for_each(|at| damped[(at, at)] *= 1.0 + damping);
            inverses.push(damped.cholesky()?.inverse());
        }
        let mut of_board = vec![Vec::new(); self.boards.len()];
        for (index, view) in self.views.iter().enumerate() {
            of_board[view.board].push(index);
        }
        for (board, views) in of_board.iter().enumerate() {
            for &first in views {
                let camera = self.views[first].camera;
                let eliminated = normal.cross[first] * inverses[board];
                let mut rows = right.fixed_rows_mut::<CAMERA>(camera * CAMERA);
                rows += eliminated * normal.boards_gradient[board];
                for &second in views {
                    let other = self.views[second].camera;
                    let mut block = system.fixed_view_mut::<CAMERA, CAMERA>(camera * CAMERA, other * CAMERA);
                    block -= eliminated * normal.cross[second].transpose();
                }
            }
        }
        Some(Reduced { system, right, inverses })
    }

    /// The next state; `None` when the system cannot be solved at this damping.
    fn stepped(&self, normal: &Normal, damping: f64) -> Option<Self> {
        let Reduced { system, right, inverses } = self.reduced(normal, damping)?;
        let step = system.cholesky()?.solve(&right);
        let mut next = self.clone();
        let mut boards: Vec<Vector6<f64>> = normal.boards_gradient.iter().map(|gradient| -gradient).collect();
        for (view, cross) in self.views.iter().zip(&normal.cross) {
            boards[view.board] -= cross.transpose() * step.fixed_rows::<CAMERA>(view.camera * CAMERA);
        }
        for ((place, right), inverse) in next.boards.iter_mut().zip(boards).zip(inverses) {
            let step = inverse * right;
            *place = nudged(place, &step.fixed_rows::<3>(0).into_owned(), &step.fixed_rows::<3>(3).into_owned());
        }
        for (index, camera) in next.cameras.iter_mut().enumerate() {
            let step = step.fixed_rows::<CAMERA>(index * CAMERA);
            camera.k[(0, 0)] += step[0];
            camera.k[(1, 1)] += step[1];
            camera.k[(0, 2)] += step[2];
            camera.k[(1, 2)] += step[3];
            (0..5).for_each(|at| camera.distortion[at] += step[4 + at]);
            let (turn, shift) = (step.fixed_rows::<3>(LENS).into_owned(), step.fixed_rows::<3>(LENS + 3).into_owned());
            camera.cam_from_world = nudged(&camera.cam_from_world, &turn, &shift);
            if !(camera.k[(0, 0)] > 1.0 && camera.k[(1, 1)] > 1.0) {
                return None;
            }
        }
        Some(next)
    }
}

/// Index, distance from what is expected, and weight of each lens number that something is known about beforehand.
fn priors(camera: &CameraModel, middle: &[f64; 2]) -> [(usize, f64, f64); 7] {
    let middle_weight = (PRIOR_PX / (MIDDLE_SD_SHARE * f64::from(camera.width_px))).powi(2);
    let lens = |at: usize| (4 + at, camera.distortion[at], (PRIOR_PX / DISTORTION_SD[at]).powi(2));
    [
        (2, camera.k[(0, 2)] - middle[0], middle_weight),
        (3, camera.k[(1, 2)] - middle[1], middle_weight),
        lens(0),
        lens(1),
        lens(2),
        lens(3),
        lens(4),
    ]
}

/// Pixel of a place on the board with its derivatives by the camera and by the board's place (rotation vectors turn about
/// the axes of the target frame); `None` behind the camera.
fn linearise(
    camera: &CameraModel,
    board: &RigidTransform,
    place_m: &Vector3<f64>,
) -> Option<(Vector2<f64>, SMatrix<f64, 2, CAMERA>, SMatrix<f64, 2, 6>)> {
    let on_board = board.rotation * place_m;
    let in_rig = on_board + board.translation_m;
    let turned = camera.cam_from_world.rotation * in_rig;
    let p = turned + camera.cam_from_world.translation_m;
    if p.z <= DEPTH_MIN_M {
        return None;
    }
    let ideal = Vector2::new(p.x / p.z, p.y / p.z);
    let (bent, by_ideal) = camera.distort_with_jacobian(&ideal);
    let (fx, fy) = (camera.k[(0, 0)], camera.k[(1, 1)]);
    let focal = Matrix2::new(fx, 0.0, 0.0, fy);
    let pixel = Vector2::new(fx * bent.x + camera.k[(0, 2)], fy * bent.y + camera.k[(1, 2)]);
    let by_point = focal * by_ideal * Matrix2x3::new(1.0, 0.0, -ideal.x, 0.0, 1.0, -ideal.y) / p.z;
    let mut by_camera = SMatrix::<f64, 2, CAMERA>::zeros();
    by_camera[(0, 0)] = bent.x;
    by_camera[(1, 1)] = bent.y;
    by_camera[(0, 2)] = 1.0;
    by_camera[(1, 3)] = 1.0;
    let (x, y) = (ideal.x, ideal.y);
    let r2 = x * x + y * y;
    let lens = [
        [x * r2, y * r2],
        [x * r2 * r2, y * r2 * r2],
        [2.0 * x * y, r2 + 2.0 * y * y],
        [r2 + 2.0 * x * x, 2.0 * x * y],
        [x * r2 * r2 * r2, y * r2 * r2 * r2],
    ];
    for (at, [along, across]) in lens.into_iter().enumerate() {
        by_camera[(0, 4 + at)] = fx * along;
        by_camera[(1, 4 + at)] = fy * across;
    }
    by_camera.fixed_view_mut::<2, 3>(0, LENS).copy_from(&(-by_point * turned.cross_matrix()));
    by_camera.fixed_view_mut::<2, 3>(0, LENS + 3).copy_from(&by_point);
    let by_rig = by_point * camera.cam_from_world.rotation;
    let mut by_board = SMatrix::<f64, 2, 6>::zeros();
    by_board.fixed_view_mut::<2, 3>(0, 0).copy_from(&(-by_rig * on_board.cross_matrix()));
    by_board.fixed_view_mut::<2, 3>(0, 3).copy_from(&by_rig);
    Some((pixel, by_camera, by_board))
}

#[cfg(test)]
mod tests {
    use nalgebra::{Matrix3, Rotation3};

    use super::*;

    fn scene() -> (CameraModel, RigidTransform, Vector3<f64>) {
        let pose = |angles: [f64; 3], translation_m: Vector3<f64>| RigidTransform {
            rotation: *Rotation3::from_euler_angles(angles[0], angles[1], angles[2]).matrix(),
            translation_m,
        };
        let camera = CameraModel {
            name: "cam".to_owned(),
            width_px: 640,
            height_px: 400,
            k: Matrix3::new(756.0, 0.0, 312.0, 0.0, 758.0, 204.0, 0.0, 0.0, 1.0),
            distortion: [-0.09, 0.11, 0.002, -0.003, 0.02],
            cam_from_world: pose([0.2, -0.3, 0.4], Vector3::new(0.05, -0.02, 0.9)),
        };
        (camera, pose([0.5, 0.1, -1.0], Vector3::new(0.03, 0.04, 0.02)), Vector3::new(0.08, 0.06, 0.0))
    }

    #[test]
    fn derivatives_are_those_of_the_camera_model() {
        let (camera, board, place) = scene();
        let (pixel, by_camera, by_board) = linearise(&camera, &board, &place).unwrap();
        assert!((pixel - camera.project(&board.apply(&place)).unwrap()).norm() < 1e-9);
        let step = 1e-6;
        let mut bundle = Bundle {
            cameras: vec![camera],
            free: vec![[true; CAMERA]],
            boards: vec![board],
            views: Vec::new(),
            huber_px: 1.0,
        };
        let start = bundle.clone();
        let moved = |bundle: &Bundle| bundle.cameras[0].project(&bundle.boards[0].apply(&place)).unwrap();
        for at in 0..CAMERA {
            bundle.clone_from(&start);
            let camera = &mut bundle.cameras[0];
            match at {
                0 | 1 => camera.k[(at, at)] += step,
                2 | 3 => camera.k[(at - 2, 2)] += step,
                4..LENS => camera.distortion[at - 4] += step,
                _ => {
                    let mut nudge = [Vector3::zeros(); 2];
                    nudge[(at - LENS) / 3][(at - LENS) % 3] = step;
                    camera.cam_from_world = nudged(&camera.cam_from_world, &nudge[0], &nudge[1]);
                }
            }
            let slope = (moved(&bundle) - pixel) / step;
            let found = by_camera.column(at);
            assert!((slope - found).norm() < 1e-4 * slope.norm().max(1.0), "camera {at}: {slope} {found}");
        }
        for at in 0..6 {
            bundle.clone_from(&start);
            let mut nudge = [Vector3::zeros(); 2];
            nudge[at / 3][at % 3] = step;
            bundle.boards[0] = nudged(&bundle.boards[0], &nudge[0], &nudge[1]);
            let slope = (moved(&bundle) - pixel) / step;
            assert!((slope - by_board.column(at)).norm() < 1e-4 * slope.norm().max(1.0), "board {at}");
        }
    }
}
