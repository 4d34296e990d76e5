//! One GenICam camera as a source of frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aravis::glib::prelude::Cast as _;
use aravis::prelude::*;
use aravis::{Auto, Buffer, BufferStatus, Camera, GvStream, GvStreamPacketResend, GvStreamSocketBuffer, Stream, glib};
use mimicd_device::{
    CameraSource, CameraTime, ClockReading, DeviceError, DeviceErrorKind, Frame, FrameGeometry, HostTime, Integrity,
    Moment, Polled,
};

use super::settings::{Link, Settings, packet_delay_nanos};
use super::{cameras, image, name_of, timing, with_aravis};
use crate::camera::CameraOptions;
use crate::controls::ControlValue;
use crate::counter::Counter;
use crate::host_now;

/// Assumed of a GigE Vision link; a faster one makes a camera slower than its share, never faster.
const GIGABIT_BYTES_PER_SECOND: f64 = 125e6;
/// Receive buffer where nothing else is asked: more than ten 1.4-megapixel images.
const SOCKET_BYTES: i32 = 16 << 20;

/// Block id of a buffer that is lent to the stream. Aravis sets the id when the image's leader packet comes; without it the
/// buffer would keep the id of an older image, and be taken for that one.
const NO_ID: u64 = u64::MAX;

/// What a camera offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Abilities {
    /// Names of its pixel formats.
    pub formats: Vec<String>,
    /// Largest image.
    pub size_px: [u32; 2],
    /// Highest frame rate at present.
    pub rate_hz: Option<f64>,
    /// What may trigger it.
    pub trigger_sources: Vec<String>,
}

/// Asks the camera named `id` what it can do.
///
/// # Errors
/// `NotFound`, `Busy`, `Io`.
pub fn abilities(id: &str) -> Result<Abilities, DeviceError> {
    let camera = connect(id)?;
    let texts = |list: Result<Vec<glib::GString>, glib::Error>| {
        list.unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (width, height) = camera.sensor_size().map_err(|error| io(id, "asking its size", &error))?;
    Ok(Abilities {
        formats: texts(camera.dup_available_pixel_formats_as_strings()),
        size_px: [width.max(0) as u32, height.max(0) as u32],
        rate_hz: camera.frame_rate_bounds().ok().map(|(_, highest)| highest),
        trigger_sources: texts(camera.dup_available_trigger_sources()),
    })
}

/// A camera as it was found and set.
struct Open {
    camera: Camera,
    payload: usize,
    /// Set by Aravis when the camera no longer answers.
    lost: Arc<AtomicBool>,
    /// Whether block ids are 16 bit.
    is_narrow: bool,
}

/// A GigE Vision or USB3 Vision camera.
pub struct GenicamCamera {
    options: CameraOptions,
    settings: Settings,
    identity: String,
    // Fields drop in order: the stream before its camera.
    waiting: Option<Buffer>,
    stream: Option<Stream>,
    open: Option<Open>,
    counter: Counter,
    gap_before: bool,
    copied_bytes: u64,
}

impl GenicamCamera {
    /// Finds the camera, takes control of it, sets size, format, rate, exposure and features.
    ///
    /// # Errors
    /// `NotFound`, `Busy`, `Unsupported` with what is offered instead.
    pub fn open(options: CameraOptions) -> Result<Self, DeviceError> {
        let settings = Settings::of(&options.controls).map_err(|text| refuse(&options.device, text))?;
        let open = open(&options, &settings)?;
        let camera = &open.camera;
        let part = |value: Result<glib::GString, glib::Error>| value.map_or(String::new(), |text| text.to_string());
        let identity = format!(
            "{} {} serial {} at {}",
            part(camera.vendor_name()),
            part(camera.model_name()),
            part(camera.device_serial_number()),
            options.device
        );
        let counter = counter_of(&open);
        Ok(Self {
            options,
            settings,
            identity,
            waiting: None,
            stream: None,
            open: Some(open),
            counter,
            gap_before: false,
            copied_bytes: 0,
        })
    }

    /// The oldest buffer that holds an image that can be told from others; one that cannot goes straight back, and shows as
    /// a gap of the block id.
    fn next_buffer(&mut self) -> Option<Buffer> {
        let stream = self.stream.as_ref()?;
        loop {
            let buffer = self.waiting.take().or_else(|| stream.try_pop_buffer())?;
            let began = !matches!(
                buffer.status(),
                BufferStatus::Cleared | BufferStatus::Filling | BufferStatus::Aborted | BufferStatus::Unknown
            );
            if began && buffer.frame_id() != NO_ID {
                return Some(buffer);
            }
            lend(stream, buffer);
        }
    }

    fn fill(&mut self, buffer: &Buffer, now: HostTime, frame: &mut Frame) {
        let id = buffer.frame_id();
        if id > 65_535 && self.open.as_ref().is_some_and(|open| open.is_narrow) {
            self.widen();
        }
        let count = self.counter.take(id);
        let whole = copy(image::bytes(buffer), &mut frame.pixels);
        self.copied_bytes += frame.pixels.len() as u64;
        frame.camera = self.options.camera;
        frame.counter = count.counter;
        frame.device_time = (buffer.timestamp() > 0).then(|| CameraTime::from_nanos(buffer.timestamp() as i64));
        frame.moment = Moment::Unknown;
        frame.arrival = now;
        frame.integrity = count.integrity;
        frame.integrity.set(Integrity::CORRUPT, !whole || buffer.status() != BufferStatus::Success);
        if self.gap_before {
            frame.integrity |= Integrity::GAP_BEFORE;
        }
        frame.geometry = self.options.geometry;
        self.gap_before = false;
    }

    /// The camera counts beyond 16 bit without having said so.
    fn widen(&mut self) {
        self.counter = Counter::wide();
        if let Some(open) = &mut self.open {
            open.is_narrow = false;
        }
    }

    fn is_lost(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.lost.load(Ordering::Relaxed))
    }

    fn close(&mut self) {
        self.waiting = None;
        self.stream = None;
        self.open = None;
    }
}

impl CameraSource for GenicamCamera {
    fn geometry(&self) -> FrameGeometry {
        self.options.geometry
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        if self.stream.is_some() {
            return Ok(());
        }
        let Some(open) = &self.open else {
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, format!("{}: not open", self.identity)));
        };
        if self.settings.ptp {
            let late = |text| DeviceError::new(DeviceErrorKind::TimedOut, format!("{}: {text}", self.options.device));
            timing::check_shared_clock(&open.camera).map_err(late)?;
        }
        let failed = |error: glib::Error| io(&self.identity, "starting its stream", &error);
        let stream = open.camera.create_stream().map_err(failed)?;
        set_link(&stream, &self.settings.link);
        for _ in 0..self.options.buffers {
            lend(&stream, Buffer::new_allocate(open.payload));
        }
        open.camera.start_acquisition().map_err(failed)?;
        self.stream = Some(stream);
        self.counter.restart();
        Ok(())
    }

    fn stop(&mut self) {
        if let (Some(open), true) = (&self.open, self.stream.is_some()) {
            // A camera that no longer answers has stopped as well as it can.
            open.camera.stop_acquisition().ok();
        }
        self.waiting = None;
        self.stream = None;
    }

    fn poll(&mut self, now: HostTime, frame: &mut Frame) -> Result<Polled, DeviceError> {
        if self.stream.is_none() {
            return Ok(Polled::Nothing);
        }
        if let Some(buffer) = self.next_buffer() {
            self.fill(&buffer, now, frame);
            if let Some(stream) = &self.stream {
                lend(stream, buffer);
            }
            return Ok(Polled::Ready);
        }
        if self.is_lost() {
            self.close();
            let text = format!("{}: it no longer answers", self.identity);
            return Err(DeviceError::new(DeviceErrorKind::Disconnected, text));
        }
        Ok(Polled::Nothing)
    }

    fn wait(&mut self, until: HostTime) {
        let left = (until - host_now()).to_duration();
        match &self.stream {
            Some(stream) if self.waiting.is_none() => {
                self.waiting = stream.timeout_pop_buffer(left.as_micros() as u64);
            }
            Some(_) => {}
            None => std::thread::sleep(left),
        }
    }

    fn reopen(&mut self) -> Result<(), DeviceError> {
        self.close();
        let open = open(&self.options, &self.settings)?;
        self.counter = counter_of(&open);
        self.open = Some(open);
        self.gap_before = true;
        Ok(())
    }

    fn copied_bytes(&self) -> Option<u64> {
        Some(self.copied_bytes)
    }

    fn read_clock(&mut self) -> Option<ClockReading> {
        self.open.as_ref().and_then(|open| timing::read_clock(&open.camera))
    }
}

/// Gives a buffer to the stream, without the identity of what it held.
fn lend(stream: &Stream, buffer: Buffer) {
    buffer.set_frame_id(NO_ID);
    stream.push_buffer(buffer);
}

fn counter_of(open: &Open) -> Counter {
    if open.is_narrow { Counter::gvsp16() } else { Counter::wide() }
}

/// Copies what there is; what is missing becomes black. Says whether the image was whole.
fn copy(bytes: &[u8], into: &mut [u8]) -> bool {
    let there = bytes.len().min(into.len());
    into[..there].copy_from_slice(&bytes[..there]);
    into[there..].fill(0);
    there == into.len()
}

fn connect(id: &str) -> Result<Camera, DeviceError> {
    let opened = with_aravis(|_| Camera::new(Some(id)));
    opened.map_err(|error| {
        let there: Vec<String> = cameras().iter().map(ToString::to_string).collect();
        let listed = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let kind =
            if there.iter().any(|line| line.contains(id)) { DeviceErrorKind::Busy } else { DeviceErrorKind::NotFound };
        DeviceError::new(kind, format!("{id}: {error}; GenICam cameras that answer: {listed}"))
    })
}

fn open(options: &CameraOptions, settings: &Settings) -> Result<Open, DeviceError> {
    let camera = connect(&options.device)?;
    // A program that died while it had control may have left the camera streaming.
    camera.stop_acquisition().ok();
    set_image(&camera, options).map_err(|text| refuse(&options.device, text))?;
    for (name, value) in &settings.features {
        set_feature(&camera, name, value).map_err(|text| refuse(&options.device, text))?;
    }
    if settings.ptp {
        timing::share_clock(&camera).map_err(|text| refuse(&options.device, text))?;
    }
    set_rate(&camera, options, settings);
    set_share(&camera, &settings.link).map_err(|text| refuse(&options.device, text))?;
    let payload = camera.payload().map_err(|error| io(&options.device, "asking its payload", &error))? as usize;
    let lost = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&lost);
    if let Some(device) = camera.device() {
        device.connect_control_lost(move |_| flag.store(true, Ordering::Relaxed));
    }
    let extended = camera.boolean("GevGVSPExtendedIDMode").unwrap_or(false)
        || camera.string("GevGVSPExtendedIDMode").is_ok_and(|mode| mode == "On");
    let is_narrow = camera.is_gv_device() && !extended;
    Ok(Open { camera, payload, lost, is_narrow })
}

/// Format, size and exposure.
fn set_image(camera: &Camera, options: &CameraOptions) -> Result<(), String> {
    let (geometry, name) = (options.geometry, name_of(options.geometry.format));
    let offered = camera.dup_available_pixel_formats_as_strings().unwrap_or_default();
    if !offered.iter().any(|format| format == name) {
        return Err(format!("{} ({name}): no such format; offered: {}", geometry.format.name(), offered.join(", ")));
    }
    camera.set_pixel_format_from_string(name).map_err(|error| format!("PixelFormat {name}: {error}"))?;
    let (width, height) = (geometry.width_px as i32, geometry.height_px as i32);
    let limits = [
        ("width_px", width, camera.width_bounds(), camera.width_increment()),
        ("height_px", height, camera.height_bounds(), camera.height_increment()),
    ];
    for (key, value, bounds, step) in limits {
        let (Ok((min, max)), step) = (bounds, step.unwrap_or(1).max(1)) else { continue };
        if !(min..=max).contains(&value) || (value - min) % step != 0 {
            return Err(format!("{key} {value}: offered: {min} to {max} in steps of {step}"));
        }
    }
    // Negative: the offset stays.
    camera.set_region(-1, -1, width, height).map_err(|error| format!("size {width}x{height}: {error}"))?;
    if camera.is_exposure_time_available().unwrap_or(false) {
        if camera.is_exposure_auto_available().unwrap_or(false) {
            camera.set_exposure_time_auto(Auto::Off).map_err(|error| format!("ExposureAuto Off: {error}"))?;
        }
        let micros = f64::from(options.exposure_micros);
        camera.set_exposure_time(micros).map_err(|error| format!("exposure_micros {micros}: {error}"))?;
    }
    Ok(())
}

fn set_feature(camera: &Camera, name: &str, value: &ControlValue) -> Result<(), String> {
    if !camera.is_feature_available(name).unwrap_or(false) {
        return Err(format!("it has no feature {name:?} at present (`arv-tool-0.8 features` lists them)"));
    }
    let done = match value {
        ControlValue::Switch(on) => camera.set_boolean(name, *on),
        // A feature that is a float may be given a whole number.
        ControlValue::Integer(whole) => {
            camera.set_integer(name, *whole).or_else(|_| camera.set_float(name, *whole as f64))
        }
        ControlValue::Number(number) => camera.set_float(name, *number),
        ControlValue::Text(text) => camera.set_string(name, text),
    };
    done.map_err(|error| {
        let choices = camera.dup_available_enumerations_as_strings(name).unwrap_or_default();
        let offered = if choices.is_empty() { String::new() } else { format!("; offered: {}", choices.join(", ")) };
        format!("feature {name:?} = {value}: {error}{offered}")
    })
}

/// A camera that waits for triggers has no rate of its own; others are set to the rig's.
fn set_rate(camera: &Camera, options: &CameraOptions, settings: &Settings) {
    if settings.is_triggered() || !camera.is_frame_rate_available().unwrap_or(false) {
        return;
    }
    if let Err(error) = camera.set_frame_rate(options.rate_hz) {
        tracing::warn!("{}: it does not take {} Hz ({error})", options.device, options.rate_hz);
    }
}

/// The camera's share of its link: by the camera itself where it can, else by pauses between packets.
fn set_share(camera: &Camera, link: &Link) -> Result<(), String> {
    if camera.is_gv_device() {
        match link.packet_bytes {
            Some(bytes) => {
                camera.gv_set_packet_size(bytes).map_err(|error| format!("packet_bytes {bytes}: {error}"))?
            }
            // The default size stays where the trial packets do not arrive.
            None => drop(camera.gv_auto_packet_size()),
        }
    }
    let Some(share) = link.bandwidth_bytes_per_second else { return Ok(()) };
    let refused = |error: glib::Error| format!("bandwidth_bytes_per_second {share}: {error}");
    if camera.is_feature_available("DeviceLinkThroughputLimit").unwrap_or(false) {
        return camera.set_integer("DeviceLinkThroughputLimit", share.into()).map_err(refused);
    }
    if camera.is_gv_device() {
        let packet = camera.gv_get_packet_size().map_err(refused)?;
        let delay = packet_delay_nanos(packet, share, GIGABIT_BYTES_PER_SECOND);
        return camera.gv_set_packet_delay(delay).map_err(refused);
    }
    camera.uv_set_bandwidth(share).map_err(refused)
}

fn set_link(stream: &Stream, link: &Link) {
    let Some(stream) = stream.downcast_ref::<GvStream>() else { return };
    let resend = link.packet_resend.unwrap_or(true);
    stream.set_packet_resend(if resend { GvStreamPacketResend::Always } else { GvStreamPacketResend::Never });
    stream.set_socket_buffer(GvStreamSocketBuffer::Fixed);
    stream.set_socket_buffer_size(link.socket_buffer_bytes.unwrap_or(SOCKET_BYTES));
    if let Some(micros) = link.packet_timeout_micros {
        stream.set_packet_timeout(micros);
    }
    if let Some(micros) = link.frame_retention_micros {
        stream.set_frame_retention(micros);
    }
}

fn refuse(device: &str, text: String) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Unsupported, format!("{device}: {text}"))
}

fn io(device: &str, doing: &str, error: &glib::Error) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Io, format!("{device}: {doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_image_is_black_where_it_ends() {
        let mut into = [9; 4];
        assert!(!copy(&[1, 2], &mut into));
        assert_eq!(into, [1, 2, 0, 0]);
        assert!(copy(&[1, 2, 3, 4, 5], &mut into));
        assert_eq!(into, [1, 2, 3, 4]);
    }
}
