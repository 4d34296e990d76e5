//! Puts a twin together and hands out its devices.

use std::sync::Arc;

use mimicd_device::{ArrayIndex, ButtonKind, CameraIndex, FrameGeometry, HostTime, PixelFormat, Span};
use mimicd_wire::Button;

use crate::SimError;
use crate::board::{BoardParts, Link, SimBoard};
use crate::camera::{CameraParts, ExposureTiming, SimCamera};
use crate::clock::DriftClock;
use crate::ephys::{ArrayParts, DigitalLines, Firing, SampleClock, SimArray, SpikeLog, place_units};
use crate::fault::{Device, Script};
use crate::options::{SceneOptions, TwinOptions};
use crate::random::{between, hash};
use crate::scene::{Painter, Scene};
use crate::truth::{ArrayTruth, Clocks, TruthLog, Truths};
use crate::wiring::Wiring;

/// Streams of random numbers, far enough apart that no device's reach into another's.
const BOARD_STREAM: u64 = 1 << 32;
const CAMERA_STREAM: u64 = 2 << 32;
const ARRAY_STREAM: u64 = 3 << 32;
const DEVICE_STREAMS: u64 = 1 << 20;

/// A simulated rig.
pub struct Twin {
    options: TwinOptions,
    start: HostTime,
    script: Script,
    scene: Arc<Scene>,
    wiring: Arc<Wiring>,
    board_clock: Arc<DriftClock>,
    camera_clocks: Vec<Arc<DriftClock>>,
    timings: Vec<Arc<ExposureTiming>>,
    sample_clocks: Vec<SampleClock>,
    logs: Vec<SpikeLog>,
    board_taken: bool,
}

impl Twin {
    /// A twin whose universe begins at `start`.
    ///
    /// # Errors
    /// Impossible options; a body that cannot be loaded.
    pub fn new(options: TwinOptions, start: HostTime) -> Result<Self, SimError> {
        options.check()?;
        let script = Script::new(&options.faults, options.cameras.len(), options.arrays.len())?;
        let scene = Arc::new(match &options.scene {
            SceneOptions::Pattern => Scene::Pattern,
            SceneOptions::Rat { mjcf } => Scene::rat(options.seed, mjcf)?,
        });
        let clock = |device, stream, origin| Arc::new(make_clock(&options, &script, device, stream, origin));
        let camera_clock = |index: usize| {
            let stream = CAMERA_STREAM + index as u64 * DEVICE_STREAMS;
            let origin = Span::from_secs_f64(between(options.seed, stream, 50, 1.0, 1_000.0));
            clock(Device::Camera(index as u8), stream, origin)
        };
        let sample_clock = |index: usize| SampleClock {
            clock: clock(Device::Array(index as u8), ARRAY_STREAM + index as u64 * DEVICE_STREAMS, Span::ZERO),
            rate_hz: options.arrays[index].rate_hz,
        };
        let timing = |index: usize| {
            Arc::new(ExposureTiming {
                seed: options.seed,
                stream: CAMERA_STREAM + index as u64 * DEVICE_STREAMS + 100,
                exposure: options.exposures[index],
                readout: options.readout,
                faults: script.cameras[index].clone(),
            })
        };
        Ok(Self {
            start,
            scene,
            wiring: Arc::new(Wiring::default()),
            board_clock: clock(Device::Board, BOARD_STREAM, Span::ZERO),
            camera_clocks: (0..options.cameras.len()).map(camera_clock).collect(),
            timings: (0..options.cameras.len()).map(timing).collect(),
            sample_clocks: (0..options.arrays.len()).map(sample_clock).collect(),
            logs: options.arrays.iter().map(|_| SpikeLog::default()).collect(),
            board_taken: false,
            options,
            script,
        })
    }

    /// The camera `index`.
    ///
    /// # Panics
    /// If there is no such camera.
    pub fn camera(&self, index: CameraIndex) -> SimCamera {
        let camera = &self.options.cameras[index.as_usize()];
        let parts = CameraParts {
            index,
            name: camera.name.clone(),
            geometry: FrameGeometry {
                width_px: camera.width_px,
                height_px: camera.height_px,
                format: PixelFormat::Mono8,
            },
            start: self.start,
            stepped: self.options.stepped,
            render_ahead: self.options.render_ahead,
            render_thread: self.options.render_thread,
            timing: Arc::clone(&self.timings[index.as_usize()]),
            clock: Arc::clone(&self.camera_clocks[index.as_usize()]),
            board_clock: Arc::clone(&self.board_clock),
            wiring: Arc::clone(&self.wiring),
            lights: self.options.lights.iter().filter(|light| light.camera == index).copied().collect(),
        };
        let noise = hash(self.options.seed, CAMERA_STREAM, u64::from(index.0));
        let moved = &self.script.cameras[index.as_usize()].moved;
        let painter = Painter::new(&self.scene, camera, index.0, noise, moved);
        SimCamera::new(parts, painter)
    }

    /// The array `index`.
    ///
    /// # Panics
    /// If there is no such array.
    pub fn array(&self, index: ArrayIndex) -> SimArray {
        let array = &self.options.arrays[index.as_usize()];
        let stream = ARRAY_STREAM + u64::from(index.0) * DEVICE_STREAMS;
        let exposures = array.exposure_bits.iter().copied().zip(self.timings.iter().cloned()).collect();
        let parts = ArrayParts {
            index,
            seed: self.options.seed,
            stream,
            channels: array.channels,
            gain_uv_per_bit: array.gain_uv_per_bit,
            block_samples: array.block_samples,
            start: self.start,
            stepped: self.options.stepped,
            clock: self.sample_clocks[index.as_usize()].clone(),
            board_clock: Arc::clone(&self.board_clock),
            wiring: Arc::clone(&self.wiring),
            lines: DigitalLines { trigger_bit: array.trigger_bit, exposures },
            faults: self.script.arrays[index.as_usize()].clone(),
        };
        let log = self.logs[index.as_usize()].clone();
        let firing = Firing::new(self.options.seed, stream, self.units(index), Arc::clone(&self.scene), log);
        SimArray::new(parts, firing)
    }

    /// The board.
    ///
    /// # Panics
    /// When called twice: there is one board.
    pub fn board(&mut self) -> SimBoard {
        assert!(!self.board_taken, "a twin has one board");
        self.board_taken = true;
        let link = Link::new(
            self.options.seed,
            self.options.link_latency_max,
            Arc::clone(&self.board_clock),
            Arc::clone(&self.wiring),
            self.timings.clone(),
            self.script.board.vanished.clone(),
            self.script.board.lost.clone(),
        );
        let mut buttons: Vec<_> =
            self.options.buttons.iter().map(|press| (press.at, button_to_wire(press.button))).collect();
        buttons.sort_by_key(|press| press.0);
        SimBoard::new(BoardParts {
            seed: self.options.seed,
            start: self.start,
            stepped: self.options.stepped,
            wiring: Arc::clone(&self.wiring),
            link,
            resets: self.script.board.resets.clone(),
            buttons,
        })
    }

    /// The truth.
    pub fn truth(&self) -> TruthLog {
        let array =
            |index: usize| ArrayTruth { units: self.units(ArrayIndex(index as u8)), log: self.logs[index].clone() };
        TruthLog::new(Truths {
            start: self.start,
            clocks: Clocks {
                board: Arc::clone(&self.board_clock),
                cameras: self.camera_clocks.clone(),
                arrays: self.sample_clocks.clone(),
            },
            wiring: Arc::clone(&self.wiring),
            timings: self.timings.clone(),
            scene: Arc::clone(&self.scene),
            arrays: (0..self.options.arrays.len()).map(array).collect(),
            host_faults: self.script.host.clone(),
        })
    }

    fn units(&self, index: ArrayIndex) -> Vec<crate::ephys::Unit> {
        let array = &self.options.arrays[index.as_usize()];
        let stream = ARRAY_STREAM + u64::from(index.0) * DEVICE_STREAMS;
        let tetrodes = array.channels / 4;
        place_units(self.options.seed, stream, tetrodes, array.units, array.rate_hz, array.gain_uv_per_bit)
    }
}

fn make_clock(options: &TwinOptions, script: &Script, device: Device, stream: u64, origin: Span) -> DriftClock {
    let mut clock = DriftClock::new(options.seed, stream, options.drift_ppm_max, origin);
    for &(_, at, ppm, step) in script.clocks.iter().filter(|change| change.0 == device) {
        if step == Span::ZERO {
            clock.change_rate(at, ppm);
        } else {
            clock.step(at, step);
        }
    }
    clock
}

const fn button_to_wire(button: ButtonKind) -> Button {
    match button {
        ButtonKind::Arm => Button::Arm,
        ButtonKind::Record => Button::Record,
        ButtonKind::Stop => Button::Stop,
        ButtonKind::Mark => Button::Mark,
        ButtonKind::EmergencyStop => Button::EmergencyStop,
    }
}
