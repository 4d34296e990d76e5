//! What the loop and the spike thread tell the encoding thread, and how: through rings that refuse when full.
//!
//! Tier: loop. A tick is written into a recycled slot; nothing is allocated, nothing is waited for. What does not fit is
//! counted, and its bin is unknown to the live fit.

use std::sync::Arc;

use mimicd_device::{Integrity, RigTime};
use mimicd_rat::{ACTUATORS, QVEL_LEN};

use super::shared::Shared;
use crate::body::{BodyFlags, BodyState};
use crate::encoding::store::{BODY_WIDTH, BodyInput, SetSpec, Source, body_row};
use crate::encoding::units::UnitKey;
use crate::imitation::ImitationStep;
use crate::pose::Keypoint;
use crate::stream::{Pool, Producer};
use crate::telemetry::Cause;

/// Ticks on their way at most: more than a second.
pub(super) const TICKS_QUEUED: usize = 64;
/// Spikes on their way at most.
pub(super) const SPIKES_QUEUED: usize = 16_384;
/// Coordinates of the keypoints of a rat.
const KEYPOINT_VALUES: usize = 3 * mimicd_rat::RAT23.len();

/// One tick of the loop, as encoding models see it.
#[derive(Clone, Debug)]
pub struct EncodeTick {
    /// Middle of the exposure.
    pub at_ns: i64,
    /// The instant that the virtual rat imitates.
    pub reference_ns: i64,
    /// The registered body; meaningless when it has no data.
    pub body: Vec<f32>,
    /// Whether it has.
    pub body_known: bool,
    /// The columns of the virtual rat that some set uses.
    pub imitation: Vec<f32>,
    /// Whether they mean anything.
    pub imitation_known: bool,
}

/// What the spike thread tells.
#[derive(Clone, Copy, Debug)]
pub enum EncodeSpike {
    /// A spike, in rig time.
    At(i64, UnitKey),
    /// An array has been searched up to this rig time.
    Reached(u16, i64),
}

/// The loop's end.
pub struct EncodeFeed {
    pool: Pool<EncodeTick>,
    to_encode: Producer<Arc<EncodeTick>>,
    /// Places, in forces, action and signals one after the other, of the columns that are sent.
    picks: Vec<usize>,
    keypoints_m: Vec<f32>,
}

impl EncodeFeed {
    /// A feed that sends these columns of the virtual rat.
    pub(super) fn new(picks: Vec<usize>, to_encode: Producer<Arc<EncodeTick>>) -> Self {
        let blank = || EncodeTick {
            at_ns: 0,
            reference_ns: 0,
            body: vec![0.0; BODY_WIDTH],
            body_known: false,
            imitation: vec![0.0; picks.len()],
            imitation_known: false,
        };
        // Those queued, one being read, one being written.
        let pool = Pool::new(TICKS_QUEUED + 2, blank);
        Self { pool, to_encode, keypoints_m: vec![f32::NAN; KEYPOINT_VALUES], picks }
    }

    /// Sends a tick.
    pub(super) fn tick(
        &mut self,
        shared: &Shared,
        at: RigTime,
        reference: RigTime,
        keypoints: &[Keypoint],
        body: &BodyState,
        step: &ImitationStep,
    ) {
        let Self { pool, to_encode, picks, keypoints_m } = self;
        keypoints_m.fill(f32::NAN);
        for (to, keypoint) in keypoints_m.chunks_exact_mut(3).zip(keypoints).filter(|(_, k)| k.confidence > 0.0) {
            to.iter_mut().zip(keypoint.xyz_m).for_each(|(to, from)| *to = from as f32);
        }
        let leased = pool.lease(|tick| {
            tick.at_ns = at.nanos();
            tick.reference_ns = reference.nanos();
            tick.body_known = !body.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW);
            body_row(BodyInput { qpos: &body.qpos, qvel: &body.qvel, keypoints_m }, &mut tick.body);
            let useless = Integrity::STALE | Integrity::CORRUPT | Integrity::NOT_FINITE;
            tick.imitation_known = !step.integrity.intersects(useless);
            tick.imitation.iter_mut().zip(picks.iter()).for_each(|(to, place)| *to = value(step, *place));
            Ok::<bool, ()>(true)
        });
        let sent = leased.ok().flatten().is_some_and(|tick| to_encode.push(tick).is_ok());
        shared.counters.add(Cause::EncodeRingFull, u64::from(!sent));
    }
}

/// A value of forces, action and signals one after the other.
fn value(step: &ImitationStep, place: usize) -> f32 {
    match place {
        force if force < QVEL_LEN => step.qfrc[force] as f32,
        action if action < QVEL_LEN + ACTUATORS => step.action[action - QVEL_LEN],
        signal => step.signals.get(signal - QVEL_LEN - ACTUATORS).copied().unwrap_or(f32::NAN),
    }
}

/// Sets whose virtual columns lie one after the other in a short row, and where each of them is in the long one.
pub(super) fn compact(sets: Vec<SetSpec>) -> (Vec<SetSpec>, Vec<usize>) {
    let mut picks: Vec<usize> = Vec::new();
    let mut sets = sets;
    for set in sets.iter_mut().filter(|set| set.source == Source::Virtual) {
        for column in &mut set.columns {
            let known = picks.iter().position(|place| *place == column.at);
            column.at = known.unwrap_or_else(|| {
                picks.push(column.at);
                picks.len() - 1
            });
        }
    }
    (sets, picks)
}
