//! Videos of a recording whose writer died: closed, counted, compared with the rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mimicd_device::RigTime;

use crate::record::catalog::CameraInfo;
use crate::record::error::RecordError;
use crate::record::gap::{Gap, GapCause, GapUnit};
use crate::record::hash;
use crate::record::manifest::{GapEntry, Manifest, VideoEntry};
use crate::record::schema::FRAMES;
use crate::record::seal::{Sealer, lock};
use crate::record::tables;
use crate::record::video::{count_frames, is_closed, part_of};

/// An encoder that outlives its daemon gets this long to finish its file.
const SETTLE_MAX: Duration = Duration::from_secs(10);
const SETTLE_STEP: Duration = Duration::from_millis(100);

/// Enters every video file that the manifest does not know yet and declares what rows and files disagree on.
pub(super) fn close_videos(
    folder: &Path,
    manifest: &Mutex<Manifest>,
    sealer: &mut Sealer,
    newest: Option<i64>,
) -> Result<(), RecordError> {
    let (cameras, known, programs) = {
        let manifest = lock(manifest);
        let known: Vec<String> = manifest.videos.iter().map(|video| video.file.clone()).collect();
        (manifest.catalog.cameras.clone(), known, programs(&manifest))
    };
    let mut numbered = rows_by_part(folder, &lock(manifest))?;
    let entered = |camera: usize, part: i32| {
        let name = &cameras.get(camera).map(|camera| camera.name.as_str());
        lock(manifest).videos.iter().any(|video| Some(video.camera.as_str()) == *name && video.part == part)
    };
    numbered.retain(|(camera, part), _| !entered(*camera, *part));
    let at = RigTime::from_nanos(newest.unwrap_or(0));
    for path in video_files(folder) {
        let below = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let Some((place, part)) = part_of(&path, &cameras) else { continue };
        if known.contains(&below) {
            continue;
        }
        let camera = &cameras[place];
        close(&path, &programs.0)?;
        let counted = count_frames(&programs.1, &path, camera)?;
        let offered = numbered.remove(&(place, part)).unwrap_or(0);
        let known = lock(manifest).gaps.clone();
        declare(sealer, &known, camera, part, (offered, counted), at)?;
        let (sha256, bytes) = hash::file(&path).map_err(|error| RecordError::file(&path, "read", error))?;
        let camera = camera.name.clone();
        lock(manifest).videos.push(VideoEntry { camera, part, file: below, offered, counted, bytes, sha256 });
    }
    // An encoder that ended before it made its file leaves only rows.
    for ((place, part), offered) in numbered {
        let Some(camera) = cameras.get(place) else { continue };
        let known = lock(manifest).gaps.clone();
        declare(sealer, &known, camera, part, (offered, 0), at)?;
    }
    Ok(())
}

/// Rows without a frame are missing from the video; frames without a row lost it with the journal's end. What a recovery
/// before this one has declared (its manifest was lost since) is not declared twice.
fn declare(
    sealer: &mut Sealer,
    known: &[GapEntry],
    camera: &CameraInfo,
    part: i32,
    (offered, counted): (u64, u64),
    at: RigTime,
) -> Result<(), RecordError> {
    let (rows, frames) = (offered as i64, counted as i64);
    let video = format!("video/{}/part{part}", camera.name);
    let row = format!("frames/{}/part{part}", camera.name);
    let is_known = |stream: &str, first: i64, end: i64| {
        known.iter().any(|gap| gap.stream == stream && (gap.first, gap.end) == (Some(first), Some(end)))
    };
    if frames < rows && !is_known(&video, frames, rows) {
        sealer.gap_row(&Gap::range(&video, GapUnit::VideoFrames, frames, rows, at, GapCause::Killed))?;
    }
    if frames > rows && !is_known(&row, rows, frames) {
        sealer.gap_row(&Gap::range(&row, GapUnit::Rows, rows, frames, at, GapCause::Killed))?;
    }
    Ok(())
}

/// Highest frame number plus one that rows name, by camera and part.
fn rows_by_part(folder: &Path, manifest: &Manifest) -> Result<BTreeMap<(usize, i32), u64>, RecordError> {
    let mut highest: BTreeMap<(usize, i32), u64> = BTreeMap::new();
    tables::scan(folder, manifest, FRAMES, &["camera", "video_part", "video_frame"], |batch| {
        let cameras = tables::integers(batch, "camera");
        let parts = tables::integers(batch, "video_part");
        let frames = tables::integers(batch, "video_frame");
        for ((camera, part), frame) in cameras.iter().zip(&parts).zip(&frames) {
            let (Some(camera), Some(part), Some(frame)) = (camera, part, frame) else { continue };
            if *part >= 0 {
                let known = highest.entry((*camera as usize, *part as i32)).or_default();
                *known = (*known).max(*frame as u64 + 1);
            }
        }
    })?;
    Ok(highest)
}

fn video_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("video")) else { return Vec::new() };
    let is_video = |path: &PathBuf| path.extension().is_some_and(|e| e == "mkv" || e == "raw");
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_video).collect();
    files.sort();
    files
}

/// The recording's own encoder and counting programs.
fn programs(manifest: &Manifest) -> (String, String) {
    let named = |key: &str| manifest.info.config.pointer(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let ffmpeg = named("/record/ffmpeg").unwrap_or_else(|| "ffmpeg".to_owned());
    let ffprobe = named("/record/ffprobe").unwrap_or_else(|| "ffprobe".to_owned());
    (ffmpeg, ffprobe)
}

/// Waits until nobody writes the file any more; a container that was cut gets an end and an index.
fn close(path: &Path, ffmpeg: &str) -> Result<(), RecordError> {
    let began = Instant::now();
    let size = || std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
    let mut before = size();
    while !is_closed(path) && began.elapsed() < SETTLE_MAX {
        std::thread::sleep(SETTLE_STEP);
        if size() == before {
            break;
        }
        before = size();
    }
    if is_closed(path) {
        return Ok(());
    }
    let temporary = path.with_extension("mkv.tmp");
    let copied = Command::new(ffmpeg)
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i"])
        .arg(path)
        .args(["-c", "copy", "-f", "matroska"])
        .arg(&temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|reason| RecordError::Encoder { program: ffmpeg.to_owned(), reason })?;
    if copied.success() {
        std::fs::rename(&temporary, path).map_err(|error| RecordError::file(path, "rename to", error))?;
    } else {
        std::fs::remove_file(&temporary).ok(); // The cut file holds no frame; it stays as it is and counts as empty.
    }
    Ok(())
}
