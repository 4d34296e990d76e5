//! A hand-advanced twin and what it said.

use mimicd_device::{
    ArrayIndex, BoardCommand, BoardEvent, CameraIndex, CameraSource as _, DeviceErrorKind, EphysSource as _, Frame,
    HostTime, Polled, SampleBlock, Span, SyncBoard as _, TriggerPlan,
};
use mimicd_sim::{Fault, SceneOptions, SimArray, SimBoard, SimCamera, Twin, TwinArray, TwinCamera, TwinOptions};

pub(crate) const START: HostTime = HostTime::from_nanos(77_000_000_000);
pub(crate) const PLAN: TriggerPlan = TriggerPlan {
    period: Span::from_millis(20),
    width: Span::from_millis(1),
    stretch: Span::from_millis(2),
    stretch_every: 50,
    code_seed: 7,
};

pub(crate) fn options(seed: u64, cameras: usize, arrays: usize, faults: Vec<Fault>) -> TwinOptions {
    let camera = |index: usize| TwinCamera {
        name: format!("cam{index}"),
        width_px: 64,
        height_px: 48,
        k: [[60.0, 0.0, 32.0], [0.0, 60.0, 24.0], [0.0, 0.0, 1.0]],
        distortion: [0.0; 5],
        rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        translation_m: [0.0; 3],
    };
    let array = TwinArray { exposure_bits: (1..=cameras as u8).collect(), ..TwinArray::default() };
    TwinOptions {
        seed,
        scene: SceneOptions::Pattern,
        cameras: (0..cameras).map(camera).collect(),
        exposures: vec![Span::from_millis(2); cameras],
        arrays: vec![array; arrays],
        faults,
        stepped: true,
        ..TwinOptions::default()
    }
}

/// Everything that came out of a twin.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) frames: Vec<Vec<Frame>>,
    pub(crate) blocks: Vec<Vec<SampleBlock>>,
    pub(crate) events: Vec<(HostTime, BoardEvent)>,
    pub(crate) disconnects: u32,
}

pub(crate) struct Rig {
    pub(crate) twin: Twin,
    pub(crate) cameras: Vec<SimCamera>,
    pub(crate) arrays: Vec<SimArray>,
    pub(crate) board: SimBoard,
    pub(crate) said: Said,
    pub(crate) now: HostTime,
}

impl Rig {
    pub(crate) fn new(options: TwinOptions) -> Self {
        let (cameras, arrays) = (options.cameras.len(), options.arrays.len());
        let mut twin = Twin::new(options, START).unwrap();
        let mut cameras: Vec<_> = (0..cameras).map(|i| twin.camera(CameraIndex(i as u8))).collect();
        let mut arrays: Vec<_> = (0..arrays).map(|i| twin.array(ArrayIndex(i as u8))).collect();
        cameras.iter_mut().for_each(|camera| camera.start().unwrap());
        arrays.iter_mut().for_each(|array| array.start().unwrap());
        let said = Said {
            frames: cameras.iter().map(|_| Vec::new()).collect(),
            blocks: arrays.iter().map(|_| Vec::new()).collect(),
            ..Said::default()
        };
        let board = twin.board();
        Self { twin, cameras, arrays, board, said, now: START }
    }

    pub(crate) fn send(&mut self, command: BoardCommand) {
        self.board.send(self.now, command).unwrap();
    }

    /// Runs to `seconds` after the start in steps of 1 ms.
    pub(crate) fn run(&mut self, seconds: f64) {
        let end = START + Span::from_secs_f64(seconds);
        while self.now < end {
            self.step();
            self.now += Span::from_millis(1);
        }
    }

    fn step(&mut self) {
        for (camera, frames) in self.cameras.iter_mut().zip(&mut self.said.frames) {
            let mut frame = Frame::blank(CameraIndex(0), camera.geometry());
            match camera.poll(self.now, &mut frame) {
                Ok(Polled::Ready) => frames.push(frame),
                Ok(Polled::Nothing) => {}
                Err(error) => {
                    assert_eq!(error.kind, DeviceErrorKind::Disconnected);
                    self.said.disconnects += 1;
                    camera.reopen().unwrap();
                }
            }
        }
        for (array, blocks) in self.arrays.iter_mut().zip(&mut self.said.blocks) {
            let mut block = SampleBlock::with_capacity(ArrayIndex(0), array.channels(), array.block_samples_max());
            loop {
                match array.poll(self.now, &mut block) {
                    Ok(Polled::Ready) => blocks.push(block.clone()),
                    Ok(Polled::Nothing) => break,
                    Err(_) => {
                        self.said.disconnects += 1;
                        array.reopen().unwrap();
                        break;
                    }
                }
            }
        }
        loop {
            match self.board.poll(self.now) {
                Ok(Some(event)) => self.said.events.push(event),
                Ok(None) => break,
                Err(_) => {
                    self.said.disconnects += 1;
                    self.board.reopen().unwrap();
                    break;
                }
            }
        }
    }
}
