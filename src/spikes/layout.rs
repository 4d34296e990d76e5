//! Which device channel is which wire of which tetrode, and which channels share a chip.

use super::TETRODE_CHANNELS;

/// Order of an array's channels inside the stage: tetrode by tetrode, four each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelLayout {
    /// Device channel of each inner channel.
    pub device_channel: Vec<u16>,
    /// Whether each inner channel is dead.
    pub dead: Vec<bool>,
}

impl ChannelLayout {
    /// Four channels in a row make a tetrode.
    pub fn in_rows(channels: usize, dead: &[usize]) -> Self {
        let device_channel: Vec<u16> = (0..channels as u16).collect();
        Self { dead: (0..channels).map(|c| dead.contains(&c)).collect(), device_channel }
    }

    /// Tetrodes as given.
    pub fn of_tetrodes(tetrodes: &[[u16; TETRODE_CHANNELS]], dead: &[usize]) -> Self {
        let device_channel: Vec<u16> = tetrodes.iter().flatten().copied().collect();
        Self { dead: device_channel.iter().map(|&c| dead.contains(&usize::from(c))).collect(), device_channel }
    }

    /// Inner channels.
    pub fn channels(&self) -> usize {
        self.device_channel.len()
    }

    /// Whether inner and device order are the same.
    pub fn is_identity(&self) -> bool {
        self.device_channel.iter().enumerate().all(|(inner, &device)| inner == usize::from(device))
    }

    /// For each chip of `per_chip` device channels: members of its median (living) and all its channels.
    pub fn chips(&self, per_chip: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
        if per_chip == 0 {
            return Vec::new();
        }
        let chips = self.device_channel.iter().map(|&d| usize::from(d) / per_chip).max().map_or(0, |last| last + 1);
        let mut groups = vec![(Vec::new(), Vec::new()); chips];
        for (inner, &device) in self.device_channel.iter().enumerate() {
            let group = &mut groups[usize::from(device) / per_chip];
            group.1.push(inner as u32);
            if !self.dead[inner] {
                group.0.push(inner as u32);
            }
        }
        groups
    }
}
