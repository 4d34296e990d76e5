//! The signals that rules may look at: which there are for a rig, and how one moment sets them.
//!
//! The loop sets them live ([`Actor`](super::act)); a dry run sets them from a recording ([`RuleTest`](super::RuleTest)).

use mimicd_device::{BoardTime, Span};
use serde::{Deserialize, Serialize};

use super::stages::{SpikeNote, Stages};
use crate::config::Config;
use crate::rules::{PoseSignals, PostureSignals, SignalIndex, SignalNames, SignalTable};

/// Rates follow the spikes with this time constant.
const RATE_SMOOTHING: Span = Span::from_millis(200);
/// Bursts are seen as a fast rate against a slow one.
const FAST: Span = Span::from_millis(25);
const SLOW: Span = Span::from_millis(2_000);
/// A slow rate below this makes no burst: a single spike would be one.
const BURST_RATE_HZ_MIN: f64 = 5.0;
/// Units of an array that have a signal of their own.
pub const UNITS: usize = 32;
/// `rate_hz` and `burst_ratio`, then the units.
const PER_ARRAY: usize = 2 + UNITS;

/// What the signals of a rig are called, as far as it depends on the rig. Written into each recording, so that rules can be
/// tried on it without its models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalShape {
    /// Keypoints.
    pub keypoints: Vec<String>,
    /// Hinges of the body, in the order of its coordinates.
    pub joints: Vec<String>,
    /// Actuators of the virtual rat.
    pub actuators: Vec<String>,
    /// Signals of the policy and their lengths.
    pub latents: Vec<(String, usize)>,
    /// Arrays.
    pub arrays: Vec<String>,
    /// Lights that are watched in camera images.
    pub lights: Vec<String>,
}

impl SignalShape {
    /// The shape of a rig.
    pub fn of(config: &Config, stages: &Stages) -> Self {
        let rat = stages.body.rat();
        Self {
            keypoints: stages.pose.keypoint_names().to_vec(),
            joints: rat.joints().iter().skip(1).map(|joint| joint.name.clone()).collect(),
            actuators: rat.actuators().iter().map(|actuator| actuator.name.clone()).collect(),
            latents: stages.imitation.signals().iter().map(|s| (s.name.clone(), s.range.len())).collect(),
            arrays: config.arrays.iter().map(|array| array.name.clone()).collect(),
            lights: config.lights.iter().map(|light| light.name.clone()).collect(),
        }
    }
}

/// The virtual rat at one moment.
#[derive(Clone, Copy, Debug)]
pub struct VirtualNow<'a> {
    /// Root (m), orientation (rad) and joints (rad) against the reference.
    pub errors: [f64; 3],
    /// Controls.
    pub action: &'a [f32],
    /// Signals of the policy, one after the other.
    pub latents: &'a [f32],
}

/// One moment of a rig. What is `None` has no usable value.
#[derive(Clone, Copy, Debug)]
pub struct MomentNow<'a> {
    /// Mid-exposure.
    pub at: BoardTime,
    /// When rules are judged.
    pub now: BoardTime,
    /// Keypoints in the world, metres.
    pub keypoints_m: &'a [Option<[f64; 3]>],
    /// Joint angles.
    pub joints_rad: Option<&'a [f64]>,
    /// The virtual rat, if it may be trusted.
    pub virtual_rat: Option<VirtualNow<'a>>,
    /// Time since the recording began.
    pub recording_s: Option<f64>,
}

/// An array's spikes as rates.
#[derive(Clone, Debug)]
struct Rates {
    counts: [u32; UNITS + 1],
    all_hz: f64,
    fast_hz: f64,
    slow_hz: f64,
    units_hz: [f64; UNITS],
}

/// All signals of a rig.
pub struct RigSignals {
    names: SignalNames,
    table: SignalTable,
    pose: PoseSignals,
    posture: PostureSignals,
    joints: (SignalIndex, usize),
    errors: SignalIndex,
    actions: (SignalIndex, usize),
    latents: (SignalIndex, usize),
    rates: SignalIndex,
    lights: SignalIndex,
    time: SignalIndex,
    arrays: Vec<Rates>,
    last: Option<BoardTime>,
}

impl RigSignals {
    /// The signals of `shape`, all unknown.
    pub fn new(shape: &SignalShape) -> Self {
        let mut names = SignalNames::new();
        let pose = PoseSignals::new(&mut names, &shape.keypoints);
        let posture = PostureSignals::new(&mut names, &shape.keypoints);
        let joints = names.extend(shape.joints.iter().map(|joint| format!("body.{joint}_rad")));
        let errors = names.extend(["virtual.root_error_m", "virtual.orientation_error_rad", "virtual.joint_error_rad"]);
        let actions = names.extend(shape.actuators.iter().map(|actuator| format!("virtual.action.{actuator}")));
        let latent = |(name, len): &(String, usize)| {
            let name = name.clone();
            let single = *len == 1;
            (0..*len)
                .map(move |place| if single { format!("virtual.{name}") } else { format!("virtual.{name}.{place}") })
        };
        let latents = names.extend(shape.latents.iter().flat_map(latent));
        let array = |name: &String| {
            let units = (1..=UNITS).map(|unit| format!("spikes.{name}.unit{unit}.rate_hz")).collect::<Vec<_>>();
            [format!("spikes.{name}.rate_hz"), format!("spikes.{name}.burst_ratio")].into_iter().chain(units)
        };
        let rates = names.extend(shape.arrays.iter().flat_map(array));
        let lights = names.extend(shape.lights.iter().map(|light| format!("light.{light}.level")));
        let time = names.push("time.recording_s");
        let quiet = Rates { counts: [0; UNITS + 1], all_hz: 0.0, fast_hz: 0.0, slow_hz: 0.0, units_hz: [0.0; UNITS] };
        Self {
            table: SignalTable::new(&names),
            names,
            pose,
            posture,
            joints: (joints, shape.joints.len()),
            errors,
            actions: (actions, shape.actuators.len()),
            latents: (latents, shape.latents.iter().map(|latent| latent.1).sum()),
            rates,
            lights,
            time,
            arrays: vec![quiet; shape.arrays.len()],
            last: None,
        }
    }

    /// What they are called.
    pub fn names(&self) -> &SignalNames {
        &self.names
    }

    /// What they are now.
    pub fn table(&self) -> &SignalTable {
        &self.table
    }

    /// Counts a spike into its array's rates.
    pub fn hear_spike(&mut self, note: SpikeNote) {
        if let Some(rates) = self.arrays.get_mut(usize::from(note.array)) {
            rates.counts[usize::from(note.unit).min(UNITS + 1) % (UNITS + 1)] += 1;
        }
    }

    /// Sets a light's brightness (0 to 255) as it was at `at`; NaN where its camera gave no image.
    pub fn set_light(&mut self, light: usize, at: BoardTime, level: f64) {
        self.table.set(SignalIndex(self.lights.0 + light as u32), at, level);
    }

    /// Sets everything but lights.
    pub fn set(&mut self, moment: &MomentNow<'_>) {
        let MomentNow { at, now, keypoints_m, .. } = *moment;
        let table = &mut self.table;
        self.pose.set(table, at, keypoints_m.iter().copied());
        self.posture.set(table, at, keypoints_m);
        match moment.joints_rad {
            Some(joints) => table.set_all(self.joints.0, at, joints.iter().copied().take(self.joints.1)),
            None => table.invalidate(self.joints.0, self.joints.1, at),
        }
        match moment.virtual_rat {
            Some(rat) => {
                table.set_all(self.errors, at, rat.errors);
                table.set_all(self.actions.0, at, rat.action.iter().map(|v| f64::from(*v)).take(self.actions.1));
                table.set_all(self.latents.0, at, rat.latents.iter().map(|v| f64::from(*v)).take(self.latents.1));
            }
            None => {
                table.invalidate(self.errors, 3, at);
                table.invalidate(self.actions.0, self.actions.1, at);
                table.invalidate(self.latents.0, self.latents.1, at);
            }
        }
        let spent = self.last.replace(now).map_or(Span::ZERO, |last| now - last);
        for (index, rates) in self.arrays.iter_mut().enumerate() {
            rates.advance(spent);
            let first = SignalIndex(self.rates.0 + (index * PER_ARRAY) as u32);
            let units = rates.units_hz.iter().copied();
            self.table.set_all(first, now, [rates.all_hz, rates.burst_ratio()].into_iter().chain(units));
        }
        self.table.set(self.time, now, moment.recording_s.unwrap_or(f64::NAN));
    }
}

impl Rates {
    fn advance(&mut self, spent: Span) {
        if spent <= Span::ZERO {
            return;
        }
        let counts = std::mem::replace(&mut self.counts, [0; UNITS + 1]);
        let seconds = spent.secs_f64();
        let follow = |rate_hz: &mut f64, count: u32, smoothing: Span| {
            let keep = (-seconds / smoothing.secs_f64()).exp();
            *rate_hz = keep * *rate_hz + (1.0 - keep) * f64::from(count) / seconds;
        };
        let all = counts.iter().sum();
        follow(&mut self.all_hz, all, RATE_SMOOTHING);
        follow(&mut self.fast_hz, all, FAST);
        follow(&mut self.slow_hz, all, SLOW);
        for (rate_hz, count) in self.units_hz.iter_mut().zip(&counts[1..]) {
            follow(rate_hz, *count, RATE_SMOOTHING);
        }
    }

    /// How much faster than usual the array fires just now.
    fn burst_ratio(&self) -> f64 {
        self.fast_hz / self.slow_hz.max(BURST_RATE_HZ_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Reading;

    fn value(signals: &RigSignals, name: &str) -> f64 {
        match signals.table().reading(signals.names().find(name).unwrap()) {
            Reading::Value { value, .. } => value,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn spikes_become_rates_of_array_and_unit_and_a_burst_stands_out() {
        let shape = SignalShape { arrays: vec!["A".into(), "B".into()], ..SignalShape::default() };
        let mut signals = RigSignals::new(&shape);
        let tick = |signals: &mut RigSignals, tick: i64, spikes: u32| {
            for _ in 0..spikes {
                signals.hear_spike(SpikeNote { array: 1, unit: 3 });
            }
            let at = BoardTime::from_nanos(tick * 20_000_000);
            let moment = MomentNow {
                at,
                now: at,
                keypoints_m: &[],
                joints_rad: None,
                virtual_rat: None,
                recording_s: Some(tick as f64 * 0.02),
            };
            signals.set(&moment);
        };
        (0..500).for_each(|at| tick(&mut signals, at, 2));
        assert!((value(&signals, "spikes.B.rate_hz") - 100.0).abs() < 1.0);
        assert!((value(&signals, "spikes.B.unit3.rate_hz") - 100.0).abs() < 1.0);
        assert!((value(&signals, "spikes.B.burst_ratio") - 1.0).abs() < 0.1);
        assert_eq!((value(&signals, "spikes.A.rate_hz"), value(&signals, "spikes.B.unit4.rate_hz")), (0.0, 0.0));
        tick(&mut signals, 500, 20);
        assert!(value(&signals, "spikes.B.burst_ratio") > 4.0, "{}", value(&signals, "spikes.B.burst_ratio"));
        // Units beyond those with a signal count for the array only.
        signals.hear_spike(SpikeNote { array: 0, unit: 40_000 });
        assert!((value(&signals, "time.recording_s") - 10.0).abs() < 1e-9);
    }
}
