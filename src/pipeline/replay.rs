//! Recorded keypoints through the back half of the loop: registration → imitation → recording.
//!
//! The stages are the live ones, in the live order, one frame at a time; only the clock is the recording's own
//! (frame `i` at `i / rate`). Nothing looks ahead.

use std::path::PathBuf;
use std::time::SystemTime;

use mimicd_device::{BoardTime, Integrity, RigTime, Span};

use super::RigError;
use super::tables::{self, TableIds, TableShapes, schemas};
use crate::body::{BodyFlags, BodyStage};
use crate::config::{BodyConfig, ImitationConfig, RecordConfig, VideoCodec};
use crate::imitation::ImitationStage;
use crate::pose::Keypoint;
use crate::record::{RecordLane, Recorder, RecordingInfo, SourceFile};

/// What is to be replayed, and how.
pub struct KeypointReplay {
    /// Frames of keypoints, metres, world frame, z up.
    pub frames: Vec<Vec<Keypoint>>,
    /// Names of the keypoints.
    pub names: Vec<String>,
    /// The file they came from.
    pub source: PathBuf,
    /// Frames a second.
    pub rate_hz: f64,
    /// Body and subject.
    pub body: BodyConfig,
    /// Policy.
    pub imitation: ImitationConfig,
    /// Where to.
    pub record: RecordConfig,
}

/// How a replay went.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct ReplayReport {
    /// The dataset.
    pub folder: PathBuf,
    /// Frames replayed.
    pub frames: usize,
    /// Mean over frames of the mean distance of keypoints to the body.
    pub residual_mean_mm: f64,
    /// Root mean square change of a joint from frame to frame.
    pub joint_step_rms_deg: f64,
    /// Mean distance of the virtual rat's root to the reference's.
    pub root_error_mean_mm: f64,
    /// Mean absolute joint difference.
    pub joint_error_mean_deg: f64,
    /// Resets of the virtual rat after its start, by reason.
    pub resets: Vec<(String, u64)>,
}

impl KeypointReplay {
    /// Replays everything into a dataset, telling `progress` each frame.
    ///
    /// # Errors
    /// A stage that does not load, a recorder that does not start or seal.
    pub fn run(self, mut progress: impl FnMut(usize)) -> Result<ReplayReport, RigError> {
        let failed = |error: &dyn std::fmt::Display| RigError(error.to_string());
        let mut body = BodyStage::load(&self.body, &self.names, self.rate_hz).map_err(|e| failed(&e))?;
        let mut imitation = ImitationStage::load(&self.imitation, &self.body, self.rate_hz).map_err(|e| failed(&e))?;
        let shapes = TableShapes {
            keypoints: self.names.len(),
            cameras: 1,
            signals: imitation.signals().iter().map(|signal| (signal.name.clone(), signal.range.len())).collect(),
            action_sd: !imitation.make_step().action_variability.is_empty(),
            encoding: false,
        };
        let (mut recorder, ids) = self.recorder(&shapes)?;
        let mut lane = recorder.lane("replay");
        let (mut state, mut step) = (body.state(), imitation.make_step());
        let mut tally = Tally::default();
        for (index, keypoints) in self.frames.iter().enumerate() {
            let at = BoardTime::ZERO + Span::from_secs_f64(index as f64 / self.rate_hz);
            body.register(keypoints, &mut state);
            let known = !state.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW);
            imitation.follow(at, known.then_some(&state.qpos), &mut step).map_err(|e| failed(&e))?;
            if !step.integrity.is_empty() && step.integrity.contains(Integrity::STALE) {
                tally.stale += 1;
            }
            while !lane.has_room() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let rig = RigTime::from_nanos(at.nanos());
            write(&mut lane, &ids, &shapes, rig, index as u64, keypoints, &state, &step);
            tally.take(&state, &step);
            progress(index + 1);
        }
        drop(lane);
        let sealed = recorder.seal().map_err(|e| failed(&e))?;
        Ok(tally.report(sealed.folder, self.frames.len()))
    }

    fn recorder(&self, shapes: &TableShapes) -> Result<(Recorder, TableIds), RigError> {
        let failed = |error: crate::record::RecordError| RigError(error.to_string());
        let settings = serde_json::json!({ "replay": self.source, "rate_hz": self.rate_hz, "body": self.body, "imitation": self.imitation });
        let mut info = RecordingInfo::new("replay", "replay", SystemTime::now(), settings);
        info.files = vec![
            SourceFile::hashed("keypoints", &self.source),
            SourceFile::hashed("subject", &self.body.subject),
            SourceFile::hashed("policy", &self.imitation.policy),
        ];
        let record = RecordConfig { video: VideoCodec::None, ..self.record.clone() };
        let recorder = Recorder::start(&record, info, schemas(shapes), Vec::new(), Vec::new()).map_err(failed)?;
        let ids = TableIds::of(&recorder).map_err(failed)?;
        Ok((recorder, ids))
    }
}

#[expect(clippy::too_many_arguments, reason = "one argument for each thing that is written")]
fn write(
    lane: &mut RecordLane,
    ids: &TableIds,
    shapes: &TableShapes,
    at: RigTime,
    index: u64,
    keypoints: &[Keypoint],
    body: &crate::body::BodyState,
    step: &crate::imitation::ImitationStep,
) {
    let reference = RigTime::from_nanos(step.reference_at.nanos());
    tables::write_keypoints(lane, ids, at, index, keypoints, &[f32::NAN], "replayed", Integrity::empty());
    tables::write_body(lane, ids, at, index, body);
    tables::write_imitation(lane, ids, shapes, at, reference, index, step);
}

#[derive(Default)]
struct Tally {
    residual_m: f64,
    residuals: u64,
    root_m: f64,
    joints_rad: f64,
    steps: u64,
    stale: u64,
    squared_step_rad: f64,
    joint_steps: u64,
    before: Option<[f64; mimicd_rat::QPOS_LEN]>,
    resets: std::collections::BTreeMap<&'static str, u64>,
}

impl Tally {
    fn take(&mut self, body: &crate::body::BodyState, step: &crate::imitation::ImitationStep) {
        if body.residual_mean_m.is_finite() {
            self.residual_m += f64::from(body.residual_mean_m);
            self.residuals += 1;
        }
        if let Some(before) = self.before.replace(body.qpos) {
            self.squared_step_rad += body.qpos[7..].iter().zip(&before[7..]).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            self.joint_steps += (mimicd_rat::QPOS_LEN - 7) as u64;
        }
        if let Some(reason) = step.reset {
            *self.resets.entry(reason.as_str()).or_default() += 1;
        } else {
            self.root_m += step.error.root_m;
            self.joints_rad += step.error.joints_rad;
            self.steps += 1;
        }
    }

    fn report(self, folder: PathBuf, frames: usize) -> ReplayReport {
        let mean = |sum: f64, count: u64| sum / count.max(1) as f64;
        ReplayReport {
            folder,
            frames,
            residual_mean_mm: mean(self.residual_m, self.residuals) * 1e3,
            joint_step_rms_deg: mean(self.squared_step_rad, self.joint_steps).sqrt().to_degrees(),
            root_error_mean_mm: mean(self.root_m, self.steps) * 1e3,
            joint_error_mean_deg: mean(self.joints_rad, self.steps).to_degrees(),
            resets: self.resets.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
        }
    }
}
