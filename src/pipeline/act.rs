//! From stage results to board commands: signals are set, rules judged, pulses sent.
//!
//! Tier: loop. What a rule may not act on is made invalid here: keypoints without confidence, a body without data, a
//! virtual rat that is not trusted. Outputs that nobody has armed are not driven; the decision is recorded as such.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mimicd_device::{Board, BoardCommand, BoardTime, Integrity, Span};

use super::shared::Shared;
use super::stages::{SpikeNote, Stages};
use super::tables::RuleRow;
use crate::body::{BodyFlags, BodyState};
use crate::clock::Mapped;
use crate::config::Config;
use crate::imitation::ImitationStep;
use crate::pose::PoseEstimate;
use crate::rules::{
    Decision, Outcome, PoseSignals, Refusal, RuleEngine, RuleError, SignalIndex, SignalNames, SignalTable,
};
use crate::stream::Producer;

/// Spike rates are smoothed over this time.
const RATE_SMOOTHING: Span = Span::from_millis(200);

/// Places of the signals in the table.
struct Places {
    pose: PoseSignals,
    joints: SignalIndex,
    joints_count: usize,
    errors: SignalIndex,
    actions: SignalIndex,
    actions_count: usize,
    rates: SignalIndex,
    time: SignalIndex,
}

/// What came of one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// Decisions of this tick; they lie in [`Actor::decisions`].
    pub decisions: u64,
    /// Actions that were refused: stale or invalid inputs, outputs not armed, a full queue.
    pub refused: u64,
}

/// Signals, rules, outputs.
pub struct Actor {
    table: SignalTable,
    places: Places,
    engine: RuleEngine,
    names: Vec<String>,
    marks: Vec<Option<String>>,
    decisions: Vec<Decision>,
    undriven: Vec<bool>,
    rates_hz: Vec<f64>,
    counts: Vec<u32>,
    last: Option<BoardTime>,
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
        let mut names = SignalNames::new();
        let places = Places::define(&mut names, config, stages);
        let age_max = Span::from_millis(config.rig.action_age_max_millis as i64);
        let engine = RuleEngine::new(&config.rules, &names, age_max).map_err(RuleErrors)?;
        let rules = engine.len();
        Ok(Self {
            table: SignalTable::new(&names),
            places,
            names: config.rules.iter().map(|rule| rule.name.clone()).collect(),
            marks: config.rules.iter().map(|rule| rule.mark.clone()).collect(),
            decisions: Vec::with_capacity(rules),
            undriven: Vec::with_capacity(rules),
            rates_hz: vec![0.0; config.arrays.len()],
            counts: vec![0; config.arrays.len()],
            last: None,
            engine,
        })
    }

    /// Counts a spike into its array's rate.
    pub fn hear_spike(&mut self, note: SpikeNote) {
        if let Some(count) = self.counts.get_mut(usize::from(note.array)) {
            *count += 1;
        }
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
        self.engine.evaluate(now, &self.table, &mut self.decisions);
        let armed = shared.outputs_armed.load(Ordering::Relaxed);
        let mut acted = Acted { decisions: self.decisions.len() as u64, refused: 0 };
        for decision in &self.decisions {
            let driven = armed && send(decision, now, to_board);
            let wanted = decision.pulses.is_some();
            self.undriven.push(wanted && !driven);
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
            age: decision.oldest().unwrap_or(Span::ZERO),
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
        let Places { pose: keypoints, joints, joints_count, errors, actions, actions_count, rates, time } =
            &mut self.places;
        let table = &mut self.table;
        keypoints.set(table, at, pose.keypoints.iter().map(|k| (k.confidence > 0.0).then_some(k.xyz_m)));
        if body.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW) {
            table.invalidate(*joints, *joints_count, at);
        } else {
            table.set_all(*joints, at, body.qpos[7..].iter().copied());
        }
        if step.trusted && !step.integrity.contains(Integrity::STALE) {
            table.set_all(*errors, at, [step.error.root_m, step.error.orientation_rad, step.error.joints_rad]);
            table.set_all(*actions, at, step.action.iter().map(|action| f64::from(*action)));
        } else {
            table.invalidate(*errors, 3, at);
            table.invalidate(*actions, *actions_count, at);
        }
        let spent = self.last.replace(now).map_or(Span::ZERO, |last| now - last).secs_f64();
        if spent > 0.0 {
            let keep = (-spent / RATE_SMOOTHING.secs_f64()).exp();
            for (rate, count) in self.rates_hz.iter_mut().zip(&mut self.counts) {
                *rate = keep * *rate + (1.0 - keep) * f64::from(std::mem::take(count)) / spent;
            }
        }
        table.set_all(*rates, now, self.rates_hz.iter().copied());
        let recorded = shared.clock.rig_of_board(now).filter(|_| shared.clock.is_recording());
        table.set(*time, now, recorded.map_or(f64::NAN, |at| at.nanos() as f64 * 1e-9));
        self.engine.set_zero(shared.clock.recording_start());
    }
}

impl Places {
    fn define(names: &mut SignalNames, config: &Config, stages: &Stages) -> Self {
        let rat: &Arc<mimicd_rat::RatModel> = stages.body.rat();
        let pose = PoseSignals::new(names, stages.pose.keypoint_names());
        let hinges: Vec<String> = rat.joints().iter().skip(1).map(|joint| format!("body.{}_rad", joint.name)).collect();
        let actuators: Vec<String> = rat.actuators().iter().map(|a| format!("virtual.action.{}", a.name)).collect();
        let (joints_count, actions_count) = (hinges.len(), actuators.len());
        Self {
            pose,
            joints: names.extend(hinges),
            joints_count,
            errors: names.extend(["virtual.root_error_m", "virtual.orientation_error_rad", "virtual.joint_error_rad"]),
            actions: names.extend(actuators),
            actions_count,
            rates: names.extend(config.arrays.iter().map(|array| format!("spikes.{}.rate_hz", array.name))),
            time: names.push("time.recording_s"),
        }
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

const fn word(outcome: Outcome, undriven: bool) -> &'static str {
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
