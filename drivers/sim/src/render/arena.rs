//! The empty arena as each camera sees it: a textured floor, a clear cylinder wall, a dim room. Computed once per camera.

use super::camera::TwinCamera;
use super::look::Look;
use super::random::{fractal_noise, mix};

/// Radius of the arena, m.
pub const ARENA_RADIUS_M: f64 = 0.5;
/// Height of the clear wall, m.
const WALL_HEIGHT_M: f64 = 0.3;
const TEXELS: usize = 512;
const TEXEL_M: f64 = 0.002;

/// The floor's texture, tiling every 1.024 m; 128 is the mean.
#[derive(Clone, Debug)]
pub struct FloorTexture {
    texels: Vec<u8>,
}

impl FloorTexture {
    /// A texture of specks, stains and scratches. Takes about 0.1 s.
    pub fn new(seed: u64) -> Self {
        let period = TEXELS as f64 * TEXEL_M;
        let texels = (0..TEXELS * TEXELS)
            .map(|index| {
                let angles = [(index % TEXELS) as f64, (index / TEXELS) as f64].map(|x| x * TEXEL_M / period);
                let [x, y] = angles.map(|x| 1.0 - (2.0 * x - 1.0).abs());
                let broad = fractal_noise(seed, [x / 0.14, y / 0.14, 0.5], 3);
                let grain = (mix(seed ^ mix(index as u64)) >> 40) as f64 / f64::from(1 << 23) - 1.0;
                let is_speck = mix(seed ^ 0x5eed ^ mix((index / 2) as u64)).is_multiple_of(331);
                let speck = if is_speck { 1.6 * grain } else { 0.0 };
                (128.0 + 46.0 * (broad + 0.55 * grain + speck)).clamp(0.0, 255.0) as u8
            })
            .collect();
        Self { texels }
    }

    /// Variation at a floor point, about -1..1.
    fn sample(&self, [x, y]: [f64; 2]) -> f64 {
        let wrap = |v: f64| (v / TEXEL_M).rem_euclid(TEXELS as f64);
        let (u, v) = (wrap(x), wrap(y));
        let (i, j) = (u as usize % TEXELS, v as usize % TEXELS);
        let (fu, fv) = (u.fract(), v.fract());
        let at = |i: usize, j: usize| f64::from(self.texels[(j % TEXELS) * TEXELS + i % TEXELS]);
        let top = at(i, j) * (1.0 - fu) + at(i + 1, j) * fu;
        let bottom = at(i, j + 1) * (1.0 - fu) + at(i + 1, j + 1) * fu;
        (top * (1.0 - fv) + bottom * fv) / 64.0 - 2.0
    }
}

/// What one camera sees of the empty arena.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    /// Grey levels, row by row.
    pub(crate) pixels: Vec<u8>,
    /// Floor point (x, y) of every pixel, m; NaN where the pixel does not show the arena's floor.
    pub(crate) floor_m: Vec<[f32; 2]>,
}

impl Background {
    pub(crate) fn new(camera: &TwinCamera, look: &Look, texture: &FloorTexture) -> Self {
        let centre = camera.centre_m();
        let count = (camera.width_px * camera.height_px) as usize;
        let mut pixels = Vec::with_capacity(count);
        let mut floor_m = Vec::with_capacity(count);
        for row in 0..camera.height_px {
            for column in 0..camera.width_px {
                let pixel = [f64::from(column), f64::from(row)];
                let [x, y] = camera.direction(pixel);
                let ray = camera.to_world([x, y, 1.0]);
                let (light, floor) = shade(look, texture, centre, ray);
                let light = light * vignette(camera, look, pixel) * look.exposure;
                pixels.push((light * 255.0 + 0.5).clamp(0.0, 255.0) as u8);
                floor_m.push(floor.map_or([f32::NAN; 2], |point| point.map(|x| x as f32)));
            }
        }
        if look.blur_px > 0.0 {
            super::blur::gaussian(&mut pixels, camera.width_px as usize, look.blur_px);
        }
        Self { pixels, floor_m }
    }
}

/// Share of light the lens passes at `pixel`.
pub(crate) fn vignette(camera: &TwinCamera, look: &Look, pixel: [f64; 2]) -> f64 {
    let half = [f64::from(camera.width_px) / 2.0, f64::from(camera.height_px) / 2.0];
    let from_centre = (pixel[0] - half[0]).powi(2) + (pixel[1] - half[1]).powi(2);
    1.0 - look.vignette * from_centre / (half[0].powi(2) + half[1].powi(2))
}

/// Light along one ray, and the arena floor point it meets.
fn shade(look: &Look, texture: &FloorTexture, centre: [f64; 3], ray: [f64; 3]) -> (f64, Option<[f64; 2]>) {
    let glare = wall_glare(look, centre, ray);
    if ray[2] < -1e-6 {
        let reach = -centre[2] / ray[2];
        let point = [centre[0] + reach * ray[0], centre[1] + reach * ray[1]];
        let radius = point[0].hypot(point[1]);
        let irradiance = look.ambient + look.diffuse;
        if radius < ARENA_RADIUS_M {
            let [angle, dx, dy] = look.floor_turn;
            let (sin, cos) = angle.sin_cos();
            let turned = [point[0] * cos - point[1] * sin + dx, point[0] * sin + point[1] * cos + dy];
            let albedo = look.floor * (1.0 + look.floor_contrast * texture.sample(turned));
            let falloff = 1.0 - 0.28 * (radius / ARENA_RADIUS_M).powi(2);
            let seam = 1.0 - 0.45 * (-(ARENA_RADIUS_M - radius) / 0.012).exp();
            return (albedo * irradiance * falloff * seam + glare, Some(point));
        }
        if radius < 1.35 {
            let rim = 1.0 - 0.6 * (-(radius - ARENA_RADIUS_M) / 0.01).exp();
            let table = look.backdrop * (1.35 - 0.4 * radius) * (1.0 + 0.04 * texture.sample(point.map(|x| x * 0.3)));
            return (table * irradiance * rim + glare, None);
        }
    }
    let length = (ray[0].powi(2) + ray[1].powi(2) + ray[2].powi(2)).sqrt();
    let rise = ray[2] / length;
    let azimuth = ray[1].atan2(ray[0]);
    let folds = 0.08 * (azimuth * 37.0).sin() + 0.05 * (azimuth * 91.0 + 1.3).sin();
    (look.backdrop * (0.62 + 1.1 * rise + folds).max(0.05) + glare, None)
}

/// What the clear wall adds: grazing reflections, and its rim.
fn wall_glare(look: &Look, centre: [f64; 3], ray: [f64; 3]) -> f64 {
    let a = ray[0].powi(2) + ray[1].powi(2);
    let b = centre[0] * ray[0] + centre[1] * ray[1];
    let c = centre[0].powi(2) + centre[1].powi(2) - ARENA_RADIUS_M.powi(2);
    let under = b * b - a * c;
    if under <= 0.0 || a <= 0.0 {
        return 0.0;
    }
    let length = (a + ray[2].powi(2)).sqrt();
    let mut glare = 0.0;
    for reach in [(-b - under.sqrt()) / a, (-b + under.sqrt()) / a] {
        let hit: [f64; 3] = std::array::from_fn(|axis| centre[axis] + reach * ray[axis]);
        if reach <= 0.0 || !(0.0..WALL_HEIGHT_M).contains(&hit[2]) {
            continue;
        }
        let facing = ((hit[0] * ray[0] + hit[1] * ray[1]) / (ARENA_RADIUS_M * length)).abs();
        glare += 0.9 * (1.0 - facing).powi(4) + 0.03;
        let azimuth = hit[1].atan2(hit[0]);
        glare += 0.14 * (-((azimuth * 2.0 + 0.7).sin() / 0.06).powi(2)).exp() * (0.4 + hit[2] / WALL_HEIGHT_M);
        if hit[2] > WALL_HEIGHT_M - 0.004 {
            glare += 0.45;
        }
    }
    look.wall * glare
}
