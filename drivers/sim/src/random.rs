//! Randomness as a pure function of place: no state, so that nothing depends on who asks first.

/// A well-mixed 64-bit number for `(seed, stream, index)`.
pub(crate) const fn hash(seed: u64, stream: u64, index: u64) -> u64 {
    mix(mix(mix(seed) ^ stream) ^ index)
}

/// Uniform in [0, 1).
pub(crate) fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    (hash(seed, stream, index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform in [low, high).
pub(crate) fn between(seed: u64, stream: u64, index: u64, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(seed, stream, index)
}

/// Standard normal (Box-Muller).
pub(crate) fn normal(seed: u64, stream: u64, index: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(seed, stream, 2 * index)).ln()).sqrt();
    radius * (core::f64::consts::TAU * uniform(seed, stream, 2 * index + 1)).cos()
}

/// The finaliser of `SplitMix64`.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_are_normal_and_streams_differ() {
        let draws: Vec<f64> = (0..20_000).map(|i| normal(1, 2, i)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert_ne!(hash(1, 2, 3), hash(1, 3, 2));
    }
}
