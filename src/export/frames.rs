//! Which frame of which file each row of the frames table stands for.

use std::collections::BTreeMap;

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use crate::record::schema::FRAMES;
use crate::record::{VideoEntry, tables};

/// A frame that is in a video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VideoFrame {
    pub(super) t_ns: i64,
    pub(super) trigger: Option<i64>,
    pub(super) part: i32,
    /// Position in the part's file, from 0.
    pub(super) frame: i64,
}

/// Frames of each camera in the order of its files; those that the encoder lost are left out.
///
/// # Errors
/// When the table cannot be read.
pub(super) fn in_videos(dataset: &Dataset, progress: &mut Progress<'_>) -> Result<Vec<Vec<VideoFrame>>, ExportError> {
    let cameras = dataset.cameras();
    let counted: BTreeMap<(usize, i32), i64> = dataset
        .manifest
        .videos
        .iter()
        .filter_map(|video| Some(((place(dataset, video)?, video.part), video.counted as i64)))
        .collect();
    let mut found = vec![Vec::new(); cameras.len()];
    let columns = ["t_ns", "camera", "trigger_index", "video_part", "video_frame"];
    dataset.scan(FRAMES, &columns, progress, |batch| {
        let [times, places, triggers, parts, frames] = columns.map(|name| tables::integers(batch, name));
        for row in 0..batch.num_rows() {
            let (Some(t_ns), Some(camera)) = (times[row], places[row]) else { continue };
            let (Some(part), Some(frame)) = (parts[row], frames[row]) else { continue };
            let (camera, part) = (camera as usize, part as i32);
            if counted.get(&(camera, part)).is_some_and(|counted| (0..*counted).contains(&frame))
                && let Some(list) = found.get_mut(camera)
            {
                list.push(VideoFrame { t_ns, trigger: triggers[row], part, frame });
            }
        }
        Ok(())
    })?;
    for list in &mut found {
        list.sort_by_key(|frame| (frame.part, frame.frame));
    }
    Ok(found)
}

/// Place in the catalog of the camera that a video is of.
pub(super) fn place(dataset: &Dataset, video: &VideoEntry) -> Option<usize> {
    dataset.cameras().iter().position(|camera| camera.name == video.camera)
}

/// Files of one camera that hold any of `frames`, in order.
pub(super) fn files<'a>(dataset: &'a Dataset, camera: usize, frames: &[VideoFrame]) -> Vec<&'a VideoEntry> {
    let mut files: Vec<_> =
        dataset.manifest.videos.iter().filter(|video| place(dataset, video) == Some(camera)).collect();
    files.retain(|video| frames.iter().any(|frame| frame.part == video.part));
    files.sort_by_key(|video| video.part);
    files
}
