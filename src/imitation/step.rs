//! What one frame of imitation gives.

use mimicd_device::{BoardTime, Integrity, Span};
use mimicd_rat::{ACTUATORS, QPOS_LEN, QVEL_LEN};

use super::rails::ResetReason;
use super::tracking::TrackingError;

/// The virtual rat after one frame.
#[derive(Clone, Debug)]
pub struct ImitationStep {
    /// The instant of the real animal that the virtual rat imitates now.
    pub reference_at: BoardTime,
    /// How far that is behind the frame's own instant.
    pub lag: Span,
    /// Coordinates of the virtual rat: metres, w-first quaternion, radians.
    pub qpos: [f64; QPOS_LEN],
    /// Its velocities: m/s in the world, rad/s in the root's frame, rad/s.
    pub qvel: [f64; QVEL_LEN],
    /// Its reference at the same instant.
    pub reference_qpos: [f64; QPOS_LEN],
    /// Last action, each in [-1, 1].
    pub action: [f32; ACTUATORS],
    /// All signals of the network, one after the other; names and places in [`super::ImitationStage::signals`].
    pub signals: Vec<f32>,
    /// Generalised actuator forces, N and N m.
    pub qfrc: [f64; QVEL_LEN],
    /// Body positions in the world by MuJoCo body id (0 is the world), metres.
    pub body_xpos_m: Vec<[f64; 3]>,
    /// Distance to the reference.
    pub error: TrackingError,
    /// Standard deviation of each action over the latents drawn this step; empty without resampling.
    pub action_variability: Vec<f32>,
    /// Mean over the dimensions of the latent's standard deviation; NaN without resampling.
    pub latent_variability: f32,
    /// Why the virtual rat was put back onto its reference in this frame.
    pub reset: Option<ResetReason>,
    /// Resets since the stage was loaded, the first posture not counted.
    pub resets: u64,
    /// Time it has imitated since the last reset.
    pub since_reset: Span,
    /// True when it has tracked long enough; outputs may depend on it only then.
    pub trusted: bool,
    /// Control steps in this frame.
    pub control_steps: u32,
    /// How far the tail of the newest reference had to be lifted off the floor, 0 to 1.
    pub tail_lift: f32,
    /// What is wrong with this row.
    pub integrity: Integrity,
    /// Time inside the networks: policy, forecaster and resampler; zero in a run without a clock.
    pub inference: Span,
    /// Time inside the physics; zero in a run without a clock.
    pub physics: Span,
}

impl ImitationStep {
    /// Room for a policy with `signals` values and a body with `bodies` bodies (the world counted).
    pub(super) fn new(signals: usize, bodies: usize, resampled: bool) -> Self {
        let mut qpos = [0.0; QPOS_LEN];
        qpos[3] = 1.0;
        Self {
            reference_at: BoardTime::ZERO,
            lag: Span::ZERO,
            qpos,
            qvel: [0.0; QVEL_LEN],
            reference_qpos: qpos,
            action: [0.0; ACTUATORS],
            signals: vec![0.0; signals],
            qfrc: [0.0; QVEL_LEN],
            body_xpos_m: vec![[0.0; 3]; bodies],
            error: TrackingError::default(),
            action_variability: vec![0.0; if resampled { ACTUATORS } else { 0 }],
            latent_variability: f32::NAN,
            reset: None,
            resets: 0,
            since_reset: Span::ZERO,
            trusted: false,
            control_steps: 0,
            tail_lift: 0.0,
            integrity: Integrity::STALE,
            inference: Span::ZERO,
            physics: Span::ZERO,
        }
    }
}
