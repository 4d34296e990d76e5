//! The subject files that come with the project.

use std::path::Path;

use mimicd::body::Subject;

fn configs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/subjects")
}

#[test]
fn the_twins_rat_has_the_published_keypoints() {
    let twin = Subject::load(&configs().join("twin.toml")).expect("configs/subjects/twin.toml");
    let published = Subject::rat23("twin");
    assert_eq!(twin.scale, published.scale);
    assert_eq!(twin.keypoint.len(), published.keypoint.len());
    for (fitted, start) in twin.keypoint.iter().zip(&published.keypoint) {
        assert_eq!((&fitted.name, &fitted.body, fitted.hold), (&start.name, &start.body, start.hold));
        // A fit may move an offset, but not off its body.
        let moved = fitted.offset_m.iter().zip(start.offset_m).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(moved <= 0.04 + 1e-9, "{}: {moved} m from its start", fitted.name);
    }
}

#[test]
fn every_subject_can_be_read() {
    for entry in std::fs::read_dir(configs()).expect("configs/subjects").flatten() {
        Subject::load(&entry.path()).unwrap_or_else(|error| panic!("{error}"));
    }
}
