//! The stage with real policies and real motion.

use std::path::{Path, PathBuf};

use mimicd_device::{BoardTime, Integrity, Span};

use super::eval::{Motion, run, run_with};
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
