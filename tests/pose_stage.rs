//! The pose stage on the twin's views: how near the truth it comes on a rat it was not trained on, and what it says of
//! views that show nothing, lie, or are not there.

#[path = "support/twin_views.rs"]
mod twin_views;

use std::path::Path;

use mimicd::pose::{PoseConfig, PoseEstimate, PoseStage, TrackState};
use mimicd_device::{Frame, Integrity, PixelFormat, Span};
use twin_views::{TwinViews, calibration};

/// No seed of this range was trained on (`models/pose-twin/README.md`).
const UNSEEN_SEED: u64 = 9001;
/// A keypoint presented as sure.
const SURE: f32 = 0.5;
/// And off by more than this: wild.
const WILD_M: f64 = 0.05;

type Views<'a> = Vec<Option<&'a Frame>>;

/// The multi-view path and the volumetric one.
const MODELS: [&str; 2] = ["pose-twin.toml", "volumetric.toml"];

fn stage(model: &str) -> PoseStage {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pose-twin").join(model);
    PoseStage::load(&PoseConfig::with_model(model), &calibration()).unwrap()
}

fn errors_m(out: &PoseEstimate, truth: &[[f64; 3]; 23]) -> Vec<(f32, f64)> {
    let distance = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
    out.keypoints.iter().zip(truth).map(|(k, t)| (k.confidence, distance(&k.xyz_m, t))).collect()
}

fn assert_nothing_wild(out: &PoseEstimate, truth: &[[f64; 3]; 23], what: &str) {
    for (index, (confidence, error_m)) in errors_m(out, truth).into_iter().enumerate() {
        let wild = confidence >= SURE && error_m > WILD_M;
        assert!(!wild, "{what}: keypoint {index} is {:.0} mm off with confidence {confidence}", error_m * 1e3);
    }
}

/// The stage after it has found and followed the rat for a while.
fn following(twin: &mut TwinViews, model: &str) -> (PoseStage, PoseEstimate) {
    let mut stage = stage(model);
    let mut out = stage.blank();
    for frame in 0..10 {
        twin.draw(Span::from_millis(20 * frame));
        stage.estimate(&twin.frames.iter().map(Some).collect::<Views<'_>>(), &mut out);
    }
    assert_eq!(out.state, TrackState::Tracking);
    (stage, out)
}

/// With every model: the goal's mean and 95th percentile; the volume's mean is that of the goal by a tenth or two.
const LIMITS_MM: [[f64; 2]; 2] = [[3.0, 8.0], [3.3, 8.0]];

#[test]
fn keypoints_of_unseen_rats_lie_near_the_truth_with_two_cameras_lost() {
    for (model, [mean_limit_mm, p95_limit_mm]) in MODELS.into_iter().zip(LIMITS_MM) {
        let mut errors = Vec::new();
        for seed in [UNSEEN_SEED, UNSEEN_SEED + 1] {
            let Some(mut twin) = TwinViews::new(seed) else { return };
            let (mut stage, mut out) = following(&mut twin, model);
            for frame in 0..20usize {
                stage.reset();
                let truth = twin.draw(Span::from_millis(430 * frame as i64));
                let lost = [frame % 6, (frame / 6 + frame + 1) % 6];
                let views = twin.frames.iter().enumerate().map(|(k, f)| (!lost.contains(&k)).then_some(f));
                stage.estimate(&views.collect::<Views<'_>>(), &mut out);
                let found = errors_m(&out, &truth).into_iter().filter(|(confidence, _)| *confidence > 0.0);
                errors.extend(found.map(|(_, error_m)| error_m));
            }
        }
        assert!(errors.len() > 40 * 23 * 9 / 10, "{model}: only {} keypoints found", errors.len());
        errors.sort_by(f64::total_cmp);
        let mean_mm = errors.iter().sum::<f64>() / errors.len() as f64 * 1e3;
        let p95_mm = errors[errors.len() * 95 / 100] * 1e3;
        println!("{model}, two cameras lost: mean {mean_mm:.2} mm, 95th percentile {p95_mm:.2} mm");
        assert!(mean_mm <= mean_limit_mm && p95_mm <= p95_limit_mm, "{model}: mean {mean_mm} mm, p95 {p95_mm} mm");
    }
}

#[test]
fn an_input_that_is_not_a_number_gives_no_keypoint_and_says_so() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    for model in MODELS {
        let (mut stage, mut out) = following(&mut twin, model);
        let views: Views<'_> = twin.frames.iter().map(Some).collect();
        stage.poison_next();
        stage.estimate(&views, &mut out);
        assert!(out.keypoints.iter().all(|k| k.confidence == 0.0), "{model}");
        assert!(out.integrity.contains(Integrity::NOT_FINITE | Integrity::PARTIAL), "{model}: {:?}", out.integrity);
        assert_eq!(out.state, TrackState::Coasting, "{model}");
        stage.estimate(&views, &mut out);
        assert!(out.state == TrackState::Tracking && !out.integrity.contains(Integrity::NOT_FINITE), "{model}");
    }
}

/// Views that were looked at before the others came, one of them twice, one of them blind, one in a frame that was then
/// replaced.
#[test]
fn looking_early_changes_nothing() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    for model in MODELS {
        let (mut early, mut early_out) = following(&mut twin, model);
        let (mut plain, mut plain_out) = following(&mut twin, model);
        assert!(early.look_early(4, &twin.frames[4]));
        twin.draw(Span::from_millis(200));
        twin.frames.iter_mut().for_each(|frame| frame.counter += 1);
        twin.frames[1].pixels.fill(255);
        for (view, is_new) in [(0, true), (3, true), (3, false), (1, true)] {
            assert_eq!(early.look_early(view, &twin.frames[view]), is_new, "{model}, view {view}");
        }
        for at in [200, 220] {
            let views = twin.frames.iter().map(Some).collect::<Views<'_>>();
            early.estimate(&views, &mut early_out);
            plain.estimate(&views, &mut plain_out);
            // As text: what was not seen is not a number, which equals nothing.
            assert_eq!(format!("{early_out:?}"), format!("{plain_out:?}"), "{model} at {at} ms");
            twin.draw(Span::from_millis(at + 20));
        }
        assert!(plain_out.views[0].crop.width_px > 0.0 && plain_out.state == TrackState::Tracking, "{model}");
    }
}

#[test]
fn a_saturated_a_dark_and_a_damaged_view_are_left_out() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    let (mut stage, mut out) = following(&mut twin, MODELS[0]);
    let truth = twin.draw(Span::from_millis(200));
    twin.frames[0].pixels.fill(255);
    twin.frames[3].pixels.fill(2);
    twin.frames[5].integrity |= Integrity::CORRUPT;
    stage.estimate(&twin.frames.iter().map(Some).collect::<Views<'_>>(), &mut out);
    assert!(out.integrity.contains(Integrity::PARTIAL));
    for view in [0, 3, 5] {
        assert_eq!(out.views[view].crop.width_px, 0.0, "view {view} was used");
        assert!(out.keypoints.iter().all(|k| k.views >> view & 1 == 0), "view {view} was used");
    }
    assert_nothing_wild(&out, &truth, "three views left out");
    assert!(out.keypoints.iter().any(|k| k.confidence > 0.2), "three good views are enough for something");
}

/// Changes a pixel, by its place and value.
type Spoil = fn(usize, u8) -> u8;

#[test]
fn pictures_that_are_not_of_a_rat_give_nothing_sure() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    let (mut stage, mut out) = following(&mut twin, MODELS[0]);
    let truth = twin.draw(Span::from_millis(200));
    let good = twin.frames.clone();
    let spoil: [(&str, Spoil); 3] = [
        ("inverted", |_, value| 255 - value),
        ("noise", |index, _| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]),
        ("bits in the wrong order", |_, value| value.rotate_left(4)),
    ];
    for (what, change) in spoil {
        for (frame, good) in twin.frames.iter_mut().zip(&good) {
            let values = good.pixels.iter().enumerate().map(|(index, &value)| change(index, value));
            frame.pixels.iter_mut().zip(values).for_each(|(pixel, value)| *pixel = value);
        }
        for _ in 0..8 {
            stage.estimate(&twin.frames.iter().map(Some).collect::<Views<'_>>(), &mut out);
            assert_nothing_wild(&out, &truth, what);
        }
    }
}

#[test]
fn frames_of_another_size_or_format_than_calibrated_do_not_pass_as_views() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    let (mut stage, mut out) = following(&mut twin, MODELS[0]);
    let mut geometry = twin.frames[2].geometry;
    geometry.width_px /= 2;
    twin.frames[2] = Frame::blank(twin.frames[2].camera, geometry);
    // A 16-bit camera's bytes in the wrong order: noise to the network.
    let wide = mimicd_device::FrameGeometry { format: PixelFormat::Mono16, ..twin.frames[1].geometry };
    let mut swapped = Frame::blank(twin.frames[1].camera, wide);
    for (pair, &value) in swapped.pixels.chunks_exact_mut(2).zip(&twin.frames[1].pixels) {
        pair.copy_from_slice(&(u16::from(value) << 4).to_be_bytes());
    }
    twin.frames[1] = swapped;
    let truth = twin.draw_others(Span::from_millis(200), &[1, 2]);
    stage.estimate(&twin.frames.iter().map(Some).collect::<Views<'_>>(), &mut out);
    assert_eq!(out.views[2].crop.width_px, 0.0);
    assert_nothing_wild(&out, &truth, "wrong byte order");
}

#[test]
fn the_rat_is_found_again_within_half_a_second_of_all_views_being_back() {
    let Some(mut twin) = TwinViews::new(UNSEEN_SEED) else { return };
    let (mut stage, mut out) = following(&mut twin, MODELS[0]);
    for frame in 10..60 {
        twin.draw(Span::from_millis(20 * frame));
        stage.estimate(&[None; 6], &mut out);
        assert!(out.keypoints.iter().all(|k| k.confidence == 0.0) && out.integrity.contains(Integrity::PARTIAL));
    }
    assert_eq!(out.state, TrackState::Searching);
    // The rat has meanwhile walked elsewhere.
    for frame in 0..25 {
        let truth = twin.draw(Span::from_millis(20_000 + 20 * frame));
        stage.estimate(&twin.frames.iter().map(Some).collect::<Views<'_>>(), &mut out);
        assert_nothing_wild(&out, &truth, "after the loss");
        if out.state == TrackState::Tracking {
            println!("found again after {} ms", 20 * (frame + 1));
            return;
        }
    }
    panic!("not found within 0.5 s");
}
