//! A dataset that the simulated rig makes, stepped by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mimicd::config::Config;
use mimicd::geometry::Calibration;
use mimicd::pipeline::{Stepped, load_stages};
use mimicd::record::RecordingInfo;
use mimicd_device::Span;

/// The file at `path` under the repository, if it is there.
pub(crate) fn own(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.exists().then_some(path)
}

/// Whether `ffmpeg` can be started.
pub(crate) fn has_ffmpeg() -> bool {
    Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The twin preset with faults, recorded for `span` into `folder`.
pub(crate) fn record(folder: &Path, span: Span, faults: &[&str]) -> PathBuf {
    let path = own("configs/twin.toml").expect("the preset is there");
    let preset = std::fs::read_to_string(&path).expect("the preset reads");
    let faults: String = faults.iter().map(|fault| format!("\n[[twin.fault]]\n{fault}\n")).collect();
    let video = if has_ffmpeg() { "x264" } else { "raw" };
    let record = format!(
        "folder = \"{}\"\nvideo = \"{video}\"\nvideo_queue_frames = 1000\ndisk_margin_bytes = 0\nrefuse_below_minutes = 0\nlane_kib = 32768\npart_seconds = 2",
        folder.display()
    );
    let text = preset
        .replace("folder = \"../recordings\"", &record)
        .replace("[board]\nbackend = \"twin\"", "[board]\nbackend = \"twin\"\nstretch_every = 40")
        .replace("seed = 1", &format!("seed = 5{faults}"));
    let config = Config::parse(&text, &path).unwrap_or_else(|errors| panic!("{errors}"));
    let calibration = Calibration::load(&config.rig.calibration).expect("the preset's calibration loads");
    let stages = load_stages(&config, &calibration).expect("the preset's models load");
    let mut rig = Stepped::new(&config, &calibration, stages).expect("the twin opens");
    rig.arm().expect("the twin's cameras answer the burst");
    let checked = serde_json::to_value(&config).expect("a config is plain data");
    let info = RecordingInfo::new("twin", "twin", std::time::SystemTime::now(), checked);
    let (recorder, _) = rig.record(info).expect("the recorder starts");
    rig.run(span);
    rig.end_recording();
    recorder.seal().expect("the recording seals").folder
}
