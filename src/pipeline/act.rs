//! From stage results to board commands: signals are set, rules judged, pulses sent.
//!
//! Tier: loop. What a rule may not act on is made invalid here: keypoints without confidence, a body without data, a
//! virtual rat that is not trusted. Outputs that nobody has armed are not driven; the decision is recorded as such.

use std::sync::atomic::Ordering;

use mimicd_device::{Board, BoardCommand, BoardTime, Integrity, Span};

use super::lights::Lights;
use super::shared::Shared;
use super::signals::{MomentNow, RigSignals, SignalShape, VirtualNow};
use super::stages::{SpikeNote, Stages};
use super::tables::RuleRow;
use crate::body::{BodyFlags, BodyState};
use crate::clock::Mapped;
use crate::config::Config;
use crate::imitation::ImitationStep;
use crate::pose::PoseEstimate;
use crate::rules::{Decision, Outcome, Refusal, RuleEngine, RuleError};
use crate::stream::{FrameSet, Producer};

/// What came of one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Decisions of this tick; they lie in [`Actor::decisions`].
    pub decisions: u64,
    /// Actions that were refused: stale or invalid inputs, outputs not armed, a full queue.
    pub refused: u64,
    /// Commands put into the board's queue.
    pub commands: u64,
}

/// Signals, rules, outputs.
pub struct Actor {
    signals: RigSignals,
    shape: SignalShape,
    lights: Lights,
    engine: RuleEngine,
    names: Vec<String>,
    marks: Vec<Option<String>>,
    decisions: Vec<Decision>,
    undriven: Vec<bool>,
    keypoints_m: Vec<Option<[f64; 3]>>,
}

/// Why the rules of a config cannot be used: all of them at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct RuleErrors(pub Vec<RuleError>);

impl Actor {
    /// An actor for the config's rules.
    ///
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn new(config: &Config, stages: &Stages) -> Result<Self, RuleErrors> {
        let shape = SignalShape::of(config, stages);
        let signals = RigSignals::new(&shape);
        let age_max = Span::from_millis(config.rig.action_age_max_millis as i64);
        let engine = RuleEngine::new(&config.rules, signals.names(), age_max).map_err(RuleErrors)?;
        let rules = engine.len();
        Ok(Self {
            signals,
            lights: Lights::new(config),
            names: config.rules.iter().map(|rule| rule.name.clone()).collect(),
            marks: config.rules.iter().map(|rule| rule.mark.clone()).collect(),
            decisions: Vec::with_capacity(rules),
            undriven: Vec::with_capacity(rules),
            keypoints_m: Vec::with_capacity(shape.keypoints.len()),
            shape,
            engine,
        })
    }

    /// What the signals are called, for the recording.
    pub fn shape(&self) -> &SignalShape {
        &self.shape
    }

    /// Counts a spike into its array's rates.
    pub fn hear_spike(&mut self, note: SpikeNote) {
        self.signals.hear_spike(note);
    }

    /// Looks at the watched lights in the images of `at`.
    pub fn see_lights(&mut self, at: BoardTime, set: &FrameSet) {
        self.lights.measure(set, |light, level| self.signals.set_light(light, at, level));
    }

    /// Judges the rules on the pose of `at` and sends what they decide. Without a map to board time nothing is judged.
    #[expect(clippy::too_many_arguments, reason = "one argument for each stage that rules may look at")]
    pub fn act(
        &mut self,
        shared: &Shared,
        at: BoardTime,
        now: Option<Mapped<Board>>,
        pose: &PoseEstimate,
        body: &BodyState,
        step: &ImitationStep,
        to_board: &mut Producer<BoardCommand>,
    ) -> Acted {
        self.decisions.clear();
        self.undriven.clear();
        let Some(now) = now.map(|mapped| mapped.at) else { return Acted::default() };
        self.set_signals(shared, at, now, pose, body, step);
        self.engine.evaluate(now, self.signals.table(), &mut self.decisions);
        let armed = shared.outputs_armed.load(Ordering::Relaxed);
        let mut acted = Acted { decisions: self.decisions.len() as u64, ..Acted::default() };
        for decision in &self.decisions {
            let driven = armed && send(decision, now, to_board);
            let wanted = decision.pulses.is_some();
            self.undriven.push(wanted && !driven);
            acted.commands += u64::from(wanted && armed);
            let refused = matches!(decision.outcome, Outcome::Refused(_)) || (wanted && !driven);
            acted.refused += u64::from(refused);
        }
        acted
    }

    /// The decisions of the latest tick as rows.
    pub fn rows(&self) -> impl Iterator<Item = RuleRow<'_>> {
        self.decisions.iter().zip(&self.undriven).map(|(decision, undriven)| RuleRow {
            rule: &self.names[usize::from(decision.rule.0)],
            decision: word(decision.outcome, *undriven),
            output: decision.pulses.map(|pulses| pulses.output.0),
            decided: decision.at,
            age: decision.oldest().unwrap_or(Span::ZERO),
            inputs: decision,
            mark: if decision.mark { self.marks[usize::from(decision.rule.0)].as_deref() } else { None },
        })
    }

    fn set_signals(
        &mut self,
        shared: &Shared,
        at: BoardTime,
        now: BoardTime,
        pose: &PoseEstimate,
        body: &BodyState,
        step: &ImitationStep,
    ) {
        self.keypoints_m.clear();
        self.keypoints_m.extend(pose.keypoints.iter().map(|k| (k.confidence > 0.0).then_some(k.xyz_m)));
        let known = !body.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW);
        let trusted = step.trusted && !step.integrity.contains(Integrity::STALE);
        let recorded = shared.clock.rig_of_board(now).filter(|_| shared.clock.is_recording());
        self.signals.set(&MomentNow {
            at,
            now,
            keypoints_m: &self.keypoints_m,
            joints_rad: known.then_some(&body.qpos[7..]),
            virtual_rat: trusted.then_some(VirtualNow {
                errors: [step.error.root_m, step.error.orientation_rad, step.error.joints_rad],
                action: &step.action,
                latents: &step.signals,
            }),
            recording_s: recorded.map(|at| at.nanos() as f64 * 1e-9),
        });
        self.engine.set_zero(shared.clock.recording_start());
    }
}

/// Sends the pulses of a decision; `false` when there were some and the queue did not take them all.
fn send(decision: &Decision, now: BoardTime, to_board: &mut Producer<BoardCommand>) -> bool {
    let Some(train) = decision.pulses else { return true };
    let mut taken = true;
    for at in train.rises(now) {
        taken &= to_board.push(BoardCommand::Pulse { output: train.output, at, width: train.width }).is_ok();
    }
    taken
}

/// The word for an outcome in tables.
pub const fn word(outcome: Outcome, undriven: bool) -> &'static str {
    match outcome {
        Outcome::Fired if undriven => "outputs_not_armed",
        Outcome::Fired => "fired",
        Outcome::Sham => "sham",
        Outcome::Refused(Refusal::Unknown) => "refused_unknown",
        Outcome::Refused(Refusal::Invalid) => "refused_invalid",
        Outcome::Refused(Refusal::Stale) => "refused_stale",
        Outcome::Refused(Refusal::NotFinite) => "refused_not_finite",
    }
}
