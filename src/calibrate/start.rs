//! The start of the bundle adjustment: every camera by itself, then camera poses along chains of common views.

use std::collections::BTreeMap;

use nalgebra::{Matrix3, Vector2};

use super::bundle::{Bundle, BundleView, Corner, free_lens};
use super::homography::{focal_px, homography, pose};
use super::transform::{compose, identity, inverse, median};
use super::{CalibrateError, ViewCamera};
use crate::geometry::{CameraModel, RigidTransform};

/// Huber limit of the start, pixels: generous, because the lens is not known yet.
const START_HUBER_PX: f64 = 3.0;
/// A camera's start is no good when its median error is larger than this share of the image width (6.4 px at 640).
const MEDIAN_SHARE_MAX: f64 = 0.01;
/// Common views that a relative pose is taken from, at most.
const PAIRS_MAX: usize = 60;
/// Error at which a view says nothing more against a place of the board, pixels.
const VIEW_ERROR_PX: f64 = 20.0;

/// What one camera saw in one frame, ready to be solved.
#[derive(Clone, Debug)]
pub(super) struct Usable {
    pub(super) camera: usize,
    pub(super) frame: u64,
    pub(super) corners: Vec<Corner>,
}

/// Whether corners say where the board is: six or more, not on a line.
pub(super) fn is_usable(corners: &[Corner]) -> bool {
    corners.len() >= 6 && plane_homography(corners, |corner| corner.pixel).is_some()
}

fn plane_homography(corners: &[Corner], place: impl Fn(&Corner) -> Vector2<f64>) -> Option<Matrix3<f64>> {
    let plane: Vec<Vector2<f64>> = corners.iter().map(|corner| corner.place_m.xy()).collect();
    let image: Vec<Vector2<f64>> = corners.iter().map(place).collect();
    homography(&plane, &image)
}

/// One camera solved by itself.
pub(super) struct Alone {
    pub(super) model: CameraModel,
    /// `cam_from_board` of every frame.
    pub(super) boards: BTreeMap<u64, RigidTransform>,
}

/// Solves a camera by itself from its views.
///
/// # Errors
/// [`CalibrateError::Undetermined`] when no focal length fits its views.
pub(super) fn alone(camera: &ViewCamera, views: &[&Usable], is_full: bool) -> Result<Alone, CalibrateError> {
    let middle = Vector2::new(f64::from(camera.width_px), f64::from(camera.height_px)) * 0.5 - Vector2::new(0.5, 0.5);
    let homographies: Vec<Matrix3<f64>> =
        views.iter().filter_map(|view| plane_homography(&view.corners, |corner| corner.pixel - middle)).collect();
    let width = f64::from(camera.width_px);
    let guesses = focal_px(&homographies).into_iter().chain([width, 2.0 * width]);
    let plausible = guesses.filter(|focal| (0.2 * width..20.0 * width).contains(focal));
    let solved = plausible.filter_map(|focal| {
        let mut bundle = single(camera, views, focal, middle)?;
        // The radial lens first: from a rough start the full one may wander off.
        bundle.free = vec![free_lens(false, false)];
        bundle.solve();
        bundle.free = vec![free_lens(is_full, false)];
        let cost = bundle.solve();
        cost.is_finite().then_some((cost, bundle))
    });
    let undetermined = |reason: String| CalibrateError::Undetermined { camera: camera.name.clone(), reason };
    let (_, bundle) = solved
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .ok_or_else(|| undetermined("no focal length puts the board in front of it".to_owned()))?;
    let median_px = bundle.median_px(None).unwrap_or(f64::INFINITY);
    if !(median_px < MEDIAN_SHARE_MAX * width) {
        return Err(undetermined(format!("the best lens still misses the corners by {median_px:.1} px (median)")));
    }
    let boards = views.iter().zip(&bundle.boards).map(|(view, place)| (view.frame, *place)).collect();
    Ok(Alone { model: bundle.cameras[0].clone(), boards })
}

/// The problem of one camera, started at a focal length; `None` when a view has no place with it.
fn single(camera: &ViewCamera, views: &[&Usable], focal: f64, middle: Vector2<f64>) -> Option<Bundle> {
    let model = CameraModel {
        name: camera.name.clone(),
        width_px: camera.width_px,
        height_px: camera.height_px,
        k: Matrix3::new(focal, 0.0, middle.x, 0.0, focal, middle.y, 0.0, 0.0, 1.0),
        distortion: [0.0; 5],
        cam_from_world: identity(),
    };
    let place = |view: &&Usable| {
        let ideal = |corner: &Corner| (corner.pixel - middle) / focal;
        plane_homography(&view.corners, ideal).and_then(|h| pose(&h))
    };
    Some(Bundle {
        cameras: vec![model],
        free: vec![free_lens(true, false)],
        boards: views.iter().map(place).collect::<Option<_>>()?,
        views: views
            .iter()
            .enumerate()
            .map(|(board, view)| BundleView { camera: 0, board, corners: view.corners.clone() })
            .collect(),
        huber_px: START_HUBER_PX,
    })
}

/// Chains cameras along the pairs with most common views; gives `cam_from_rig` of each, where the rig's frame is that of
/// the first camera given back.
///
/// # Errors
/// [`CalibrateError::Disconnected`] names the two groups that share no view.
pub(super) fn chain(cameras: &[Alone]) -> Result<(usize, Vec<RigidTransform>), CalibrateError> {
    let shared = |a: usize, b: usize| -> Vec<u64> {
        cameras[a].boards.keys().filter(|frame| cameras[b].boards.contains_key(frame)).copied().collect()
    };
    let count = cameras.len();
    let common: Vec<Vec<usize>> =
        (0..count).map(|a| (0..count).map(|b| if a == b { 0 } else { shared(a, b).len() }).collect()).collect();
    let reference = (0..count).max_by_key(|&a| common[a].iter().sum::<usize>()).unwrap_or(0);
    let mut poses: Vec<Option<RigidTransform>> = vec![None; count];
    poses[reference] = Some(identity());
    while poses.iter().any(Option::is_none) {
        let known = |index: &usize| poses[*index].is_some();
        let edges = (0..count).filter(known).flat_map(|a| (0..count).filter(|b| !known(b)).map(move |b| (a, b)));
        let best = edges.filter(|&(a, b)| common[a][b] > 0).max_by_key(|&(a, b)| common[a][b]);
        let Some((a, b)) = best else {
            let names = |is_known: bool| {
                let own = cameras.iter().zip(&poses).filter(move |(_, pose)| pose.is_some() == is_known);
                own.map(|(camera, _)| camera.model.name.clone()).collect()
            };
            return Err(CalibrateError::Disconnected(names(true), names(false)));
        };
        let frames = shared(a, b);
        let every = frames.len().div_ceil(PAIRS_MAX);
        let relative: Vec<RigidTransform> = frames
            .iter()
            .step_by(every)
            .map(|frame| compose(&cameras[b].boards[frame], &inverse(&cameras[a].boards[frame])))
            .collect();
        poses[b] = match (median(&relative), &poses[a]) {
            (Some(b_from_a), Some(a_from_rig)) => Some(compose(&b_from_a, a_from_rig)),
            // An edge has a common view, and it starts at a known camera.
            _ => None,
        };
    }
    Ok((reference, poses.into_iter().flatten().collect()))
}

/// The whole problem, started from every camera alone and their poses.
pub(super) fn bundle(
    cameras: &[Alone],
    cam_from_rig: &[RigidTransform],
    usable: &[Usable],
    huber_px: f64,
) -> (Bundle, Vec<u64>) {
    let mut frames: Vec<u64> = usable.iter().map(|view| view.frame).collect();
    frames.sort_unstable();
    frames.dedup();
    let placed =
        |(camera, pose): (&Alone, &RigidTransform)| CameraModel { cam_from_world: *pose, ..camera.model.clone() };
    let index: BTreeMap<u64, usize> = frames.iter().enumerate().map(|(index, frame)| (*frame, index)).collect();
    let mut bundle = Bundle {
        cameras: cameras.iter().zip(cam_from_rig).map(placed).collect(),
        free: Vec::new(),
        boards: vec![identity(); frames.len()],
        views: usable
            .iter()
            .map(|v| BundleView { camera: v.camera, board: index[&v.frame], corners: v.corners.clone() })
            .collect(),
        huber_px,
    };
    for (board, frame) in frames.iter().enumerate() {
        let views: Vec<BundleView> = bundle.views.iter().filter(|view| view.board == board).cloned().collect();
        let seen_by =
            |view: &BundleView| compose(&inverse(&cam_from_rig[view.camera]), &cameras[view.camera].boards[frame]);
        let proposals = views.iter().map(seen_by);
        let mut best: Option<(f64, RigidTransform)> = None;
        for proposal in proposals {
            bundle.boards[board] = proposal;
            let corners = views.iter().flat_map(|view| view.corners.iter().map(move |corner| (view, corner)));
            let error = |(view, corner)| bundle.error_px(view, corner).map_or(VIEW_ERROR_PX, |e| e.norm());
            let cost: f64 = corners.map(|pair| error(pair).min(VIEW_ERROR_PX)).sum();
            if best.is_none_or(|(lowest, _)| cost < lowest) {
                best = Some((cost, proposal));
            }
        }
        if let Some((_, place)) = best {
            bundle.boards[board] = place;
        }
    }
    (bundle, frames)
}
