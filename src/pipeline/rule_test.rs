//! A dry run of rules on a recording: what they would have decided, without a rig.
//!
//! Signals are set from the recorded pose, body, virtual rat and spikes; each frame set is judged as late as it was judged
//! then (the latency table), so that ages are those of the rig. Lights are not recorded as numbers: rules that look at
//! them refuse.

use std::collections::BTreeMap;
use std::path::Path;

use mimicd_device::{BoardTime, Integrity, Span};

use super::act::word;
use super::signals::{MomentNow, RigSignals, SignalShape, VirtualNow};
use super::stages::SpikeNote;
use crate::body::BodyFlags;
use crate::config::RuleConfig;
use crate::record::{Manifest, RecordError, tables};
use crate::rules::{Decision, RuleEngine, RuleError};

/// What is taken for a frame set whose decision time was not recorded.
const USUAL_LATENCY: Span = Span::from_millis(15);
const QPOS_LEN: usize = 74;

/// Why a dry run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RuleTestError {
    /// The dataset.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The rules.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rules(Vec<RuleError>),
    /// A recording of an older version, or of another program.
    #[error("{0}: the manifest does not name its signals; it was recorded by an older version")]
    NoSignals(String),
}

/// One recorded frame set.
#[derive(Clone, Debug, Default)]
struct Row {
    at_ns: i64,
    latency: Option<Span>,
    keypoints_m: Vec<Option<[f64; 3]>>,
    joints_rad: Option<Vec<f64>>,
    errors: Option<[f64; 3]>,
    action: Vec<f32>,
    latents: Vec<f32>,
}

/// A decision of the dry run.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Rule.
    pub rule: String,
    /// Rig time of the decision.
    pub at_ns: i64,
    /// What came of it, in the word of the rules table.
    pub outcome: &'static str,
    /// Each input: name, value, age in milliseconds.
    pub inputs: Vec<(String, f64, f64)>,
}

/// What a dry run found.
#[derive(Clone, Debug, Default)]
pub struct RuleTestReport {
    /// Frame sets judged.
    pub sets: usize,
    /// Length, seconds.
    pub seconds: f64,
    /// Decisions, in order.
    pub decisions: Vec<Decided>,
    /// Decisions that were recorded, by rule and outcome.
    pub recorded: BTreeMap<(String, String), usize>,
}

/// A recording opened for dry runs.
pub struct RuleTest {
    shape: SignalShape,
    rows: BTreeMap<i64, Row>,
    /// Rig time, array, unit; in order of time.
    spikes: Vec<(i64, u8, u16)>,
    recorded: BTreeMap<(String, String), usize>,
}

impl RuleTest {
    /// Reads what rules can look at.
    ///
    /// # Errors
    /// A dataset that does not read, or that does not say what its signals are called.
    pub fn open(dataset: &Path) -> Result<Self, RuleTestError> {
        let manifest = Manifest::open(dataset)?;
        let shape = manifest.notes.get("signals").and_then(|value| serde_json::from_value(value.clone()).ok());
        let shape: SignalShape = shape.ok_or_else(|| RuleTestError::NoSignals(dataset.display().to_string()))?;
        let mut test = Self { shape, rows: BTreeMap::new(), spikes: Vec::new(), recorded: BTreeMap::new() };
        test.read_pose(dataset, &manifest)?;
        test.read_body(dataset, &manifest)?;
        test.read_virtual(dataset, &manifest)?;
        test.read_latency(dataset, &manifest)?;
        test.read_spikes(dataset, &manifest)?;
        tables::scan(dataset, &manifest, "rules", &["rule", "decision"], |batch| {
            for key in tables::texts(batch, "rule").into_iter().zip(tables::texts(batch, "decision")) {
                *test.recorded.entry(key).or_default() += 1;
            }
        })?;
        Ok(test)
    }

    /// All signals that rules may use on this recording.
    pub fn signals(&self) -> Vec<String> {
        RigSignals::new(&self.shape).names().all().to_vec()
    }

    /// Judges `rules` on every frame set. Inputs older than `age_max` are stale where a rule has no limit of its own.
    ///
    /// # Errors
    /// Everything that is wrong with the rules.
    pub fn run(&self, rules: &[RuleConfig], age_max: Span) -> Result<RuleTestReport, RuleTestError> {
        let mut signals = RigSignals::new(&self.shape);
        let mut engine = RuleEngine::new(rules, signals.names(), age_max).map_err(RuleTestError::Rules)?;
        engine.set_zero(Some(BoardTime::ZERO));
        let mut report = RuleTestReport { recorded: self.recorded.clone(), ..RuleTestReport::default() };
        let mut spikes = self.spikes.iter().peekable();
        let mut decisions: Vec<Decision> = Vec::with_capacity(engine.len());
        for row in self.rows.values() {
            let at = BoardTime::from_nanos(row.at_ns);
            let now = at + row.latency.unwrap_or(USUAL_LATENCY);
            while let Some(&(_, array, unit)) = spikes.next_if(|spike| spike.0 <= now.nanos()) {
                signals.hear_spike(SpikeNote { array, unit });
            }
            signals.set(&row.moment(at, now));
            decisions.clear();
            engine.evaluate(now, signals.table(), &mut decisions);
            report.decisions.extend(decisions.iter().map(|decision| decided(rules, &signals, decision)));
            report.sets += 1;
            report.seconds = row.at_ns as f64 * 1e-9;
        }
        Ok(report)
    }

    fn row(&mut self, trigger: i64) -> &mut Row {
        self.rows.entry(trigger).or_default()
    }

    fn read_pose(&mut self, dataset: &Path, manifest: &Manifest) -> Result<(), RecordError> {
        let count = self.shape.keypoints.len();
        let columns = ["t_ns", "trigger_index", "keypoints_m", "confidence"];
        tables::scan(dataset, manifest, "pose", &columns, |batch| {
            let [times, triggers] = ["t_ns", "trigger_index"].map(|column| tables::integers(batch, column));
            let (places, confidence) = (tables::floats(batch, "keypoints_m"), tables::floats(batch, "confidence"));
            for (index, (time, trigger)) in times.into_iter().zip(triggers).enumerate() {
                let (Some(time), Some(trigger)) = (time, trigger) else { continue };
                let keypoint = |place: usize| {
                    let known = confidence.get(index * count + place).is_some_and(|confidence| *confidence > 0.0);
                    let xyz = places.get(3 * (index * count + place)..)?.first_chunk::<3>()?;
                    known.then_some(*xyz)
                };
                let row = self.row(trigger);
                row.at_ns = time;
                row.keypoints_m = (0..count).map(keypoint).collect();
            }
        })
    }

    fn read_body(&mut self, dataset: &Path, manifest: &Manifest) -> Result<(), RecordError> {
        tables::scan(dataset, manifest, "body", &["trigger_index", "qpos", "flags"], |batch| {
            let [triggers, flags] = ["trigger_index", "flags"].map(|column| tables::integers(batch, column));
            let qpos = tables::floats(batch, "qpos");
            for (index, (trigger, flags)) in triggers.into_iter().zip(flags).enumerate() {
                let (Some(trigger), Some(flags)) = (trigger, flags) else { continue };
                let unusable =
                    BodyFlags::from_bits_truncate(flags as u16).intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW);
                let joints = qpos.get(index * QPOS_LEN + 7..(index + 1) * QPOS_LEN).filter(|_| !unusable);
                if let Some(row) = self.rows.get_mut(&trigger) {
                    row.joints_rad = joints.map(<[f64]>::to_vec);
                }
            }
        })
    }

    fn read_virtual(&mut self, dataset: &Path, manifest: &Manifest) -> Result<(), RecordError> {
        let latents = self.shape.latents.clone();
        let actuators = self.shape.actuators.len();
        let mut columns = vec!["trigger_index", "action", "error_root_m", "error_orientation_rad", "error_joints_rad"];
        columns.extend(["trusted", "integrity"]);
        columns.extend(latents.iter().map(|latent| latent.0.as_str()));
        tables::scan(dataset, manifest, "virtual", &columns, |batch| {
            let [triggers, integrity] = ["trigger_index", "integrity"].map(|column| tables::integers(batch, column));
            let trusted = tables::booleans(batch, "trusted");
            let errors =
                ["error_root_m", "error_orientation_rad", "error_joints_rad"].map(|c| tables::floats(batch, c));
            let action = tables::floats(batch, "action");
            let latent: Vec<Vec<f64>> = latents.iter().map(|latent| tables::floats(batch, &latent.0)).collect();
            for (index, (trigger, integrity)) in triggers.into_iter().zip(integrity).enumerate() {
                let (Some(trigger), Some(integrity)) = (trigger, integrity) else { continue };
                let stale = Integrity::from_bits_truncate(integrity as u32).contains(Integrity::STALE);
                let usable = trusted.get(index).copied().unwrap_or(false) && !stale;
                let Some(row) = self.rows.get_mut(&trigger).filter(|_| usable) else { continue };
                let part = |values: &[f64], len: usize| -> Vec<f32> {
                    values.iter().skip(index * len).take(len).map(|value| *value as f32).collect()
                };
                row.errors = Some([0, 1, 2].map(|error| errors[error].get(index).copied().unwrap_or(f64::NAN)));
                row.action = part(&action, actuators);
                row.latents = latent.iter().zip(&latents).flat_map(|(values, latent)| part(values, latent.1)).collect();
            }
        })
    }

    fn read_latency(&mut self, dataset: &Path, manifest: &Manifest) -> Result<(), RecordError> {
        tables::scan(dataset, manifest, "latency", &["trigger_index", "action_us"], |batch| {
            let actions = tables::floats(batch, "action_us");
            for (trigger, action_us) in tables::integers(batch, "trigger_index").into_iter().zip(actions) {
                if let Some(row) = trigger.and_then(|trigger| self.rows.get_mut(&trigger)) {
                    row.latency = action_us.is_finite().then(|| Span::from_secs_f64(action_us * 1e-6));
                }
            }
        })
    }

    fn read_spikes(&mut self, dataset: &Path, manifest: &Manifest) -> Result<(), RecordError> {
        tables::scan(dataset, manifest, "spikes", &["t_ns", "array", "unit"], |batch| {
            let [times, arrays, units] = ["t_ns", "array", "unit"].map(|column| tables::integers(batch, column));
            for ((time, array), unit) in times.into_iter().zip(arrays).zip(units) {
                if let (Some(time), Some(array), Some(unit)) = (time, array, unit) {
                    self.spikes.push((time, array as u8, unit as u16));
                }
            }
        })?;
        self.spikes.sort_unstable();
        Ok(())
    }
}

impl Row {
    fn moment(&self, at: BoardTime, now: BoardTime) -> MomentNow<'_> {
        MomentNow {
            at,
            now,
            keypoints_m: &self.keypoints_m,
            joints_rad: self.joints_rad.as_deref(),
            virtual_rat: self.errors.map(|errors| VirtualNow { errors, action: &self.action, latents: &self.latents }),
            recording_s: Some(now.nanos() as f64 * 1e-9),
        }
    }
}

fn decided(rules: &[RuleConfig], signals: &RigSignals, decision: &Decision) -> Decided {
    let input = |input: &crate::rules::InputSeen| {
        let age_ms = input.age.map_or(f64::NAN, Span::millis_f64);
        (signals.names().name(input.signal).to_owned(), input.value, age_ms)
    };
    Decided {
        rule: rules[usize::from(decision.rule.0)].name.clone(),
        at_ns: decision.at.nanos(),
        outcome: word(decision.outcome, false),
        inputs: decision.inputs().map(input).collect(),
    }
}
