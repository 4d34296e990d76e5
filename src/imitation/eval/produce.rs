//! Motions for training and evaluation: the simulated rat's, and registrations of recorded keypoints.

use std::path::{Path, PathBuf};

use mimicd_device::Span;
use mimicd_rat::RAT23;
use mimicd_sim::rat::World;
use serde_json::json;

use super::motion::Motion;
use crate::body::fit::{FitOptions, diverse, fit};
use crate::body::import::Recording;
use crate::body::{BodyFlags, Registrar, Subject};
use crate::imitation::ImitationError;

/// Arguments of `mimicd imitate motions`.
#[derive(Clone, Debug, clap::Args)]
pub struct MotionsArgs {
    /// File to write: `metadata.mocap_hz` and `clips[].{name, qpos}`, JSON.
    pub out: PathBuf,
    /// Seconds of the simulated rat's movement.
    #[arg(long, default_value_t = 0.0)]
    pub twin_s: f64,
    /// Seed of the simulated rat.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A recording of the 23 rat keypoints (DANNCE `.mat` in millimetres) to register.
    #[arg(long)]
    pub keypoints: Option<PathBuf>,
    /// Frames per second of all motions.
    #[arg(long, default_value_t = 50.0)]
    pub rate_hz: f64,
    /// The rat's MJCF (fetched by `cargo xtask setup`).
    #[arg(long, default_value = ".deps/rat/rodent.xml")]
    pub mjcf: PathBuf,
}

/// Makes the motions and writes the file; gives the text to print.
pub(super) fn motions(args: &MotionsArgs) -> Result<String, ImitationError> {
    let mut made = Vec::new();
    if args.twin_s > 0.0 {
        made.push(Motion::from_twin(&args.mjcf, args.seed, args.twin_s, args.rate_hz)?);
    }
    if let Some(keypoints) = &args.keypoints {
        made.push(Motion::from_keypoints(&args.mjcf, keypoints, args.rate_hz)?);
    }
    let clips: Vec<_> = made
        .iter()
        .map(
            |motion| json!({ "name": motion.name, "qpos": motion.qpos.iter().map(|q| q.to_vec()).collect::<Vec<_>>() }),
        )
        .collect();
    let file = json!({ "metadata": { "mocap_hz": args.rate_hz }, "clips": clips });
    std::fs::write(&args.out, file.to_string())
        .map_err(|error| ImitationError::Unreadable { path: args.out.clone(), reason: error.to_string() })?;
    let names: Vec<String> =
        made.iter().map(|motion| format!("{} ({} frames)", motion.name, motion.qpos.len())).collect();
    Ok(format!("wrote {} to {}\n", names.join(", "), args.out.display()))
}

impl Motion {
    /// The simulated rat's true movement.
    ///
    /// # Errors
    /// A body that cannot be loaded.
    pub fn from_twin(mjcf: &Path, seed: u64, seconds: f64, rate_hz: f64) -> Result<Self, ImitationError> {
        let world = World::new(seed, mjcf).map_err(|error| ImitationError::Rig { reason: error.to_string() })?;
        let frames = (seconds * rate_hz) as usize;
        let at = |frame: usize| world.movement_at(Span::from_secs_f64(frame as f64 / rate_hz)).qpos;
        Ok(Self { name: format!("twin_{seed}"), rate_hz, qpos: (0..frames).map(at).collect() })
    }

    /// A recording of the 23 rat keypoints in millimetres, registered: offsets are fitted on all of it first, then each
    /// frame causally. Frames before the first one with keypoints are left out.
    ///
    /// # Errors
    /// A recording or body that cannot be used.
    pub fn from_keypoints(mjcf: &Path, path: &Path, rate_hz: f64) -> Result<Self, ImitationError> {
        let refused = |error: crate::body::BodyError| ImitationError::Rig { reason: error.to_string() };
        let mut recording = Recording::open(path).map_err(refused)?;
        let names = RAT23.map(str::to_owned);
        recording.name(&names).map_err(refused)?;
        recording.scale(1e-3);
        let mut subject = Subject::rat23("recorded");
        let options = FitOptions::default();
        let few: Vec<&[_]> = diverse(&recording.frames, options.frames)
            .into_iter()
            .map(|frame| recording.frames[frame].as_slice())
            .collect();
        fit(mjcf, &mut subject, &names, &few, &options, |_| ()).map_err(refused)?;
        let rat = mimicd_rat::load(mjcf, &subject.rat_options())?;
        let mut registrar =
            Registrar::new(&rat, &subject, &names, rate_hz, crate::body::Tuning::default()).map_err(refused)?;
        let mut state = crate::body::BodyState::new(names.len());
        let mut qpos = Vec::with_capacity(recording.frames.len());
        for keypoints in &recording.frames {
            registrar.register(keypoints, &mut state);
            if !qpos.is_empty() || !state.flags.contains(BodyFlags::NO_DATA) {
                qpos.push(state.qpos);
            }
        }
        let name = path.file_stem().map_or_else(|| "recorded".to_owned(), |stem| stem.to_string_lossy().into_owned());
        Ok(Self { name, rate_hz, qpos })
    }
}
