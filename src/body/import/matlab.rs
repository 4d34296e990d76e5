//! DANNCE predictions: `pred` (frames × 3 × keypoints, or frames × 1 × 3 × keypoints) and, where it is, `p_max`.

use std::path::Path;

use super::{CERTAIN, Recording, keypoint, unusable};
use crate::body::BodyError;
use crate::geometry::mat::{MatArray, MatFile};

pub(super) fn read(path: &Path) -> Result<Recording, BodyError> {
    let file = MatFile::open(path).map_err(|error| unusable(path, error.to_string()))?;
    let predictions = file.numbers("pred").map_err(|error| unusable(path, error.to_string()))?;
    let dims: Vec<usize> =
        predictions.dims.iter().copied().enumerate().filter(|&(i, n)| i == 0 || n != 1).map(|d| d.1).collect();
    let [frames, 3, keypoints] = dims[..] else {
        return Err(unusable(path, format!("pred is {:?}: expected frames x 3 x keypoints", predictions.dims)));
    };
    let scores = file.numbers("p_max").ok().filter(|scores| scores.data.len() == frames * keypoints);
    let frames = (0..frames).map(|frame| row(predictions, scores, frame, frames, keypoints)).collect();
    Ok(Recording { path: path.to_owned(), names: names(&file).unwrap_or_default(), frames })
}

fn row(
    predictions: &MatArray,
    scores: Option<&MatArray>,
    frame: usize,
    frames: usize,
    keypoints: usize,
) -> Vec<crate::pose::Keypoint> {
    let at = |axis: usize, index: usize| predictions.data[frame + frames * (axis + 3 * index)];
    (0..keypoints)
        .map(|index| {
            let score = scores.map_or(1.0, |scores| scores.data[frame + frames * index] / CERTAIN);
            keypoint([at(0, index), at(1, index), at(2, index)], score)
        })
        .collect()
}

/// Names beside the predictions, where somebody put them.
fn names(file: &MatFile) -> Option<Vec<String>> {
    let names = ["joint_names", "keypoint_names", "names"].iter().find_map(|name| file.get(name).ok())?;
    names.cells()?.iter().map(|cell| cell.text().map(str::to_owned)).collect()
}
