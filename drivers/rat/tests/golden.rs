//! The loaded body against a published solution on the same body, and against finite differences.

use std::path::{Path, PathBuf};

use mimicd_rat::{
    Actuators, KeypointSite, Kinematics, QPOS_LEN, QVEL_LEN, RatModel, RatOptions, SegmentScale, load, rat23_sites,
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rat(options: &RatOptions) -> Option<RatModel> {
    let mjcf = workspace().join(".deps/rat/rodent.xml");
    if !mjcf.is_file() {
        println!("skipped: {} is not there (run the set-up)", mjcf.display());
        return None;
    }
    Some(load(&mjcf, options).unwrap())
}

/// Values of one stored (not compressed) float32 array of an npz file.
fn float32(file: &[u8], name: &str) -> Vec<f64> {
    let mut at = 0;
    while file[at..at + 4] == *b"PK\x03\x04" {
        let half =
            |offset: usize| usize::from(u16::from_le_bytes(file[at + offset..at + offset + 2].try_into().unwrap()));
        let (name_len, extra_len) = (half(26), half(28));
        // numpy always writes 64-bit sizes, in the extra field.
        let size = at + 30 + name_len + 4;
        let size = u64::from_le_bytes(file[size..size + 8].try_into().unwrap()) as usize;
        let entry = std::str::from_utf8(&file[at + 30..at + 30 + name_len]).unwrap();
        let body = at + 30 + name_len + extra_len;
        if entry == format!("{name}.npy") {
            let header = usize::from(u16::from_le_bytes(file[body + 8..body + 10].try_into().unwrap()));
            return file[body + 10 + header..body + size]
                .chunks_exact(4)
                .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
                .collect();
        }
        at = body + size;
    }
    panic!("{name} is not in the file");
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn bodies_and_sites_agree_with_the_published_solution() {
    let path = workspace().join("../shared/data/rat_keypoints/stac_golden_50_frames.npz");
    let Ok(file) = std::fs::read(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    // That file has its keypoints in alphabetical order.
    let offsets = float32(&file, "offsets");
    let mut sites = rat23_sites();
    sites.sort_by(|a, b| a.name.cmp(&b.name));
    for (site, offset) in sites.iter_mut().zip(offsets.chunks_exact(3)) {
        site.offset_m.copy_from_slice(offset);
    }
    let Some(rat) = rat(&RatOptions { sites, ..RatOptions::default() }) else { return };
    assert_eq!(rat.bodies()[1].name, "walker");
    assert_eq!(rat.joints().len(), 68);

    let (qpos, xpos, xsites) = (float32(&file, "qpos"), float32(&file, "xpos"), float32(&file, "walker_body_sites"));
    let mut kinematics = Kinematics::new(&rat);
    let (mut worst_body, mut worst_site) = (0.0_f64, 0.0_f64);
    for frame in 0..50 {
        kinematics.set(qpos[frame * QPOS_LEN..][..QPOS_LEN].try_into().unwrap());
        for (body, truth) in xpos[frame * 67 * 3..][..67 * 3].chunks_exact(3).enumerate() {
            worst_body = worst_body.max(distance(&kinematics.body_positions_m()[body], truth));
        }
        for (site, truth) in xsites[frame * 23 * 3..][..23 * 3].chunks_exact(3).enumerate() {
            worst_site = worst_site.max(distance(&kinematics.keypoint_m(site), truth));
        }
    }
    println!("worst body {:.3} mm, worst site {:.3} mm", worst_body * 1e3, worst_site * 1e3);
    assert!(worst_body <= 0.01e-3, "{worst_body}");
    assert!(worst_site <= 0.01e-3, "{worst_site}");
}

#[test]
fn jacobians_agree_with_finite_differences() {
    let Some(rat) = rat(&RatOptions::default()) else { return };
    let mut kinematics = Kinematics::new(&rat);
    let mut qpos = rat.reference_qpos();
    for (index, value) in qpos.iter_mut().enumerate() {
        *value += 0.05 * (index as f64 * 1.7).sin();
    }
    let norm = qpos[3..7].iter().map(|value| value * value).sum::<f64>().sqrt();
    qpos[3..7].iter_mut().for_each(|value| *value /= norm);
    let step = 1e-6;
    for keypoint in [0, 4, 10, 14, 18, 22] {
        kinematics.set(&qpos);
        let start = kinematics.keypoint_m(keypoint);
        let mut rows = [[0.0; QVEL_LEN]; 3];
        kinematics.keypoint_jacobian(keypoint, &mut rows);
        for dof in 0..QVEL_LEN {
            let mut velocity = [0.0; QVEL_LEN];
            velocity[dof] = 1.0;
            let mut moved = qpos;
            rat.model().integrate_pos(&mut moved, &velocity, step);
            kinematics.set(&moved);
            let end = kinematics.keypoint_m(keypoint);
            for axis in 0..3 {
                let slope = (end[axis] - start[axis]) / step;
                assert!((slope - rows[axis][dof]).abs() < 1e-5, "{keypoint} {dof} {axis}: {slope} {}", rows[axis][dof]);
            }
        }
    }
}

#[test]
fn options_change_what_they_say() {
    let Some(full) = rat(&RatOptions { scale: 1.0, floor: false, ..RatOptions::default() }) else { return };
    let small = rat(&RatOptions { actuators: Actuators::Torque, ..RatOptions::default() }).unwrap();
    assert!((small.mass_kg() / full.mass_kg() - 0.9_f64.powi(3)).abs() < 1e-6);
    assert_eq!(small.geoms().len(), full.geoms().len() + 1);
    assert_eq!(small.actuators().len(), 38);
    assert_eq!(small.sensor("gyro").unwrap().data.len(), 3);
    assert_eq!(small.model().actuator_gainprm()[0][0], 20.0);
    assert_eq!(small.model().actuator_biasprm()[0][0], 0.0);
    assert_eq!(small.model().actuator_dynprm()[0][0], 0.04);
    // 1 and 2 are the marks that make MuJoCo ignore a site's offset.
    let frames = small.model().site_sameframe();
    assert!(small.keypoint_sites().iter().all(|&site| !matches!(frames[site] as u8, 1 | 2)));
}

#[test]
fn a_segment_changes_its_own_length_and_nothing_else() {
    let Some(plain) = rat(&RatOptions::default()) else { return };
    let segments = vec![SegmentScale { body: "upper_leg_L".into(), factor: 1.2 }];
    let longer = rat(&RatOptions { segments, ..RatOptions::default() }).unwrap();
    let knee = plain.body_id("lower_leg_L").unwrap();
    for (id, (before, after)) in plain.bodies().iter().zip(longer.bodies()).enumerate() {
        let factor = if id == knee { 1.2 } else { 1.0 };
        for axis in 0..3 {
            assert!((after.position_m[axis] - factor * before.position_m[axis]).abs() < 1e-12, "{}", before.name);
        }
    }
    assert!(longer.mass_kg() > plain.mass_kg());
    let segments = vec![SegmentScale { body: "wing".into(), factor: 1.2 }];
    let wing = load(&workspace().join(".deps/rat/rodent.xml"), &RatOptions { segments, ..RatOptions::default() });
    assert_eq!(wing.unwrap_err().to_string(), "segment \"wing\": no such body in the rat");
}

#[test]
fn mistakes_are_named() {
    let missing = load(Path::new("no/such/file.xml"), &RatOptions::default()).unwrap_err().to_string();
    assert!(missing.contains("no/such/file.xml"), "{missing}");
    let mjcf = workspace().join(".deps/rat/rodent.xml");
    let scale = load(&mjcf, &RatOptions { scale: -1.0, ..RatOptions::default() }).unwrap_err().to_string();
    assert_eq!(scale, "scale = -1: expected 0.05 to 5");
    if mjcf.is_file() {
        let sites = vec![KeypointSite { name: "Wing".into(), body: "wing_L".into(), offset_m: [0.0; 3] }];
        let wing = load(&mjcf, &RatOptions { sites, ..RatOptions::default() }).unwrap_err().to_string();
        assert_eq!(wing, "keypoint Wing: no body named \"wing_L\" in the rat");
    }
}
