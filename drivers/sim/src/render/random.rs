//! Small deterministic random numbers for textures and noise: a hash instead of a generator, so that any pixel, voxel or
//! frame can be asked for on its own.

/// Mixes 64 bits well (the SplitMix64 finaliser).
pub(crate) const fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A stream of uniform numbers from one key.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Smooth noise in [-1, 1] over 3-space with unit grid.
pub(crate) fn smooth_noise(seed: u64, point: [f64; 3]) -> f64 {
    let cell = point.map(f64::floor);
    let fade: [f64; 3] = std::array::from_fn(|axis| {
        let t = point[axis] - cell[axis];
        t * t * (3.0 - 2.0 * t)
    });
    let mut total = 0.0;
    for corner in 0..8u64 {
        let bit = |axis: usize| (corner >> axis) & 1;
        let mut key = seed;
        let mut weight = 1.0;
        for axis in 0..3 {
            key = mix(key ^ ((cell[axis] as i64).wrapping_add(bit(axis) as i64) as u64));
            weight *= if bit(axis) == 1 { fade[axis] } else { 1.0 - fade[axis] };
        }
        total += weight * ((key >> 11) as f64 / (1u64 << 52) as f64 - 1.0);
    }
    total
}

/// Smooth noise summed over `octaves` octaves, each half as strong and twice as fine.
pub(crate) fn fractal_noise(seed: u64, point: [f64; 3], octaves: u32) -> f64 {
    let mut scale = 1.0;
    let mut total = 0.0;
    for octave in 0..octaves {
        total += smooth_noise(seed ^ u64::from(octave), point.map(|x| x * scale)) / scale;
        scale *= 2.0;
    }
    total
}
