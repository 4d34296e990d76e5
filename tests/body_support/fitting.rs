//! Fitting finds what the keypoints were made with, and refinement follows what slips.

use mimicd::body::fit::{FitOptions, diverse, fit};
use mimicd::body::{BodyState, Registrar, Subject, Tuning};
use mimicd::pose::Keypoint;
use mimicd_rat::RAT23;

use super::keypoints_of;
use crate::{RATE_HZ, clips, file, mean_mm, names, run, subject};

fn mjcf() -> Option<std::path::PathBuf> {
    file(".deps/rat/rodent.xml")
}

/// Mean distance between the offsets of two subjects, millimetres.
fn apart_mm(a: &Subject, b: &Subject) -> f64 {
    let distance = |(a, b): (&[f64; 3], &[f64; 3])| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let pairs = a.keypoint.iter().zip(&b.keypoint).map(|(a, b)| distance((&a.offset_m, &b.offset_m)));
    1e3 * pairs.sum::<f64>() / a.keypoint.len() as f64
}

#[test]
fn fitting_comes_close_to_the_offsets_that_made_the_keypoints() {
    let (Some(mjcf), Some(clips)) = (mjcf(), clips()) else { return };
    let truth = subject();
    let rat = mimicd_rat::load(&mjcf, &truth.rat_options()).unwrap();
    let postures: Vec<_> = clips.concat().into_iter().step_by(5).collect();
    let frames = keypoints_of(&rat, &truth, &postures, 0.5e-3);
    let chosen = diverse(&frames, 150);
    assert_eq!(chosen.len(), 150);
    assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
    let few: Vec<&[Keypoint]> = chosen.iter().map(|&index| frames[index].as_slice()).collect();
    let mut fitted = Subject::rat23("fitted");
    let before = apart_mm(&fitted, &truth);
    let options = FitOptions { rounds: 12, ..FitOptions::default() };
    let rounds = fit(&mjcf, &mut fitted, &names(), &few, &options, |_| ()).unwrap();
    let after = apart_mm(&fitted, &truth);
    let residual = 1e3 * rounds.last().unwrap().mean_m;
    println!("offsets {before:.1} mm off before, {after:.1} mm after; residual {residual:.2} mm");
    assert!(residual < 1.2, "{residual}");
    assert!(after < 0.5 * before, "{before} {after}");
}

#[test]
fn a_longer_leg_is_told_from_the_others() {
    let (Some(mjcf), Some(clips)) = (mjcf(), clips()) else { return };
    let mut truth = subject();
    truth.segment = mimicd::body::stock_segments();
    let leg = truth.segment.iter().position(|segment| segment.bodies[0] == "upper_leg_L").unwrap();
    truth.segment[leg].scale = 1.15;
    let rat = mimicd_rat::load(&mjcf, &truth.rat_options()).unwrap();
    let postures: Vec<_> = clips.concat().into_iter().step_by(25).collect();
    let frames = keypoints_of(&rat, &truth, &postures, 0.2e-3);
    let few: Vec<&[Keypoint]> = frames.iter().map(Vec::as_slice).collect();
    let mut fitted = truth.clone();
    fitted.segment[leg].scale = 1.0;
    let options = FitOptions { rounds: 30, proportions: true, ..FitOptions::default() };
    fit(&mjcf, &mut fitted, &names(), &few, &options, |_| ()).unwrap();
    let found = fitted.segment[leg].scale;
    println!("upper leg {found:.3} of 1.150; others {:?}", fitted.segment.iter().map(|s| s.scale).collect::<Vec<_>>());
    // Offsets make up for most of a length, so lengths come slowly; but the right one comes.
    assert!((1.02..1.16).contains(&found), "{found}");
    let neighbour = &fitted.segment[leg + 1];
    assert_eq!(neighbour.bodies[0], "lower_leg_L");
    assert!(fitted.segment.iter().all(|segment| segment.scale <= found));
    assert!(fitted.segment[..leg].iter().all(|segment| (segment.scale - 1.0).abs() < 0.01));
}

#[test]
fn refinement_follows_a_keypoint_that_slipped() {
    let (Some(mjcf), Some(clips)) = (mjcf(), clips()) else { return };
    let right = subject();
    let rat = mimicd_rat::load(&mjcf, &right.rat_options()).unwrap();
    let frames = keypoints_of(&rat, &right, &clips.concat(), 0.3e-3);
    let mut wrong = right.clone();
    let knee = RAT23.iter().position(|name| *name == "KneeL").unwrap();
    wrong.keypoint[knee].offset_m[0] += 0.008;
    let rat = mimicd_rat::load(&mjcf, &wrong.rat_options()).unwrap();
    let mut plain = Registrar::new(&rat, &wrong, &names(), RATE_HZ, Tuning::default()).unwrap();
    let mut refining = plain.clone();
    refining.refine_offsets(10.0);
    let (without, with) = (run(&mut plain, &frames), run(&mut refining, &frames));
    let last = frames.len() - 500;
    let (without, with) = (mean_mm(&without[last..], &frames[last..]), mean_mm(&with[last..], &frames[last..]));
    let left: Vec<f64> =
        (0..3).map(|axis| refining.offset_m(knee)[axis] - right.keypoint[knee].offset_m[axis]).collect();
    println!("residual {without:.2} mm without, {with:.2} mm with refinement; knee offset off by {left:.4?} m");
    assert!(with < without, "{with} {without}");
    assert!(left[0].abs() < 0.006, "{left:?}");
    // Off by default: nothing moves.
    assert_eq!(plain.offset_m(knee), wrong.keypoint[knee].offset_m);
}

#[test]
fn refinement_bears_nonsense() {
    let Some(mjcf) = mjcf() else { return };
    let subject = subject();
    let rat = mimicd_rat::load(&mjcf, &subject.rat_options()).unwrap();
    let mut registrar = Registrar::new(&rat, &subject, &names(), RATE_HZ, Tuning::default()).unwrap();
    registrar.refine_offsets(10.0);
    let mut state = BodyState::new(RAT23.len());
    for value in [0.0, 1e9, f64::NAN, -0.3, f64::INFINITY] {
        registrar.register(&vec![Keypoint::recorded([value; 3], 1.0); RAT23.len()], &mut state);
        registrar.register(&[], &mut state);
    }
    assert!((0..RAT23.len()).all(|index| registrar.offset_m(index).iter().all(|value| value.is_finite())));
}
