//! Reconciliation: triggers = frames + declared gaps, samples = span − declared gaps, video frames = rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::exposures::Lines;
use crate::config::VideoCodec;
use crate::record::catalog::ArrayInfo;
use crate::record::error::RecordError;
use crate::record::gap::GapUnit;
use crate::record::manifest::{GapEntry, Manifest};
use crate::record::schema::FRAMES;
use crate::record::tables;

/// One camera's account.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CameraAccount {
    /// The camera.
    pub name: String,
    /// Triggers in the triggers table.
    pub triggers: u64,
    /// Frames in the frames table.
    pub frames: u64,
    /// Frames that say which trigger took them, each trigger once.
    pub matched: u64,
    /// Further frames of a trigger that has one.
    pub duplicates: u64,
    /// Frames without a proved trigger.
    pub unmatched: u64,
    /// Frames of triggers that the triggers table does not have.
    pub beyond: u64,
    /// Triggers without a frame that a gap declares.
    pub declared: u64,
    /// Triggers without a frame that nothing declares: must be 0.
    pub undeclared: u64,
    /// Frames a second between the first and the last.
    pub rate_hz: f64,
}

impl CameraAccount {
    /// Whether everything adds up.
    pub fn adds_up(&self) -> bool {
        self.undeclared == 0 && self.matched + self.declared == self.triggers + self.beyond
    }
}

/// One array's account.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArrayAccount {
    /// The array's table.
    pub name: String,
    /// Samples in the table.
    pub samples: u64,
    /// Samples between first and last index.
    pub span: u64,
    /// Samples missing that gaps declare.
    pub declared: u64,
    /// Samples missing that nothing declares: must be 0.
    pub undeclared: u64,
    /// Samples whose index came before.
    pub repeated: u64,
    /// Whether the manifest's counts are those of the table.
    pub manifest_agrees: bool,
    /// Samples a second of rig time, without the gaps.
    pub rate_hz: f64,
}

impl ArrayAccount {
    /// Whether everything adds up.
    pub const fn adds_up(&self) -> bool {
        self.undeclared == 0 && self.manifest_agrees
    }
}

/// One video file's account.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VideoAccount {
    /// The file.
    pub file: String,
    /// Rows that name it.
    pub rows: u64,
    /// Frames in it.
    pub counted: u64,
    /// Frames missing in it, or rows missing for it, that gaps declare.
    pub declared: u64,
    /// Whether rows and frames agree.
    pub adds_up: bool,
}

/// Accounts of all cameras.
pub(super) fn cameras(folder: &Path, manifest: &Manifest) -> Result<Vec<CameraAccount>, RecordError> {
    let mut triggers = BTreeSet::new();
    tables::scan(folder, manifest, "triggers", &["trigger_index"], |batch| {
        triggers.extend(tables::integers(batch, "trigger_index").into_iter().flatten());
    })?;
    let mut seen: Vec<CameraFrames> = vec![CameraFrames::default(); manifest.catalog.cameras.len()];
    tables::scan(folder, manifest, FRAMES, &["t_ns", "camera", "trigger_index"], |batch| {
        let times = tables::integers(batch, "t_ns");
        let cameras = tables::integers(batch, "camera");
        let indices = tables::integers(batch, "trigger_index");
        for ((time, camera), index) in times.iter().zip(&cameras).zip(indices) {
            if let (Some(time), Some(camera)) = (time, camera)
                && let Some(frames) = seen.get_mut(*camera as usize)
            {
                frames.add(*time, index);
            }
        }
    })?;
    let accounts = manifest.catalog.cameras.iter().zip(&seen);
    Ok(accounts.map(|(camera, frames)| frames.account(&camera.name, &triggers, &manifest.gaps)).collect())
}

#[derive(Clone, Default)]
struct CameraFrames {
    indices: BTreeSet<i64>,
    frames: u64,
    duplicates: u64,
    unmatched: u64,
    times: Option<(i64, i64)>,
}

impl CameraFrames {
    fn add(&mut self, time: i64, index: Option<i64>) {
        self.frames += 1;
        let (first, last) = self.times.unwrap_or((time, time));
        self.times = Some((first.min(time), last.max(time)));
        match index {
            None => self.unmatched += 1,
            Some(index) => self.duplicates += u64::from(!self.indices.insert(index)),
        }
    }

    fn account(&self, name: &str, triggers: &BTreeSet<i64>, gaps: &[GapEntry]) -> CameraAccount {
        let stream = format!("frames/{name}");
        let ranges: Vec<(i64, i64)> = gaps
            .iter()
            .filter(|gap| gap.stream == stream && gap.unit == GapUnit::Triggers.as_str())
            .filter_map(|gap| Some((gap.first?, gap.end.unwrap_or_else(|| self.next_frame(gap.first.unwrap_or(0))))))
            .collect();
        let missing = triggers.difference(&self.indices);
        let (declared, undeclared): (Vec<i64>, Vec<i64>) =
            missing.partition(|index| ranges.iter().any(|(first, end)| (first..end).contains(index)));
        let matched = self.indices.len() as u64;
        let span = self.times.map_or(0, |(first, last)| last - first);
        CameraAccount {
            name: name.to_owned(),
            triggers: triggers.len() as u64,
            frames: self.frames,
            matched,
            duplicates: self.duplicates,
            unmatched: self.unmatched,
            beyond: self.indices.difference(triggers).count() as u64,
            declared: declared.len() as u64,
            undeclared: undeclared.len() as u64,
            rate_hz: if span > 0 { (self.frames - 1) as f64 / (span as f64 * 1e-9) } else { 0.0 },
        }
    }

    /// A gap without an end lasts until the camera's next frame.
    fn next_frame(&self, first: i64) -> i64 {
        self.indices.range(first..).next().copied().unwrap_or(i64::MAX)
    }
}

/// Accounts of all arrays; those of `lines` are shown their samples on the way.
pub(super) fn arrays(
    folder: &Path,
    manifest: &Manifest,
    lines: &mut [Lines],
) -> Result<Vec<ArrayAccount>, RecordError> {
    let account = |array: &ArrayInfo| {
        let table = array.table();
        let lines = lines.iter_mut().find(|lines| lines.array == table);
        array_account(folder, manifest, &table, lines)
    };
    manifest.catalog.arrays.iter().map(account).collect()
}

fn array_account(
    folder: &Path,
    manifest: &Manifest,
    table: &str,
    mut lines: Option<&mut Lines>,
) -> Result<ArrayAccount, RecordError> {
    let mut walk = SampleWalk::default();
    let columns = ["t_ns", "sample_index", "digital"];
    let columns = if lines.is_some() { &columns[..] } else { &columns[..2] };
    tables::scan(folder, manifest, table, columns, |batch| {
        let (times, words) = (tables::integers(batch, "t_ns"), tables::integers(batch, "digital"));
        for (row, (index, time)) in tables::integers(batch, "sample_index").into_iter().zip(times).enumerate() {
            let (Some(index), Some(time)) = (index, time) else { continue };
            walk.add(index, time);
            if let (Some(lines), Some(Some(word))) = (&mut lines, words.get(row)) {
                lines.add(index, time, *word);
            }
        }
    })?;
    let declared_ranges: Vec<(i64, i64)> = manifest
        .gaps
        .iter()
        .filter(|gap| gap.stream == table && gap.unit == GapUnit::Samples.as_str())
        .filter_map(|gap| Some((gap.first?, gap.end?)))
        .collect();
    let missing: u64 = walk.breaks.iter().map(|(first, end)| (end - first) as u64).sum();
    let declared = walk.breaks.iter().map(|found| covered(*found, &declared_ranges)).sum();
    let entry = manifest.arrays.get(table).copied().unwrap_or_default();
    let span = walk.first.map_or(0, |first| (walk.end - first) as u64);
    let manifest_agrees = walk.samples == entry.samples
        && (walk.samples == 0 || (entry.first, entry.end) == (walk.first.unwrap_or(0) as u64, walk.end as u64));
    let seconds = (walk.last_ns - walk.first_ns) as f64 * 1e-9;
    Ok(ArrayAccount {
        name: table.to_owned(),
        samples: walk.samples,
        span,
        declared,
        undeclared: missing - declared,
        repeated: walk.repeated,
        manifest_agrees,
        rate_hz: if seconds > 0.0 { (span - 1) as f64 / seconds } else { 0.0 },
    })
}

#[derive(Default)]
struct SampleWalk {
    first: Option<i64>,
    end: i64,
    first_ns: i64,
    last_ns: i64,
    samples: u64,
    repeated: u64,
    breaks: Vec<(i64, i64)>,
}

impl SampleWalk {
    fn add(&mut self, index: i64, time: i64) {
        self.samples += 1;
        if self.first.is_none() {
            (self.first, self.first_ns, self.end) = (Some(index), time, index);
        }
        if index < self.end {
            self.repeated += 1;
            return;
        }
        if index > self.end {
            self.breaks.push((self.end, index));
        }
        (self.end, self.last_ns) = (index + 1, time);
    }
}

/// How much of `found` the ranges cover, overlaps counted once.
fn covered(found: (i64, i64), ranges: &[(i64, i64)]) -> u64 {
    let mut within: Vec<_> = ranges.iter().map(|r| (r.0.max(found.0), r.1.min(found.1))).collect();
    within.retain(|(first, end)| first < end);
    within.sort_unstable();
    let (mut total, mut from) = (0, found.0);
    for (first, end) in within {
        total += (end - first.max(from)).max(0) as u64;
        from = from.max(end);
    }
    total
}

/// Accounts of all video files.
pub(super) fn videos(folder: &Path, manifest: &Manifest) -> Result<Vec<VideoAccount>, RecordError> {
    let mut rows: BTreeMap<(usize, i32), u64> = BTreeMap::new();
    tables::scan(folder, manifest, FRAMES, &["camera", "video_part"], |batch| {
        let cameras = tables::integers(batch, "camera");
        for (camera, part) in cameras.iter().zip(tables::integers(batch, "video_part")) {
            if let (Some(camera), Some(part)) = (camera, part)
                && part >= 0
            {
                *rows.entry((*camera as usize, part as i32)).or_default() += 1;
            }
        }
    })?;
    let sum = |stream: String, unit: GapUnit| -> u64 {
        let ours = manifest.gaps.iter().filter(|gap| gap.stream == stream && gap.unit == unit.as_str());
        ours.filter_map(|gap| gap.count).sum::<i64>() as u64
    };
    let account = |video: &crate::record::manifest::VideoEntry| {
        let place = manifest.catalog.cameras.iter().position(|camera| camera.name == video.camera);
        let rows = place.and_then(|place| rows.get(&(place, video.part)).copied()).unwrap_or(0);
        let missing = sum(format!("video/{}/part{}", video.camera, video.part), GapUnit::VideoFrames);
        let rowless = sum(format!("frames/{}/part{}", video.camera, video.part), GapUnit::Rows);
        VideoAccount {
            file: video.file.clone(),
            rows,
            counted: video.counted,
            declared: missing + rowless,
            adds_up: rows + rowless == video.counted + missing,
        }
    };
    let mut accounts: Vec<VideoAccount> = manifest.videos.iter().map(account).collect();
    // Rows may name a file that its encoder never made.
    for ((place, part), rows) in rows {
        let Some(camera) = manifest.catalog.cameras.get(place) else { continue };
        if !manifest.videos.iter().any(|video| video.camera == camera.name && video.part == part) {
            let declared = sum(format!("video/{}/part{part}", camera.name), GapUnit::VideoFrames);
            let file = format!("{}, part {part} (no file)", camera.name);
            accounts.push(VideoAccount { file, rows, counted: 0, declared, adds_up: rows == declared });
        }
    }
    Ok(accounts)
}

/// Frames that are in no video although their camera has one, against those declared. `None` when they agree.
pub(super) fn frames_without_video(folder: &Path, manifest: &Manifest) -> Result<Option<String>, RecordError> {
    let codec = manifest.info.config.pointer("/record/video").cloned();
    let is_off =
        codec.is_some_and(|codec| serde_json::from_value(codec).is_ok_and(|c: VideoCodec| c == VideoCodec::None));
    if is_off || manifest.videos.is_empty() {
        return Ok(None);
    }
    let mut without = 0_i64;
    tables::scan(folder, manifest, FRAMES, &["video_part"], |batch| {
        without += tables::integers(batch, "video_part").into_iter().flatten().filter(|part| *part < 0).count() as i64;
    })?;
    let names: BTreeSet<String> = manifest.catalog.cameras.iter().map(|c| format!("video/{}", c.name)).collect();
    let declared: i64 =
        manifest.gaps.iter().filter(|gap| names.contains(&gap.stream)).filter_map(|gap| gap.count).sum();
    let text = format!("{without} frames are in no video, {declared} declared");
    Ok((without > declared).then_some(text))
}
