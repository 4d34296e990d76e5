//! How long the disk will last, before anything is written.

use std::fmt;

use super::catalog::{ArrayInfo, CameraInfo, Catalog};
use super::disk::Disk;
use super::error::RecordError;
use super::schema::{ScalarKind, TableSchema};
use crate::config::{RecordConfig, VideoCodec};

/// Sealed bytes of a sample: delta-packed noise and spikes take 58.6 % (measured), times and counters little.
const SEALED_SAMPLE: f64 = 0.62;
/// Bytes a pixel of H.264 at crf 23 on a noisy image; a clean one takes a fifth.
const H264_PIXEL: f64 = 0.06;
/// Bytes a pixel of lossless FFV1 on a noisy image.
const FFV1_PIXEL: f64 = 0.55;
/// Bytes that a text takes on average.
const TEXT_BYTES: usize = 16;
/// Rows a second of a table that does not follow the frames (spikes of many tetrodes).
const FREE_ROWS_HZ: f64 = 1_000.0;

/// What a recording will take and what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Bytes free where recordings lie.
    pub free_bytes: u64,
    /// Bytes that are needed besides the data that stays: the margin, and the journal of the part that is open.
    pub reserved_bytes: u64,
    /// Expected growth.
    pub bytes_per_second: f64,
}

impl Forecast {
    /// Seconds until only the reserve is left.
    pub fn seconds(&self) -> f64 {
        self.free_bytes.saturating_sub(self.reserved_bytes) as f64 / self.bytes_per_second.max(1.0)
    }
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [free, kept] = [self.free_bytes, self.reserved_bytes].map(|bytes| bytes as f64 * 1e-9);
        let (rate, minutes) = (self.bytes_per_second * 1e-6, self.seconds() / 60.0);
        write!(f, "{free:.1} GB free, {kept:.1} of it kept in reserve, about {rate:.1} MB/s expected: lasts ")?;
        if minutes < 60.0 { write!(f, "{minutes:.0} min") } else { write!(f, "{:.1} h", minutes / 60.0) }
    }
}

/// Forecasts a recording of `catalog` on the disk that holds `config.folder`.
pub(super) fn on_disk(disk: &dyn Disk, config: &RecordConfig, catalog: &Catalog) -> Result<Forecast, RecordError> {
    let there = config.folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(&config.folder);
    let free_bytes = disk.free_bytes(there).map_err(|error| RecordError::file(there, "read", error))?;
    let samples: f64 = catalog.arrays.iter().map(samples_rate).sum();
    let rows = rows_rate(&catalog.tables, &catalog.cameras);
    let video: f64 = catalog.cameras.iter().map(|camera| video_rate(config.video, camera)).sum();
    let journal = (samples + rows) * f64::from(config.part_seconds);
    Ok(Forecast {
        free_bytes,
        reserved_bytes: config.disk_margin_bytes + journal as u64,
        bytes_per_second: samples * SEALED_SAMPLE + rows * 0.5 + video,
    })
}

/// What the disk must take every second: samples twice, in the journal and sealed, and the videos.
pub fn written_bytes_per_second(video: VideoCodec, cameras: &[CameraInfo], arrays: &[ArrayInfo]) -> f64 {
    let samples: f64 = arrays.iter().map(samples_rate).sum();
    samples * (1.0 + SEALED_SAMPLE) + cameras.iter().map(|camera| video_rate(video, camera)).sum::<f64>()
}

/// Raw bytes a second.
fn samples_rate(array: &ArrayInfo) -> f64 {
    array.rate_hz * 2.0 * array.channels as f64
}

fn rows_rate(tables: &[TableSchema], cameras: &[CameraInfo]) -> f64 {
    let frame_hz = cameras.iter().map(|camera| camera.rate_hz).fold(0.0, f64::max);
    tables
        .iter()
        .map(|table| {
            let bytes: usize = table.columns.iter().map(|column| column.len * row_bytes(column.kind)).sum();
            let is_sparse = table.name == super::schema::GAPS;
            let rows_hz = match table.name.as_str() {
                "spikes" => FREE_ROWS_HZ,
                super::schema::FRAMES => frame_hz * cameras.len() as f64,
                _ if is_sparse => 0.0,
                _ => frame_hz,
            };
            (8 + bytes) as f64 * rows_hz
        })
        .sum()
}

const fn row_bytes(kind: ScalarKind) -> usize {
    match kind {
        ScalarKind::Text => TEXT_BYTES,
        kind => kind.row_bytes_max(),
    }
}

fn video_rate(codec: VideoCodec, camera: &CameraInfo) -> f64 {
    let pixels = f64::from(camera.width_px) * f64::from(camera.height_px) * camera.rate_hz;
    match codec {
        VideoCodec::X264 | VideoCodec::Nvenc => pixels * H264_PIXEL,
        VideoCodec::Ffv1 => pixels * FFV1_PIXEL * camera.format.bytes_per_pixel() as f64,
        VideoCodec::Raw => pixels * camera.format.bytes_per_pixel() as f64,
        VideoCodec::None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_told_apart_from_what_can_be_used() {
        let disk = |free_bytes| Forecast { free_bytes, reserved_bytes: 3_000_000_000, bytes_per_second: 10e6 };
        assert_eq!(
            disk(5_700_000_000).to_string(),
            "5.7 GB free, 3.0 of it kept in reserve, about 10.0 MB/s expected: lasts 4 min"
        );
        assert_eq!(disk(75_000_000_000).seconds(), 7_200.0);
        assert!(disk(75_000_000_000).to_string().ends_with("lasts 2.0 h"));
        assert!(disk(1).to_string().ends_with("lasts 0 min"), "less than the reserve");
    }
}
