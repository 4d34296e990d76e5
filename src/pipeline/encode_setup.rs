//! Puts the live encoding models together: sets, classifier, queues.

use std::sync::Arc;

use mimicd_device::HostTime;
use mimicd_rat::{ACTUATORS, QVEL_LEN};

use super::encode_feed::{EncodeFeed, EncodeSpike, SPIKES_QUEUED, TICKS_QUEUED, compact};
use super::encode_worker::{EncodeControl, EncodeParts, EncodeWorker};
use super::shared::Shared;
use crate::config::Config;
use crate::encoding::behaviour::Classifier;
use crate::encoding::store::{SetSpec, available, latent, select};
use crate::stream::{Producer, ring};

/// Commands on their way at most.
const CONTROLS_QUEUED: usize = 16;

/// The ends that other threads hold.
pub(super) struct EncodeEnds {
    pub(super) worker: EncodeWorker,
    pub(super) feed: EncodeFeed,
    pub(super) spikes: Producer<EncodeSpike>,
    pub(super) control: Producer<EncodeControl>,
}

/// The sets that are fitted live: those of the config, else kinematics, forces, action and the policy's latent (else its
/// first signal).
///
/// # Errors
/// A name that no set has, with the names that there are.
pub(super) fn live_sets(config: &Config, signals: &[(String, usize)]) -> Result<Vec<SetSpec>, String> {
    let all = available(signals);
    if !config.encoding.live_sets.is_empty() {
        return select(&all, &config.encoding.live_sets).map_err(|reason| format!("encoding.live_sets: {reason}"));
    }
    let mut names: Vec<String> = ["kinematic", "dynamic", "action"].map(str::to_owned).to_vec();
    let other = signals.iter().find(|(name, _)| name != "action").map(|(name, _)| name.as_str());
    names.extend(latent(signals).map(|(centre, _)| centre).or(other).map(str::to_owned));
    select(&all, &names)
}

/// Everything that a live fit needs, or what is wrong with the config.
///
/// # Errors
/// A set that is not there, a classifier that does not load.
pub(super) fn parts(
    config: &Config,
    signals: &[(String, usize)],
) -> Result<(Vec<SetSpec>, Option<Classifier>), String> {
    let sets = live_sets(config, signals)?;
    let classifier = config.encoding.behaviour.as_ref().map(|path| Classifier::load(path)).transpose();
    Ok((sets, classifier.map_err(|error| error.to_string())?))
}

/// Worker and queues; `None` when nothing is to be fitted live.
///
/// # Errors
/// As [`parts`].
pub(super) fn build(
    config: &Config,
    signals: &[(String, usize)],
    shared: &Arc<Shared>,
    clock: fn() -> HostTime,
) -> Result<Option<EncodeEnds>, String> {
    if !config.encoding.live {
        return Ok(None);
    }
    let (sets, classifier) = parts(config, signals)?;
    let longest = QVEL_LEN + ACTUATORS + signals.iter().map(|(_, len)| len).sum::<usize>();
    let (sets, picks) = compact(sets);
    debug_assert!(picks.iter().all(|place| *place < longest), "columns lie in the row");
    let (to_encode, ticks) = ring(TICKS_QUEUED);
    let (spikes, from_spikes) = ring(SPIKES_QUEUED);
    let (tell, control) = ring(CONTROLS_QUEUED);
    let parts = EncodeParts {
        config: config.encoding.clone(),
        imitation_width: picks.len(),
        sets,
        arrays: config.arrays.len(),
        sorted: config.spikes.sort,
        classifier,
        ticks,
        spikes: from_spikes,
        control,
    };
    let worker = EncodeWorker::new(parts, shared, clock);
    Ok(Some(EncodeEnds { worker, feed: EncodeFeed::new(picks, to_encode), spikes, control: tell }))
}
