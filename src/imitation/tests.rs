//! The stage with real policies and real motion.

use std::path::{Path, PathBuf};

use mimicd_device::{BoardTime, Integrity, Span};

use super::eval::{Motion, run, run_with};
use super::manifest::{Egocentric, Field, ObservationSpec, PolicyManifest};
use super::observation::Observer;
use super::physics::VirtualRat;
use super::policy::{LatentNoise, Policy};
use super::reference::ReferenceWindow;
use super::{ImitationStage, ResetReason};
use crate::config::{ImitationConfig, LookAhead};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The stage with a policy from `models`, or `None` (and a printed reason) where the set-up has not run.
fn stage(policy: &str, look_ahead: LookAhead) -> Option<ImitationStage> {
    let mjcf = root().join(".deps/rat/rodent.xml");
    if !mjcf.is_file() {
        println!("skipped: {} is not there; run `cargo xtask setup`", mjcf.display());
        return None;
    }
    let config = ImitationConfig {
        policy: root().join("models").join(policy).join("policy.toml"),
        look_ahead,
        ..ImitationConfig::for_policy(Path::new(""))
    };
    Some(ImitationStage::load_policy(&config, &mjcf, 50.0).unwrap())
}

fn clips() -> Option<Vec<Motion>> {
    let path = root().join("../shared/data/rat_reference_clips/clips.json.gz");
    if !path.is_file() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(Motion::read_clips(&path).unwrap())
}

/// The reference posture, standing still on the floor.
fn standing(stage: &ImitationStage) -> [f64; 74] {
    stage.rat().reference_qpos()
}

#[test]
fn real_clips_are_imitated_and_every_reset_has_a_reason() {
    let (Some(mut stage), Some(clips)) = (stage("policy-servo", LookAhead::Delayed), clips()) else { return };
    for clip in &clips {
        let run = run(&mut stage, clip).unwrap();
        println!(
            "{} {}: root {:.1} mm, turn {:.1} deg, joints {:.2} deg, feet {:.1} mm, falls {}, survived {}/{}",
            run.motion,
            run.behaviour,
            run.mean(|row| row.root_m) * 1e3,
            run.mean(|row| row.orientation_rad).to_degrees(),
            run.mean(|row| row.joints_rad).to_degrees(),
            run.mean(|row| 0.5 * (row.parts_m[5] + row.parts_m[6])) * 1e3,
            run.falls(),
            run.survived_frames,
            run.rows.len(),
        );
        assert!(run.rows.iter().all(|row| row.root_m.is_finite() && row.root_m < 0.2));
        assert!(run.mean(|row| row.joints_rad) < 0.1);
    }
}

#[test]
fn the_same_motion_gives_the_same_bytes() {
    let (Some(mut stage), Some(clips)) = (stage("policy-servo", LookAhead::Forecast), clips()) else { return };
    let mut once = Vec::new();
    let mut twice = Vec::new();
    run_with(&mut stage, &clips[3], |step| once.push((step.qpos, step.action))).unwrap();
    run_with(&mut stage, &clips[3], |step| twice.push((step.qpos, step.action))).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn a_missing_reference_is_held_then_reset_and_trusted_again() {
    let Some(mut stage) = stage("policy-servo", LookAhead::Forecast) else { return };
    let posture = standing(&stage);
    let mut step = stage.make_step();
    let mut at = BoardTime::from_nanos(5_000_000_000);
    let mut feed = |stage: &mut ImitationStage, step: &mut super::ImitationStep, frames: usize, seen: bool| {
        for _ in 0..frames {
            at += Span::from_millis(20);
            stage.follow(at, seen.then_some(&posture), step).unwrap();
        }
    };
    feed(&mut stage, &mut step, 1, true);
    assert_eq!(step.reset, Some(ResetReason::Start));
    feed(&mut stage, &mut step, 30, true);
    assert!(step.trusted && step.resets == 0 && step.integrity.is_empty(), "{step:?}");
    feed(&mut stage, &mut step, 5, false);
    assert!(step.control_steps == 2 && !step.integrity.contains(Integrity::STALE), "held");
    feed(&mut stage, &mut step, 20, false);
    assert!(step.control_steps == 0 && step.integrity.contains(Integrity::STALE) && !step.trusted, "frozen");
    feed(&mut stage, &mut step, 1, true);
    assert_eq!((step.reset, step.resets), (Some(ResetReason::ReferenceLost), 1));
    assert!(!step.trusted);
    feed(&mut stage, &mut step, 30, true);
    assert!(step.trusted);
}

#[test]
fn absurd_references_reset_cleanly_and_are_flagged() {
    let Some(mut stage) = stage("policy-servo", LookAhead::Delayed) else { return };
    let good = standing(&stage);
    let mut teleported = good;
    teleported[0] += 3.0;
    let mut upside_down = good;
    upside_down[3..7].copy_from_slice(&[0.0, 1.0, 0.0, 0.0]);
    let mut broken = good;
    broken[20] = f64::NAN;
    let mut step = stage.make_step();
    let mut reasons = Vec::new();
    let mut not_finite = 0;
    for frame in 0..200_i64 {
        let posture = match frame {
            60..80 => &teleported,
            100..120 => &upside_down,
            140..145 => &broken,
            _ => &good,
        };
        stage.follow(BoardTime::ZERO + Span::from_millis(20 * frame), Some(posture), &mut step).unwrap();
        reasons.extend(step.reset);
        not_finite += usize::from(step.integrity.contains(Integrity::NOT_FINITE));
        assert!(step.qpos.iter().chain(&step.qvel).all(|value| value.is_finite()));
        assert_eq!(step.reset.is_some(), step.integrity.contains(Integrity::RESET));
        assert!(!(step.trusted && step.since_reset < Span::from_millis(500)));
    }
    assert!(reasons.contains(&ResetReason::RootFar) && reasons.contains(&ResetReason::Turned), "{reasons:?}");
    assert_eq!(not_finite, 5);
    assert!(step.trusted, "it stands again: {:?}", step.error);
}

#[test]
fn time_that_jumps_is_a_reset_with_its_reason() {
    let Some(mut stage) = stage("policy-servo", LookAhead::Forecast) else { return };
    let posture = standing(&stage);
    let mut step = stage.make_step();
    let mut at = |stage: &mut ImitationStage, millis: i64| {
        stage.follow(BoardTime::ZERO + Span::from_millis(millis), Some(&posture), &mut step).unwrap();
        step.reset
    };
    for frame in 0..10 {
        at(&mut stage, 1_000 + 20 * frame);
    }
    assert_eq!(at(&mut stage, 1_340), Some(ResetReason::Paused));
    assert_eq!(at(&mut stage, 100), Some(ResetReason::ClockStep));
    assert_eq!(at(&mut stage, 120), None);
}

#[test]
fn a_short_pause_is_made_up_for_and_a_long_one_is_a_reset_without_a_blow() {
    let Some(mut whole) = stage("policy-servo", LookAhead::Forecast) else { return };
    let Some(mut paused) = stage("policy-servo", LookAhead::Forecast) else { return };
    let posture = standing(&whole);
    let at = |frame: i64| BoardTime::from_nanos(1_000_000_000) + Span::from_millis(20 * frame);
    let (mut a, mut b) = (whole.make_step(), paused.make_step());
    for frame in 0..40 {
        whole.follow(at(frame), Some(&posture), &mut a).unwrap();
        // Not called for two frames: nothing may be lost of the time between.
        if frame != 20 && frame != 21 {
            paused.follow(at(frame), Some(&posture), &mut b).unwrap();
            assert_eq!(b.reset.is_some(), frame == 0);
        }
    }
    assert_eq!((a.qpos, a.qvel, a.since_reset), (b.qpos, b.qvel, b.since_reset));
    let mut moved = posture;
    moved[0] += 0.3;
    paused.follow(at(200), Some(&moved), &mut b).unwrap();
    assert_eq!((b.reset, b.trusted), (Some(ResetReason::Paused), false));
    for frame in 201..260 {
        paused.follow(at(frame), Some(&moved), &mut b).unwrap();
        assert!(b.reset.is_none() && b.error.root_m < 0.02, "{:?}", b.error);
        let fastest = b.qvel[..3].iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        assert!(fastest < 0.5, "{fastest} m/s after the pause");
    }
    assert!(b.trusted);
}

#[test]
fn published_layouts_turn_vectors_the_other_way_round() {
    let Some(stage) = stage("policy-servo", LookAhead::Delayed) else { return };
    let mut posture = standing(&stage);
    // A quarter turn to the left: the animal's forward is the world's y.
    posture[3..7].copy_from_slice(&[0.5_f64.sqrt(), 0.0, 0.0, 0.5_f64.sqrt()]);
    let mut ahead = posture;
    ahead[1] += 0.1;
    let mut window = ReferenceWindow::new(Span::from_millis(100), vec![None; 67], None);
    window.push(BoardTime::ZERO, &ahead, None);
    window.push(BoardTime::ZERO + Span::from_millis(200), &ahead, None);
    let mut rat = VirtualRat::new(stage.rat(), 5, 0.0).unwrap();
    rat.reset(&posture, &[0.0; 73]);
    let look = |egocentric: Egocentric| {
        let spec = ObservationSpec {
            fields: vec![Field::ReferenceRootPosition],
            egocentric,
            ..stage.manifest().observation.clone()
        };
        let mut observer = Observer::new(stage.rat(), &spec, 0, Path::new("policy.toml")).unwrap();
        observer.look_ahead(&window, BoardTime::ZERO);
        let mut out = vec![0.0; observer.length()];
        observer.write(&rat, &[0.0; 38], &[], &mut out);
        [out[0], out[1]]
    };
    let near = |got: [f32; 2], wanted: [f32; 2]| got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
    let (right, published) = (look(Egocentric::Inverse), look(Egocentric::Forward));
    assert!(near(right, [0.1, 0.0]), "ahead of the animal: {right:?}");
    assert!(near(published, [-0.1, 0.0]), "turned twice: {published:?}");
}

/// The published decoder beside our manifest, in a folder of its own.
fn published() -> Option<(tempfile::TempDir, PathBuf)> {
    let weights = root().join("../shared/data/published_policy/decoder_norm.onnx");
    if !weights.is_file() {
        println!("skipped: {} is not there", weights.display());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("policy.toml");
    std::fs::copy(root().join("models/published-decoder/policy.toml"), &manifest).unwrap();
    std::fs::copy(weights, folder.path().join("decoder_norm.onnx")).unwrap();
    Some((folder, manifest))
}

#[test]
fn the_published_decoder_gives_its_golden_values() {
    let Some((_folder, path)) = published() else { return };
    let manifest = PolicyManifest::load(&path).unwrap();
    let mut policy = Policy::load(&manifest, 207, 0).unwrap();
    for (index, value) in policy.observation_mut().0.iter_mut().enumerate() {
        *value = 0.5 * (0.37 * index as f32).sin();
    }
    let (mut action, mut signals) = ([0.0; 38], vec![0.0; 76]);
    assert!(policy.run(LatentNoise::default(), &mut action, &mut signals).unwrap());
    // From onnxruntime 1.24.4 in Python on the same input.
    let golden = [(0, 3.196_884_2), (1, -0.687_061_4), (37, 0.619_586_94), (38, -10.495_025), (40, -11.040_091)];
    for (index, value) in golden {
        let got: f32 = signals[index];
        assert!((got - value).abs() < 1e-4, "{index}: {got} instead of {value}");
    }
    assert!((action[0] - 3.196_884_2_f32.tanh()).abs() < 1e-5);
    assert!((action.iter().sum::<f32>() - 7.020_325).abs() < 1e-3);
}

#[test]
fn the_published_decoder_drives_the_torque_body_within_bounds() {
    let (Some((_folder, path)), Some(clips)) = (published(), clips()) else { return };
    let config = ImitationConfig { look_ahead: LookAhead::Forecast, ..ImitationConfig::for_policy(&path) };
    let mjcf = root().join(".deps/rat/rodent.xml");
    let mut stage = ImitationStage::load_policy(&config, &mjcf, 50.0).unwrap();
    let mut largest = 0.0_f32;
    let run = run_with(&mut stage, &clips[3], |step| {
        largest = step.action.iter().fold(largest, |most, action| most.max(action.abs()));
        assert!(step.qpos.iter().chain(&step.qvel).all(|value| value.is_finite()));
    })
    .unwrap();
    println!("published decoder: largest action {largest}, falls {}", run.falls());
    assert!(largest > 0.1 && largest <= 1.0);
}

#[test]
fn a_manifest_that_does_not_fit_says_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let text = std::fs::read_to_string(root().join("models/policy-servo/policy.toml")).unwrap();
    let error = |text: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::copy(root().join("models/policy-servo/policy.onnx"), folder.path().join("policy.onnx")).unwrap();
        let config = ImitationConfig::for_policy(&path);
        let mjcf = root().join(".deps/rat/rodent.xml");
        ImitationStage::load_policy(&config, &mjcf, 50.0).err().map(|error| error.to_string())
    };
    if !root().join(".deps/rat/rodent.xml").is_file() {
        println!("skipped: the rat is not there; run `cargo xtask setup`");
        return;
    }
    assert_eq!(error(&text), None);
    let missing_field = error(&text.replace("    \"gyro\",\n", "")).unwrap();
    assert!(missing_field.contains("925") && missing_field.contains("928"), "{missing_field}");
    let unknown_body = error(&text.replace("\"jaw\"", "\"beak\"")).unwrap();
    assert!(unknown_body.contains("beak") && unknown_body.contains("observation.bodies"), "{unknown_body}");
    let unknown_output = error(&text.replace("output = \"set_point\"", "output = \"latent\"")).unwrap();
    assert!(unknown_output.contains("\"latent\"") && unknown_output.contains("set_point"), "{unknown_output}");
    let rate = error(&text.replace("rate_hz = 100.0", "rate_hz = 3.0")).unwrap();
    assert!(rate.contains("control.rate_hz") && rate.contains('3'), "{rate}");
}

#[test]
fn the_evaluation_writes_its_table_and_plots() {
    if stage("policy-servo", LookAhead::Delayed).is_none() || clips().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let command = super::eval::ImitateCommand::Eval(super::eval::EvalArgs {
        policies: vec![root().join("models/policy-servo/policy.toml")],
        clips: root().join("../shared/data/rat_reference_clips/clips.json.gz"),
        mjcf: root().join(".deps/rat/rodent.xml"),
        look_ahead: super::eval::Modes::Both,
        forecaster: Some(root().join("models/forecaster/forecaster.onnx")),
        held_out: vec!["clip_0093".into(), "clip_0747".into(), "clip_0841".into()],
        noise: false,
        out: Some(folder.path().to_owned()),
    });
    let super::eval::Outcome { text, frames } = super::eval::imitate(&command).unwrap();
    println!("{text}");
    assert!(text.contains("held out") && text.contains("forecast") && text.contains("delayed"));
    assert!(text.contains("learned forecast") && frames.len() > 7_000);
    for plot in ["root.svg", "turn.svg"] {
        assert!(std::fs::metadata(folder.path().join(plot)).unwrap().len() > 1_000);
    }
}
