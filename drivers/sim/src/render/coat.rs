//! The rat's coat: a hooded pattern, pink paws, nose and tail, dark eyes, and fur, as a small 3D texture over the resting
//! body, so that every part and either side look different to a network.

use super::random::{fractal_noise, mix};

const VOXEL_M: f64 = 0.002;
const COUNTS: [usize; 3] = [126, 56, 62];
const ORIGIN_M: [f64; 3] = [-0.094, -0.056, -0.004];

/// What the coat looks like; albedos in 0..1.
#[derive(Clone, Debug, PartialEq)]
pub struct CoatLook {
    /// Albedo of hood and stripe.
    pub hood: f64,
    /// Albedo of the flanks and belly.
    pub flank: f64,
    /// Albedo of the bare skin of paws, nose, ears and tail.
    pub skin: f64,
    /// How strongly the fur varies, as a share of the albedo.
    pub fur: f64,
    /// How far the hood reaches back along the body from the shoulders, m.
    pub hood_end_m: f64,
    /// Half width of the stripe along the spine, m.
    pub stripe_m: f64,
    /// Chooses the pattern's outline and the fur.
    pub seed: u64,
}

impl Default for CoatLook {
    fn default() -> Self {
        Self { hood: 0.13, flank: 0.74, skin: 0.55, fur: 0.16, hood_end_m: 0.052, stripe_m: 0.011, seed: 11 }
    }
}

/// Albedo over the resting body (body model's own scale), 0..255.
#[derive(Clone, Debug)]
pub(crate) struct Coat {
    voxels: Vec<u8>,
}

impl Coat {
    pub(crate) fn new(look: &CoatLook) -> Self {
        let mut voxels = Vec::with_capacity(COUNTS.iter().product());
        for index in 0..COUNTS.iter().product() {
            let cell = [index % COUNTS[0], (index / COUNTS[0]) % COUNTS[1], index / (COUNTS[0] * COUNTS[1])];
            let point = std::array::from_fn(|axis| ORIGIN_M[axis] + (cell[axis] as f64 + 0.5) * VOXEL_M);
            let fine = (mix(look.seed ^ mix(index as u64)) >> 40) as f64 / f64::from(1 << 23) - 1.0;
            let fur = 0.6 * fine + fractal_noise(look.seed ^ 7, point.map(|x| x / 0.006), 2);
            let albedo = albedo(look, point) * (1.0 + look.fur * fur);
            voxels.push((albedo.clamp(0.0, 1.0) * 255.0) as u8);
        }
        Self { voxels }
    }

    /// A resting point as texture coordinates.
    pub(crate) fn coordinates(rest_m: [f64; 3]) -> [f32; 3] {
        std::array::from_fn(|axis| {
            let cells = (rest_m[axis] - ORIGIN_M[axis]) / VOXEL_M;
            cells.clamp(0.0, COUNTS[axis] as f64 - 1.001) as f32
        })
    }

    /// Albedo at texture coordinates made by [`Self::coordinates`], or between them.
    #[inline(always)]
    pub(crate) fn sample(&self, [x, y, z]: [f32; 3]) -> f32 {
        // Between the corners of a thin triangle rounding may step a little outside.
        let [i, j, k] = [x, y, z].map(|v| v.clamp(0.0, 255.0) as i32 as usize);
        let index = i + COUNTS[0] * (j + COUNTS[1] * k);
        f32::from(self.voxels.get(index).copied().unwrap_or(128))
    }
}

/// Albedo at a resting point: places as in the resting body model (nose at x = 0.157 m, tail base at -0.07 m).
fn albedo(look: &CoatLook, [x, y, z]: [f64; 3]) -> f64 {
    let side = y.abs();
    let from = |cx: f64, cy: f64, cz: f64| ((x - cx).powi(2) + (side - cy).powi(2) + (z - cz).powi(2)).sqrt();
    if from(0.1155, 0.0165, 0.0935) < 0.0052 {
        return 0.03;
    }
    if from(0.157, 0.0, 0.083) < 0.006 {
        return look.skin * 1.15;
    }
    let is_ear = z > 0.1005 && side > 0.009 && (0.086..0.112).contains(&x);
    if is_ear {
        return if x > 0.0975 { look.skin } else { look.hood * 1.6 };
    }
    if x < -0.068 && side < 0.0065 {
        let ring = ((x * 1.4 - z) / 0.004 * std::f64::consts::TAU).sin();
        return look.skin * (0.82 + 0.06 * ring);
    }
    if z < 0.016 {
        return look.skin * 1.1;
    }
    let wobble = 0.012 * fractal_noise(look.seed, [x / 0.03, y / 0.03, z / 0.03], 2);
    let is_hood = x + wobble > look.hood_end_m && z + wobble > 0.042;
    let patch = fractal_noise(look.seed ^ 3, [x / 0.022, y / 0.018, z / 0.03], 2);
    let is_stripe = side + wobble * 0.6 < look.stripe_m + 0.007 * patch && z > 0.075;
    let is_spot = patch > 0.62 && z > 0.05;
    if is_hood || is_stripe || is_spot { look.hood } else { look.flank }
}
