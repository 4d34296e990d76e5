//! A whole recording of keypoints through registration into one body table: continuous, without clips and their boundaries.
//!
//! The registration is the live one, frame by frame; nothing looks ahead. Rows that a recording lacks are registered as
//! frames without keypoints, so that a gap is a gap for the body too.

use std::path::Path;

use mimicd_device::RigTime;

use super::RigError;
use super::tables;
use crate::body::{BodyFlags, BodyStage, BodyState};
use crate::config::BodyConfig;
use crate::pose::Keypoint;
use crate::record::TableFile;

/// After a gap longer than this the animal is searched anew, seconds.
const GAP_MAX_S: f64 = 2.0;

/// What is to be registered.
pub struct Registration {
    /// Frames of keypoints, metres, world frame, z up.
    pub frames: Vec<Vec<Keypoint>>,
    /// When each was taken, nanoseconds.
    pub t_ns: Vec<i64>,
    /// Names of the keypoints.
    pub names: Vec<String>,
    /// Frames a second.
    pub rate_hz: f64,
    /// Body, subject and smoothing.
    pub body: BodyConfig,
}

/// How it went.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Registered {
    /// Rows written.
    pub rows: u64,
    /// Frames that were missing between rows.
    pub missing_frames: u64,
    /// Mean over frames of the mean distance of keypoints to the body, millimetres.
    pub residual_mean_mm: f64,
    /// Mean distance of each keypoint, millimetres; NaN where it was never seen.
    pub residual_mm: Vec<(String, f64)>,
    /// Root mean square change of a joint from frame to frame, degrees.
    pub joint_step_rms_deg: f64,
    /// Largest change of a joint from frame to frame after the first ten frames, degrees.
    pub joint_step_max_deg: f64,
    /// Frames with each flag.
    pub flags: Vec<(String, u64)>,
}

impl Registration {
    /// Registers everything into a Parquet file, telling `progress` each frame.
    ///
    /// # Errors
    /// A body or subject that does not load, or a file that cannot be written.
    pub fn run(&self, out: &Path, mut progress: impl FnMut(usize)) -> Result<Registered, RigError> {
        let failed = |error: &dyn std::fmt::Display| RigError(error.to_string());
        let mut body = BodyStage::load(&self.body, &self.names, self.rate_hz).map_err(|e| failed(&e))?;
        let mut file = TableFile::create(out, tables::body(self.names.len())).map_err(|e| failed(&e))?;
        let mut state = body.state();
        let mut tally = Tally::new(self.names.len());
        for (index, (frame, &t_ns)) in self.frames.iter().zip(&self.t_ns).enumerate() {
            tally.missing += self.pass_gap(index, &mut body, &mut state);
            body.register(frame, &mut state);
            tally.take(index, &state);
            file.row(RigTime::from_nanos(t_ns), |row| tables::fill_body(row, index as u64, &state))
                .map_err(|e| failed(&e))?;
            progress(index + 1);
        }
        let rows = file.finish().map_err(|e| failed(&e))?;
        Ok(tally.report(rows, &self.names))
    }

    /// Registers the frames that are missing before row `index`; gives their number.
    fn pass_gap(&self, index: usize, body: &mut BodyStage, state: &mut BodyState) -> u64 {
        let Some(before) = index.checked_sub(1) else { return 0 };
        let periods = (self.t_ns[index] - self.t_ns[before]) as f64 * 1e-9 * self.rate_hz;
        let missing = (periods.round() - 1.0).max(0.0);
        if missing / self.rate_hz > GAP_MAX_S {
            body.reset();
        } else {
            (0..missing as usize).for_each(|_| body.register(&[], state));
        }
        missing as u64
    }
}

#[derive(Default)]
struct Tally {
    residual_m: f64,
    residuals: u64,
    keypoints: Vec<(f64, u64)>,
    steps_squared: f64,
    steps: u64,
    step_max: f64,
    before: Option<[f64; mimicd_rat::QPOS_LEN]>,
    flags: Vec<u64>,
    missing: u64,
}

impl Tally {
    fn new(keypoints: usize) -> Self {
        let flags = vec![0; BodyFlags::all().iter_names().count()];
        Self { keypoints: vec![(0.0, 0); keypoints], flags, ..Self::default() }
    }

    fn take(&mut self, index: usize, state: &BodyState) {
        if state.residual_mean_m.is_finite() {
            self.residual_m += f64::from(state.residual_mean_m);
            self.residuals += 1;
        }
        for (sum, residual) in self.keypoints.iter_mut().zip(&state.residual_m).filter(|(_, r)| r.is_finite()) {
            *sum = (sum.0 + f64::from(*residual), sum.1 + 1);
        }
        for (count, (_, flag)) in self.flags.iter_mut().zip(BodyFlags::all().iter_names()) {
            *count += u64::from(state.flags.contains(flag));
        }
        if let Some(before) = self.before.replace(state.qpos) {
            for (now, before) in state.qpos[7..].iter().zip(&before[7..]) {
                self.steps_squared += (now - before).powi(2);
                self.steps += 1;
                if index > 10 {
                    self.step_max = self.step_max.max((now - before).abs());
                }
            }
        }
    }

    fn report(self, rows: u64, names: &[String]) -> Registered {
        let mean = |sum: f64, count: u64| if count == 0 { f64::NAN } else { sum / count as f64 };
        let names_of = BodyFlags::all().iter_names().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>();
        Registered {
            rows,
            missing_frames: self.missing,
            residual_mean_mm: 1e3 * mean(self.residual_m, self.residuals),
            residual_mm: names
                .iter()
                .zip(&self.keypoints)
                .map(|(name, &(sum, count))| (name.clone(), 1e3 * mean(sum, count)))
                .collect(),
            joint_step_rms_deg: mean(self.steps_squared, self.steps).sqrt().to_degrees(),
            joint_step_max_deg: self.step_max.to_degrees(),
            flags: names_of.into_iter().zip(self.flags).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mimicd_rat::{Kinematics, RAT23, load};

    use super::*;
    use crate::body::{KeypointFlags, Subject};
    use crate::record::tables as parquet;

    #[test]
    fn a_recording_becomes_one_table_and_its_gap_is_carried() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let (mjcf, subject) = (root.join(".deps/rat/rodent.xml"), root.join("configs/subjects/twin.toml"));
        if !mjcf.is_file() {
            println!("skipped: {} is not there", mjcf.display());
            return;
        }
        let rat = load(&mjcf, &Subject::load(&subject).unwrap().rat_options()).unwrap();
        let mut kinematics = Kinematics::new(&rat);
        let mut frame = |index: usize| {
            let mut qpos = rat.reference_qpos();
            (qpos[0], qpos[2]) = (0.001 * index as f64, 0.04);
            kinematics.set(&qpos);
            (0..RAT23.len()).map(|keypoint| Keypoint::recorded(kinematics.keypoint_m(keypoint), 1.0)).collect()
        };
        let registration = Registration {
            frames: (0..60).map(&mut frame).collect(),
            // Seven frames are missing after the thirtieth.
            t_ns: (0..60).map(|index: i64| 20_000_000 * if index < 30 { index } else { index + 7 }).collect(),
            names: RAT23.iter().map(|name| (*name).to_owned()).collect(),
            rate_hz: 50.0,
            body: BodyConfig {
                mjcf,
                subject,
                iterations_max: 3,
                smoothing: 1.0,
                floor: true,
                refine_offsets: false,
                refine_memory_s: 300.0,
            },
        };
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("body.parquet");
        let mut calls = 0;
        let done = registration.run(&out, |_| calls += 1).unwrap();
        assert_eq!((done.rows, done.missing_frames, calls), (60, 7, 60));
        assert!(done.residual_mean_mm < 3.0, "{}", done.residual_mean_mm);
        let (mut rows, mut returning) = (Vec::new(), Vec::new());
        for batch in parquet::open(&out, &["t_ns", "trigger_index", "keypoint_flags", "qpos"]).unwrap() {
            let batch = batch.unwrap();
            rows.extend(parquet::integers(&batch, "t_ns").into_iter().flatten());
            returning.extend(parquet::floats(&batch, "qpos").chunks(74).map(|qpos| qpos[0]));
        }
        assert_eq!(rows, registration.t_ns);
        assert_eq!(returning.len(), 60);
        // The keypoints come back after a gap, and the state says so.
        let mut body = BodyStage::load(&registration.body, &registration.names, 50.0).unwrap();
        let mut state = body.state();
        (0..30).for_each(|index| body.register(&registration.frames[index], &mut state));
        assert_eq!(registration.pass_gap(30, &mut body, &mut state), 7);
        body.register(&registration.frames[30], &mut state);
        assert!(state.keypoint_flags.iter().all(|flags| flags.contains(KeypointFlags::RETURNING)));
    }
}
