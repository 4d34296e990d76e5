//! One V4L2 camera as a source of frames.

use std::io;

use mimicd_device::{CameraSource, DeviceError, DeviceErrorKind, Frame, FrameGeometry, HostTime, Integrity, Polled};
use v4l::Device;
use v4l::format::FieldOrder;
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;

use super::buffers::{Buffers, Filled};
use super::control::{self, Control};
use super::format::{PixelCode, fourcc_text};
use super::negotiate::{self, Choice, Wanted};
use super::stamp::Stamp;
use super::{error_of, find, offers, requests};
use crate::camera::CameraOptions;
use crate::counter::Counter;
use crate::host_now;

/// `V4L2_CID_EXPOSURE_AUTO` and its entry for manual; `V4L2_CID_EXPOSURE_ABSOLUTE`, in units of 100 µs.
const EXPOSURE_MODE: u32 = 0x009A_0901;
const EXPOSURE_MANUAL: i64 = 1;
const EXPOSURE_TIME: u32 = 0x009A_0902;
const EXPOSURE_UNIT_MICROS: i64 = 100;

/// A device as it was found and set.
struct Open {
    device: Device,
    code: PixelCode,
    layout: Layout,
    identity: String,
}

/// How the device lays an image out.
#[derive(Clone, Copy)]
struct Layout {
    /// Bytes from row to row.
    stride: usize,
    /// Bytes of a buffer.
    bytes: usize,
}

/// A V4L2 camera. Where the driver writes into memory of ours, and as a frame has its pixels, images are handed on without a
/// copy; else they are copied once, into the frame that is given.
pub struct V4l2Camera {
    options: CameraOptions,
    identity: String,
    // Buffers go before the device they belong to.
    buffers: Option<Buffers>,
    open: Option<Open>,
    counter: Counter,
    gap_before: bool,
    copied_bytes: u64,
}

impl V4l2Camera {
    /// Finds the camera, sets format, rate and controls.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `PermissionDenied`; `Unsupported` with what is offered instead.
    pub fn open(options: CameraOptions) -> Result<Self, DeviceError> {
        let open = open(&options)?;
        let identity = open.identity.clone();
        let (counter, gap_before) = (Counter::v4l2(), false);
        Ok(Self { options, identity, buffers: None, open: Some(open), counter, gap_before, copied_bytes: 0 })
    }

    /// Lends the driver memory where that saves the copy, else maps the driver's.
    fn buffers(&self, open: &Open) -> io::Result<Buffers> {
        let geometry = self.options.geometry;
        if open.code.is_as_in_a_frame(geometry, open.layout.stride) && open.layout.bytes == geometry.bytes() {
            let lent = Buffers::lend(&open.device, self.options.buffers, geometry.bytes());
            match lent.and_then(|mut buffers| buffers.start().map(|()| buffers)) {
                Ok(buffers) => return Ok(buffers),
                Err(error) => {
                    tracing::debug!("{}: takes no memory of ours ({error}); images are copied", self.identity)
                }
            }
        }
        let mut buffers = Buffers::map(&open.device, self.options.buffers)?;
        buffers.start()?;
        Ok(buffers)
    }

    /// Moves a filled buffer into `frame`; whether it held the whole image.
    fn image(&mut self, filled: &Filled, frame: &mut Frame) -> bool {
        let (Some(open), Some(buffers)) = (&self.open, &mut self.buffers) else { return false };
        let geometry = self.options.geometry;
        if buffers.swap(filled, &mut frame.pixels) {
            let given = filled.bytes_used.min(frame.pixels.len());
            frame.pixels[given..].fill(0);
            return given == frame.pixels.len();
        }
        self.copied_bytes += frame.pixels.len() as u64;
        open.code.unpack(geometry, open.layout.stride, buffers.image(filled), &mut frame.pixels)
    }

    /// Makes a frame of a filled buffer.
    fn fill(&mut self, filled: &Filled, now: HostTime, frame: &mut Frame) {
        let geometry = self.options.geometry;
        let stamp = Stamp::of(filled.flags, filled.seconds, filled.micros);
        let count = self.counter.take(filled.sequence.into());
        let whole = self.image(filled, frame);
        frame.camera = self.options.camera;
        frame.counter = count.counter;
        frame.device_time = stamp.device_time;
        frame.moment = stamp.moment;
        frame.arrival = now;
        let gap = if self.gap_before { Integrity::GAP_BEFORE } else { Integrity::empty() };
        let part = if whole { Integrity::empty() } else { Integrity::CORRUPT };
        frame.integrity = stamp.integrity | count.integrity | gap | part;
        frame.geometry = geometry;
        self.gap_before = false;
    }

    fn lose(&mut self, doing: &str, error: &io::Error) -> DeviceError {
        self.buffers = None;
        self.open = None;
        let mut error = error_of(doing, error);
        error.context = format!("{}: {}", self.identity, error.context);
        error
    }
}

impl CameraSource for V4l2Camera {
    fn geometry(&self) -> FrameGeometry {
        self.options.geometry
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        if self.buffers.is_some() {
            return Ok(());
        }
        let Some(open) = &self.open else {
            let text = format!("{}: not open", self.identity);
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, text));
        };
        match self.buffers(open) {
            Ok(buffers) => {
                self.buffers = Some(buffers);
                self.counter.restart();
                Ok(())
            }
            Err(error) => Err(self.lose("starting its stream", &error)),
        }
    }

    fn stop(&mut self) {
        self.buffers = None;
    }

    fn poll(&mut self, now: HostTime, frame: &mut Frame) -> Result<Polled, DeviceError> {
        let Some(buffers) = &mut self.buffers else { return Ok(Polled::Nothing) };
        match buffers.dequeue() {
            Ok(None) => Ok(Polled::Nothing),
            Ok(Some(filled)) => {
                self.fill(&filled, now, frame);
                match self.buffers.as_mut().map_or(Ok(()), |buffers| buffers.queue(filled.index)) {
                    Ok(()) => {}
                    // The image is whole; the loss shows at the next poll.
                    Err(error) => tracing::debug!("{}: a buffer was not taken back: {error}", self.identity),
                }
                Ok(Polled::Ready)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Polled::Nothing),
            Err(error) => Err(self.lose("taking an image", &error)),
        }
    }

    fn wait(&mut self, until: HostTime) {
        let left = (until - host_now()).to_duration();
        match (&self.open, &self.buffers) {
            (Some(open), Some(_)) => {
                let millis = (left.as_micros() as u64).div_ceil(1_000).min(1_000) as i32;
                // An interrupted wait ends early, which is allowed.
                open.device.handle().poll(libc::POLLIN, millis).ok();
            }
            _ => std::thread::sleep(left),
        }
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        self.buffers = None;
        // Some drivers let a device come back only when its last user has gone.
        self.open = None;
        self.open = Some(open(&self.options)?);
        self.counter.restart();
        self.gap_before = true;
        Ok(())
    }

    fn copied_bytes(&self) -> Option<u64> {
        Some(self.copied_bytes)
    }
}

/// Finds, opens and sets a camera.
fn open(options: &CameraOptions) -> Result<Open, DeviceError> {
    let path = match options.device.starts_with('/') {
        true => options.device.clone().into(),
        false => find::choose(find::nodes(), &options.device)?,
    };
    let doing = |what: &str, error: &io::Error| {
        let mut error = error_of(what, error);
        error.context = format!("{}: {}", path.display(), error.context);
        error
    };
    let device = Device::with_path(&path).map_err(|error| doing("opening it", &error))?;
    let said = requests::capability(&device).map_err(|error| doing("asking what it is", &error))?;
    let refuse = |text: String| DeviceError::new(DeviceErrorKind::Unsupported, format!("{}: {text}", path.display()));
    if !said.captures {
        return Err(refuse(format!("{:?} gives no images through mapped buffers", said.card)));
    }
    let geometry = options.geometry;
    let size_px = [geometry.width_px, geometry.height_px];
    let wanted = Wanted { format: geometry.format, size_px, rate_hz: options.rate_hz };
    let choice = negotiate::choose(&offers::read(&device), &wanted).map_err(refuse)?;
    let layout =
        set_format(&device, &choice, size_px).map_err(|error| doing("setting its format", &error))?.map_err(refuse)?;
    set_rate(&device, &choice);
    set_controls(&device, options, &requests::list(&device)).map_err(refuse)?;
    let identity = format!("{} ({}, bus {}) at {}", said.card, said.driver, said.bus, path.display());
    Ok(Open { device, code: choice.code, layout, identity })
}

/// Sets the format; the layout of its images, or what the device made of it.
fn set_format(device: &Device, choice: &Choice, [width, height]: [u32; 2]) -> io::Result<Result<Layout, String>> {
    let mut format = v4l::Format::new(width, height, v4l::FourCC::new(&choice.code.fourcc));
    format.field_order = FieldOrder::Progressive;
    let set = device.set_format(&format)?;
    if set.fourcc.repr != choice.code.fourcc || (set.width, set.height) != (width, height) {
        let [asked, given] = [choice.code.fourcc, set.fourcc.repr].map(fourcc_text);
        return Ok(Err(format!("asked for {asked} {width}x{height}, it set {given} {}x{}", set.width, set.height)));
    }
    let row = choice.code.row_bytes(width);
    Ok(Ok(Layout { stride: (set.stride as usize).max(row), bytes: set.size as usize }))
}

/// A triggered camera may have no rate of its own; where it has, the one that is enough was chosen.
fn set_rate(device: &Device, choice: &Choice) {
    let Some(rate_hz) = choice.rate_hz else { return };
    if let Err(error) = device.set_params(&Parameters::new(offers::interval(rate_hz))) {
        tracing::warn!("a camera did not take {rate_hz} Hz ({error}); its trigger decides");
    }
}

fn set_controls(device: &Device, options: &CameraOptions, controls: &[Control]) -> Result<(), String> {
    let mut settings = exposure(controls, options.exposure_micros);
    settings.extend(control::plan(controls, options.controls.iter())?);
    for (id, value) in settings {
        let name = controls.iter().find(|control| control.id == id).map_or("", |control| control.name.as_str());
        requests::set(device, id, value).map_err(|error| format!("control {name:?} = {value}: {error}"))?;
    }
    Ok(())
}

/// The exposure time on cameras that have a control for it in time; others expose as long as their trigger or their own
/// controls say.
fn exposure(controls: &[Control], micros: u32) -> Vec<(u32, i64)> {
    let has = |id| controls.iter().any(|control| control.id == id && control.writable);
    let mode = has(EXPOSURE_MODE).then_some((EXPOSURE_MODE, EXPOSURE_MANUAL));
    let units = (i64::from(micros) / EXPOSURE_UNIT_MICROS).max(1);
    let time = has(EXPOSURE_TIME).then_some((EXPOSURE_TIME, units));
    mode.into_iter().chain(time).collect()
}
