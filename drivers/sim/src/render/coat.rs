//! The rat's coat: a hooded pattern, pink paws, nose and tail, dark eyes, and fur, laid over the resting body, so that every
//! part and either side look different to a network.

use super::random::{fractal_noise, mix};

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

/// Albedo of every vertex of the skin, 0..255; between them it runs evenly (vertices are 2 mm apart on paws and head, 9 mm on the
/// flanks).
#[derive(Clone, Debug)]
pub(crate) struct Coat {
    pub(crate) albedos: Vec<f32>,
}

impl Coat {
    /// The coat over a skin whose vertices lie at `rest_m` in the resting body (body model's own scale).
    pub(crate) fn new(look: &CoatLook, rest_m: &[[f64; 3]]) -> Self {
        let shade = |(index, point): (usize, &[f64; 3])| {
            let fine = (mix(look.seed ^ mix(index as u64)) >> 40) as f64 / f64::from(1 << 23) - 1.0;
            let fur = 0.6 * fine + fractal_noise(look.seed ^ 7, point.map(|x| x / 0.006), 2);
            let albedo = albedo(look, *point) * (1.0 + look.fur * fur);
            (albedo.clamp(0.0, 1.0) * 255.0) as f32
        };
        Self { albedos: rest_m.iter().enumerate().map(shade).collect() }
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
