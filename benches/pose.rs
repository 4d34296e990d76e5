//! What a frame set costs besides the network: triangulation, and the whole stage on the twin's views.
//!
//! `cargo bench --bench pose`; skips what is not there.

#[path = "../tests/support/twin_views.rs"]
mod twin_views;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mimicd::clock::host_now;
use mimicd::geometry::{CameraModel, Observation, TriangulationOptions, triangulate_robust};
use mimicd::pose::{PoseConfig, PoseEstimate, PoseStage};
use mimicd_device::{Frame, Span};
use nalgebra::{Vector2, Vector3};
use twin_views::{TwinViews, calibration};

const KEYPOINTS: usize = 23;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What six views see of 23 points, each off by up to a pixel; `liars` views of each point are 40 px off.
fn observations(cameras: &[CameraModel], liars: usize) -> Vec<Vec<Observation>> {
    let point =
        |k: usize| Vector3::new(0.05 * (k as f64).sin(), 0.05 * (k as f64 * 1.7).cos(), 0.03 + 0.002 * k as f64);
    let see = |k: usize, view: usize, camera: &CameraModel| {
        let noise = [0, 1].map(|axis| ((k * 7 + view * 13 + axis * 5) as f64 * 12.9898).sin());
        let lie = if (view + k) % cameras.len() < liars { 40.0 } else { 0.0 };
        let pixel = camera.project(&point(k)).expect("in front") + Vector2::new(noise[0] + lie, noise[1] - lie);
        Observation { pixel, confidence: 0.9 - 0.1 * view as f64 / 6.0 }
    };
    (0..KEYPOINTS).map(|k| cameras.iter().enumerate().map(|(view, c)| see(k, view, c)).collect()).collect()
}

fn triangulation(c: &mut Criterion) {
    let cameras = calibration().cameras;
    let options = TriangulationOptions { outlier_px: 14.0, ..TriangulationOptions::default() };
    for liars in [0, 1, 2] {
        let seen = observations(&cameras, liars);
        c.bench_function(
            &format!("pose: robust triangulation, 6 views x 23 keypoints, {liars} outlier views each"),
            |b| {
                b.iter(|| {
                    for keypoint in &seen {
                        black_box(triangulate_robust(&cameras, black_box(keypoint), &options)).expect("they agree");
                    }
                });
            },
        );
    }
}

/// The stage on the twin's views, with the model's refiner and without.
fn stage(c: &mut Criterion) {
    let Some(mut twin) = TwinViews::new(1) else { return };
    twin.draw(Span::from_millis(4000));
    let views: Vec<Option<&Frame>> = twin.frames.iter().map(Some).collect();
    for (refine, how) in [(false, "without refiner"), (true, "with refiner")] {
        let model = root().join("models/pose-twin/pose-twin.toml");
        let config = PoseConfig { refine, ..PoseConfig::with_model(model) };
        let mut stage = PoseStage::load(&config, &calibration()).expect("the model loads");
        stage.set_clock(host_now);
        let mut out = stage.blank();
        for _ in 0..10 {
            stage.estimate(&views, &mut out);
        }
        let mut time = |name: &str, part: fn(Duration, &PoseEstimate) -> Duration| {
            c.bench_function(&format!("pose: {name}, {how}"), |b| {
                b.iter_custom(|rounds| {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        let started = host_now();
                        stage.estimate(&views, &mut out);
                        total += part((host_now() - started).to_duration(), &out);
                    }
                    total
                });
            });
        };
        time("networks, 6 views, one thread", |_, out| out.inference.to_duration());
        time("stage without its networks (crop, copy, decode, triangulate)", |all, out| {
            all.saturating_sub(out.inference.to_duration())
        });
    }
}

criterion_group!(benches, triangulation, stage);
criterion_main!(benches);
