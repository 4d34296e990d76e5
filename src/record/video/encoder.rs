//! The encoder process of one video file.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mimicd_device::PixelFormat;

use crate::config::{RecordConfig, VideoCodec};
use crate::record::catalog::CameraInfo;
use crate::record::error::RecordError;

/// Where one part of a camera's video lies.
pub(in crate::record) fn video_path(folder: &Path, camera: &str, part: i32, codec: VideoCodec) -> PathBuf {
    let extension = if codec == VideoCodec::Raw { "raw" } else { "mkv" };
    let name = if part == 0 { format!("{camera}.{extension}") } else { format!("{camera}-part{part}.{extension}") };
    folder.join("video").join(name)
}

/// The camera (its place in `cameras`) and part that a video file's name stands for.
pub(in crate::record) fn part_of(path: &Path, cameras: &[CameraInfo]) -> Option<(usize, i32)> {
    let stem = path.file_stem()?.to_str()?;
    let place = |name: &str| cameras.iter().position(|camera| camera.name == name);
    if let Some(place) = place(stem) {
        return Some((place, 0));
    }
    let (name, part) = stem.rsplit_once("-part")?;
    Some((place(name)?, part.parse().ok()?))
}

/// Whether a Matroska file has got its end: the encoder then fills in the segment's size, which is unknown until then.
/// Raw files have no end to get.
pub(in crate::record) fn is_closed(path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension == "raw") {
        return true;
    }
    let mut head = [0; 128];
    let Ok(count) = File::open(path).and_then(|mut file| file.read(&mut head)) else { return false };
    // EBML: the segment element is 18 53 80 67; its eight-byte size is all ones while unknown.
    let head = &head[..count];
    let Some(place) = head.windows(4).position(|id| id == [0x18, 0x53, 0x80, 0x67]) else { return false };
    let size = head.get(place + 4..place + 12);
    size.is_some_and(|size| size != [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
}

/// Something that takes frames: an ffmpeg process or, in raw mode, a file.
pub(super) enum Encoder {
    Process(Child),
    File(File),
}

impl Encoder {
    /// Starts the encoder for `path`.
    pub(super) fn start(config: &RecordConfig, camera: &CameraInfo, path: &Path) -> Result<Self, RecordError> {
        if config.video == VideoCodec::Raw {
            let file = File::create(path).map_err(|error| RecordError::file(path, "create", error))?;
            return Ok(Self::File(file));
        }
        let log = File::create(path.with_extension("log")).map_err(|error| RecordError::file(path, "create", error))?;
        let child = Command::new(&config.ffmpeg)
            .args(input_arguments(camera))
            .args(output_arguments(config, camera))
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // A process group of its own: a terminal's Ctrl-C must not end the video before the recording.
            .process_group(0)
            .spawn()
            .map_err(|reason| RecordError::Encoder { program: config.ffmpeg.clone(), reason })?;
        Ok(Self::Process(child))
    }

    /// Gives one frame; waits while the encoder is busy.
    pub(super) fn write(&mut self, pixels: &[u8]) -> io::Result<()> {
        match self {
            Self::Process(child) => child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(pixels),
            Self::File(file) => file.write_all(pixels),
        }
    }

    /// Tells the encoder that this was all and waits until its file is complete; kills it after `patience`.
    pub(super) fn finish(self, patience: Duration) -> io::Result<()> {
        let mut child = match self {
            Self::File(file) => return file.sync_all(),
            Self::Process(child) => child,
        };
        drop(child.stdin.take());
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait().map(|_| ())
    }
}

const fn pixel_format(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Mono8 => "gray",
        PixelFormat::Mono10 => "gray10le",
        PixelFormat::Mono12 => "gray12le",
        PixelFormat::Mono16 => "gray16le",
        PixelFormat::BayerRg8 => "bayer_rggb8",
        PixelFormat::BayerRg10 | PixelFormat::BayerRg12 | PixelFormat::BayerRg16 => "bayer_rggb16le",
        PixelFormat::BayerGb8 => "bayer_gbrg8",
        PixelFormat::BayerGb10 | PixelFormat::BayerGb12 | PixelFormat::BayerGb16 => "bayer_gbrg16le",
        PixelFormat::BayerGr8 => "bayer_grbg8",
        PixelFormat::BayerGr10 | PixelFormat::BayerGr12 | PixelFormat::BayerGr16 => "bayer_grbg16le",
        PixelFormat::BayerBg8 => "bayer_bggr8",
        PixelFormat::BayerBg10 | PixelFormat::BayerBg12 | PixelFormat::BayerBg16 => "bayer_bggr16le",
        PixelFormat::Yuyv => "yuyv422",
    }
}

pub(super) fn input_arguments(camera: &CameraInfo) -> Vec<String> {
    let general = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"].map(str::to_owned);
    let pipe = ["-i", "pipe:0"].map(str::to_owned);
    general.into_iter().chain(raw_video_arguments(camera)).chain(pipe).collect()
}

/// What ffmpeg must be told before it reads a camera's frames as they are.
pub fn raw_video_arguments(camera: &CameraInfo) -> Vec<String> {
    let size = format!("{}x{}", camera.width_px, camera.height_px);
    let rate = camera.rate_hz.to_string();
    let layout = ["-f", "rawvideo", "-pix_fmt", pixel_format(camera.format), "-s", &size, "-r", &rate];
    layout.map(str::to_owned).to_vec()
}

/// One second of frames between key frames, one-second clusters, flushed as they come: a cut file keeps all but its end.
pub(super) fn output_arguments(config: &RecordConfig, camera: &CameraInfo) -> Vec<String> {
    let (crf, threads) = (config.video_crf.to_string(), config.video_threads.to_string());
    let key_frames = camera.rate_hz.ceil().max(1.0).to_string();
    let is_grey = camera.format.is_mono();
    let mut arguments: Vec<&str> = vec!["-an", "-threads", &threads];
    match config.video {
        VideoCodec::X264 => {
            arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", &crf]);
            arguments.extend(["-pix_fmt", if is_grey { "gray" } else { "yuv420p" }, "-g", &key_frames]);
        }
        VideoCodec::Nvenc => {
            arguments.extend(["-c:v", "h264_nvenc", "-preset", "p1", "-tune", "ll", "-cq", &crf]);
            arguments.extend(["-pix_fmt", "yuv420p", "-g", &key_frames]);
        }
        VideoCodec::Ffv1 => arguments.extend(["-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1"]),
        VideoCodec::Raw | VideoCodec::None => {}
    }
    arguments.extend(["-fps_mode", "passthrough", "-flush_packets", "1", "-cluster_time_limit", "1000"]);
    arguments.extend(["-f", "matroska"]);
    arguments.into_iter().map(str::to_owned).collect()
}

/// Frames in a finished file: packets of the video stream, or bytes over frame size in raw mode.
///
/// # Errors
/// When the file cannot be read or the counting program `ffprobe` cannot be started.
pub fn count_frames(ffprobe: &str, path: &Path, camera: &CameraInfo) -> Result<u64, RecordError> {
    if path.extension().is_some_and(|extension| extension == "raw") {
        let bytes = std::fs::metadata(path).map_err(|error| RecordError::file(path, "read", error))?.len();
        let pixels = u64::from(camera.width_px) * u64::from(camera.height_px);
        return Ok(bytes / (pixels * camera.format.bytes_per_pixel() as u64));
    }
    let output = Command::new(ffprobe)
        .args(["-v", "error", "-count_packets", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|reason| RecordError::Encoder { program: ffprobe.to_owned(), reason })?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A file that was cut before its first cluster has no countable stream: no frames.
    Ok(text.trim().trim_end_matches(',').parse().unwrap_or(0))
}
