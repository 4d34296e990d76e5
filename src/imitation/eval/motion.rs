//! Reference motions to evaluate on.

use std::io::Read;
use std::path::Path;

use mimicd_rat::QPOS_LEN;
use serde::Deserialize;

use crate::imitation::ImitationError;
use crate::imitation::reference::Qpos;

/// A named motion at a fixed rate.
#[derive(Clone, Debug)]
pub struct Motion {
    /// Name, e.g. `clip_0093`.
    pub name: String,
    /// Frames per second.
    pub rate_hz: f64,
    /// Postures: root on `walker`, metres, w-first quaternion, radians.
    pub qpos: Vec<Qpos>,
}

#[derive(Deserialize)]
struct ClipFile {
    metadata: ClipMetadata,
    clips: Vec<Clip>,
}

#[derive(Deserialize)]
struct ClipMetadata {
    mocap_hz: f64,
}

#[derive(Deserialize)]
struct Clip {
    name: String,
    qpos: Vec<Vec<f64>>,
}

/// Motion at which the root moves faster than this is called walking.
const WALK_M_PER_S: f64 = 0.08;
/// Motion in which the root is pitched up by more than this is called rearing.
const REAR_UP: f64 = 0.6;

impl Motion {
    /// Reads a file of clips: `metadata.mocap_hz` and `clips[].{name, qpos}`, as JSON, gzipped where it ends in `.gz`.
    ///
    /// # Errors
    /// An unreadable file, or one of another shape.
    pub fn read_clips(path: &Path) -> Result<Vec<Self>, ImitationError> {
        let unreadable =
            |error: std::io::Error| ImitationError::Unreadable { path: path.to_owned(), reason: error.to_string() };
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let mut text = String::new();
        if path.extension().is_some_and(|extension| extension == "gz") {
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).map_err(unreadable)?;
        } else {
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        let file: ClipFile =
            serde_json::from_str(&text).map_err(|error| ImitationError::manifest(path, "JSON", error.to_string()))?;
        let rate_hz = file.metadata.mocap_hz;
        file.clips.into_iter().map(|clip| Self::from_clip(path, clip, rate_hz)).collect()
    }

    fn from_clip(path: &Path, clip: Clip, rate_hz: f64) -> Result<Self, ImitationError> {
        let posture = |(index, row): (usize, &Vec<f64>)| {
            Qpos::try_from(row.as_slice()).map_err(|_| {
                let reason = format!("{} values; expected {QPOS_LEN}", row.len());
                ImitationError::manifest(path, format!("clips.{}.qpos[{index}]", clip.name), reason)
            })
        };
        let qpos = clip.qpos.iter().enumerate().map(posture).collect::<Result<_, _>>()?;
        Ok(Self { name: clip.name, rate_hz, qpos })
    }

    /// What the animal does in this motion, by its root alone: `rear`, `walk` or `still`.
    pub fn behaviour(&self) -> &'static str {
        self.behaviour_of(0..self.qpos.len())
    }

    /// As [`behaviour`](Self::behaviour), of some frames.
    pub fn behaviour_of(&self, frames: std::ops::Range<usize>) -> &'static str {
        let qpos = &self.qpos[frames];
        let frames = qpos.len().max(2);
        let up = qpos.iter().filter(|q| 2.0 * (q[4] * q[6] - q[5] * q[3]) > REAR_UP).count();
        let path: f64 = qpos.windows(2).map(|w| (w[1][0] - w[0][0]).hypot(w[1][1] - w[0][1])).sum();
        if 3 * up > frames {
            "rear"
        } else if path * self.rate_hz / frames as f64 > WALK_M_PER_S {
            "walk"
        } else {
            "still"
        }
    }
}
