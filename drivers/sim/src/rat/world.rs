//! The world the rig looks at: one rat, and everything true about it at any instant.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mimicd_device::Span;

use super::animal::{Animal, KEY_S, Key, Rig};
use super::behaviour::{Behaviour, wrap};
use super::sites::Keypoints;
use super::skeleton::{HINGES, Placement, QPOS, Skeleton};
use super::track::{CHUNK, Track};
use crate::SimError;

/// How the rat moves at one instant: what neurons may be tuned to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Movement {
    /// What it is doing.
    pub behaviour: Behaviour,
    /// Walking speed, m/s.
    pub speed_m_per_s: f64,
    /// Heading of the hindquarters, rad, counter-clockwise from the world's x axis.
    pub heading_rad: f64,
    /// Its rate, rad/s.
    pub heading_rate_rad_per_s: f64,
    /// Gait phase in turns, 0..1, zero when the left hind paw's stance begins; stands still with the rat.
    pub gait_phase: f64,
    /// Which paws stand: hind left, hind right, fore left, fore right.
    pub paws_down: [bool; 4],
    /// Root position (3), root quaternion (4, w first), hinges (67).
    pub qpos: [f64; QPOS],
    /// Rates of the hinges, rad/s.
    pub hinge_rates_rad_per_s: [f64; HINGES],
}

/// Everything true about the rat at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// How it moves, with its coordinates.
    pub movement: Movement,
    /// Where its keypoints are, world frame, m, in rat23 order.
    pub keypoints_m: [[f64; 3]; 23],
    /// Where its parts are, for rendering.
    pub placement: Placement,
}

impl Truth {
    /// Root position (3), root quaternion (4, w first), hinges (67).
    pub fn qpos(&self) -> &[f64; QPOS] {
        &self.movement.qpos
    }

    /// Height of the head's tip, m: some 0.05 walking, up to 0.2 rearing.
    pub fn snout_height_m(&self) -> f64 {
        self.keypoints_m[0][2]
    }
}

/// The world: a rat in an arena, moving since universe time zero. Share it in an `Arc`; any thread may ask.
///
/// The same seed gives the same answers, bit for bit, whoever asks for what first.
#[derive(Debug)]
pub struct World {
    rig: Arc<Rig>,
    keypoints: Keypoints,
    track: Mutex<Track>,
}

impl World {
    /// The world of `seed` with the body model at `mjcf`.
    ///
    /// # Errors
    /// [`SimError::Body`] when the body model cannot be read or is not the rat.
    pub fn new(seed: u64, mjcf: &Path) -> Result<Self, SimError> {
        let skeleton = Skeleton::load(mjcf)?;
        let keypoints = Keypoints::new(&skeleton)?;
        let rig = Arc::new(Rig::new(skeleton)?);
        let track = Mutex::new(Track::new(Animal::new(Arc::clone(&rig), seed)));
        Ok(Self { rig, keypoints, track })
    }

    /// The rat's skeleton.
    pub fn skeleton(&self) -> &Skeleton {
        &self.rig.skeleton
    }

    /// Everything true at `t` since the start; earlier than the start is the start. About 10 microseconds, and 2 ms more
    /// where movement has to be made first (once every 0.32 s of movement).
    pub fn truth_at(&self, t: Span) -> Truth {
        let movement = self.movement_at(t);
        let placement = self.rig.skeleton.place(&movement.qpos);
        Truth { keypoints_m: self.keypoints.place(&placement), movement, placement }
    }

    /// How the rat moves at `t`, without placing its parts: cheaper than [`Self::truth_at`].
    pub fn movement_at(&self, t: Span) -> Movement {
        let keys = t.secs_f64().max(0.0) / KEY_S;
        let (index, share) = (keys.floor() as u64, keys.fract());
        // A cubic through the neighbours on both sides keeps positions and rates continuous.
        let first = index / CHUNK as u64;
        let last = (index + 3) / CHUNK as u64;
        let (early, late) = {
            // A panic while making a chunk leaves the track as it was before that chunk, so its poison means nothing.
            let mut track = self.track.lock().unwrap_or_else(PoisonError::into_inner);
            let early = track.chunk(first);
            let late = if last == first { Arc::clone(&early) } else { track.chunk(last) };
            (early, late)
        };
        let key = |offset: u64| {
            let at = index + offset;
            let chunk = if at / CHUNK as u64 == first { &early } else { &late };
            &chunk[(at % CHUNK as u64) as usize]
        };
        blend([key(0), key(1), key(2), key(3)], share)
    }
}

/// Movement `share` of the way from the second to the third of four keyframes (Catmull and Rom's cubic).
fn blend(keys: [&Key; 4], share: f64) -> Movement {
    let (s, s2, s3) = (share, share * share, share * share * share);
    let value = [
        0.5 * (-s3 + 2.0 * s2 - s),
        0.5 * (3.0 * s3 - 5.0 * s2 + 2.0),
        0.5 * (-3.0 * s3 + 4.0 * s2 + s),
        0.5 * (s3 - s2),
    ];
    let rate = [
        0.5 * (-3.0 * s2 + 4.0 * s - 1.0),
        0.5 * (9.0 * s2 - 10.0 * s),
        0.5 * (-9.0 * s2 + 8.0 * s + 1.0),
        0.5 * (3.0 * s2 - 2.0 * s),
    ];
    let mix = |weights: &[f64; 4], of: &dyn Fn(&Key) -> f64| (0..4).map(|k| weights[k] * of(keys[k])).sum::<f64>();
    let [before, after] = [keys[1], keys[2]];
    // Quaternions of neighbouring keyframes may differ in sign.
    let sign = |key: &Key| {
        let dot: f64 = (3..7).map(|k| key.qpos[k] * before.qpos[k]).sum();
        if dot < 0.0 { -1.0 } else { 1.0 }
    };
    let mut qpos: [f64; QPOS] = std::array::from_fn(|index| match index {
        3..7 => mix(&value, &|key| key.qpos[index] * sign(key)),
        _ => mix(&value, &|key| key.qpos[index]),
    });
    let norm = (3..7).map(|k| qpos[k] * qpos[k]).sum::<f64>().sqrt();
    qpos[3..7].iter_mut().for_each(|part| *part /= norm);
    let linear = |of: fn(&Key) -> f64| of(before) + (of(after) - of(before)) * s;
    let nearer = if s < 0.5 { before } else { after };
    let turned = wrap(after.heading_rad - before.heading_rad);
    let stepped = (after.phase - before.phase).rem_euclid(1.0);
    Movement {
        behaviour: nearer.behaviour,
        speed_m_per_s: linear(|key| key.speed_m_per_s),
        heading_rad: wrap(before.heading_rad + turned * s),
        heading_rate_rad_per_s: linear(|key| key.turn_rad_per_s),
        gait_phase: (before.phase + stepped * s).fract(),
        paws_down: nearer.paws_down,
        qpos,
        hinge_rates_rad_per_s: std::array::from_fn(|hinge| mix(&rate, &|key| key.qpos[7 + hinge]) / KEY_S),
    }
}
