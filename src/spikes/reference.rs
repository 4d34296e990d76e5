//! The median of each chip's channels, subtracted from each of them.
//!
//! The median comes from a sorting network (Batcher's merge exchange, pruned to the comparators that the middle outputs
//! depend on) that runs on eight samples at a time: each comparator is a vector minimum and maximum, without branches.

/// Samples that one pass of the network sorts side by side.
const LANES: usize = 8;

type Lane = [f32; LANES];

/// Median reference over groups of channels.
pub struct MedianReference {
    groups: Vec<Group>,
    scratch: Vec<Lane>,
}

struct Group {
    /// Rows of the state that belong to the group and may be part of the median.
    members: Vec<u32>,
    /// Channels that the median is subtracted from.
    targets: Vec<u32>,
    network: Vec<(u16, u16)>,
}

impl MedianReference {
    /// `groups`: for each chip, the channels that make the median and the channels that it is subtracted from.
    /// Groups with fewer than three members are left alone: their median would be mostly the signal itself.
    pub fn new(groups: Vec<(Vec<u32>, Vec<u32>)>) -> Self {
        let groups: Vec<Group> = groups
            .into_iter()
            .filter(|(members, _)| members.len() >= 3)
            .map(|(members, targets)| Group { network: median_network(members.len()), members, targets })
            .collect();
        let largest = groups.iter().map(|g| g.members.len()).max().unwrap_or(0);
        Self { groups, scratch: vec![[0.0; LANES]; largest] }
    }

    /// Subtracts the medians from `rows`, sample-major with `channels` channels.
    pub fn subtract(&mut self, rows: &mut [f32], channels: usize) {
        for part in rows.chunks_mut(LANES * channels) {
            for group in &self.groups {
                group.subtract(part, channels, &mut self.scratch);
            }
        }
    }
}

impl Group {
    fn subtract(&self, rows: &mut [f32], channels: usize, scratch: &mut [Lane]) {
        let scratch = &mut scratch[..self.members.len()];
        for (lane, row) in rows.chunks_exact(channels).enumerate() {
            for (slot, &member) in scratch.iter_mut().zip(&self.members) {
                slot[lane] = row[member as usize];
            }
        }
        for &(low, high) in &self.network {
            let (x, y) = (scratch[low as usize], scratch[high as usize]);
            let (mut small, mut large) = ([0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                small[lane] = if x[lane] < y[lane] { x[lane] } else { y[lane] };
                large[lane] = if x[lane] < y[lane] { y[lane] } else { x[lane] };
            }
            scratch[low as usize] = small;
            scratch[high as usize] = large;
        }
        let (a, b) = (scratch[(self.members.len() - 1) / 2], scratch[self.members.len() / 2]);
        for (lane, row) in rows.chunks_exact_mut(channels).enumerate() {
            let median = 0.5 * (a[lane] + b[lane]);
            for &target in &self.targets {
                row[target as usize] -= median;
            }
        }
    }
}

/// Comparators that put the middle one or two of `n` values in their place.
fn median_network(n: usize) -> Vec<(u16, u16)> {
    let all = merge_exchange(n);
    let mut needed = vec![false; n];
    needed[(n - 1) / 2] = true;
    needed[n / 2] = true;
    let mut kept: Vec<(u16, u16)> = Vec::with_capacity(all.len());
    for &(low, high) in all.iter().rev() {
        if needed[low as usize] || needed[high as usize] {
            needed[low as usize] = true;
            needed[high as usize] = true;
            kept.push((low, high));
        }
    }
    kept.reverse();
    kept
}

/// Batcher's merge exchange sort for any `n` (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M).
fn merge_exchange(n: usize) -> Vec<(u16, u16)> {
    let mut pairs = Vec::new();
    if n < 2 {
        return pairs;
    }
    let top = n.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for i in 0..n.saturating_sub(d) {
                if i & p == r {
                    pairs.push((i as u16, (i + d) as u16));
                }
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_finds_the_median_of_any_count() {
        let mut seed = 1_u32;
        for n in 3..70 {
            let network = median_network(n);
            for _ in 0..50 {
                let mut values: Vec<u32> = (0..n)
                    .map(|_| {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        seed >> 24
                    })
                    .collect();
                let mut sorted = values.clone();
                sorted.sort_unstable();
                for &(low, high) in &network {
                    if values[low as usize] > values[high as usize] {
                        values.swap(low as usize, high as usize);
                    }
                }
                assert_eq!(values[n / 2], sorted[n / 2], "n = {n}");
                assert_eq!(values[(n - 1) / 2], sorted[(n - 1) / 2], "n = {n}");
            }
        }
        assert!(median_network(32).len() <= 191, "{} comparators", median_network(32).len());
    }

    #[test]
    fn removes_what_the_chip_shares_and_keeps_the_spike() {
        let channels = 8;
        let group = (0..8).collect::<Vec<u32>>();
        let mut reference = MedianReference::new(vec![(group.clone(), group)]);
        let mut rows: Vec<f32> = (0..11)
            .flat_map(|t| (0..channels).map(move |c| t as f32 * 10.0 + if c == 3 { -90.0 } else { 0.0 }))
            .collect();
        reference.subtract(&mut rows, channels);
        for row in rows.chunks(channels) {
            assert_eq!(row, [0.0, 0.0, 0.0, -90.0, 0.0, 0.0, 0.0, 0.0]);
        }
    }
}
