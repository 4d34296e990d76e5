//! The folder layout of campy, which DANNCE and label3d read.
//!
//! ```text
//! <out>/videos/Camera<n>/0.mp4  frametimes.npy (2 × N: frame number from 1, seconds from the first frame)  metadata.csv
//!       frames.csv              which frame of each camera belongs to which trigger; empty = that camera has none
//! ```
//! campy's own files say nothing of missing frames, so the cameras' numbers drift apart after one: `frames.csv` is the cure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use super::frames::{self, VideoFrame};
use super::{ExportReport, make_folder, npy, write_file};
use crate::record::schema::FRAMES;
use crate::record::{VideoEntry, count_frames, raw_video_arguments};

pub(super) fn write(
    dataset: &Dataset,
    out: &Path,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    let video_bytes: u64 = dataset.manifest.videos.iter().map(|video| video.bytes).sum();
    if dataset.manifest.videos.is_empty() {
        let text = format!("{}: no video was recorded, and campy's layout is about videos", dataset.folder.display());
        return Err(ExportError::Request(text));
    }
    progress.expect(dataset.bytes(FRAMES) + video_bytes);
    let all = frames::in_videos(dataset, progress)?;
    for (place, list) in all.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        let folder = out.join("videos").join(format!("Camera{}", place + 1));
        make_folder(&folder)?;
        let files = frames::files(dataset, place, list);
        video(dataset, place, &files, list, &folder, report)?;
        progress.add(files.iter().map(|file| file.bytes).sum());
        let first = list[0].t_ns;
        let numbers = (1..=list.len()).map(|number| number as f64).collect();
        let times = list.iter().map(|frame| (frame.t_ns - first) as f64 * 1e-9).collect();
        npy::write_rows(&folder.join("frametimes.npy"), &[numbers, times])?;
        report.files += 1;
        write_file(&folder.join("metadata.csv"), metadata(dataset, place, list), report)?;
    }
    write_file(&out.join("frames.csv"), alignment(&all), report)
}

/// All of a camera's wanted frames in one MP4; copied where the codec and the range allow, else encoded again.
fn video(
    dataset: &Dataset,
    place: usize,
    files: &[&VideoEntry],
    list: &[VideoFrame],
    folder: &Path,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    let camera = &dataset.cameras()[place];
    let target = folder.join("0.mp4");
    let total: u64 = files.iter().map(|file| file.counted).sum();
    let is_h264 = dataset.manifest.info.config.pointer("/record/video").and_then(|codec| codec.as_str());
    let can_copy = total == list.len() as u64 && matches!(is_h264, Some("x264" | "nvenc"));
    let mut ffmpeg = Command::new(program(dataset, "ffmpeg"));
    ffmpeg.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]);
    let inputs: Vec<PathBuf> = files.iter().map(|file| dataset.folder.join(&file.file)).collect();
    let is_raw = inputs.iter().any(|path| path.extension().is_some_and(|extension| extension == "raw"));
    for path in &inputs {
        if is_raw {
            ffmpeg.args(raw_video_arguments(camera));
        }
        ffmpeg.arg("-i").arg(path);
    }
    let places = positions(files, list);
    let mut filter = String::new();
    for (index, _) in inputs.iter().enumerate() {
        write!(filter, "[{index}:v]").expect("writing to a string");
    }
    write!(filter, "concat=n={}:v=1:a=0,select='{}',setpts=N/{}/TB[v]", inputs.len(), places, camera.rate_hz)
        .expect("writing to a string");
    if can_copy && inputs.len() == 1 {
        ffmpeg.args(["-map", "0:v", "-c", "copy"]);
    } else {
        let rate = camera.rate_hz.to_string();
        ffmpeg.args(["-filter_complex", &filter, "-map", "[v]", "-r", &rate, "-c:v", "libx264"]);
        ffmpeg.args(["-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p"]);
        report.remarks.push(format!("{}: encoded again (H.264, crf 12)", camera.name));
    }
    let output = ffmpeg.arg(&target).stdin(Stdio::null()).output();
    let output = output.map_err(|reason| failed(dataset, reason.to_string()))?;
    if !output.status.success() {
        return Err(failed(dataset, String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    report.files += 1;
    let counted = count_frames(&program(dataset, "ffprobe"), &target, camera)?;
    if counted == list.len() as u64 {
        return Ok(());
    }
    let text = format!("{}: {counted} frames were written, expected {}", target.display(), list.len());
    Err(failed(dataset, text))
}

/// ffmpeg's expression for the wanted frames' positions in the joined files.
fn positions(files: &[&VideoEntry], list: &[VideoFrame]) -> String {
    let mut base = BTreeMap::new();
    let mut before = 0;
    for file in files {
        base.insert(file.part, before);
        before += file.counted as i64;
    }
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for frame in list {
        let position = base.get(&frame.part).copied().unwrap_or(0) + frame.frame;
        match runs.last_mut() {
            Some(run) if run.1 + 1 == position => run.1 = position,
            _ => runs.push((position, position)),
        }
    }
    let between: Vec<String> = runs.iter().map(|(first, last)| format!("between(n\\,{first}\\,{last})")).collect();
    between.join("+")
}

fn program(dataset: &Dataset, name: &str) -> String {
    let named = dataset.manifest.info.config.pointer(&format!("/record/{name}")).and_then(|value| value.as_str());
    named.unwrap_or(name).to_owned()
}

fn failed(dataset: &Dataset, reason: String) -> ExportError {
    ExportError::Program { program: program(dataset, "ffmpeg"), reason }
}

/// campy's keys, and the wall-clock start that campy lacks.
fn metadata(dataset: &Dataset, place: usize, list: &[VideoFrame]) -> String {
    let (camera, info) = (&dataset.cameras()[place], &dataset.manifest.info);
    let span = list.last().map_or(0, |last| last.t_ns - list[0].t_ns);
    let identity = info.devices.iter().find(|device| device.role == "camera" && device.name == camera.name);
    let rows = [
        ("cameraName", format!("Camera{}", place + 1)),
        ("mimicdName", camera.name.clone()),
        ("cameraSelection", place.to_string()),
        ("device", identity.map_or(String::new(), |device| device.identity.clone())),
        ("frameRate", camera.rate_hz.to_string()),
        ("frameWidth", camera.width_px.to_string()),
        ("frameHeight", camera.height_px.to_string()),
        ("totalFrames", list.len().to_string()),
        ("totalTime", format!("{:.9}", span as f64 * 1e-9)),
        ("startTimeUTC", info.started_utc.clone()),
        ("firstFrameSecondsAfterStart", format!("{:.9}", list[0].t_ns as f64 * 1e-9)),
        ("recording", info.recording.clone()),
        ("software", info.software.clone()),
    ];
    rows.iter()
        .fold(String::new(), |text, (key, value)| text + &format!("\"{key}\",\"{}\"\n", value.replace('"', "\"\"")))
}

/// One line for each trigger, one column for each camera: the frame's number in its video, from 1.
fn alignment(all: &[Vec<VideoFrame>]) -> String {
    let by_trigger: Vec<BTreeMap<i64, (usize, i64)>> = all
        .iter()
        .map(|list| {
            let numbered = (1..).zip(list);
            numbered.filter_map(|(number, frame)| Some((frame.trigger?, (number, frame.t_ns)))).collect()
        })
        .collect();
    let triggers: BTreeSet<i64> = by_trigger.iter().flat_map(|camera| camera.keys().copied()).collect();
    let mut text = String::from("trigger_index,t_s");
    for place in 1..=all.len() {
        write!(text, ",Camera{place}").expect("writing to a string");
    }
    text.push('\n');
    for trigger in triggers {
        let t_ns = by_trigger.iter().find_map(|camera| camera.get(&trigger)).map_or(0, |(_, t_ns)| *t_ns);
        write!(text, "{trigger},{:.9}", t_ns as f64 * 1e-9).expect("writing to a string");
        for camera in &by_trigger {
            let number = camera.get(&trigger).map_or(String::new(), |(number, _)| number.to_string());
            write!(text, ",{number}").expect("writing to a string");
        }
        text.push('\n');
    }
    text
}
