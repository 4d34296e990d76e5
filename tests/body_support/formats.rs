//! Recordings written by other people's libraries.

use std::path::Path;
use std::process::Command;

use mimicd::body::import::Recording;

use crate::file;

const NAMES: [&str; 5] = ["Snout", "EarL", "EarR", "SpineF", "TailBase"];

#[test]
fn what_others_write_is_read() {
    let Some(python) = file(".deps/peers-venv/bin/python") else { return };
    let has_h5py =
        Command::new(&python).args(["-c", "import h5py"]).output().is_ok_and(|output| output.status.success());
    if !has_h5py {
        println!("skipped: the peers environment has no h5py");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/write_keypoints.py");
    let done = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let files = [
        ("sleap_anipose.h5", false, 1.0),
        ("sleap_analysis.h5", true, 0.5),
        ("stac.h5", true, 1.0),
        ("matlab73.mat", false, 1.0),
        ("anipose.csv", true, 0.5),
    ];
    for (name, has_names, confidence) in files {
        let read = Recording::open(&folder.path().join(name)).unwrap();
        assert_eq!(read.names, if has_names { &NAMES[..] } else { &[] }, "{name}");
        assert_eq!(read.frames.len(), 40, "{name}");
        for (t, frame) in read.frames.iter().enumerate() {
            for (k, keypoint) in frame.iter().enumerate() {
                if (t, k) == (2, 1) {
                    assert_eq!(keypoint.confidence, 0.0, "{name}");
                    continue;
                }
                let place = [0, 1, 2].map(|axis| f64::from(1000 * t as u32 + 10 * k as u32 + axis));
                assert_eq!(keypoint.xyz_m, place, "{name}, frame {t}, keypoint {k}");
                assert_eq!(keypoint.confidence, confidence, "{name}");
            }
        }
    }
}
