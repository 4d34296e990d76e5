//! The learned forecaster: where the animal will be in the next 100 ms, from its last 160 ms.
//!
//! An ONNX graph from eight past frame-to-frame displacements to the displacements at five horizons, 20 ms apart.

use std::path::Path;

use mimicd_device::Span;
use mimicd_rat::QVEL_LEN;

use super::ImitationError;
use super::graph::{Graph, Port};

/// Spacing of past and future frames.
pub(super) const SPACING: Span = Span::from_millis(20);
/// Past displacements that the forecaster takes.
pub(super) const PAST: usize = 8;
/// Horizons that it gives.
const FUTURE: usize = 5;

/// Predicts displacements from displacements.
pub(super) struct Forecaster {
    graph: Graph,
}

impl Forecaster {
    pub(super) fn load(file: &Path) -> Result<Self, ImitationError> {
        let past = Port { name: "past", rows: PAST, columns: QVEL_LEN };
        let future = Port { name: "future", rows: FUTURE, columns: QVEL_LEN };
        Ok(Self { graph: Graph::load(file, &[past], &[future])? })
    }

    /// The past displacement `index` (0 = oldest), to be filled before [`Forecaster::run`].
    pub(super) fn set_past(&mut self, index: usize, displacement: &[f64; QVEL_LEN]) {
        let row = &mut self.graph.input_mut(0)[index * QVEL_LEN..(index + 1) * QVEL_LEN];
        for (out, value) in row.iter_mut().zip(displacement) {
            *out = *value as f32;
        }
    }

    /// Predicts; false when the graph fails or gives a value that is not finite (then nothing may be read).
    pub(super) fn run(&mut self) -> bool {
        self.graph.run().is_ok() && self.graph.output(0).iter().all(|value| value.is_finite())
    }

    /// Displacement `after` the newest frame: between the horizons linearly, beyond the last one no farther.
    pub(super) fn displacement(&self, after: Span, out: &mut [f64; QVEL_LEN]) {
        let future = self.graph.output(0);
        let frames = (after.secs_f64() / SPACING.secs_f64()).clamp(0.0, FUTURE as f64);
        let upper = (frames.ceil() as usize).max(1);
        let t = frames - (upper - 1) as f64;
        for (dof, value) in out.iter_mut().enumerate() {
            let at = |frame: usize| if frame == 0 { 0.0 } else { f64::from(future[(frame - 1) * QVEL_LEN + dof]) };
            *value = (1.0 - t) * at(upper - 1) + t * at(upper);
        }
    }
}
