//! Ordinary webcams through `nokhwa`: the system's own video interface on Linux, macOS and Windows.
//!
//! A webcam runs freely and says neither when an image was exposed nor whether one was lost before it reached us, so its frames
//! carry no device time, and the pre-flight check refuses it in a triggered rig: it is for looking, for setting up, and for
//! machines that have nothing else. A reader thread of its own copies each image into one of a fixed set of buffers; when the
//! poller is late and none is free the image is dropped there, and the counter shows the gap.
//!
//! Grey (`mono8`) is asked for as such first; where that is refused it is the luma of YUYV. On Linux it always is: nokhwa 0.10.11
//! asks for grey by a code that V4L2 does not have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use crossbeam::sync::{Parker, Unparker};
use mimicd_device::{
    CameraSource, DeviceError, DeviceErrorKind, Frame, FrameGeometry, HostTime, Integrity, Moment, PixelFormat, Polled,
};
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};
use nokhwa::{Camera, NokhwaError};

use crate::camera::CameraOptions;
use crate::host_now;

/// How long the reader may take to open the camera, and to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the user may take to allow it.
#[cfg(target_os = "macos")]
const LEAVE_PATIENCE: Duration = Duration::from_secs(60);

/// One image on its way.
struct Shot {
    counter: u64,
    arrival: HostTime,
    whole: bool,
    pixels: Box<[u8]>,
}

/// What reader and poller share.
struct Between {
    full: ArrayQueue<Shot>,
    free: ArrayQueue<Box<[u8]>>,
    quit: AtomicBool,
    running: AtomicBool,
    ended: AtomicBool,
    said: Mutex<Option<DeviceError>>,
    wake: Unparker,
}

impl Between {
    fn say(&self, error: DeviceError) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn heard(&self) -> Option<DeviceError> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A webcam.
pub struct Webcam {
    options: CameraOptions,
    identity: String,
    format: FrameFormat,
    between: Option<Arc<Between>>,
    parker: Parker,
    gap_before: bool,
}

impl Webcam {
    /// Looks whether the camera is there and its format is one that webcams have.
    ///
    /// # Errors
    /// `NotFound` with what is there; `Unsupported`.
    pub fn open(options: CameraOptions) -> Result<Self, DeviceError> {
        let format = match options.geometry.format {
            PixelFormat::Mono8 => FrameFormat::GRAY,
            PixelFormat::Yuyv => FrameFormat::YUYV,
            other => {
                let text = format!("{}: {} is no webcam format; take mono8 or yuyv", options.device, other.name());
                return Err(DeviceError::new(DeviceErrorKind::Unsupported, text));
            }
        };
        ask_leave()?;
        let (_, name) = find(&options.device)?;
        let identity = format!("webcam {name:?} ({})", options.device);
        Ok(Self { options, identity, format, between: None, parker: Parker::new(), gap_before: false })
    }
}

/// macOS gives cameras to nobody whom its user has not allowed to have them.
#[cfg(target_os = "macos")]
fn ask_leave() -> Result<(), DeviceError> {
    if nokhwa::nokhwa_check() {
        return Ok(());
    }
    let (said, answer) = crossbeam::channel::bounded(1);
    nokhwa::nokhwa_initialize(move |is_allowed| {
        said.try_send(is_allowed).ok(); // Only the first answer counts.
    });
    match answer.recv_timeout(LEAVE_PATIENCE) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => {
            let text =
                "cameras are not allowed to this program: allow them in System Settings, Privacy & Security, Camera";
            Err(DeviceError::new(DeviceErrorKind::PermissionDenied, text.to_owned()))
        }
    }
}

/// Nobody has to be asked.
#[cfg(not(target_os = "macos"))]
fn ask_leave() -> Result<(), DeviceError> {
    Ok(())
}

/// The camera with this number or name.
fn find(device: &str) -> Result<(CameraIndex, String), DeviceError> {
    let listed = nokhwa::query(ApiBackend::Auto)
        .map_err(|error| DeviceError::new(DeviceErrorKind::Io, format!("listing webcams: {error}")))?;
    let fits = |info: &&nokhwa::utils::CameraInfo| {
        info.human_name() == device || info.index().as_index().is_ok_and(|index| index.to_string() == device)
    };
    match listed.iter().find(fits) {
        Some(info) => Ok((info.index().clone(), info.human_name())),
        None => {
            let there = listed.iter().map(|info| format!("{} {:?}", info.index(), info.human_name()));
            let text = format!("no webcam {device:?}; there: {}", there.collect::<Vec<_>>().join(", "));
            Err(DeviceError::new(DeviceErrorKind::NotFound, text))
        }
    }
}

impl CameraSource for Webcam {
    fn geometry(&self) -> FrameGeometry {
        self.options.geometry
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        if self.between.is_some() {
            return Ok(());
        }
        let count = self.options.buffers.max(2) as usize;
        let free = ArrayQueue::new(count);
        for _ in 0..count {
            // The queue holds `count`, so every push succeeds.
            free.push(vec![0; self.options.geometry.bytes()].into_boxed_slice()).ok();
        }
        let between = Arc::new(Between {
            full: ArrayQueue::new(count),
            free,
            quit: AtomicBool::new(false),
            running: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            said: Mutex::new(None),
            wake: self.parker.unparker().clone(),
        });
        let (device, geometry, format) = (self.options.device.clone(), self.options.geometry, self.format);
        let (shared, rate) = (Arc::clone(&between), self.options.rate_hz.round() as u32);
        let read = move || {
            if let Err(error) = read(&device, geometry, format, rate, &shared) {
                shared.say(error);
            }
            shared.ended.store(true, Ordering::Release);
            shared.wake.unpark();
        };
        std::thread::Builder::new()
            .name("webcam".to_owned())
            .spawn(read)
            .map_err(|error| DeviceError::new(DeviceErrorKind::Io, format!("starting a thread: {error}")))?;
        let begun = Instant::now();
        while !between.running.load(Ordering::Acquire) {
            if let Some(error) = between.heard() {
                return Err(error);
            }
            if begun.elapsed() > PATIENCE {
                between.quit.store(true, Ordering::Release);
                let text = format!("{}: it does not begin to stream", self.identity);
                return Err(DeviceError::new(DeviceErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.between = Some(between);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(between) = self.between.take() else { return };
        between.quit.store(true, Ordering::Release);
        // A camera that gives no more images keeps its reader; waiting for that one for ever would keep us.
        let begun = Instant::now();
        while !between.ended.load(Ordering::Acquire) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn poll(&mut self, _now: HostTime, frame: &mut Frame) -> Result<Polled, DeviceError> {
        let Some(between) = &self.between else { return Ok(Polled::Nothing) };
        let Some(mut shot) = between.full.pop() else {
            if !between.ended.load(Ordering::Acquire) {
                return Ok(Polled::Nothing);
            }
            let text = format!("{}: its stream ended", self.identity);
            let error = between.heard().unwrap_or_else(|| DeviceError::new(DeviceErrorKind::Disconnected, text));
            self.between = None;
            return Err(error);
        };
        std::mem::swap(&mut frame.pixels, &mut shot.pixels);
        let gap = if self.gap_before { Integrity::GAP_BEFORE } else { Integrity::empty() };
        let part = if shot.whole { Integrity::empty() } else { Integrity::CORRUPT };
        frame.camera = self.options.camera;
        frame.counter = shot.counter;
        frame.device_time = None;
        frame.moment = Moment::Unknown;
        frame.arrival = shot.arrival;
        frame.integrity = gap | part;
        frame.geometry = self.options.geometry;
        self.gap_before = false;
        // As many places as buffers: cannot be full.
        between.free.push(shot.pixels).ok();
        Ok(Polled::Ready)
    }

    fn wait(&mut self, until: HostTime) {
        let is_ready = self.between.as_ref().is_some_and(|between| !between.full.is_empty());
        if !is_ready {
            self.parker.park_timeout((until - host_now()).to_duration());
        }
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        self.stop();
        find(&self.options.device)?;
        self.gap_before = true;
        Ok(())
    }
}

impl Drop for Webcam {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The reader: opens the camera on its own thread (some systems want that) and reads until told to quit.
fn read(
    device: &str,
    geometry: FrameGeometry,
    format: FrameFormat,
    rate_hz: u32,
    between: &Between,
) -> Result<(), DeviceError> {
    let failed = |doing: &str, error: &NokhwaError| {
        DeviceError::new(DeviceErrorKind::Io, format!("webcam {device:?}: {doing}: {error}"))
    };
    let (index, _) = find(device)?;
    let size = Resolution::new(geometry.width_px, geometry.height_px);
    let open = |format: FrameFormat| {
        let wanted = CameraFormat::new(size, format, rate_hz);
        let formats = [format];
        let request = RequestedFormat::with_formats(RequestedFormatType::Exact(wanted), &formats);
        Camera::new(index.clone(), request).map_err(|error| {
            let text = format!("webcam {device:?}: it does not give {wanted}: {error}");
            DeviceError::new(DeviceErrorKind::Unsupported, text)
        })
    };
    let (mut camera, is_luma) = match open(format) {
        Ok(camera) => (camera, false),
        Err(refused) if format != FrameFormat::GRAY => return Err(refused),
        Err(refused) => match open(FrameFormat::YUYV) {
            Ok(camera) => (camera, true),
            Err(error) => {
                let context = format!("{}; nor its luma: {}", refused.context, error.context);
                return Err(DeviceError::new(DeviceErrorKind::Unsupported, context));
            }
        },
    };
    camera.open_stream().map_err(|error| failed("starting its stream", &error))?;
    between.running.store(true, Ordering::Release);
    let mut counter = 0;
    while !between.quit.load(Ordering::Acquire) {
        let image = camera.frame_raw().map_err(|error| failed("taking an image", &error))?;
        let arrival = host_now();
        if let Some(mut pixels) = between.free.pop() {
            let whole = if is_luma { take_luma(&image, &mut pixels) } else { take(&image, &mut pixels) };
            // As many places as buffers: cannot be full.
            between.full.push(Shot { counter, arrival, whole, pixels }).ok();
            between.wake.unpark();
        }
        counter += 1;
    }
    camera.stop_stream().ok(); // It goes with the camera anyway.
    Ok(())
}

/// Copies an image; whether it was whole. What is missing becomes black.
fn take(image: &[u8], pixels: &mut [u8]) -> bool {
    let there = image.len().min(pixels.len());
    pixels[..there].copy_from_slice(&image[..there]);
    pixels[there..].fill(0);
    there == pixels.len()
}

/// The luma of a YUYV image, every second byte; whether it was whole. What is missing becomes black.
fn take_luma(image: &[u8], pixels: &mut [u8]) -> bool {
    let pairs = image.as_chunks::<2>().0;
    let there = pairs.len().min(pixels.len());
    pixels.iter_mut().zip(pairs).for_each(|(pixel, [luma, _])| *pixel = *luma);
    pixels[there..].fill(0);
    there == pixels.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_is_every_second_byte_and_a_short_image_is_black_where_it_ends() {
        let mut pixels = [9; 4];
        assert!(take_luma(&[1, 128, 2, 128, 3, 128, 4, 128], &mut pixels));
        assert_eq!(pixels, [1, 2, 3, 4]);
        assert!(!take_luma(&[5, 128, 6, 128, 7], &mut pixels));
        assert_eq!(pixels, [5, 6, 0, 0]);
        assert!(!take(&[8, 8], &mut pixels));
        assert_eq!(pixels, [8, 8, 0, 0]);
    }
}
