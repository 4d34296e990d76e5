//! The imitation stage: one registered posture in, one frame of the virtual rat out.

use std::path::Path;
use std::sync::Arc;

use mimicd_device::{BoardTime, HostTime, Integrity, Span};
use mimicd_rat::{Actuators, QPOS_LEN, QVEL_LEN, RatModel, RatOptions};

use super::ImitationError;
use super::forecast::Forecaster;
use super::manifest::{ActuatorKind, PolicyManifest};
use super::observation::Observer;
use super::physics::VirtualRat;
use super::policy::{LatentNoise, Policy, Signal};
use super::rails::{ResetReason, off_the_rails};
use super::reference::{Qpos, ReferenceWindow};
use super::resample::Resampler;
use super::step::ImitationStep;
use super::tail::TailLift;
use super::tracking::{PARTS, measure, part_ids};
use crate::body::{BodyFlags, BodyState, Skeleton};
use crate::clock::timed;
use crate::config::{BodyConfig, ImitationConfig, LookAhead};

/// The virtual rat, its policy and its reference.
pub struct ImitationStage {
    manifest: PolicyManifest,
    rat: Arc<RatModel>,
    policy: Policy,
    resampler: Option<Resampler>,
    observer: Observer,
    window: ReferenceWindow,
    tail: TailLift,
    virtual_rat: VirtualRat,
    /// Kinematics of the reference at the instant of comparison.
    reference: Skeleton,
    parts: [usize; PARTS.len()],
    timing: Timing,
    latent_noise: LatentNoise,
    now: Option<fn() -> HostTime>,
    state: State,
}

/// Spans that the stage lives by.
#[derive(Clone, Copy)]
struct Timing {
    control: Span,
    /// How far the virtual rat runs behind the newest posture.
    lag: Span,
    hold: Span,
    catch_up: Span,
    trust_after: Span,
}

#[derive(Clone, Copy)]
struct State {
    /// Instant of the reference that the virtual rat has reached; `None` before the first posture.
    reached: Option<BoardTime>,
    /// Instant of the last call.
    called: Option<BoardTime>,
    lost: bool,
    since_reset: Span,
    resets: u64,
    tail_lift: f32,
    reset_now: Option<ResetReason>,
}

const IDLE: State = State {
    reached: None,
    called: None,
    lost: false,
    since_reset: Span::ZERO,
    resets: 0,
    tail_lift: 0.0,
    reset_now: None,
};

impl ImitationStage {
    /// Loads the policy of the configuration and the body it drives. `rate_hz` is the rate of registered postures.
    ///
    /// # Errors
    /// A manifest, graph or body that cannot be used.
    pub fn load(config: &ImitationConfig, body: &BodyConfig, rate_hz: f64) -> Result<Self, ImitationError> {
        Self::load_policy(config, &body.mjcf, rate_hz)
    }

    /// [`ImitationStage::load`] where only the body's MJCF is known.
    ///
    /// # Errors
    /// As [`ImitationStage::load`].
    pub fn load_policy(config: &ImitationConfig, mjcf: &Path, rate_hz: f64) -> Result<Self, ImitationError> {
        let manifest = PolicyManifest::load(&config.policy)?;
        if !(1.0..=1_000.0).contains(&rate_hz) {
            return Err(ImitationError::Rig { reason: format!("posture rate {rate_hz} Hz; expected 1 to 1000") });
        }
        let options = RatOptions {
            scale: manifest.body.scale,
            actuators: match manifest.body.actuators {
                ActuatorKind::Servo => Actuators::Servo,
                ActuatorKind::Torque => Actuators::Torque,
            },
            timestep_s: manifest.control.timestep_s,
            ..RatOptions::default()
        };
        let rat = Arc::new(mimicd_rat::load(mjcf, &options)?);
        let latent = manifest.latent.as_ref().map_or(0, |latent| latent.size);
        let observer = Observer::new(&rat, &manifest.observation, latent, &config.policy)?;
        let policy = Policy::load(&manifest, observer.length(), config.seed)?;
        let resampler = manifest.resample.as_ref().filter(|_| config.resample);
        let resampler = resampler
            .map(|spec| Resampler::load(spec, &manifest, policy.signals(), observer.length(), config.seed))
            .transpose()?;
        let limits = rat.joints().iter().skip(1).map(|joint| joint.limits_rad).collect();
        let forecaster = config.forecaster.as_deref().filter(|_| config.look_ahead == LookAhead::Forecast);
        let forecaster = forecaster.map(Forecaster::load).transpose()?;
        let timing = Timing {
            control: Span::from_secs_f64(1.0 / manifest.control.rate_hz),
            lag: if config.look_ahead == LookAhead::Delayed { observer.horizon() } else { Span::ZERO },
            hold: Span::from_millis(i64::from(config.hold_millis)),
            catch_up: Span::from_secs_f64(3.0 / rate_hz).max(Span::from_millis(60)),
            trust_after: Span::from_millis(i64::from(config.trust_after_millis)),
        };
        Ok(Self {
            window: ReferenceWindow::new(observer.horizon().max(Span::from_millis(20)), limits, forecaster),
            tail: TailLift::new(&rat),
            virtual_rat: VirtualRat::new(&rat, manifest.substeps(), config.assist_weights)?,
            reference: Skeleton::new(&rat),
            parts: part_ids(&rat)?,
            latent_noise: LatentNoise { gain: config.latent_noise, ..LatentNoise::default() },
            now: None,
            state: IDLE,
            manifest,
            rat,
            policy,
            resampler,
            observer,
            timing,
        })
    }

    /// Gives the stage a clock for the `inference` and `physics` times; without one (a stepped run) they stay zero.
    #[must_use]
    pub fn with_clock(mut self, now: fn() -> HostTime) -> Self {
        self.now = Some(now);
        self
    }

    /// The policy's manifest.
    pub fn manifest(&self) -> &PolicyManifest {
        &self.manifest
    }

    /// Names of the network's signals and their places in [`ImitationStep::signals`].
    pub fn signals(&self) -> &[Signal] {
        self.policy.signals()
    }

    /// The body that the policy drives.
    pub fn rat(&self) -> &Arc<RatModel> {
        &self.rat
    }

    /// How far the virtual rat runs behind the real one.
    pub fn nominal_lag(&self) -> Span {
        self.timing.lag
    }

    /// Sets the noise on the latent; the default comes from the configuration.
    pub fn set_latent_noise(&mut self, noise: LatentNoise) {
        self.latent_noise = noise;
    }

    /// Room for one frame's result.
    pub fn make_step(&self) -> ImitationStep {
        let signals = self.policy.signals().last().map_or(0, |signal| signal.range.end);
        ImitationStep::new(signals, self.rat.bodies().len(), self.resampler.is_some())
    }

    /// Forgets the reference and the past; the next posture starts anew. Resets stay counted.
    pub fn restart(&mut self) {
        self.window.clear();
        self.tail.restart();
        self.state = State { resets: self.state.resets, ..IDLE };
    }

    /// [`ImitationStage::follow`] with what registration gave: a body fitted from nothing but its own past, or from
    /// keypoints that were not finite, counts as missing.
    ///
    /// # Errors
    /// As [`ImitationStage::follow`].
    pub fn step(&mut self, at: BoardTime, body: &BodyState, out: &mut ImitationStep) -> Result<(), ImitationError> {
        let unusable = body.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW)
            || body.integrity.intersects(Integrity::STALE | Integrity::NOT_FINITE);
        self.follow(at, (!unusable).then_some(&body.qpos), out)?;
        out.integrity |= body.integrity & (Integrity::PARTIAL | Integrity::NOT_FINITE | Integrity::JUMP);
        Ok(())
    }

    /// Imitates up to the frame at `at`. `posture` is the registered body, or `None` where the frame has none.
    ///
    /// A posture that is missing or not finite is held for the configured time, then the virtual rat freezes until there
    /// is one again. Allocates nothing outside ONNX Runtime.
    ///
    /// # Errors
    /// Only what ONNX Runtime refuses; damaged data is flagged in `out`, never an error.
    pub fn follow(
        &mut self,
        at: BoardTime,
        posture: Option<&[f64; QPOS_LEN]>,
        out: &mut ImitationStep,
    ) -> Result<(), ImitationError> {
        out.integrity = Integrity::empty();
        out.inference = Span::ZERO;
        out.physics = Span::ZERO;
        out.control_steps = 0;
        self.state.reset_now = None;
        let stepped_back = self.state.called.is_some_and(|called| at < called);
        if stepped_back {
            self.window.clear();
            out.integrity |= Integrity::CLOCK_STEP;
        }
        self.state.called = Some(at);
        self.take(at, posture, out);
        let fresh = self.window.newest().is_some_and(|newest| at.since(newest) <= self.timing.hold);
        if fresh {
            self.catch_up(at - self.timing.lag, stepped_back, out)?;
        } else {
            self.state.lost = true;
            out.integrity |= Integrity::STALE;
        }
        self.describe(at, out);
        Ok(())
    }

    fn take(&mut self, at: BoardTime, posture: Option<&Qpos>, out: &mut ImitationStep) {
        let Some(posture) = posture else {
            out.integrity |= Integrity::GAP_BEFORE;
            return;
        };
        let turn: f64 = posture[3..7].iter().map(|value| value * value).sum();
        if !posture.iter().all(|value| value.is_finite()) || turn < 0.01 {
            out.integrity |= Integrity::NOT_FINITE;
            return;
        }
        if let Some(newest) = self.window.newest() {
            if at <= newest {
                out.integrity |= Integrity::DUPLICATE;
                return;
            }
            if at.since(newest) > self.timing.hold {
                // Nothing is known about the time between: the old postures say nothing about the new one.
                self.window.clear();
            }
        }
        let mut lifted = *posture;
        self.state.tail_lift = self.tail.apply(&mut lifted) as f32;
        out.inference = out.inference + self.window.push(at, &lifted, self.now);
    }

    /// Runs control steps until the virtual rat has reached `target`.
    fn catch_up(
        &mut self,
        target: BoardTime,
        stepped_back: bool,
        out: &mut ImitationStep,
    ) -> Result<(), ImitationError> {
        let reason = match self.state.reached {
            None => Some(ResetReason::Start),
            Some(_) if stepped_back => Some(ResetReason::ClockStep),
            Some(_) if self.state.lost => Some(ResetReason::ReferenceLost),
            Some(reached) if target.since(reached) > self.timing.catch_up => Some(ResetReason::Paused),
            Some(_) => None,
        };
        self.state.lost = false;
        if let Some(reason) = reason {
            self.reset(target, reason);
            self.compare(target, out);
            return Ok(());
        }
        while let Some(reached) = self.state.reached.filter(|&reached| reached + self.timing.control <= target) {
            self.control_step(reached, out)?;
        }
        if let Some(resampler) = self.resampler.as_mut().filter(|_| out.control_steps > 0) {
            let (observation, _) = self.policy.observation_mut();
            let work = || resampler.run(observation, &out.signals, &mut out.action_variability);
            let (variability, spent) = timed(self.now, work);
            out.latent_variability = variability?;
            out.inference = out.inference + spent;
        }
        Ok(())
    }

    fn control_step(&mut self, from: BoardTime, out: &mut ImitationStep) -> Result<(), ImitationError> {
        self.observer.look_ahead(&self.window, from);
        self.policy.advance_prior();
        let (finite, spent) = timed(self.now, || {
            let (observation, latent) = self.policy.observation_mut();
            self.observer.write(&self.virtual_rat, &out.action, latent, observation);
            self.policy.run(self.latent_noise, &mut out.action, &mut out.signals)
        });
        let finite = finite?;
        out.inference = out.inference + spent;
        let reached = from + self.timing.control;
        let (mut qpos, mut qvel) = ([0.0; QPOS_LEN], [0.0; QVEL_LEN]);
        self.window.sample(reached, &mut qpos);
        self.window.velocity(reached, self.timing.control, &mut qvel);
        let (sane, spent) = timed(self.now, || self.virtual_rat.drive(&out.action, (&qpos, &qvel)));
        out.physics = out.physics + spent;
        self.state.reached = Some(reached);
        self.state.since_reset = self.state.since_reset + self.timing.control;
        out.control_steps += 1;
        self.compare(reached, out);
        let failure = match (finite, sane) {
            (false, _) => Some(ResetReason::NotFinite),
            (_, false) => Some(ResetReason::Diverged),
            _ => off_the_rails(&out.error),
        };
        if let Some(reason) = failure {
            out.action.fill(0.0);
            self.reset(reached, reason);
        }
        Ok(())
    }

    /// Puts the virtual rat onto the reference at `at`.
    fn reset(&mut self, at: BoardTime, reason: ResetReason) {
        let (mut qpos, mut qvel) = ([0.0; QPOS_LEN], [0.0; QVEL_LEN]);
        self.window.sample(at, &mut qpos);
        self.window.velocity(at, self.timing.control, &mut qvel);
        self.virtual_rat.reset(&qpos, &qvel);
        self.policy.restart();
        self.state.reached = Some(at);
        self.state.since_reset = Span::ZERO;
        self.state.reset_now = Some(reason);
        self.state.resets += u64::from(reason != ResetReason::Start);
    }

    /// Measures the distance to the reference at `at`.
    fn compare(&mut self, at: BoardTime, out: &mut ImitationStep) {
        self.window.sample(at, &mut out.reference_qpos);
        let data = self.virtual_rat.data();
        out.error = measure(
            data.qpos(),
            data.xpos(),
            &out.reference_qpos,
            self.reference.place(&out.reference_qpos),
            &self.parts,
        );
    }

    fn describe(&self, at: BoardTime, out: &mut ImitationStep) {
        let state = &self.state;
        let data = self.virtual_rat.data();
        out.reference_at = state.reached.unwrap_or(at);
        out.lag = at.since(out.reference_at);
        out.qpos.copy_from_slice(data.qpos());
        out.qvel.copy_from_slice(data.qvel());
        out.qfrc.copy_from_slice(data.qfrc_actuator());
        out.body_xpos_m.copy_from_slice(data.xpos());
        out.reset = state.reset_now;
        out.resets = state.resets;
        out.since_reset = state.since_reset;
        out.tail_lift = state.tail_lift;
        out.integrity.set(Integrity::RESET, state.reset_now.is_some());
        let following = state.reached.is_some() && !out.integrity.contains(Integrity::STALE);
        out.trusted = following && state.since_reset >= self.timing.trust_after;
    }
}
