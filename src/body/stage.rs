//! The stage of the loop: configured registration.

use std::sync::Arc;

use mimicd_rat::{RatModel, load};

use super::error::BodyError;
use super::registrar::Registrar;
use super::state::BodyState;
use super::subject::Subject;
use super::tuning::Tuning;
use crate::config::BodyConfig;
use crate::pose::Keypoint;

/// Keypoints in, coordinates of the body out.
#[derive(Debug)]
pub struct BodyStage {
    rat: Arc<RatModel>,
    subject: Subject,
    registrar: Registrar,
    names: Vec<String>,
}

impl BodyStage {
    /// Loads body and subject. `keypoint_names` is the order of the keypoints in every frame.
    ///
    /// # Errors
    /// A file that cannot be used, or keypoints that do not fit the subject.
    pub fn load(config: &BodyConfig, keypoint_names: &[String], rate_hz: f64) -> Result<Self, BodyError> {
        let subject = Subject::load(&config.subject)?;
        let rat = load_rat(config, &subject)?;
        let mut tuning = Tuning { iterations_max: config.iterations_max, ..Tuning::default() };
        tuning.smooth(config.smoothing);
        if !config.floor {
            (tuning.floor_weight, tuning.floor_weight_tail) = (0.0, 0.0);
        }
        let mut registrar = Registrar::new(&rat, &subject, keypoint_names, rate_hz, tuning)?;
        if config.refine_offsets {
            registrar.refine_offsets(config.refine_memory_s);
        }
        Ok(Self { rat, subject, registrar, names: keypoint_names.to_vec() })
    }

    /// Room for one frame's result.
    pub fn state(&self) -> BodyState {
        BodyState::new(self.names.len())
    }

    /// The body, at the subject's scale.
    pub fn rat(&self) -> &Arc<RatModel> {
        &self.rat
    }

    /// The subject.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Fits the body to one frame's keypoints (in the order of the names given). Does not allocate and never fails:
    /// what is wrong is flagged in `out`.
    pub fn register(&mut self, keypoints: &[Keypoint], out: &mut BodyState) {
        self.registrar.register(keypoints, out);
    }

    /// The subject as it is now: with the offsets that refinement made, where it is on.
    pub fn refined_subject(&self) -> Subject {
        let mut subject = self.subject.clone();
        for (index, name) in self.names.iter().enumerate() {
            if let Some(at) = subject.index(name) {
                subject.keypoint[at].offset_m = self.registrar.offset_m(index);
            }
        }
        subject
    }

    /// Forgets the animal: the next frame is a cold start.
    pub fn reset(&mut self) {
        self.registrar.reset();
    }
}

/// The body of a configuration at the scale of its subject.
fn load_rat(config: &BodyConfig, subject: &Subject) -> Result<Arc<RatModel>, BodyError> {
    Ok(Arc::new(load(&config.mjcf, &subject.rat_options())?))
}
