//! `mimicd calibrate` against a rig whose truth is known: the twin's six cameras and a board before them.

#[path = "support/board_scene.rs"]
mod board_scene;
#[path = "support/daemon.rs"]
mod running;
#[path = "support/set_up.rs"]
mod set_up;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use board_scene::{Studio, corners, waved};
use mimicd::calibrate::{
    Board, BoardViews, CalibrateError, Report, Seen, Solution, SolveOptions, View, ViewCamera, World, solve,
};
use mimicd::geometry::{Calibration, CameraModel, RigidTransform};
use nalgebra::{Rotation3, Vector2, Vector3};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn truth() -> Calibration {
    Calibration::load(&root().join("configs/twin-calibration.toml"))
        .expect("the twin's calibration is in the repository")
}

fn board() -> Board {
    Board::new(7, 5, 0.045, 0.034, "DICT_4X4_50").expect("the board can be")
}

const BOARD: [&str; 6] = ["--squares", "7x5", "--square-mm", "45", "--marker-mm", "34"];

/// Furthest and mean distance in pixels between what two rigs' cameras show of points all over the arena.
fn apart_px(a: &[CameraModel], b: &[CameraModel]) -> (f64, f64) {
    let (mut most, mut sum, mut count) = (0.0f64, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        for index in 0..6 * 6 * 3 {
            let at = |n: usize, from: f64, step: f64| from + step * n as f64;
            let point =
                Vector3::new(at(index % 6, -0.2, 0.08), at(index / 6 % 6, -0.2, 0.08), at(index / 36, 0.0, 0.09));
            let (Some(p), Some(q)) = (a.project(&point), b.project(&point)) else { continue };
            if a.sees(&p) {
                most = most.max((p - q).norm());
                sum += (p - q).norm();
                count += 1.0;
            }
        }
    }
    (most, sum / count)
}

/// What the cameras see of a waved board as points.
fn views(cameras: &[CameraModel], places: &[RigidTransform], noise_px: f64) -> BoardViews {
    let mut dice = ChaCha8Rng::seed_from_u64(5);
    let mut views = BoardViews::default();
    for (camera, model) in cameras.iter().enumerate() {
        for (frame, place) in places.iter().enumerate() {
            let seen = corners(model, place, &board(), noise_px, &mut dice);
            if seen.len() >= 8 {
                let corners = seen.into_iter().map(|(point, pixel)| Seen { point, pixel }).collect();
                views.views.push(View { camera, frame: frame as u64, corners });
            }
        }
        let (width_px, height_px) = (model.width_px, model.height_px);
        views.cameras.push(ViewCamera { name: model.name.clone(), width_px, height_px, frames: places.len() });
    }
    views
}

fn solved(views: &BoardViews, world: &World) -> (Solution, Report) {
    let mut solution = solve(views, &board(), &SolveOptions::default()).expect("the rig is solved");
    let placed = world.place(&mut solution, &board()).expect("the world is placed");
    let report = Report::new(&solution, views, &board(), placed);
    (solution, report)
}

fn mimicd(arguments: &[&str], files: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
    command.arg("calibrate").arg(arguments[0]).args(files).args(&arguments[1..]).args(BOARD);
    command.output().expect("the binary runs")
}

#[test]
fn board_videos_give_the_twins_cameras_back_and_the_daemon_takes_them() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        println!("skipped: ffmpeg is not installed (run `cargo xtask setup`)");
        return;
    }
    let (truth, board, folder) = (truth(), board(), tempfile::tempdir().expect("a folder"));
    let places = waved(&board, 60, 3);
    let film = |(index, camera): (usize, &CameraModel)| {
        let file = folder.path().join(format!("{}.mkv", camera.name));
        let file = Studio::new(camera, &board, index as u64).film(&places, &file);
        format!("{}={}", camera.name, file.display())
    };
    let files: Vec<String> = truth.cameras.iter().enumerate().map(film).collect();
    let out = folder.path().join("found.toml");
    let old = root().join("configs/twin-calibration.toml");
    let points = folder.path().join("points.csv");
    let (out_text, old_text, points_text) =
        (out.display().to_string(), old.display().to_string(), points.display().to_string());
    let arguments =
        ["video", "--every", "1", "--json", "--out", &out_text, "--keep-world", &old_text, "--points", &points_text];
    let done = mimicd(&arguments, &files);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("the report is JSON");
    println!("{}", String::from_utf8_lossy(&done.stdout));
    let rms_px = report["rms_px"].as_f64().unwrap();
    assert!(
        rms_px < 0.25,
        "{rms_px} px: blur of 0.7 px and 3 grey levels of noise move a corner by a tenth of a pixel"
    );
    assert!(report["distance_error_mm"].as_f64().unwrap() < 0.3, "{report}");
    assert!(report["distance_bias_share"].as_f64().unwrap().abs() < 1e-3, "{report}");
    let found = Calibration::load(&out).expect("the calibration reads");
    for (found, truth) in found.cameras.iter().zip(&truth.cameras) {
        assert_eq!((found.width_px, found.height_px), (truth.width_px, truth.height_px));
        let focal = (found.focal_px() - truth.focal_px()).abs() / truth.focal_px();
        let shift_mm = (found.centre_m() - truth.centre_m()).norm() * 1e3;
        println!("{}: focal length off by {:.3} %, centre by {shift_mm:.2} mm", found.name, 100.0 * focal);
        assert!(focal < 0.01 && shift_mm < 8.0, "{}: {focal} {shift_mm}", found.name);
    }
    let (most, mean) = apart_px(&found.cameras, &truth.cameras);
    println!("points in the arena: {mean:.3} px apart in the mean, {most:.3} px at most");
    assert!(mean < 0.25 && most < 1.0, "{mean} {most}");
    assert!(out.with_extension("svg").metadata().is_ok_and(|file| file.len() > 10_000), "the plot is there");

    // Detected points and the command that takes them give the same.
    let again = folder.path().join("again.toml");
    let again_text = again.display().to_string();
    let done = mimicd(
        &["points", "--frame-px", "640x400", "--out", &again_text, "--keep-world", &old_text],
        std::slice::from_ref(&points_text),
    );
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (most, _) = apart_px(&Calibration::load(&again).expect("it reads").cameras, &found.cameras);
    assert!(most < 0.02, "{most} px between the two ways");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains("cam6") && text.contains("rms px"), "{text}");

    the_daemon_takes(&out, folder.path());
    a_wrong_board_is_named(&files);
}

/// `mimicd check` of the twin's preset with this calibration.
fn the_daemon_takes(calibration: &Path, folder: &Path) {
    if !set_up::is_set_up() {
        return;
    }
    let config = running::config(folder, "", "");
    let own = format!("\"{}/configs/twin-calibration.toml\"", root().display());
    let text = std::fs::read_to_string(&config).expect("the config is there");
    assert!(text.contains(&own), "{text}");
    std::fs::write(&config, text.replace(&own, &format!("\"{}\"", calibration.display())))
        .expect("the config is written");
    let checked = Command::new(env!("CARGO_BIN_EXE_mimicd")).arg("check").arg(&config).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("all there and consistent"), "{said}");
}

/// Another number of squares than was printed: refused, with the camera's name and what was looked for.
fn a_wrong_board_is_named(files: &[String]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
    command.args(["calibrate", "video", "--every", "1"]).args(files);
    command.args(["--squares", "9x5", "--square-mm", "45", "--marker-mm", "34", "--out", "never-written.toml"]);
    let done = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    for part in ["camera cam", "no board seen in 60 frames", "9 x 5 squares", "the image fits"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(!PathBuf::from("never-written.toml").exists());
}

#[test]
fn noise_and_wild_corners_do_not_bend_the_rig() {
    let truth = truth();
    let mut views = views(&truth.cameras, &waved(&board(), 80, 1), 0.2);
    let mut dice = ChaCha8Rng::seed_from_u64(9);
    for corner in views.views.iter_mut().flat_map(|view| &mut view.corners) {
        if dice.random_range(0.0..1.0) < 0.03 {
            corner.pixel += Vector2::new(dice.random_range(-40.0..40.0), dice.random_range(-40.0..40.0));
        }
    }
    let (solution, report) = solved(&views, &World::Keep(truth.clone()));
    println!("{report}");
    let (most, mean) = apart_px(&solution.calibration().cameras, &truth.cameras);
    println!("points in the arena: {mean:.3} px apart in the mean, {most:.3} px at most");
    assert!(mean < 0.15 && most < 0.6, "{mean} {most}");
    // Noise of 0.2 px along each axis is 0.28 px in length.
    assert!((0.25..0.31).contains(&report.rms_px), "{}", report.rms_px);
    let wild: usize = report.cameras.iter().map(|camera| camera.dropped).sum();
    let all: usize = report.cameras.iter().map(|camera| camera.dropped + camera.corners).sum();
    assert!((0.02..0.04).contains(&(wild as f64 / all as f64)), "{wild} of {all} dropped");
}

#[test]
fn the_world_is_the_board_in_the_frame_asked_for() {
    let truth = truth();
    let places = waved(&board(), 60, 2);
    let views = views(&truth.cameras, &places, 0.0);
    let (solution, report) = solved(&views, &World::Board { frame: Some(20), height_m: 0.003 });
    assert_eq!(report.world_frame, Some(20));
    assert!(report.rms_px < 0.01, "without noise only the priors are left: {}", report.rms_px);
    let (_, place) = solution.boards().find(|(frame, _)| *frame == 20).expect("frame 20 has a place");
    let middle = place.apply(&board().middle_m());
    assert!((middle - Vector3::new(0.0, 0.0, 0.003)).norm() < 1e-9, "{middle}");
    assert!((place.rotation.column(2) + Vector3::z()).norm() < 1e-9, "the print looks up");
    // The distances between cameras are those of the truth, whatever the world.
    let found = solution.calibration().cameras;
    for (a, b) in [(0, 1), (0, 3), (2, 5)] {
        let distance = |cameras: &[CameraModel]| (cameras[a].centre_m() - cameras[b].centre_m()).norm();
        assert!((distance(&found) - distance(&truth.cameras)).abs() < 1e-3);
    }
    let mut other = solution;
    let error = World::Board { frame: Some(1000), height_m: 0.0 }.place(&mut other, &board()).unwrap_err();
    assert_eq!(error.to_string(), "world: frame 1000 has no board that can be used; the nearest frame with one is 59");
}

#[test]
fn a_camera_that_was_bumped_is_named_against_the_older_calibration() {
    let truth = truth();
    let mut bumped = truth.clone();
    let pose = &mut bumped.cameras[2].cam_from_world;
    let turn = Rotation3::from_euler_angles(0.0, 0.02, 0.0);
    *pose = RigidTransform { rotation: turn.matrix() * pose.rotation, translation_m: turn * pose.translation_m };
    let (_, report) = solved(&views(&bumped.cameras, &waved(&board(), 80, 4), 0.1), &World::Keep(truth));
    for moved in &report.moved {
        // 0.02 rad at a focal length of 744 px.
        let expected_px = if moved.camera == "cam3" { 14.0..17.0 } else { 0.0..0.5 };
        assert!(expected_px.contains(&moved.offset_px) && moved.moved == (moved.camera == "cam3"), "{moved:?}");
    }
}

#[test]
fn what_a_recording_lacks_is_said_with_the_cameras_name() {
    let truth = truth();
    let all = views(&truth.cameras, &waved(&board(), 80, 6), 0.1);
    let without = |keep: &dyn Fn(&View) -> bool| {
        let views = all.views.iter().filter(|view| keep(view)).cloned().collect();
        let left = BoardViews { cameras: all.cameras.clone(), views };
        solve(&left, &board(), &SolveOptions::default()).map(drop).expect_err("it lacks something")
    };
    assert_eq!(
        without(&|view| view.camera != 3).to_string(),
        "camera cam4: no board seen in 80 frames; expected a ChArUco board of 7 x 5 squares, DICT_4X4_50"
    );
    let early = all.of(1).nth(5).expect("six views").frame;
    assert_eq!(
        without(&|view| view.camera != 1 || view.frame < early),
        CalibrateError::TooFewViews { camera: "cam2".to_owned(), found: 5, least: 8 }
    );
    // Cameras 1 to 3 see the even frames, the others the odd ones.
    let error = without(&|view| (view.frame % 2 == 0) == (view.camera < 3)).to_string();
    let groups = [["cam1, cam2, cam3", "cam4, cam5, cam6"], ["cam4, cam5, cam6", "cam1, cam2, cam3"]];
    let said =
        |[a, b]: [&str; 2]| error.starts_with(&format!("cameras {a} and cameras {b} never see the board together"));
    assert!(groups.into_iter().any(said), "{error}");
    // One camera's video is late by two frames of a moving board.
    let late =
        all.views.iter().cloned().map(|view| View { frame: view.frame + 2 * u64::from(view.camera == 4), ..view });
    let late = BoardViews { cameras: all.cameras.clone(), views: late.collect() };
    let error = solve(&late, &board(), &SolveOptions::default()).expect_err("it does not fit").to_string();
    assert!(error.contains("do not fit together") && error.contains("are the videos in step"), "{error}");
}

#[test]
fn a_wrong_length_of_the_squares_shows_against_the_older_calibration() {
    let truth = truth();
    let views = views(&truth.cameras, &waved(&board(), 60, 7), 0.1);
    let bigger = Board::new(7, 5, 0.050, 0.034, "DICT_4X4_50").expect("the board can be");
    let mut solution = solve(&views, &bigger, &SolveOptions::default()).expect("any length solves");
    let error = World::Keep(truth).place(&mut solution, &bigger).unwrap_err().to_string();
    assert!(error.contains("the board is 1.11") && error.contains("length of a square"), "{error}");
}
