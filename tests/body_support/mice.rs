//! Keypoint sets other than rat23: the mice of `configs/subjects`.

use mimicd::body::convention::{Convention, Known, Up, detect};
use mimicd::body::{BodyFlags, Registrar, Subject, Tuning};
use mimicd_rat::{QPOS_LEN, RAT23};

use super::keypoints_of;
use crate::{RATE_HZ, clips, file, hold_together, mean_mm, run};

#[test]
fn a_mouse_is_followed_with_22_points_and_with_16() {
    let (Some(mjcf), Some(clips)) = (file(".deps/rat/rodent.xml"), clips()) else { return };
    for (name, count) in [("mouse22", 22), ("mouse16", 16)] {
        let subject = Subject::load(&file(&format!("configs/subjects/{name}.toml")).unwrap()).unwrap();
        assert_eq!(subject.keypoint.len(), count);
        let rat = mimicd_rat::load(&mjcf, &subject.rat_options()).unwrap();
        let size = subject.scale / 0.9;
        let smaller = |qpos: &[f64; QPOS_LEN]| {
            let mut qpos = *qpos;
            qpos[..3].iter_mut().for_each(|value| *value *= size);
            qpos
        };
        let postures: Vec<_> = clips[..4].concat().iter().map(smaller).collect();
        let metres = keypoints_of(&rat, &subject, &postures, 0.3e-3);
        // As a lab would have it: millimetres, y up.
        let mut recorded = metres.clone();
        for keypoint in recorded.iter_mut().flatten() {
            let [x, y, z] = keypoint.xyz_m;
            keypoint.xyz_m = [x, z, -y].map(|value| 1e3 * value);
        }
        let names: Vec<String> = subject.keypoint.iter().map(|keypoint| keypoint.name.clone()).collect();
        let found = detect(&rat, &subject, &names, &recorded, Known::default()).unwrap();
        assert_eq!(found.convention, Convention { unit_m: 1e-3, up: Up::PlusY, mirrored: false });
        assert!((0.9..1.1).contains(&found.size), "{}", found.size);
        found.convention.apply(&mut recorded);
        // Nothing was seen of the clips' tails: they are straight and go through the floor.
        let tuning = Tuning { floor_weight: 0.0, floor_weight_tail: 0.0, ..Tuning::default() };
        let mut registrar = Registrar::new(&rat, &subject, &names, RATE_HZ, tuning).unwrap();
        let states = run(&mut registrar, &recorded);
        states.iter().for_each(|state| hold_together(&rat, state));
        let mean = mean_mm(&states, &metres);
        println!("{name}: {mean:.2} mm");
        assert!(mean < 2.0, "{name}: {mean}");
        let bad = BodyFlags::POOR_FIT | BodyFlags::TOO_FEW | BodyFlags::NO_DATA;
        // The animal jumps from clip to clip, which is flagged for some frames each time.
        let bad = states.iter().filter(|state| state.flags.intersects(bad)).count();
        assert!(20 * bad < states.len(), "{name}: {bad} of {}", states.len());
    }
}

#[test]
fn keypoints_that_the_subject_lacks_are_left_out_and_too_few_are_refused() {
    let Some(mjcf) = file(".deps/rat/rodent.xml") else { return };
    let subject = Subject::load(&file("configs/subjects/mouse16.toml").unwrap()).unwrap();
    let rat = mimicd_rat::load(&mjcf, &subject.rat_options()).unwrap();
    let rat23: Vec<String> = RAT23.iter().map(|name| (*name).to_owned()).collect();
    assert!(Registrar::new(&rat, &subject, &rat23, RATE_HZ, Tuning::default()).is_ok());
    let paws: Vec<String> = ["HandL", "HandR", "FootL"].map(str::to_owned).to_vec();
    let error = Registrar::new(&rat, &subject, &paws, RATE_HZ, Tuning::default()).unwrap_err().to_string();
    assert!(error.contains("three trunk keypoints"), "{error}");
}
