//! A ChArUco board before the twin's cameras: rendered through their lenses with blur and noise, or as points, with the
//! truth known.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mimicd::calibrate::Board;
use mimicd::geometry::{CameraModel, RigidTransform};
use nalgebra::{Matrix3, Rotation3, Vector2, Vector3};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Samples of a pixel along each axis.
const SAMPLES: usize = 2;
/// Optical blur, pixels.
const BLUR_SD_PX: f32 = 0.7;
/// Sensor noise, grey levels.
const NOISE_SD: f32 = 3.0;
/// The print, its margin, and the room.
const BLACK: f32 = 28.0;
const WHITE: f32 = 215.0;
const ROOM: f32 = 96.0;
/// Steepest angle between the board's normal and the view at which its corners are given as points.
const INCIDENCE_MAX_DEG: f64 = 60.0;

/// Places of a board that is waved about the arena, facing every side in turn; `world_from_board`.
pub fn waved(board: &Board, count: usize, seed: u64) -> Vec<RigidTransform> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let place = |index: usize| {
        let azimuth = index as f64 * 2.399_963 + dice.random_range(-0.2..0.2);
        let elevation = dice.random_range(0.3..1.0);
        let roll = dice.random_range(-0.6..0.6);
        // The print faces along `normal`; the board's z points away from it.
        let normal = Rotation3::from_euler_angles(0.0, -elevation, azimuth) * Vector3::x();
        let z = -normal;
        let x = Vector3::z().cross(&z).normalize();
        let upright = Matrix3::from_columns(&[x, z.cross(&x), z]);
        let rotation = upright * Rotation3::from_axis_angle(&Vector3::z_axis(), roll).matrix();
        let middle =
            Vector3::new(dice.random_range(-0.22..0.22), dice.random_range(-0.22..0.22), dice.random_range(0.0..0.28));
        RigidTransform { rotation, translation_m: middle - rotation * board.middle_m() }
    };
    (0..count).map(place).collect()
}

/// `cam_from_board` of a camera and a place; `None` when the camera looks at the back or far too flatly.
fn facing(camera: &CameraModel, world_from_board: &RigidTransform, board: &Board) -> Option<RigidTransform> {
    let pose = &camera.cam_from_world;
    let cam_from_board = RigidTransform {
        rotation: pose.rotation * world_from_board.rotation,
        translation_m: pose.apply(&world_from_board.translation_m),
    };
    let middle = cam_from_board.apply(&board.middle_m());
    let incidence = cam_from_board.rotation.column(2).dot(&middle.normalize());
    (incidence > 0.02).then_some(cam_from_board)
}

/// The board's corners as an ideal detector with `noise_px` sees them: number and pixel.
pub fn corners(
    camera: &CameraModel,
    world_from_board: &RigidTransform,
    board: &Board,
    noise_px: f64,
    dice: &mut ChaCha8Rng,
) -> Vec<(u32, Vector2<f64>)> {
    let Some(pose) = facing(camera, world_from_board, board) else { return Vec::new() };
    let middle = pose.apply(&board.middle_m());
    if pose.rotation.column(2).dot(&middle.normalize()) < INCIDENCE_MAX_DEG.to_radians().cos() {
        return Vec::new();
    }
    let mut normal = || (0..6).map(|_| dice.random_range(-0.5..0.5)).sum::<f64>() * std::f64::consts::SQRT_2 * noise_px;
    let see = |point: u32| {
        let pixel = camera.project(&world_from_board.apply(&board.point_m(point)))? + Vector2::new(normal(), normal());
        camera.sees(&pixel).then_some((point, pixel))
    };
    (0..board.points()).filter_map(see).collect()
}

/// A camera's images of the board.
pub struct Studio<'a> {
    camera: &'a CameraModel,
    board: &'a Board,
    /// Undistorted direction of every sample, row by row.
    directions: Vec<Vector2<f64>>,
    dice: ChaCha8Rng,
}

impl<'a> Studio<'a> {
    pub fn new(camera: &'a CameraModel, board: &'a Board, seed: u64) -> Self {
        let (width, height) = (camera.width_px as usize * SAMPLES, camera.height_px as usize * SAMPLES);
        let at = |sample: usize| (sample as f64 + 0.5) / SAMPLES as f64 - 0.5;
        let direction = |index: usize| {
            let pixel = Vector2::new(at(index % width), at(index / width));
            camera.undistort(&pixel).expect("the twin's lenses have an inverse")
        };
        let directions = (0..width * height).map(direction).collect();
        Self { camera, board, directions, dice: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The image of the board in a place.
    pub fn image(&mut self, world_from_board: &RigidTransform) -> Vec<u8> {
        let (width, height) = (self.camera.width_px as usize, self.camera.height_px as usize);
        let mut grey = vec![ROOM; width * height];
        if let Some(pose) = facing(self.camera, world_from_board, self.board) {
            let plane = Matrix3::from_columns(&[
                pose.rotation.column(0),
                pose.rotation.column(1),
                pose.translation_m.column(0),
            ]);
            let board_from_ray = plane.try_inverse().expect("the board is not seen from its edge");
            for (index, pixel) in grey.iter_mut().enumerate() {
                let (x, y) = (index % width * SAMPLES, index / width * SAMPLES);
                let samples = (0..SAMPLES * SAMPLES).map(|k| (y + k / SAMPLES) * width * SAMPLES + x + k % SAMPLES);
                *pixel = samples.map(|k| self.shade(&board_from_ray, &self.directions[k])).sum::<f32>()
                    / (SAMPLES * SAMPLES) as f32;
            }
        }
        blur(&mut grey, width);
        let dice = &mut self.dice;
        let noise = |value: f32| {
            let normal = (0..4).map(|_| dice.random_range(-0.5f32..0.5)).sum::<f32>() * 3.0f32.sqrt();
            (value + NOISE_SD * normal).round().clamp(0.0, 255.0) as u8
        };
        grey.into_iter().map(noise).collect()
    }

    fn shade(&self, board_from_ray: &Matrix3<f64>, direction: &Vector2<f64>) -> f32 {
        let p = board_from_ray * Vector3::new(direction.x, direction.y, 1.0);
        if p.z <= 0.0 {
            return ROOM;
        }
        let (x, y) = (p.x / p.z, p.y / p.z);
        match self.board.is_black(x, y) {
            Some(true) => BLACK,
            Some(false) => WHITE,
            None => {
                let [columns, rows] = self.board.squares().map(|n| f64::from(n) * self.board.square_m());
                let margin = 0.5 * self.board.square_m();
                let is_margin = x > -margin && y > -margin && x < columns + margin && y < rows + margin;
                if is_margin { WHITE } else { ROOM }
            }
        }
    }

    /// Writes a lossless video of the board in these places.
    pub fn film(mut self, places: &[RigidTransform], file: &Path) -> PathBuf {
        let size = format!("{}x{}", self.camera.width_px, self.camera.height_px);
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-s", &size, "-r", "50", "-i", "-"])
            .args(["-c:v", "ffv1", "-pix_fmt", "gray"])
            .arg(file)
            .stdin(Stdio::piped())
            .spawn()
            .expect("ffmpeg runs");
        let mut pipe = ffmpeg.stdin.take().expect("its input is a pipe");
        for place in places {
            pipe.write_all(&self.image(place)).expect("ffmpeg takes the frame");
        }
        drop(pipe);
        assert!(ffmpeg.wait().expect("ffmpeg ends").success());
        file.to_owned()
    }
}

fn blur(grey: &mut [f32], width: usize) {
    let weights: [f32; 5] = [-2.0f32, -1.0, 0.0, 1.0, 2.0].map(|k| (-0.5 * (k / BLUR_SD_PX).powi(2)).exp());
    let total: f32 = weights.iter().sum();
    for step in [1, width] {
        let before = grey.to_vec();
        let last = before.len() - 1;
        for (index, pixel) in grey.iter_mut().enumerate() {
            // At the image's edge the line wraps around; nothing of the board is there.
            let taps = weights.iter().enumerate();
            let sum: f32 = taps.map(|(k, w)| w * before[(index + k * step).saturating_sub(2 * step).min(last)]).sum();
            *pixel = sum / total;
        }
    }
}
