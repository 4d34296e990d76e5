//! What a picture looks like apart from the rat's pose: light, coat, arena, lens and sensor; and how it may be varied for
//! training.

use super::coat::CoatLook;
use super::random::Dice;

/// Something between lens and rat: a filled ellipse or rectangle in the image.
#[derive(Clone, Debug, PartialEq)]
pub struct Occluder {
    /// Centre, px.
    pub centre_px: [f64; 2],
    /// Half sizes along its own axes, px.
    pub half_px: [f64; 2],
    /// Angle of its first axis, rad.
    pub angle_rad: f64,
    /// Grey level, 0..255.
    pub grey: u8,
    /// Ellipse rather than rectangle.
    pub is_round: bool,
}

impl Occluder {
    /// Whether it covers `pixel`.
    pub fn covers(&self, pixel: [f64; 2]) -> bool {
        let [dx, dy] = [pixel[0] - self.centre_px[0], pixel[1] - self.centre_px[1]];
        let (sin, cos) = self.angle_rad.sin_cos();
        let along = [(dx * cos + dy * sin) / self.half_px[0], (dy * cos - dx * sin) / self.half_px[1]];
        if self.is_round {
            along[0].powi(2) + along[1].powi(2) <= 1.0
        } else {
            along[0].abs().max(along[1].abs()) <= 1.0
        }
    }
}

/// Light, coat, arena, lens and sensor of one camera's pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The rat's coat.
    pub coat: CoatLook,
    /// Direction toward the main light, world frame, any length.
    pub light: [f64; 3],
    /// Share of light that comes from everywhere.
    pub ambient: f64,
    /// Share of light from [`Self::light`].
    pub diffuse: f64,
    /// Grey level of a white surface facing the light, as a share of full scale.
    pub exposure: f64,
    /// Albedo of the arena's floor.
    pub floor: f64,
    /// Strength of the floor's texture, as a share of its albedo.
    pub floor_contrast: f64,
    /// Turn and shift of the floor's texture: angle (rad) and offset (m).
    pub floor_turn: [f64; 3],
    /// Albedo of what lies outside the arena.
    pub backdrop: f64,
    /// Strength of the wall's reflections.
    pub wall: f64,
    /// How dark the rat's shadow is, 0..1.
    pub shadow: f64,
    /// Loss of light in the image's corners, 0..1.
    pub vignette: f64,
    /// Standard deviation of an extra lens blur, px; 0 for none (the picture is antialiased anyway).
    pub blur_px: f64,
    /// Sensor noise at black, grey levels (standard deviation).
    pub noise_read: f64,
    /// Sensor noise added at full scale, grey levels (standard deviation).
    pub noise_shot: f64,
    /// Things in front of the rat.
    pub occluders: Vec<Occluder>,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            coat: CoatLook::default(),
            light: [0.35, -0.25, 1.0],
            ambient: 0.42,
            diffuse: 0.62,
            exposure: 1.12,
            floor: 0.44,
            floor_contrast: 0.16,
            floor_turn: [0.0; 3],
            backdrop: 0.27,
            wall: 0.20,
            shadow: 0.72,
            vignette: 0.22,
            blur_px: 0.0,
            noise_read: 1.3,
            noise_shot: 2.6,
            occluders: Vec::new(),
        }
    }
}

impl Look {
    /// The same rat, floor and lamp through a camera with `own`'s lens, sensor and occluders.
    pub fn through(&self, own: Self) -> Self {
        Self {
            exposure: own.exposure,
            vignette: own.vignette,
            blur_px: own.blur_px,
            noise_read: own.noise_read,
            noise_shot: own.noise_shot,
            occluders: own.occluders,
            ..self.clone()
        }
    }

    /// A look drawn at random for training: wider than anything the twin itself shows.
    pub fn randomised(seed: u64, width_px: u32, height_px: u32) -> Self {
        let mut dice = Dice::new(seed, 0x100c);
        let angle = dice.range(0.0, std::f64::consts::TAU);
        let tilt = dice.range(0.0, 1.3);
        let coat = CoatLook {
            hood: dice.range(0.04, 0.32),
            flank: dice.range(0.45, 0.9),
            skin: dice.range(0.35, 0.75),
            fur: dice.range(0.05, 0.35),
            hood_end_m: dice.range(0.035, 0.07),
            stripe_m: dice.range(0.004, 0.018),
            seed: dice.bits(),
        };
        let count = if dice.unit() < 0.3 { 1 + (dice.bits() % 2) as usize } else { 0 };
        Self {
            coat,
            light: [tilt * angle.cos(), tilt * angle.sin(), 1.0],
            ambient: dice.range(0.25, 0.6),
            diffuse: dice.range(0.3, 0.8),
            exposure: dice.range(0.7, 1.5),
            floor: dice.range(0.15, 0.65),
            floor_contrast: dice.range(0.02, 0.4),
            floor_turn: [dice.range(0.0, std::f64::consts::TAU), dice.range(-0.5, 0.5), dice.range(-0.5, 0.5)],
            backdrop: dice.range(0.03, 0.5),
            wall: dice.range(0.0, 0.4),
            shadow: dice.range(0.2, 0.95),
            vignette: dice.range(0.0, 0.45),
            blur_px: if dice.unit() < 0.4 { dice.range(0.3, 1.3) } else { 0.0 },
            noise_read: dice.range(0.3, 4.0),
            noise_shot: dice.range(0.5, 7.0),
            occluders: (0..count).map(|_| random_occluder(&mut dice, width_px, height_px)).collect(),
        }
    }
}

fn random_occluder(dice: &mut Dice, width_px: u32, height_px: u32) -> Occluder {
    Occluder {
        centre_px: [dice.range(0.15, 0.85) * f64::from(width_px), dice.range(0.2, 0.9) * f64::from(height_px)],
        half_px: [dice.range(4.0, 45.0), dice.range(8.0, 120.0)],
        angle_rad: dice.range(0.0, std::f64::consts::PI),
        grey: dice.range(5.0, 240.0) as u8,
        is_round: dice.unit() < 0.5,
    }
}
