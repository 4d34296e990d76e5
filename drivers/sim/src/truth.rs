//! What is really so: for tests, verification and reports; never for the pipeline.

use std::sync::Arc;

use mimicd_device::{ArrayIndex, BoardTime, CameraIndex, CameraTime, HostTime, SampleIndex, Span};

use crate::camera::ExposureTiming;
use crate::clock::DriftClock;
use crate::ephys::{SampleClock, SpikeLog, SpikeTruth, Unit};
use crate::fault::HostFaults;
use crate::rat::Truth;
use crate::scene::{MovementFeatures, Scene};
use crate::wiring::{Trains, Wiring};

/// The clocks of all devices.
pub(crate) struct Clocks {
    pub(crate) board: Arc<DriftClock>,
    pub(crate) cameras: Vec<Arc<DriftClock>>,
    pub(crate) arrays: Vec<SampleClock>,
}

/// One array's units and their spikes.
pub(crate) struct ArrayTruth {
    pub(crate) units: Vec<Unit>,
    pub(crate) log: SpikeLog,
}

/// A trigger as it really happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerTruth {
    /// Rising edge, in host time.
    pub rise: HostTime,
    /// Middle of the camera's exposure.
    pub mid_exposure: HostTime,
}

pub(crate) struct Truths {
    pub(crate) start: HostTime,
    pub(crate) clocks: Clocks,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) timings: Vec<Arc<ExposureTiming>>,
    pub(crate) scene: Arc<Scene>,
    pub(crate) arrays: Vec<ArrayTruth>,
    pub(crate) host_faults: HostFaults,
}

/// A handle on the truth; cheap to clone, usable from any thread.
///
/// # Panics
/// Its functions panic on a camera or an array that the twin does not have.
#[derive(Clone)]
pub struct TruthLog {
    truths: Arc<Truths>,
}

impl TruthLog {
    pub(crate) fn new(truths: Truths) -> Self {
        Self { truths: Arc::new(truths) }
    }

    /// Universe time 0.
    pub fn start(&self) -> HostTime {
        self.truths.start
    }

    /// Universe time at `at`.
    pub fn universe(&self, at: HostTime) -> Span {
        at - self.truths.start
    }

    /// What the board's clock shows at `at`, in the board's epoch of then (its first before it has started).
    pub fn board_at(&self, at: HostTime) -> BoardTime {
        let universe = self.universe(at);
        let epochs = self.truths.wiring.epochs();
        let epoch = epochs.iter().rev().find(|epoch| epoch.from <= universe).or(epochs.first());
        let zero = epoch.map_or(0, |epoch| epoch.zero_local_ns);
        BoardTime::from_nanos(self.truths.clocks.board.local_ns(universe) - zero)
    }

    /// When the board's clock shows `at` in the board's `epoch` (counted from 1); `None` if it has not begun.
    pub fn host_at_board(&self, epoch: u32, at: BoardTime) -> Option<HostTime> {
        let epochs = self.truths.wiring.epochs();
        let zero = epochs.get(epoch.checked_sub(1)? as usize)?.zero_local_ns;
        Some(self.truths.start + self.truths.clocks.board.universe(zero + at.nanos()))
    }

    /// What a camera's clock shows at `at`.
    pub fn camera_at(&self, camera: CameraIndex, at: HostTime) -> CameraTime {
        CameraTime::from_nanos(self.truths.clocks.cameras[camera.as_usize()].local_ns(self.universe(at)))
    }

    /// When a camera's clock shows `at`.
    pub fn host_at_camera(&self, camera: CameraIndex, at: CameraTime) -> HostTime {
        self.truths.start + self.truths.clocks.cameras[camera.as_usize()].universe(at.nanos())
    }

    /// The first sample that an array does not take before `at`.
    pub fn sample_at(&self, array: ArrayIndex, at: HostTime) -> SampleIndex {
        SampleIndex(self.truths.clocks.arrays[array.as_usize()].sample_from(self.universe(at)))
    }

    /// When an array takes `sample`.
    pub fn host_at_sample(&self, array: ArrayIndex, sample: SampleIndex) -> HostTime {
        self.truths.start + self.truths.clocks.arrays[array.as_usize()].universe(sample.0)
    }

    /// Trigger `index` of the `train`th train (counted from 0 over the twin's life) as `camera` saw it.
    pub fn trigger(&self, train: usize, index: u64, camera: CameraIndex) -> Option<TriggerTruth> {
        let mut trains = Trains::default();
        trains.refresh(&self.truths.wiring);
        let rise = trains.all().get(train)?.rise(&self.truths.clocks.board, index)?;
        let timing = &self.truths.timings[camera.as_usize()];
        let middle = timing.begin(rise) + Span::from_nanos(timing.exposure.nanos() / 2);
        Some(TriggerTruth { rise: self.truths.start + rise, mid_exposure: self.truths.start + middle })
    }

    /// What of the rat's movement the neurons heard at `at`.
    pub fn features_at(&self, at: HostTime) -> MovementFeatures {
        self.truths.scene.features(self.universe(at))
    }

    /// Everything true about the rat at `at`: coordinates, keypoints, behaviour. `None` if there is no rat.
    pub fn rat_at(&self, at: HostTime) -> Option<Truth> {
        self.truths.scene.truth(self.universe(at))
    }

    /// The units of an array.
    pub fn units(&self, array: ArrayIndex) -> &[Unit] {
        &self.truths.arrays[array.as_usize()].units
    }

    /// How many spikes were put into an array's signal so far.
    pub fn spike_count(&self, array: ArrayIndex) -> usize {
        self.truths.arrays[array.as_usize()].log.count()
    }

    /// Spikes put into an array's signal so far, from the `from`th on; those of the last ten minutes at least are kept.
    pub fn spikes(&self, array: ArrayIndex, from: usize) -> Vec<SpikeTruth> {
        self.truths.arrays[array.as_usize()].log.since(from)
    }

    /// Faults that the host itself suffers by the script.
    pub fn host_faults(&self) -> &HostFaults {
        &self.truths.host_faults
    }
}
