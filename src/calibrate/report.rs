//! How well a solved rig fits: a table for the terminal, the same numbers as JSON, a plot.

use std::fmt::Write as _;

use serde::Serialize;

use super::bundle::Bundle;
use super::{Board, BoardViews, Moved, Solution, plot};

/// The image is divided into so many cells each way to say how much of it the board reached.
const COVERAGE_CELLS: usize = 8;
/// A lens is called uncertain beyond this deviation of its focal length, share.
const FOCAL_SD_SHARE_MAX: f64 = 0.005;
/// Views of a corner further off than this do not make its place in 3D, pixels.
const TRIANGULATION_OUTLIER_PX: f64 = 3.0;

/// One camera's fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraReport {
    /// Its name.
    pub camera: String,
    /// Frames in which the board was looked for.
    pub frames: usize,
    /// Views that were used.
    pub views: usize,
    /// Corners that were used.
    pub corners: usize,
    /// Corners that lay far off and were left out.
    pub dropped: usize,
    /// Root mean square of the reprojection error, pixels.
    pub rms_px: f64,
    /// Median.
    pub p50_px: f64,
    /// 95th percentile.
    pub p95_px: f64,
    /// Worst of the used ones.
    pub max_px: f64,
    /// Mean focal length, pixels.
    pub focal_px: f64,
    /// Its standard deviation.
    pub focal_sd_px: f64,
    /// Share of the image that the board reached.
    pub coverage: f64,
}

/// A rig's fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Every camera's.
    pub cameras: Vec<CameraReport>,
    /// Places of the board.
    pub boards: usize,
    /// Root mean square of the reprojection error over all cameras, pixels.
    pub rms_px: f64,
    /// Neighbouring corners, triangulated from two or more cameras: mean error of their distance, millimetres.
    pub distance_error_mm: f64,
    /// The same, as share of a square's length, with its sign: a scale that is off.
    pub distance_bias_share: f64,
    /// Frame whose board makes the world; `None` when an older calibration's world is kept.
    pub world_frame: Option<u64>,
    /// What moved against the older calibration.
    pub moved: Vec<Moved>,
}

impl Report {
    /// Measures a solution.
    pub fn new(
        solution: &Solution,
        views: &BoardViews,
        board: &Board,
        (world_frame, moved): (Option<u64>, Vec<Moved>),
    ) -> Self {
        let bundle = &solution.bundle;
        let cameras = views.cameras.iter().enumerate().map(|(index, camera)| {
            let errors = bundle.errors_px(Some(index));
            let own = bundle.views.iter().filter(|view| view.camera == index);
            let model = &bundle.cameras[index];
            CameraReport {
                camera: camera.name.clone(),
                frames: camera.frames,
                views: own.clone().count(),
                corners: errors.len(),
                dropped: own.flat_map(|view| &view.corners).filter(|corner| corner.dropped).count(),
                rms_px: rms(&errors),
                p50_px: quantile(&errors, 0.5),
                p95_px: quantile(&errors, 0.95),
                max_px: quantile(&errors, 1.0),
                focal_px: model.focal_px(),
                focal_sd_px: solution.focal_sd_px[index],
                coverage: coverage(bundle, index),
            }
        });
        let (distance_error_mm, distance_bias_share) = distances(bundle, board);
        Self {
            cameras: cameras.collect(),
            boards: bundle.boards.len(),
            rms_px: rms(&bundle.errors_px(None)),
            distance_error_mm,
            distance_bias_share,
            world_frame,
            moved,
        }
    }

    /// The plot of every camera's errors over its image, as SVG text.
    pub fn plot(&self, solution: &Solution) -> String {
        let fits: Vec<[f64; 2]> = self.cameras.iter().map(|camera| [camera.rms_px, camera.p95_px]).collect();
        plot::errors(&solution.bundle, &fits)
    }

    /// What to do better, in words.
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for camera in &self.cameras {
            let name = &camera.camera;
            if !(camera.focal_sd_px <= FOCAL_SD_SHARE_MAX * camera.focal_px) {
                let (focal, sd) = (camera.focal_px, camera.focal_sd_px);
                advice.push(format!(
                    "{name}: focal length {focal:.1} +- {sd:.1} px is loosely known; tilt the board more in its views"
                ));
            }
            if camera.coverage < 0.5 {
                let percent = 100.0 * camera.coverage;
                advice.push(format!(
                    "{name}: the board reached {percent:.0} % of the image; the lens is a guess in the rest of it"
                ));
            }
        }
        advice
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::from(
            "  camera        views  corners  dropped  rms px  p50 px  p95 px  max px      focal px  image covered\n",
        );
        for camera in &self.cameras {
            let focal = format!("{:.1} +- {:.1}", camera.focal_px, camera.focal_sd_px);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "  {:<12} {:>6} {:>8} {:>8} {:>7.3} {:>7.3} {:>7.3} {:>7.3} {focal:>13} {:>12.0} %",
                camera.camera,
                camera.views,
                camera.corners,
                camera.dropped,
                camera.rms_px,
                camera.p50_px,
                camera.p95_px,
                camera.max_px,
                100.0 * camera.coverage
            );
        }
        let _ = writeln!(text, "  all           {:.3} px rms over {} places of the board", self.rms_px, self.boards);
        let _ = writeln!(
            text,
            "  in 3D         neighbouring corners {:.3} mm off their distance (mean), scale {:+.3} %",
            self.distance_error_mm,
            100.0 * self.distance_bias_share
        );
        if let Some(frame) = self.world_frame {
            let _ = writeln!(text, "  world         the board in frame {frame}: its middle, z out of the print");
        }
        for moved in &self.moved {
            let Moved { camera, offset_px, moved } = moved;
            let verdict = if *moved { "it has MOVED" } else { "it stands where it stood" };
            let _ = writeln!(
                text,
                "  {camera:<13} corners {offset_px:.2} px from where the older calibration has them: {verdict}"
            );
        }
        for line in self.advice() {
            let _ = writeln!(text, "  ! {line}");
        }
        f.write_str(&text)
    }
}

fn rms(errors: &[f64]) -> f64 {
    (errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64).sqrt()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len() - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn coverage(bundle: &Bundle, index: usize) -> f64 {
    let camera = &bundle.cameras[index];
    let mut cells = [false; COVERAGE_CELLS * COVERAGE_CELLS];
    let cell = |at: f64, size: u32| {
        ((at + 0.5) / f64::from(size) * COVERAGE_CELLS as f64).clamp(0.0, COVERAGE_CELLS as f64 - 1.0) as usize
    };
    for corner in bundle.views.iter().filter(|view| view.camera == index).flat_map(|view| &view.corners) {
        cells[cell(corner.pixel.y, camera.height_px) * COVERAGE_CELLS + cell(corner.pixel.x, camera.width_px)] = true;
    }
    cells.iter().filter(|reached| **reached).count() as f64 / cells.len() as f64
}

/// Mean error of the distance of neighbouring corners, millimetres, and its mean as share of a square, from corners
/// triangulated frame by frame.
fn distances(bundle: &Bundle, board: &Board) -> (f64, f64) {
    let (mut errors, mut bias, mut count) = (0.0, 0.0, 0.0);
    for places in bundle.triangulated(&bundle.cameras, board.points(), TRIANGULATION_OUTLIER_PX) {
        let [columns, _] = board.squares();
        let across = columns as usize - 1;
        for (point, here) in places.iter().enumerate() {
            let right = (point % across + 1 < across).then(|| places[point + 1]).flatten();
            let below = places.get(point + across).copied().flatten();
            for other in [right, below].into_iter().flatten() {
                let Some(here) = here else { continue };
                let error = (here - other).norm() - board.square_m();
                errors += error.abs();
                bias += error;
                count += 1.0;
            }
        }
    }
    (errors / count * 1e3, bias / count / board.square_m())
}
