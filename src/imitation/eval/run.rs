//! One motion through the stage, scored.

use mimicd_device::{BoardTime, Span};

use super::motion::Motion;
use crate::imitation::{ImitationError, ImitationStage, ImitationStep, PARTS, ResetReason};

/// One frame of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Time since the motion began, seconds.
    pub time_s: f64,
    /// Time since the last reset, seconds.
    pub since_reset_s: f64,
    /// Root error, metres.
    pub root_m: f64,
    /// Orientation error, radians.
    pub orientation_rad: f64,
    /// Mean absolute hinge error, radians.
    pub joints_rad: f64,
    /// Position error of each of [`PARTS`], metres.
    pub parts_m: [f64; PARTS.len()],
    /// Lag behind the newest frame, seconds.
    pub lag_s: f64,
    /// Why it was reset in this frame.
    pub reset: Option<ResetReason>,
}

/// A motion's score.
#[derive(Clone, Debug)]
pub struct Run {
    /// The motion's name.
    pub motion: String,
    /// What the animal did in it.
    pub behaviour: &'static str,
    /// All frames after the first.
    pub rows: Vec<Row>,
    /// Frames until the first fall; all of them where there was none.
    pub survived_frames: usize,
}

impl Run {
    /// Falls: resets that the policy or the physics caused.
    pub fn falls(&self) -> usize {
        self.rows.iter().filter(|row| row.reset.is_some_and(ResetReason::is_fall)).count()
    }

    /// Mean of a quantity over the frames.
    pub fn mean(&self, of: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(of).sum::<f64>() / self.rows.len().max(1) as f64
    }
}

/// Runs the motion from its first frame, resets included, and scores each frame.
///
/// The instants are exact multiples of the motion's frame time, so a run is the same every time.
///
/// # Errors
/// What ONNX Runtime refuses.
pub fn run(stage: &mut ImitationStage, motion: &Motion) -> Result<Run, ImitationError> {
    run_with(stage, motion, |_| ())
}

/// [`run`], showing each step to `observe`.
///
/// # Errors
/// What ONNX Runtime refuses.
pub fn run_with(
    stage: &mut ImitationStage,
    motion: &Motion,
    mut observe: impl FnMut(&ImitationStep),
) -> Result<Run, ImitationError> {
    stage.restart();
    let mut step = stage.make_step();
    let mut rows = Vec::with_capacity(motion.qpos.len());
    for (frame, qpos) in motion.qpos.iter().enumerate() {
        let time_s = frame as f64 / motion.rate_hz;
        let at = BoardTime::ZERO + Span::from_secs_f64(time_s);
        stage.follow(at, Some(qpos), &mut step)?;
        observe(&step);
        // While the first frames of a delayed run arrive, the virtual rat waits on the first posture.
        if step.reference_at < BoardTime::ZERO || step.control_steps == 0 {
            continue;
        }
        rows.push(Row {
            time_s,
            since_reset_s: step.since_reset.secs_f64(),
            root_m: step.error.root_m,
            orientation_rad: step.error.orientation_rad,
            joints_rad: step.error.joints_rad,
            parts_m: step.error.parts_m,
            lag_s: step.lag.secs_f64(),
            reset: step.reset,
        });
    }
    let fall = rows.iter().position(|row| row.reset.is_some_and(ResetReason::is_fall));
    let survived_frames = fall.unwrap_or(rows.len());
    Ok(Run { motion: motion.name.clone(), behaviour: motion.behaviour(), rows, survived_frames })
}
