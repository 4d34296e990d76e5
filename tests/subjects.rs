//! The subject files that come with the project.

use std::path::Path;

use mimicd::body::Subject;

fn configs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/subjects")
}

#[test]
fn the_twins_rat_has_the_published_offsets() {
    let twin = Subject::load(&configs().join("twin.toml")).expect("configs/subjects/twin.toml");
    assert_eq!(twin.keypoint, Subject::rat23("twin").keypoint);
    assert_eq!(twin.scale, 0.9);
}

#[test]
fn every_subject_can_be_read() {
    for entry in std::fs::read_dir(configs()).expect("configs/subjects").flatten() {
        Subject::load(&entry.path()).unwrap_or_else(|error| panic!("{error}"));
    }
}
