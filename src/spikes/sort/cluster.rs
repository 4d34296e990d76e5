//! Clusters of features whose noise is known: density peaks, then the merging of what no valley divides.
//!
//! Features are whitened by the noise, so one cell's cloud is about one sigma wide in every direction and the scale of
//! everything here is known beforehand:
//!
//! 1. The density at a point is the inverse of the distance to its 15th neighbour.
//! 2. Each point climbs to the nearest denser one among those neighbours; points without one are peaks. Points that
//!    reach the same peak are a parcel. Parcels are too many, never too few.
//! 3. Neighbouring parcels are projected on the line between them; where the density along it has no significant valley
//!    the two become one.

use super::linear::{FEATURES, Features, distance2};

/// Neighbours that make the density.
pub(super) const NEIGHBOURS: usize = 15;
/// Parcels that are looked at; the smallest beyond that dissolve.
pub(super) const PARCELS_MAX: usize = 64;
/// Label of a point that belongs to no cluster.
pub(super) const NONE: u16 = u16::MAX;
/// A valley lower than this part of the lower peak divides...
const VALLEY_RATIO: f32 = 0.70;
/// ...if counts make it certain by this many sigmas.
const VALLEY_SIGMAS: f32 = 2.5;
/// Kernel and step of the density along a line, in noise sigmas.
const KERNEL: f32 = 0.5;
const STEP: f32 = 0.25;
const STEPS_MAX: usize = 512;

/// Distances of one point to all, and what a density pass needs of them.
pub(super) struct Neighbourhood {
    distances: Vec<f32>,
    scratch: Vec<f32>,
}

impl Neighbourhood {
    pub(super) fn new(points_max: usize) -> Self {
        Self { distances: vec![0.0; points_max], scratch: vec![0.0; points_max] }
    }

    fn measure(&mut self, points: &[Features], index: usize) {
        for (distance, point) in self.distances.iter_mut().zip(points) {
            *distance = distance2(&points[index], point);
        }
    }

    /// Squared distance to the `NEIGHBOURS`-th neighbour.
    pub(super) fn radius2(&mut self, points: &[Features], index: usize) -> f32 {
        self.measure(points, index);
        let scratch = &mut self.scratch[..points.len()];
        scratch.copy_from_slice(&self.distances[..points.len()]);
        let nth = NEIGHBOURS.min(points.len() - 1);
        *scratch.select_nth_unstable_by(nth, f32::total_cmp).1
    }

    /// The nearest point that is denser and no further than the point's own radius; itself if there is none.
    pub(super) fn climb(&mut self, points: &[Features], radius2: &[f32], index: usize) -> u16 {
        self.measure(points, index);
        let mut best = (radius2[index], index);
        for (other, &distance) in self.distances[..points.len()].iter().enumerate() {
            let denser = (radius2[other], other) < (radius2[index], index);
            if denser && distance <= best.0 {
                best = (distance, other);
            }
        }
        best.1 as u16
    }
}

/// Follows every climb to its peak and numbers the peaks by size; peaks beyond [`PARCELS_MAX`] dissolve.
/// Returns the number of parcels. `parents` becomes labels.
pub(super) fn parcels(parents: &mut [u16], sizes: &mut [u32]) -> usize {
    let n = parents.len();
    // Parents are denser, so a chain never loops; halving keeps it short.
    for i in 0..n {
        let mut at = i;
        while usize::from(parents[at]) != at {
            parents[at] = parents[usize::from(parents[at])];
            at = usize::from(parents[at]);
        }
        parents[i] = at as u16;
    }
    sizes[..n].fill(0);
    for &root in parents.iter() {
        sizes[usize::from(root)] += 1;
    }
    let mut number = [NONE; PARCELS_MAX];
    let mut count = 0;
    while count < PARCELS_MAX {
        let largest = (0..n).filter(|&i| sizes[i] > 0).max_by_key(|&i| (sizes[i], n - i));
        let Some(largest) = largest else { break };
        sizes[largest] = 0;
        number[count] = largest as u16;
        count += 1;
    }
    for label in parents.iter_mut() {
        *label = number[..count].iter().position(|root| root == label).map_or(NONE, |place| place as u16);
    }
    count
}

/// Merges parcels pair by pair; one call looks at one pair.
pub(super) struct Merger {
    means: [Features; PARCELS_MAX],
    counts: [u32; PARCELS_MAX],
    tested: [[bool; PARCELS_MAX]; PARCELS_MAX],
    count: usize,
    histogram: [f32; STEPS_MAX],
}

impl Merger {
    pub(super) fn new() -> Self {
        Self {
            means: [[0.0; FEATURES]; PARCELS_MAX],
            counts: [0; PARCELS_MAX],
            tested: [[false; PARCELS_MAX]; PARCELS_MAX],
            count: 0,
            histogram: [0.0; STEPS_MAX],
        }
    }

    pub(super) fn begin(&mut self, points: &[Features], labels: &[u16], count: usize) {
        self.count = count;
        self.tested = [[false; PARCELS_MAX]; PARCELS_MAX];
        for label in 0..count {
            self.measure(points, labels, label);
        }
    }

    fn measure(&mut self, points: &[Features], labels: &[u16], label: usize) {
        let mut sum = [0.0; FEATURES];
        let mut count = 0;
        for (point, _) in points.iter().zip(labels).filter(|(_, l)| usize::from(**l) == label) {
            sum.iter_mut().zip(point).for_each(|(s, x)| *s += x);
            count += 1;
        }
        self.counts[label] = count;
        self.means[label] = sum.map(|s| s / count.max(1) as f32);
    }

    /// Tests the closest pair not tested yet; `false` when none is left.
    pub(super) fn step(&mut self, points: &[Features], labels: &mut [u16]) -> bool {
        let mut best = (f32::INFINITY, 0, 0);
        for a in 0..self.count {
            for b in a + 1..self.count {
                if self.counts[a] > 0 && self.counts[b] > 0 && !self.tested[a][b] {
                    let distance = distance2(&self.means[a], &self.means[b]);
                    if distance < best.0 {
                        best = (distance, a, b);
                    }
                }
            }
        }
        let (distance, a, b) = best;
        if !distance.is_finite() {
            return false;
        }
        if self.divided(points, labels, a, b, distance.sqrt()) {
            self.tested[a][b] = true;
            return true;
        }
        labels.iter_mut().filter(|l| usize::from(**l) == b).for_each(|l| *l = a as u16);
        self.counts[b] = 0;
        self.measure(points, labels, a);
        for other in 0..self.count {
            self.tested[a.min(other)][a.max(other)] = false;
        }
        true
    }

    /// Whether the density along the line from `a` to `b` has a significant valley.
    fn divided(&mut self, points: &[Features], labels: &[u16], a: usize, b: usize, length: f32) -> bool {
        let steps = ((length / STEP) as usize + 1).min(STEPS_MAX);
        let step = length / (steps - 1).max(1) as f32;
        if length < 2.0 * KERNEL {
            return false;
        }
        let (from, to) = (self.means[a], self.means[b]);
        let direction: Features = std::array::from_fn(|i| (to[i] - from[i]) / length);
        let density = &mut self.histogram[..steps];
        density.fill(0.0);
        let reach = (3.0 * KERNEL / step).ceil() as isize;
        for (point, &label) in points.iter().zip(labels) {
            if usize::from(label) != a && usize::from(label) != b {
                continue;
            }
            let along: f32 = (0..FEATURES).map(|i| (point[i] - from[i]) * direction[i]).sum();
            let centre = (along / step).round() as isize;
            for place in (centre - reach).max(0)..=(centre + reach).min(steps as isize - 1) {
                let d = (place as f32 * step - along) / KERNEL;
                density[place as usize] += (-0.5 * d * d).exp();
            }
        }
        // The kernel's integral in places: density is then the expected count within KERNEL * sqrt(2 pi).
        let top = |range: std::ops::Range<usize>, density: &[f32]| {
            range.max_by(|&i, &j| density[i].total_cmp(&density[j])).unwrap_or(0)
        };
        let (peak_a, peak_b) = (top(0..steps / 2 + 1, density), top(steps / 2..steps, density));
        let valley = density[peak_a..=peak_b.max(peak_a)].iter().copied().fold(f32::INFINITY, f32::min);
        let lower = density[peak_a].min(density[peak_b]);
        valley < VALLEY_RATIO * lower && lower - valley > VALLEY_SIGMAS * (lower + valley).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    #[test]
    fn finds_as_many_clouds_as_there_are() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let mut gauss = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        for clouds in 1..6_usize {
            let mut points: Vec<Features> = Vec::new();
            for i in 0..900 {
                let mut point: Features = std::array::from_fn(|_| gauss());
                point[i % clouds] += 9.0;
                points.push(point);
            }
            let mut near = Neighbourhood::new(points.len());
            let radius: Vec<f32> = (0..points.len()).map(|i| near.radius2(&points, i)).collect();
            let mut labels: Vec<u16> = (0..points.len()).map(|i| near.climb(&points, &radius, i)).collect();
            let mut sizes = vec![0; points.len()];
            let count = parcels(&mut labels, &mut sizes);
            assert!(count >= clouds);
            let mut merger = Merger::new();
            merger.begin(&points, &labels, count);
            while merger.step(&points, &mut labels) {}
            let large = (0..count as u16).filter(|l| labels.iter().filter(|x| *x == l).count() > 30).count();
            assert_eq!(large, clouds, "from {count} parcels");
        }
    }
}
