//! Registration on real keypoints, on published clips, and on nonsense.

mod body_support;

use std::io::Read;
use std::path::{Path, PathBuf};

use mimicd::body::import::Recording;
use mimicd::body::{BodyFlags, BodyState, Registrar, Subject, Tuning};
use mimicd::pose::Keypoint;
use mimicd_rat::{Kinematics, QPOS_LEN, QVEL_LEN, RAT23, RatModel, load};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const RATE_HZ: f64 = 50.0;

fn file(relative: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(relative);
    if !path.is_file() {
        println!("skipped: {} is not there", path.display());
    }
    path.is_file().then_some(path)
}

fn names() -> Vec<String> {
    RAT23.iter().map(|name| (*name).to_owned()).collect()
}

fn subject() -> Subject {
    Subject::load(&file("configs/subjects/grooming.toml").unwrap()).unwrap()
}

fn rat(subject: &Subject) -> Option<RatModel> {
    Some(load(&file(".deps/rat/rodent.xml")?, &subject.rat_options()).unwrap())
}

fn real() -> Option<Vec<Vec<Keypoint>>> {
    let mut recording = Recording::open(&file("../shared/data/rat_keypoints/rat23_grooming_1000_frames.mat")?).unwrap();
    recording.name(&names()).unwrap();
    recording.scale(1e-3);
    Some(recording.frames)
}

fn registrar(rat: &RatModel, smoothing: f64) -> Registrar {
    let mut tuning = Tuning::default();
    tuning.smooth(smoothing);
    Registrar::new(rat, &subject(), &names(), RATE_HZ, tuning).unwrap()
}

/// Registers all frames; gives the states.
fn run(registrar: &mut Registrar, frames: &[Vec<Keypoint>]) -> Vec<BodyState> {
    let mut state = BodyState::new(RAT23.len());
    frames
        .iter()
        .map(|frame| {
            registrar.register(frame, &mut state);
            state.clone()
        })
        .collect()
}

/// Root mean square of the hinge steps, degrees a frame.
fn step_rms_deg(states: &[BodyState]) -> f64 {
    let squares: Vec<f64> = states
        .windows(2)
        .flat_map(|pair| (7..QPOS_LEN).map(|i| (pair[1].qpos[i] - pair[0].qpos[i]).to_degrees().powi(2)))
        .collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Mean distance between the fitted sites and all keypoints of `truth`, also those that were hidden, millimetres.
fn mean_mm(states: &[BodyState], truth: &[Vec<Keypoint>]) -> f64 {
    let distance = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let all: Vec<f64> = states
        .iter()
        .zip(truth)
        .flat_map(|(state, frame)| state.sites_m.iter().zip(frame).map(|(site, k)| distance(*site, k.xyz_m)))
        .collect();
    1e3 * all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn real_keypoints_are_followed_closely_and_quietly() {
    let (Some(rat), Some(frames)) = (rat(&subject()), real()) else { return };
    let states = run(&mut registrar(&rat, 1.0), &frames);
    let (mean, step) = (mean_mm(&states, &frames), step_rms_deg(&states));
    println!("mean {mean:.3} mm, joint step {step:.3} deg rms");
    assert!(mean <= 1.6, "{mean}");
    assert!(step <= 0.16, "{step}");
    assert!(states[0].flags.contains(BodyFlags::COLD_START));
    assert!(states[1..].iter().all(|state| !state.flags.intersects(BodyFlags::COLD_START | BodyFlags::JUMP)));
    assert!(states.iter().all(|state| state.floor_depth_m < 2e-3));
}

#[test]
fn a_frame_allocates_nothing() {
    let (Some(rat), Some(frames)) = (rat(&subject()), real()) else { return };
    let mut registrar = registrar(&rat, 1.0);
    registrar.refine_offsets(60.0);
    let mut state = BodyState::new(RAT23.len());
    // Cold starts, tracking, nonsense, nothing: each way through the stage.
    let allocations = allocation_counter::measure(|| {
        for frame in &frames[..50] {
            registrar.register(frame, &mut state);
        }
        registrar.register(&[], &mut state);
        registrar.register(&[Keypoint::recorded([f64::NAN; 3], 1.0); 23], &mut state);
        for _ in 0..60 {
            registrar.register(&[Keypoint::recorded([9.0, 9.0, 9.0], 1.0); 23], &mut state);
        }
        registrar.reset();
        registrar.register(&frames[99], &mut state);
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn missing_keypoints_cost_little() {
    let (Some(rat), Some(frames)) = (rat(&subject()), real()) else { return };
    for (share, limit_mm) in [(0.05, 1.8), (0.2, 2.2), (0.5, 3.5)] {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut holed = frames.clone();
        for keypoint in holed.iter_mut().flatten() {
            if rng.random::<f64>() < share {
                *keypoint = Keypoint::MISSING;
            }
        }
        let states = run(&mut registrar(&rat, 1.0), &holed);
        let mean = mean_mm(&states, &frames);
        println!(
            "{:.0} % missing: {mean:.2} mm on all keypoints, step {:.3} deg",
            100.0 * share,
            step_rms_deg(&states)
        );
        assert!(mean < limit_mm, "{share}: {mean}");
        assert!(states.iter().all(|state| !state.flags.contains(BodyFlags::JUMP)));
    }
}

#[test]
fn a_limb_that_comes_back_does_not_jump() {
    let (Some(rat), Some(frames)) = (rat(&subject()), real()) else { return };
    for limb in [["ElbowL", "WristL", "HandL"], ["KneeR", "AnkleR", "FootR"], ["Snout", "EarL", "EarR"]] {
        for start in [100, 400, 700] {
            let mut holed = frames.clone();
            for frame in &mut holed[start..start + 50] {
                for name in limb {
                    frame[RAT23.iter().position(|other| *other == name).unwrap()] = Keypoint::MISSING;
                }
            }
            let states = run(&mut registrar(&rat, 1.0), &holed[..start + 80]);
            let step = |pair: &[BodyState]| {
                (7..QPOS_LEN).map(|i| (pair[1].qpos[i] - pair[0].qpos[i]).abs().to_degrees()).fold(0.0, f64::max)
            };
            let worst = states[start - 1..].windows(2).map(step).fold(0.0, f64::max);
            assert!(worst <= 5.0, "{limb:?} at {start}: {worst} deg");
            assert!(states[start + 10].flags.contains(BodyFlags::EXTRAPOLATED));
            let after = mean_mm(&states[start + 75..], &frames[start + 75..]);
            assert!(after < 2.5, "{limb:?} at {start}: {after} mm after the return");
        }
    }
}

fn clips() -> Option<Vec<Vec<[f64; QPOS_LEN]>>> {
    let path = file("../shared/data/rat_reference_clips/clips.json.gz")?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let frame = |frame: &serde_json::Value| {
        let numbers: Vec<f64> = frame.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        numbers.try_into().unwrap()
    };
    let clip = |clip: &serde_json::Value| clip["qpos"].as_array().unwrap().iter().map(frame).collect();
    Some(value["clips"].as_array().unwrap().iter().map(clip).collect())
}

/// A joint is observable when one frame of keypoints with 2 mm of noise leaves it known to this much, degrees (one standard
/// deviation). There is a gap in the list here: limbs, scapulae and the first neck joint are below 9, and what comes next, the
/// joints in series of the lumbar spine and the neck, begins at 13.
const OBSERVABLE_DEG: f64 = 10.0;

/// Coordinates of the observable joints: from the information of the keypoints over every 50th posture.
fn observable(rat: &RatModel, clips: &[Vec<[f64; QPOS_LEN]>]) -> Vec<usize> {
    let mut kinematics = Kinematics::new(rat);
    let mut rows = [[0.0; QVEL_LEN]; 3];
    let mut known_deg = vec![Vec::new(); QVEL_LEN];
    for qpos in clips.iter().flat_map(|clip| clip.iter().step_by(50)) {
        kinematics.set(qpos);
        // A hinge that no keypoint tells about is known to one radian.
        let mut information = DMatrix::<f64>::identity(QVEL_LEN, QVEL_LEN);
        (0..6).for_each(|dof| information[(dof, dof)] = 1e-6);
        for keypoint in 0..RAT23.len() {
            kinematics.keypoint_jacobian(keypoint, &mut rows);
            for row in &rows {
                let row = DVector::from_row_slice(row);
                information.ger(1.0 / 2e-3_f64.powi(2), &row, &row, 1.0);
            }
        }
        let covariance = information.try_inverse().unwrap();
        (0..QVEL_LEN).for_each(|dof| known_deg[dof].push(covariance[(dof, dof)].sqrt().to_degrees()));
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (6..QVEL_LEN).filter(|&dof| median(&mut known_deg[dof]) < OBSERVABLE_DEG).map(|dof| dof + 1).collect()
}

#[test]
fn published_clips_are_registered_back() {
    let subject = subject();
    let (Some(rat), Some(clips)) = (rat(&subject), clips()) else { return };
    let mut kinematics = Kinematics::new(&rat);
    let observable = observable(&rat, &clips);
    assert!((20..30).contains(&observable.len()), "{}", observable.len());
    let (mut sum, mut count) = (0.0, 0.0);
    for (seed, clip) in clips.iter().enumerate() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        // 2 mm of noise: the sum of twelve uniform numbers is normal enough.
        let mut noise = || 2e-3 * ((0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0);
        let frames: Vec<Vec<Keypoint>> = clip
            .iter()
            .map(|qpos| {
                kinematics.set(qpos);
                (0..RAT23.len())
                    .map(|index| Keypoint::recorded(kinematics.keypoint_m(index).map(|value| value + noise()), 1.0))
                    .collect()
            })
            .collect();
        let states = run(&mut registrar(&rat, 1.0), &frames);
        for (state, truth) in states.iter().zip(clip).skip(5) {
            for &index in &observable {
                sum += (state.qpos[index] - truth[index]).abs().to_degrees();
                count += 1.0;
            }
        }
    }
    let mean = sum / count;
    println!("{mean:.2} deg mean on {} joints", observable.len());
    assert!(mean <= 3.0, "{mean}");
}

/// A frame's worth of nonsense.
fn nonsense() -> impl Strategy<Value = Vec<Keypoint>> {
    let number = prop_oneof![
        4 => -1.0..1.0_f64,
        1 => Just(0.0),
        1 => -1e3..1e3_f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(1e308),
    ];
    let confidence = prop_oneof![4 => 0.0..1.0_f32, 1 => Just(f32::NAN), 1 => Just(-1.0_f32), 1 => Just(1e9_f32)];
    let keypoint = ([number.clone(), number.clone(), number], confidence).prop_map(|(xyz_m, confidence)| Keypoint {
        xyz_m,
        confidence,
        ..Keypoint::MISSING
    });
    proptest::collection::vec(keypoint, 0..30)
}

fn hold_together(rat: &RatModel, state: &BodyState) {
    assert!(state.qpos.iter().chain(&state.qvel).all(|value| value.is_finite()));
    let norm = state.qpos[3..7].iter().map(|value| value * value).sum::<f64>();
    assert!((norm - 1.0).abs() < 1e-9, "{norm}");
    for joint in &rat.joints()[1..] {
        let [low, high] = joint.limits_rad.unwrap();
        assert!((low..=high).contains(&state.qpos[joint.qpos]), "{}: {}", joint.name, state.qpos[joint.qpos]);
    }
    assert!(state.sites_m.iter().flatten().all(|value| value.is_finite()));
    // Two stages of a cold start and the settling of the tail beside one frame of tracking at most.
    assert!(state.iterations <= 3 + 2 * 60 + 30, "{}", state.iterations);
}

/// One keypoint set changed into something that no rat can do.
fn degenerate(frame: &[Keypoint], kind: usize) -> Vec<Keypoint> {
    let change = |change: &dyn Fn([f64; 3]) -> [f64; 3]| {
        frame.iter().map(|keypoint| Keypoint { xyz_m: change(keypoint.xyz_m), ..*keypoint }).collect()
    };
    match kind {
        0 => change(&|_| [0.0; 3]),
        1 => change(&|[x, y, z]| [x, -y, z]),
        2 => change(&|[x, y, z]| [x + 10.0, y, z]),
        3 => change(&|[x, y, _]| [x, y, 0.0]),
        4 => change(&|xyz| xyz.map(|value| value * 30.0)),
        5 => change(&|_| [f64::NAN; 3]),
        6 => change(&|[x, y, z]| [x, y, z - 1.0]),
        7 => frame[..2].to_vec(),
        _ => Vec::new(),
    }
}

#[test]
fn the_degenerate_is_flagged() {
    let (Some(rat), Some(frames)) = (rat(&subject()), real()) else { return };
    for warm in [0, 20] {
        for kind in 0..9 {
            let mut registrar = registrar(&rat, 1.0);
            run(&mut registrar, &frames[..warm]);
            let wrong: Vec<_> = frames[20..100].iter().map(|frame| degenerate(frame, kind)).collect();
            let states = run(&mut registrar, &wrong);
            states.iter().for_each(|state| hold_together(&rat, state));
            let odd = BodyFlags::NO_DATA | BodyFlags::POOR_FIT | BodyFlags::JUMP | BodyFlags::TOO_FEW;
            let odd = odd | BodyFlags::COLD_START | BodyFlags::EXTRAPOLATED | BodyFlags::NOT_FINITE;
            assert!(states[0].flags.intersects(odd), "kind {kind} after {warm}: {:?}", states[0].flags);
            let back = run(&mut registrar, &frames[100..300]);
            let mean = mean_mm(&back[150..], &frames[250..300]);
            assert!(mean < 2.5, "kind {kind} after {warm}: {mean} mm after it was over");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_never_breaks_out(frames in proptest::collection::vec(nonsense(), 1..25)) {
        let Some(rat) = rat(&subject()) else { return Ok(()) };
        let mut registrar = registrar(&rat, 1.0);
        for state in run(&mut registrar, &frames) {
            hold_together(&rat, &state);
        }
    }
}
