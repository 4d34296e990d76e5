//! Recorded video as frames: one ffmpeg process decodes a file to grey pixels, in order, each frame once.
//!
//! For replays, where nobody waits for a device: [`VideoFile::read`] blocks until the next frame is decoded.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use mimicd_device::{DeviceError, DeviceErrorKind, Frame, FrameGeometry, PixelFormat};

/// A video file that is being decoded.
pub struct VideoFile {
    path: PathBuf,
    geometry: FrameGeometry,
    decoder: Child,
    pixels: ChildStdout,
    frames: u64,
}

impl VideoFile {
    /// Looks at the file with `ffprobe` and starts decoding it with `ffmpeg`.
    ///
    /// # Errors
    /// `NotFound` for a file that is not there, `Unsupported` for one that holds no video, `Io` when a program cannot run.
    pub fn open(path: &Path, ffmpeg: &str, ffprobe: &str) -> Result<Self, DeviceError> {
        if !path.is_file() {
            let text = format!("{}: no such file, expected a video", path.display());
            return Err(DeviceError::new(DeviceErrorKind::NotFound, text));
        }
        let geometry = probe(path, ffprobe)?;
        let mut decoder = Command::new(ffmpeg)
            .args(["-v", "error", "-nostdin", "-threads", "1", "-i"])
            .arg(path)
            .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "pipe:1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| cannot_run(ffmpeg, &error))?;
        let pixels = decoder
            .stdout
            .take()
            .ok_or_else(|| DeviceError::new(DeviceErrorKind::Io, format!("{ffmpeg}: its output could not be taken")))?;
        Ok(Self { path: path.to_owned(), geometry, decoder, pixels, frames: 0 })
    }

    /// Size of its frames; the format is always grey.
    pub fn geometry(&self) -> FrameGeometry {
        self.geometry
    }

    /// Decodes the next frame into `frame`'s pixels and gives it its number in the file; `false` at the end.
    ///
    /// # Errors
    /// `Protocol` when the file ends within a frame.
    ///
    /// # Panics
    /// When `frame` is not of this file's geometry.
    pub fn read(&mut self, frame: &mut Frame) -> Result<bool, DeviceError> {
        assert_eq!(frame.geometry, self.geometry, "a frame of the file's size");
        let mut filled = 0;
        while filled < frame.pixels.len() {
            match self.pixels.read(&mut frame.pixels[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(self.broken("ends within a frame")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error.to_string())),
            }
        }
        frame.counter = self.frames;
        self.frames += 1;
        Ok(true)
    }

    fn broken(&self, what: &str) -> DeviceError {
        let text = format!("{}: {what}, after {} frames", self.path.display(), self.frames);
        DeviceError::new(DeviceErrorKind::Protocol, text)
    }
}

impl Drop for VideoFile {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        self.decoder.kill().ok();
        self.decoder.wait().ok();
    }
}

fn probe(path: &Path, ffprobe: &str) -> Result<FrameGeometry, DeviceError> {
    let output = Command::new(ffprobe)
        .args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| cannot_run(ffprobe, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.trim().split(',').map(|part| part.trim().parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(width_px), Some(height_px)) if width_px > 0 && height_px > 0 => {
            Ok(FrameGeometry { width_px, height_px, format: PixelFormat::Mono8 })
        }
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let text = format!("{}: expected a file with a video stream; {}", path.display(), said.trim());
            Err(DeviceError::new(DeviceErrorKind::Unsupported, text))
        }
    }
}

fn cannot_run(program: &str, error: &std::io::Error) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Io, format!("{program}: {error}; is it installed (Debian: ffmpeg)?"))
}
