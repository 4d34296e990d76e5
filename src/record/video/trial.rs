//! One frame through the encoder before anything depends on it: a program that lacks the encoder, or a machine without the
//! hardware for it, is found by `mimicd check` and not in the middle of an experiment.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::encoder::{input_arguments, output_arguments};
use crate::config::{RecordConfig, VideoCodec};
use crate::record::catalog::CameraInfo;
use crate::record::error::RecordError;

/// Encodes one black frame of each kind of camera into nothing and asks the counting program for its version.
///
/// # Errors
/// When a program cannot be started or refuses.
pub fn try_encoder(config: &RecordConfig, cameras: &[CameraInfo]) -> Result<(), RecordError> {
    if matches!(config.video, VideoCodec::Raw | VideoCodec::None) {
        return Ok(());
    }
    let kind = |camera: &CameraInfo| (camera.width_px, camera.height_px, camera.format);
    let mut tried = Vec::new();
    for camera in cameras {
        if !tried.contains(&kind(camera)) {
            tried.push(kind(camera));
            encode_one(config, camera)?;
        }
    }
    let named = |reason| RecordError::Encoder { program: config.ffprobe.clone(), reason };
    let status = Command::new(&config.ffprobe).arg("-version").stdout(Stdio::null()).status().map_err(named)?;
    if status.success() { Ok(()) } else { Err(named(io::Error::other(format!("`-version` ended with {status}")))) }
}

fn encode_one(config: &RecordConfig, camera: &CameraInfo) -> Result<(), RecordError> {
    let named = |reason| RecordError::Encoder { program: config.ffmpeg.clone(), reason };
    let mut child = Command::new(&config.ffmpeg)
        .args(input_arguments(camera))
        .args(output_arguments(config, camera))
        .arg("/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(named)?;
    let bytes = camera.width_px as usize * camera.height_px as usize * camera.format.bytes_per_pixel();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&vec![0; bytes]).ok(); // One that refuses has closed its input; it then says why.
    }
    let output = child.wait_with_output().map_err(named)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    Err(RecordError::EncoderRefuses {
        program: config.ffmpeg.clone(),
        video: config.video,
        width_px: camera.width_px,
        height_px: camera.height_px,
        said: if said.is_empty() { output.status.to_string() } else { said.join("; ") },
    })
}

#[cfg(test)]
mod tests {
    use mimicd_device::PixelFormat;

    use super::*;

    fn camera(format: PixelFormat) -> CameraInfo {
        CameraInfo { name: "cam1".to_owned(), width_px: 320, height_px: 200, format, rate_hz: 50.0 }
    }

    fn with(video: VideoCodec, ffmpeg: &str) -> RecordConfig {
        RecordConfig { video, ffmpeg: ffmpeg.to_owned(), ..RecordConfig::default() }
    }

    #[test]
    fn a_program_that_is_not_there_or_refuses_is_named() {
        let cameras = [camera(PixelFormat::Mono8)];
        let missing = try_encoder(&with(VideoCodec::X264, "no-such-encoder"), &cameras).unwrap_err().to_string();
        assert!(missing.contains("no-such-encoder"), "{missing}");
        let refused = try_encoder(&with(VideoCodec::Nvenc, "false"), &cameras).unwrap_err().to_string();
        let expected = "\"false\" cannot encode 320x200 for record.video = \"nvenc\" (exit status: 1); expected an ffmpeg with that encoder and an NVIDIA GPU";
        assert!(refused.starts_with(expected), "{refused}");
        for video in [VideoCodec::Raw, VideoCodec::None] {
            try_encoder(&with(video, "no-such-encoder"), &cameras).expect("needs no encoder");
        }
    }

    #[test]
    fn an_encoder_takes_every_format_of_a_camera() {
        if Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: no ffmpeg; run `cargo xtask setup`");
            return;
        }
        let formats =
            [PixelFormat::Mono8, PixelFormat::Mono12, PixelFormat::BayerRg8, PixelFormat::BayerGb12, PixelFormat::Yuyv];
        for video in [VideoCodec::X264, VideoCodec::Ffv1] {
            for format in formats {
                try_encoder(&with(video, "ffmpeg"), &[camera(format)])
                    .unwrap_or_else(|error| panic!("{format:?}: {error}"));
            }
        }
    }
}
