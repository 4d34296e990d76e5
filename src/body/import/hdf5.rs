//! HDF5: SLEAP and sleap-anipose (`tracks`), stac-mjx (`kp_data`), DANNCE predictions saved as MATLAB 7.3 (`pred`).
//!
//! These programs disagree about the order of the axes, so it is read off the data: one axis has length 3, the number of
//! names (or, where there are none, the larger of the others) tells frames from keypoints.

use std::path::Path;

use rust_hdf5::{H5Dataset, H5File};

use super::{CERTAIN, Recording, keypoint, unusable};
use crate::body::BodyError;

/// Data sets that hold positions, in the order in which they are looked for.
const POSITIONS: [&str; 8] =
    ["tracks", "pred", "points3d", "points3D", "keypoints", "keypoints_3d", "kp_data", "data_3D"];
/// Data sets that hold confidences.
const SCORES: [&str; 5] = ["point_scores", "p_max", "scores", "confidence", "likelihood"];
/// Data sets that hold names.
const NAMES: [&str; 6] = ["node_names", "kp_names", "keypoint_names", "joint_names", "bodyparts", "names"];

/// Whether the bytes begin as an HDF5 file does: at 0, or after MATLAB's 512 bytes of text.
pub(super) fn is_hdf5(head: &[u8]) -> bool {
    [0, 512].iter().any(|&at| head.get(at..at + 8).is_some_and(|bytes| bytes == b"\x89HDF\r\n\x1a\n"))
}

pub(super) fn read(path: &Path) -> Result<Recording, BodyError> {
    let file = H5File::options()
        .no_locking()
        .open(path)
        .map_err(|error| unusable(path, format!("cannot be read as HDF5: {error}")))?;
    let all = file.dataset_names();
    let named = |wanted: &str| all.iter().find(|name| name.rsplit('/').next() == Some(wanted));
    let Some(name) = POSITIONS.iter().find_map(|wanted| named(wanted)) else {
        let reason = format!("no positions: it has {}; expected one of {}", all.join(", "), POSITIONS.join(", "));
        return Err(unusable(path, reason));
    };
    let open = |name: &str| file.dataset(name).map_err(|error| unusable(path, format!("{name}: {error}")));
    let numbers = |set: &H5Dataset, name: &str| {
        set.read_numeric_as::<f64>()
            .or_else(|_| {
                set.read_numeric_as::<i64>().map(|whole| whole.into_iter().map(|value| value as f64).collect())
            })
            .map_err(|error| unusable(path, format!("{name}: {error}")))
    };
    let names: Vec<String> = match NAMES.iter().find_map(|wanted| named(wanted)) {
        Some(name) => open(name)?.read_strings_lossy().unwrap_or_default(),
        None => Vec::new(),
    };
    let set = open(name)?;
    let layout = layout(&set.shape(), names.len()).map_err(|reason| unusable(path, format!("{name}: {reason}")))?;
    let positions = numbers(&set, name)?;
    let scores = match SCORES.iter().find_map(|wanted| named(wanted)) {
        Some(scores) => {
            Scores::new(&open(scores)?.shape(), numbers(&open(scores)?, scores)?, &layout, scores == "p_max")
        }
        None => None,
    };
    let frames = (0..layout.frames).map(|frame| layout.frame(frame, &positions, scores.as_ref())).collect();
    let names = if names.len() == layout.keypoints { names } else { Vec::new() };
    Ok(Recording { path: path.to_owned(), names, frames })
}

/// Where things are in an array: lengths and steps between neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    frames: usize,
    keypoints: usize,
    frame_step: usize,
    keypoint_step: usize,
    axis_step: usize,
}

impl Layout {
    fn frame(&self, frame: usize, positions: &[f64], scores: Option<&Scores>) -> Vec<crate::pose::Keypoint> {
        (0..self.keypoints)
            .map(|index| {
                let start = frame * self.frame_step + index * self.keypoint_step;
                let xyz = [0, 1, 2].map(|axis| positions[start + axis * self.axis_step]);
                // Some write zeros for what was not found.
                let seen = xyz != [0.0; 3];
                keypoint(xyz, if seen { scores.map_or(1.0, |scores| scores.of(frame, index)) } else { f64::NAN })
            })
            .collect()
    }
}

/// Axes longer than one with their steps, outermost first.
fn axes(shape: &[usize]) -> Vec<(usize, usize)> {
    let mut step = 1;
    let mut axes = Vec::new();
    for &length in shape.iter().rev() {
        if length != 1 {
            axes.push((length, step));
        }
        step *= length;
    }
    axes.reverse();
    axes
}

fn layout(shape: &[usize], names: usize) -> Result<Layout, String> {
    let expected = "expected frames, keypoints and 3 coordinates, in any order, of one animal";
    let mut axes = axes(shape);
    if let [(frames, frame_step), (flat, step)] = axes[..]
        && flat % 3 == 0
        && flat > 3
    {
        let keypoints = flat / 3;
        return Ok(Layout { frames, keypoints, frame_step, keypoint_step: 3 * step, axis_step: step });
    }
    // The last axis of three is the coordinates, except where it is the frames of a very short file.
    let three = axes.iter().rposition(|(length, _)| *length == 3);
    let (Some(three), 3) = (three, axes.len()) else { return Err(format!("its shape is {shape:?}; {expected}")) };
    let (_, axis_step) = axes.remove(three);
    let [a, b] = axes[..] else { return Err(format!("its shape is {shape:?}; {expected}")) };
    let a_is_keypoints = if a.0 == names { b.0 != names } else { b.0 != names && a.0 < b.0 };
    let (keypoints, frames) = if a_is_keypoints { (a, b) } else { (b, a) };
    Ok(Layout { frames: frames.0, keypoints: keypoints.0, frame_step: frames.1, keypoint_step: keypoints.1, axis_step })
}

/// Confidences beside the positions.
struct Scores {
    values: Vec<f64>,
    frame_step: usize,
    keypoint_step: usize,
    /// The value from which a position is certain.
    certain: f64,
}

impl Scores {
    /// `None` where the shape is not that of the positions.
    fn new(shape: &[usize], values: Vec<f64>, layout: &Layout, is_peak: bool) -> Option<Self> {
        let [a, b] = axes(shape)[..] else { return None };
        let (frames, keypoints) = if (a.0, b.0) == (layout.frames, layout.keypoints) { (a, b) } else { (b, a) };
        ((frames.0, keypoints.0) == (layout.frames, layout.keypoints)).then_some(Self {
            values,
            frame_step: frames.1,
            keypoint_step: keypoints.1,
            certain: if is_peak { CERTAIN } else { 1.0 },
        })
    }

    fn of(&self, frame: usize, keypoint: usize) -> f64 {
        self.values[frame * self.frame_step + keypoint * self.keypoint_step] / self.certain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_are_told_apart() {
        let at = |layout: &Layout| {
            (layout.frames, layout.keypoints, layout.frame_step, layout.keypoint_step, layout.axis_step)
        };
        // sleap-anipose, SLEAP, MATLAB 7.3, stac-mjx.
        assert_eq!(at(&layout(&[1000, 1, 23, 3], 23).unwrap()), (1000, 23, 69, 3, 1));
        assert_eq!(at(&layout(&[1, 3, 23, 1000], 23).unwrap()), (1000, 23, 1, 1000, 23_000));
        assert_eq!(at(&layout(&[23, 3, 1000], 0).unwrap()), (1000, 23, 1, 3000, 1000));
        assert_eq!(at(&layout(&[1000, 69], 0).unwrap()), (1000, 23, 69, 3, 1));
        // Fewer frames than keypoints: the names tell.
        assert_eq!(at(&layout(&[10, 23, 3], 23).unwrap()), (10, 23, 69, 3, 1));
        assert!(layout(&[1000, 2, 23, 3], 23).unwrap_err().contains("of one animal"));
        assert!(layout(&[1000, 23, 2], 23).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points3d.h5");
        let file = H5File::create(&path).unwrap();
        let values: Vec<f32> = (0..4 * 2 * 3).map(|value| if value < 3 { f32::NAN } else { value as f32 }).collect();
        file.new_dataset::<f32>().shape([4, 1, 2, 3]).create("tracks").unwrap().write_raw(&values).unwrap();
        file.write_vlen_strings("node_names", &["Snout", "TailBase"]).unwrap();
        file.close().unwrap();
        let read = Recording::open(&path).unwrap();
        assert_eq!(read.names, ["Snout", "TailBase"]);
        assert_eq!(read.frames.len(), 4);
        assert_eq!(read.frames[0][0].confidence, 0.0);
        assert_eq!(read.frames[3][1].xyz_m, [21.0, 22.0, 23.0]);
    }

    #[test]
    fn mistakes_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.h5");
        std::fs::write(&path, b"not this").unwrap();
        assert!(Recording::open(&path).unwrap_err().to_string().contains("cannot be read as HDF5"));
        let file = H5File::create(&path).unwrap();
        file.new_dataset::<f32>().shape([2]).create("x").unwrap().write_raw(&[1.0_f32, 2.0]).unwrap();
        file.close().unwrap();
        assert!(Recording::open(&path).unwrap_err().to_string().contains("no positions: it has x"));
    }
}
