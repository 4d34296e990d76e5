//! What registering one frame costs: criterion's mean, and the percentiles of single frames that the loop's budget is about.
//!
//! `cargo bench --bench body`; uses the real 1,000 frames where they are, else the simulated rat's keypoints.

use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use mimicd::body::import::Recording;
use mimicd::body::{BodyState, Registrar, Subject, Tuning};
use mimicd::pose::Keypoint;
use mimicd_device::Span;
use mimicd_rat::{Kinematics, RAT23, RatModel};
use mimicd_sim::rat::World;

/// Frames timed for the percentiles.
const FRAMES: usize = 20_000;

fn recorded(root: &Path) -> Option<Vec<Vec<Keypoint>>> {
    let path = root.join("../shared/data/rat_keypoints/rat23_grooming_1000_frames.mat");
    let mut recording = Recording::open(&path).ok()?;
    recording.scale(1e-3);
    Some(recording.frames)
}

fn simulated(rat: &RatModel, mjcf: &Path) -> Vec<Vec<Keypoint>> {
    let world = World::new(1, mjcf).expect("the twin's rat loads");
    let mut kinematics = Kinematics::new(rat);
    let mut frame = |index: i64| {
        kinematics.set(&world.movement_at(Span::from_millis(20 * index)).qpos);
        (0..RAT23.len()).map(|keypoint| Keypoint::recorded(kinematics.keypoint_m(keypoint), 1.0)).collect()
    };
    (0..1_000).map(&mut frame).collect()
}

fn frames(c: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mjcf = root.join(".deps/rat/rodent.xml");
    if !mjcf.is_file() {
        println!("skipped: {} is not there", mjcf.display());
        return;
    }
    let names: Vec<String> = RAT23.iter().map(|name| (*name).to_owned()).collect();
    let subject = |name: &str| Subject::load(&root.join("configs/subjects").join(name)).expect("the subject loads");
    let real = recorded(root);
    let subject = subject(if real.is_some() { "grooming.toml" } else { "twin.toml" });
    let rat = mimicd_rat::load(&mjcf, &subject.rat_options()).expect("the rat loads");
    let frames = real.unwrap_or_else(|| simulated(&rat, &mjcf));
    let mut registrar = Registrar::new(&rat, &subject, &names, 50.0, Tuning::default()).expect("the keypoints fit");
    let mut state = BodyState::new(names.len());
    let mut index = 0;
    c.bench_function("body/register a frame", |b| {
        b.iter(|| {
            index = (index + 1) % frames.len();
            registrar.register(&frames[index], &mut state);
            state.residual_mean_m
        });
    });
    c.bench_function("body/cold start", |b| {
        b.iter(|| {
            registrar.reset();
            registrar.register(&frames[0], &mut state);
        });
    });
    let mut micros: Vec<f64> = frames
        .iter()
        .cycle()
        .take(FRAMES)
        .map(|frame| {
            let start = Instant::now();
            registrar.register(frame, &mut state);
            1e6 * start.elapsed().as_secs_f64()
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    let at = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize];
    println!(
        "body/single frames: p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, max {:.1} us",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

criterion_group!(benches, frames);
criterion_main!(benches);
