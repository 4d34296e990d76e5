//! Which frames to fit to: a set that covers the postures of a recording.

use crate::pose::Keypoint;

/// Frames looked at; longer recordings are thinned evenly first.
const CANDIDATES_MAX: usize = 20_000;

/// Chooses at most `count` frames of a recording, in their order, by farthest-point sampling: each new one is the frame
/// least like all those chosen so far. Frames are compared by the distances between their keypoints, which do not depend on
/// where the animal is and where it looks. Frames with fewer than half of the keypoints are passed over.
pub fn diverse(frames: &[Vec<Keypoint>], count: usize) -> Vec<usize> {
    let usable = |frame: &&Vec<Keypoint>| 2 * frame.iter().filter(|k| k.confidence > 0.0).count() >= frame.len().max(1);
    let all: Vec<usize> = (0..frames.len()).filter(|&index| usable(&&frames[index])).collect();
    if all.len() <= count {
        return all;
    }
    let stride = all.len().div_ceil(CANDIDATES_MAX);
    let candidates: Vec<usize> = all.into_iter().step_by(stride).collect();
    let features = features(frames, &candidates);
    let mut nearest = vec![f32::INFINITY; candidates.len()];
    let mut chosen = Vec::with_capacity(count);
    let mut next = 0;
    while chosen.len() < count.min(candidates.len()) {
        chosen.push(candidates[next]);
        let from = features[next].clone();
        let mut farthest = (0, -1.0);
        for (index, near) in nearest.iter_mut().enumerate() {
            *near = near.min(apart(&from, &features[index]));
            if *near > farthest.1 {
                farthest = (index, *near);
            }
        }
        next = farthest.0;
    }
    chosen.sort_unstable();
    chosen
}

/// Distances between pairs of keypoints; those of a missing keypoint are the recording's means.
fn features(frames: &[Vec<Keypoint>], candidates: &[usize]) -> Vec<Vec<f32>> {
    let keypoints = frames.first().map_or(0, Vec::len);
    // Each keypoint against three others, spread over the body, says as much as all pairs.
    let pairs: Vec<(usize, usize)> = (0..keypoints)
        .flat_map(|a| [1, keypoints / 3 + 1, keypoints / 2 + 1].map(|step| (a, (a + step) % keypoints)))
        .filter(|(a, b)| a != b)
        .collect();
    let mut features: Vec<Vec<f32>> = candidates
        .iter()
        .map(|&index| pairs.iter().map(|&(a, b)| between(&frames[index][a], &frames[index][b])).collect())
        .collect();
    for column in 0..pairs.len() {
        let seen = || features.iter().map(|row| row[column]).filter(|value| value.is_finite());
        let mean = seen().sum::<f32>() / seen().count().max(1) as f32;
        features.iter_mut().filter(|row| row[column].is_nan()).for_each(|row| row[column] = mean);
    }
    features
}

fn between(a: &Keypoint, b: &Keypoint) -> f32 {
    if a.confidence <= 0.0 || b.confidence <= 0.0 {
        return f32::NAN;
    }
    a.xyz_m.iter().zip(b.xyz_m).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() as f32
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
