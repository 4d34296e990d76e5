//! How fast the disk takes data that must stay.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mimicd_device::PixelFormat;

use super::checks::Finding;
use crate::config::{Config, VideoCodec};
use crate::pipeline::recorded_streams;
use crate::record::{ArrayInfo, CameraInfo, written_bytes_per_second};

/// Written to find out.
const TRIAL_BYTES: usize = 256 << 20;
const PIECE_BYTES: usize = 4 << 20;
/// A disk should take this many times what is recorded: it also fills, trims and is read.
const RESERVE: f64 = 2.0;

/// Writes a trial file and compares.
pub(super) fn check(folder: &Path, config: Option<&Config>) -> Finding {
    let folder = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let needed = config.map_or_else(reference, needed);
    match trial(folder) {
        Ok(speed) => judge(folder, speed, needed),
        Err(error) => Finding::bad(
            "disk",
            format!("{}: {error}", folder.display()),
            format!("sudo install -d -o $USER {}", folder.display()),
        ),
    }
}

fn judge(folder: &Path, speed: f64, needed: f64) -> Finding {
    let detail = format!(
        "{} takes {:.0} MB/s that stay; a recording writes about {:.0}",
        folder.display(),
        speed * 1e-6,
        needed * 1e-6
    );
    if speed >= needed * RESERVE {
        return Finding::good("disk", detail);
    }
    Finding::bad(
        "disk",
        detail,
        "record to a faster disk (record.folder), or less of it (record.video = \"x264\" or \"nvenc\")",
    )
}

/// Removed when it goes out of scope, whatever happened.
struct Trial(PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Bytes a second, data on the platter.
fn trial(folder: &Path) -> io::Result<f64> {
    let path = folder.join(format!(".mimicd-doctor-{}", std::process::id()));
    let mut file = File::create_new(&path)?;
    let _trial = Trial(path);
    // Not compressible, so that a disk that packs its data does not look faster than it is.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let piece: Vec<u8> = (0..PIECE_BYTES / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..TRIAL_BYTES / PIECE_BYTES {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    Ok(TRIAL_BYTES as f64 / begun.elapsed().as_secs_f64())
}

/// Bytes a second of the reference rig: six 1320 x 1048 videos at 50 Hz and 256 channels.
fn reference() -> f64 {
    let camera = CameraInfo {
        name: String::new(),
        width_px: 1_320,
        height_px: 1_048,
        format: PixelFormat::Mono8,
        rate_hz: 50.0,
    };
    let array = ArrayInfo { name: String::new(), channels: 256, rate_hz: 30_000.0, gain_uv_per_bit: 0.195 };
    written_bytes_per_second(VideoCodec::X264, &vec![camera; 6], &[array])
}

/// Bytes a second of a config's rig.
fn needed(config: &Config) -> f64 {
    let (cameras, arrays) = recorded_streams(config);
    written_bytes_per_second(config.record.video, &cameras, &arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_a_reserve_is_to_be_mended() {
        assert!(judge(Path::new("/d"), 100e6, 60e6).is_bad());
        assert!(!judge(Path::new("/d"), 130e6, 60e6).is_bad());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let finding = check(Path::new("/proc/none/such"), None);
        assert!(finding.is_bad() && finding.to_string().contains("/proc"), "{finding}");
    }
}
