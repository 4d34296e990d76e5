//! `mimicd camera`: cameras by themselves, for who sets them up.

mod account;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, Subcommand, ValueEnum};
use mimicd_device::{CameraIndex, CameraSource, DeviceError, Frame, HostTime, PixelFormat, Polled, Span};
use mimicd_hw::controls::ControlValue;

use crate::clock::host_now;
use crate::config::{CameraBackend, CameraConfig, Config};
use crate::pipeline::{frame_pool_slots, open_camera};
use crate::stream::{Pool, PoolError};
use account::Account;

/// Options of `mimicd camera`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Follow cameras for a while: frames, gaps, damage, unplugging. Exits 1 when a loss was not declared or a camera did
    /// not come back.
    Watch(WatchOptions),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    V4l2,
    Uvc,
    Genicam,
}

#[derive(Debug, Args)]
struct WatchOptions {
    /// The cameras of this config; else those named by --device.
    #[arg(long, conflicts_with = "device")]
    config: Option<PathBuf>,
    /// Path, bus address, serial number or name (`mimicd devices`); may be repeated.
    #[arg(long)]
    device: Vec<String>,
    /// What drives them.
    #[arg(long, value_enum, default_value = "v4l2")]
    backend: Backend,
    /// Pixels across.
    #[arg(long, default_value_t = 640)]
    width: u32,
    /// Pixels down.
    #[arg(long, default_value_t = 480)]
    height: u32,
    /// Pixel layout, as in a config.
    #[arg(long, default_value = "mono8")]
    format: String,
    /// Frames a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Exposure time.
    #[arg(long, default_value_t = 2_000)]
    exposure_micros: u32,
    /// A control, `name=value`; may be repeated.
    #[arg(long)]
    control: Vec<String>,
    /// How long to watch.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Write every image as it came, one after the other, to FOLDER/<camera>.raw.
    #[arg(long)]
    save: Option<PathBuf>,
}

/// Does what is asked.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Watch(options) => watch(options),
    }
}

fn watch(options: &WatchOptions) -> Result<ExitCode> {
    let (cameras, rate_hz) = wanted(options)?;
    let mut followers = Vec::new();
    for (index, camera) in cameras.iter().enumerate() {
        let source = open_camera(camera, CameraIndex(index as u8), rate_hz, None)?;
        println!("{}: {}", camera.name, source.identity());
        let save = options.save.as_deref().map(|folder| save_file(folder, &camera.name)).transpose()?;
        followers.push(Follower::new(camera.name.clone(), source, save));
    }
    let begun = host_now();
    let end = begun + Span::from_secs_f64(options.seconds);
    let handles = followers
        .into_iter()
        .map(|follower| {
            let name = follower.name.clone();
            std::thread::Builder::new().name(name).spawn(move || follower.run(begun, end))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut well = true;
    for handle in handles {
        let done = handle.join().map_err(|_| anyhow!("a camera's thread panicked"))??;
        well &= done.account.adds_up();
        println!("{}: {}", done.name, done.account.report());
        let copied = match done.source.copied_bytes() {
            Some(bytes) => format!("{} of its {} bytes copied", done.a_frame(bytes), done.a_frame(done.bytes)),
            None => format!("{} bytes", done.a_frame(done.bytes)),
        };
        println!("    {:.0} µs to take a frame, {copied}", done.mean_take_micros());
    }
    println!("{}", if well { "every loss is declared" } else { "NOT every loss is declared, or a camera is missing" });
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wanted(options: &WatchOptions) -> Result<(Vec<CameraConfig>, f64)> {
    if let Some(path) = &options.config {
        let config = Config::load(path)?;
        let cameras = config.cameras.into_iter().filter(|camera| camera.backend != CameraBackend::Twin).collect();
        return Ok((cameras, config.rig.frame_rate_hz));
    }
    ensure!(!options.device.is_empty(), "name a camera by --device or a --config; `mimicd devices` lists cameras");
    let format: PixelFormat = serde_json::from_value(options.format.clone().into())
        .with_context(|| format!("--format {:?}", options.format))?;
    let controls = options.control.iter().map(|text| control(text)).collect::<Result<_>>()?;
    let camera = |(index, device): (usize, &String)| CameraConfig {
        name: format!("cam{}", index + 1),
        backend: match options.backend {
            Backend::V4l2 => CameraBackend::V4l2,
            Backend::Uvc => CameraBackend::Uvc,
            Backend::Genicam => CameraBackend::Genicam,
        },
        device: device.clone(),
        width_px: options.width,
        height_px: options.height,
        format,
        exposure_micros: options.exposure_micros,
        buffers: 8,
        controls: std::collections::BTreeMap::clone(&controls),
    };
    Ok((options.device.iter().enumerate().map(camera).collect(), options.rate))
}

/// `name=value`: a number, `true`, `false`, or the name of a menu's entry.
fn control(text: &str) -> Result<(String, ControlValue)> {
    let (name, value) = text.split_once('=').with_context(|| format!("--control {text:?}: expected name=value"))?;
    let value = match (value.parse::<bool>(), value.parse::<i64>(), value.parse::<f64>()) {
        (Ok(switch), _, _) => ControlValue::Switch(switch),
        (_, Ok(whole), _) => ControlValue::Integer(whole),
        (_, _, Ok(number)) => ControlValue::Number(number),
        _ => ControlValue::Text(value.to_owned()),
    };
    Ok((name.to_owned(), value))
}

fn save_file(folder: &Path, name: &str) -> Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.raw"));
    File::create(&path).with_context(|| path.display().to_string())
}

/// One camera and its account; the pool is as large as a rig's without a recorder.
struct Follower {
    name: String,
    source: Box<dyn CameraSource>,
    pool: Pool<Frame>,
    save: Option<File>,
    account: Account,
    take_nanos: u64,
    bytes: u64,
    reopen_at: Option<HostTime>,
}

impl Follower {
    const REOPEN_AFTER: Span = Span::from_millis(500);
    const WAIT_MAX: Span = Span::from_millis(20);

    fn new(name: String, source: Box<dyn CameraSource>, save: Option<File>) -> Self {
        let geometry = source.geometry();
        Self {
            name,
            pool: Pool::new(frame_pool_slots(0), || Frame::blank(CameraIndex(0), geometry)),
            source,
            save,
            account: Account::default(),
            take_nanos: 0,
            bytes: 0,
            reopen_at: None,
        }
    }

    fn a_frame(&self, sum: u64) -> u64 {
        sum / self.account.frames.max(1)
    }

    fn mean_take_micros(&self) -> f64 {
        self.take_nanos as f64 * 1e-3 / self.account.frames.max(1) as f64
    }

    fn run(mut self, begun: HostTime, end: HostTime) -> Result<Self> {
        self.read_clock();
        self.source.start()?;
        loop {
            let now = host_now();
            if now >= end {
                self.source.stop();
                self.read_clock();
                return Ok(self);
            }
            if self.reopen_at.is_some_and(|at| !self.try_reopen(at, begun, now)) {
                std::thread::sleep(Self::WAIT_MAX.to_duration());
            } else if !self.take(begun, now)? {
                self.source.wait(end.min(now + Self::WAIT_MAX));
            }
        }
    }

    fn read_clock(&mut self) {
        if let Some(reading) = self.source.read_clock() {
            self.account.read_clock(reading);
        }
    }

    fn take(&mut self, begun: HostTime, now: HostTime) -> Result<bool> {
        let before = Instant::now();
        let source = &mut self.source;
        match self.pool.lease(|frame| Ok(source.poll(now, frame)? == Polled::Ready)) {
            Ok(None) => Ok(false),
            Ok(Some(frame)) => {
                self.take_nanos += before.elapsed().as_nanos() as u64;
                self.bytes += frame.pixels.len() as u64;
                self.account.see(&frame);
                if let Some(file) = &mut self.save {
                    file.write_all(&frame.pixels)?;
                }
                Ok(true)
            }
            Err(PoolError::Exhausted) => Err(anyhow!("{}: every frame is held, though nobody holds any", self.name)),
            Err(PoolError::Fill(error)) => {
                self.lose(&error, begun, now);
                Ok(false)
            }
        }
    }

    fn lose(&mut self, error: &DeviceError, begun: HostTime, now: HostTime) {
        println!("{:8.3} s  {}: lost: {error}", (now - begun).secs_f64(), self.name);
        self.account.lose();
        self.reopen_at = Some(now + Self::REOPEN_AFTER);
    }

    fn try_reopen(&mut self, at: HostTime, begun: HostTime, now: HostTime) -> bool {
        if now < at {
            return false;
        }
        let reopened = self.source.reopen();
        let reading = reopened.is_ok().then(|| self.source.read_clock()).flatten();
        if let Err(error) = reopened.and_then(|()| self.source.start()) {
            tracing::debug!("{}: not back: {error}", self.name);
            self.reopen_at = Some(now + Self::REOPEN_AFTER);
            return false;
        }
        println!("{:8.3} s  {}: back: {}", (now - begun).secs_f64(), self.name, self.source.identity());
        self.account.reopen();
        if let Some(reading) = reading {
            self.account.read_clock(reading);
        }
        self.reopen_at = None;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_read_as_what_it_looks_like() {
        for (text, value) in [
            ("gain=12", ControlValue::Integer(12)),
            ("gain=1.5", ControlValue::Number(1.5)),
            ("gain=true", ControlValue::Switch(true)),
            ("gain=Line 1", ControlValue::Text("Line 1".to_owned())),
        ] {
            assert_eq!(control(text).expect(text), ("gain".to_owned(), value));
        }
        assert!(control("gain").is_err());
    }
}
