//! A small triangle rasteriser with two by two samples a pixel. One word a sample holds depth and shade, so that the nearest
//! surface is simply the largest word.

use super::camera::TwinCamera;
use super::coat::Coat;
use super::look::Look;
use super::scene::Scene;
use super::skin::Skin;

const SHADE_BITS: u32 = 12;
const DEPTH_SCALE: f32 = ((1u32 << (32 - SHADE_BITS)) - 2) as f32;

/// Triangles with less than half of this area (in samples) are not drawn: their slopes are too steep for single precision, and
/// their neighbours cover what they would.
const AREA_MIN: f32 = 0.02;

/// A vertex as the camera sees it; image coordinates in samples (two a pixel).
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    x: f32,
    y: f32,
    /// One over depth, scaled to 0..1 over the rat; negative where the vertex cannot be drawn.
    near: f32,
    /// Shade of the surface here, 0..4095.
    shade: f32,
}

/// Sample buffer over the part of the image that shows the rat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raster {
    seen: Vec<Seen>,
    samples: Vec<u32>,
    /// First column and row (pixels) of the buffer, and its size in pixels.
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// Inverse depth = `near_base + near_span * near`.
    near_base: f32,
    near_span: f32,
}

impl Raster {
    /// Draws the scene over `pixels`.
    pub(crate) fn draw(
        &mut self,
        camera: &TwinCamera,
        look: &Look,
        skin: &Skin,
        coat: &Coat,
        scene: &Scene,
        pixels: &mut [u8],
    ) {
        self.see(camera, look, coat, scene);
        if !self.frame(camera) {
            return;
        }
        for triangle in &skin.triangles {
            self.fill(triangle);
        }
        self.resolve(camera.width_px as usize, pixels);
    }

    /// Whether a point at `depth_m` behind `pixel` lies no further than `slack_m` behind the drawn surface.
    pub(crate) fn is_visible(&self, pixel: [f64; 2], depth_m: f64, slack_m: f64) -> bool {
        let column = (pixel[0] + 0.5).floor() - self.left as f64;
        let row = (pixel[1] + 0.5).floor() - self.top as f64;
        if column < 0.0 || row < 0.0 || column >= self.width as f64 || row >= self.height as f64 {
            return true;
        }
        let sample = self.samples[2 * row as usize * 2 * self.width + 2 * column as usize];
        if sample == 0 {
            return true;
        }
        let near = (sample >> SHADE_BITS) as f32 / DEPTH_SCALE;
        let surface_m = 1.0 / f64::from(self.near_base + self.near_span * near);
        depth_m <= surface_m + slack_m
    }

    fn see(&mut self, camera: &TwinCamera, look: &Look, coat: &Coat, scene: &Scene) {
        let r: [[f32; 3]; 3] = camera.rotation.map(|row| row.map(|x| x as f32));
        let t = camera.translation_m.map(|x| x as f32);
        let [k1, k2, p1, p2, k3] = camera.distortion.map(|x| x as f32);
        let [[fx, skew, cx], [_, fy, cy], _] = camera.k.map(|row| row.map(|x| x as f32));
        let half = [camera.width_px as f32 / 2.0, camera.height_px as f32 / 2.0];
        let corner = look.vignette as f32 / (half[0] * half[0] + half[1] * half[1]);
        let shading = Shading::new(look);
        self.seen.clear();
        let (mut least, mut most) = (f32::MAX, 0.0f32);
        for ((p, n), albedo) in scene.bent.points_m.iter().zip(&scene.bent.normals).zip(&coat.albedos) {
            let axis = |i: usize| r[i][0] * p[0] + r[i][1] * p[1] + r[i][2] * p[2] + t[i];
            let depth = axis(2);
            if depth < 0.05 {
                self.seen.push(Seen { near: -1.0, ..Seen::default() });
                continue;
            }
            let near = 1.0 / depth;
            let (x, y) = (axis(0) * near, axis(1) * near);
            let r2 = x * x + y * y;
            let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
            let dx = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x);
            let dy = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y;
            let (u, v) = (fx * dx + skew * dy + cx, fy * dy + cy);
            let off = (u - half[0]) * (u - half[0]) + (v - half[1]) * (v - half[1]);
            let shade = albedo * shading.light(n, p[2]) * (1.0 - corner * off).max(0.0);
            least = least.min(near);
            most = most.max(near);
            self.seen.push(Seen { x: 2.0 * u + 0.5, y: 2.0 * v + 0.5, near, shade });
        }
        self.near_base = least - 1e-4;
        self.near_span = most - least + 2e-4;
        let (base, scale) = (self.near_base, 1.0 / self.near_span);
        for seen in self.seen.iter_mut().filter(|seen| seen.near > 0.0) {
            seen.near = (seen.near - base) * scale;
        }
    }

    /// Chooses the part of the image to draw in; false when the rat is out of the picture.
    fn frame(&mut self, camera: &TwinCamera) -> bool {
        let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
        for seen in self.seen.iter().filter(|seen| seen.near >= 0.0) {
            low = [low[0].min(seen.x), low[1].min(seen.y)];
            high = [high[0].max(seen.x), high[1].max(seen.y)];
        }
        let limit = [camera.width_px as f32, camera.height_px as f32];
        let pixel = |v: f32, axis: usize| (v / 2.0).clamp(0.0, limit[axis]) as usize;
        (self.left, self.top) = (pixel(low[0] - 1.0, 0), pixel(low[1] - 1.0, 1));
        let (right, bottom) = (pixel(high[0] + 4.0, 0), pixel(high[1] + 4.0, 1));
        (self.width, self.height) = (right.saturating_sub(self.left), bottom.saturating_sub(self.top));
        let shift = [2.0 * self.left as f32, 2.0 * self.top as f32];
        for seen in &mut self.seen {
            seen.x -= shift[0];
            seen.y -= shift[1];
        }
        self.samples.clear();
        self.samples.resize(4 * self.width * self.height, 0);
        self.width > 0 && self.height > 0
    }

    #[inline(always)]
    fn fill(&mut self, triangle: &[u32; 3]) {
        let [a, b, c] = triangle.map(|corner| self.seen[corner as usize]);
        let twice_area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);
        if twice_area >= -AREA_MIN || a.near < 0.0 || b.near < 0.0 || c.near < 0.0 {
            return;
        }
        let (width, height) = (2 * self.width, 2 * self.height);
        let (x0, x1) = covered(a.x.min(b.x).min(c.x), a.x.max(b.x).max(c.x), width);
        let (y0, y1) = covered(a.y.min(b.y).min(c.y), a.y.max(b.y).max(c.y), height);
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let inverse = 1.0 / twice_area;
        let edge = |p: Seen, q: Seen| {
            let (dx, dy) = ((q.x - p.x) * inverse, (q.y - p.y) * inverse);
            Edge { step: [-dy, dx], value: dx * (y0 as f32 - p.y) + dy * p.x }
        };
        let (mut eb, mut ec) = (edge(c, a), edge(a, b));
        let mut ea =
            Edge { step: [-eb.step[0] - ec.step[0], -eb.step[1] - ec.step[1]], value: 1.0 - eb.value - ec.value };
        let at = [a.near * DEPTH_SCALE, a.shade];
        let along_b = [b.near * DEPTH_SCALE - at[0], b.shade - at[1]];
        let along_c = [c.near * DEPTH_SCALE - at[0], c.shade - at[1]];
        let step: [f32; 2] = std::array::from_fn(|k| along_b[k] * eb.step[0] + along_c[k] * ec.step[0]);
        for y in y0..y1 {
            let (mut low, mut high) = (x0 as f32, x1 as f32 - 1.0);
            for edge in [&mut ea, &mut eb, &mut ec] {
                edge.narrow(&mut low, &mut high);
                edge.value += edge.step[1];
            }
            if low > high {
                continue;
            }
            let (first, past) = covered(low, high, width);
            let (wb, wc) = (eb.before(first), ec.before(first));
            let mut value: [f32; 2] = std::array::from_fn(|k| at[k] + along_b[k] * wb + along_c[k] * wc);
            for sample in &mut self.samples[y * width + first..(y * width + past).max(y * width + first)] {
                let [near, shade] = value;
                let depth = ((near.clamp(0.0, DEPTH_SCALE) as i32 as u32) + 1) << SHADE_BITS;
                let shade = (shade as i32).clamp(0, (1 << SHADE_BITS) - 1) as u32;
                *sample = (*sample).max(depth | shade);
                value.iter_mut().zip(&step).for_each(|(value, step)| *value += step);
            }
        }
    }

    /// Averages the samples of each pixel over what was there before.
    fn resolve(&self, image_width: usize, pixels: &mut [u8]) {
        const MASK: u32 = (1 << SHADE_BITS) - 1;
        for row in 0..self.height {
            let upper = &self.samples[4 * row * self.width..][..2 * self.width];
            let lower = &self.samples[(4 * row + 2) * self.width..][..2 * self.width];
            let out = &mut pixels[(self.top + row) * image_width + self.left..][..self.width];
            for ((pixel, two), other) in out.iter_mut().zip(upper.chunks_exact(2)).zip(lower.chunks_exact(2)) {
                let four = [two[0], two[1], other[0], other[1]];
                if four == [0; 4] {
                    continue;
                }
                let behind = u32::from(*pixel) << (SHADE_BITS - 8);
                let sum: u32 = four.map(|sample| if sample == 0 { behind } else { sample & MASK }).iter().sum();
                *pixel = (sum >> (SHADE_BITS - 8 + 2)).min(255) as u8;
            }
        }
    }
}

/// One side of a triangle: a weight that is 1 at the far corner, 0 on the side, and linear between.
struct Edge {
    /// Change a sample to the right, and a sample down.
    step: [f32; 2],
    /// Weight at the present row's column 0.
    value: f32,
}

impl Edge {
    /// Narrows a span of columns to where the weight is not negative; neighbours overlap by a hair so that no sample
    /// between two triangles is missed.
    #[inline(always)]
    fn narrow(&self, low: &mut f32, high: &mut f32) {
        const HAIR: f32 = 1e-3;
        let zero = -self.value / self.step[0];
        if self.step[0] > 1e-9 {
            *low = low.max(zero - HAIR);
        } else if self.step[0] < -1e-9 {
            *high = high.min(zero + HAIR);
        } else if self.value < 0.0 {
            *high = -1.0;
        }
    }

    /// Weight at `column` of the row before the present one.
    #[inline(always)]
    fn before(&self, column: usize) -> f32 {
        self.value - self.step[1] + self.step[0] * column as f32
    }
}

/// Samples of a line of `limit` that lie in `low..=high`, as first and one past the last. (By conversion to whole numbers:
/// rounding is a function call on processors without SSE 4.1, which the build allows for.)
#[inline(always)]
fn covered(low: f32, high: f32, limit: usize) -> (usize, usize) {
    let floor = low.max(0.0) as i32;
    let first = floor + i32::from(low > floor as f32);
    let past = high.min(limit as f32 - 1.0) + 1.0;
    (first as usize, past.max(0.0) as i32 as usize)
}

/// Light on a surface by its direction.
struct Shading {
    light: [f32; 3],
    ambient: f32,
    diffuse: f32,
    /// From (albedo 0..255) * light to a shade.
    scale: f32,
}

impl Shading {
    fn new(look: &Look) -> Self {
        let length = look.light.iter().map(|x| x * x).sum::<f64>().sqrt();
        Self {
            light: look.light.map(|x| (x / length) as f32),
            ambient: look.ambient as f32,
            diffuse: look.diffuse as f32,
            scale: (look.exposure * f64::from(1 << (SHADE_BITS - 8))) as f32,
        }
    }

    /// Light on a surface with normal `n` at `height_m`: sky from above, a softened Lambert term, and less of both close to
    /// the floor underneath the body.
    #[inline(always)]
    fn light(&self, n: &[f32; 3], height_m: f32) -> f32 {
        let facing = n[0] * self.light[0] + n[1] * self.light[1] + n[2] * self.light[2];
        let wrapped = ((facing + 0.3) / 1.3).max(0.0);
        let sky = 0.68 + 0.32 * n[2];
        let open = if n[2] < 0.0 { 1.0 + n[2] * 0.5 / (1.0 + height_m * 25.0) } else { 1.0 };
        self.scale * open * (self.ambient * sky + self.diffuse * wrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::coat::CoatLook;

    fn camera() -> TwinCamera {
        TwinCamera {
            name: "test".into(),
            width_px: 640,
            height_px: 400,
            k: [[745.0, 0.0, 318.3], [0.0, 748.0, 203.1], [0.0, 0.0, 1.0]],
            distortion: [-0.21, 0.11, 0.002, -0.003, 0.01],
            rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            translation_m: [0.0; 3],
        }
    }

    /// A ball of latitude and longitude triangles, counter-clockwise seen from outside.
    fn ball(centre_m: [f64; 3], radius_m: f64) -> (Skin, Scene) {
        let (rings, spokes) = (16u32, 24u32);
        let mut points = Vec::new();
        for ring in 0..=rings {
            let (lat_sin, lat_cos) = (f64::from(ring) / f64::from(rings) * std::f64::consts::PI).sin_cos();
            for spoke in 0..spokes {
                let (lon_sin, lon_cos) = (f64::from(spoke) / f64::from(spokes) * std::f64::consts::TAU).sin_cos();
                let out = [lat_sin * lon_cos, lat_sin * lon_sin, lat_cos];
                points.push(std::array::from_fn(|k| (centre_m[k] + radius_m * out[k]) as f32));
            }
        }
        let at = |ring: u32, spoke: u32| ring * spokes + spoke % spokes;
        let quads = (0..rings).flat_map(|ring| (0..spokes).map(move |spoke| (ring, spoke)));
        let triangles = quads.flat_map(|(r, s)| {
            [[at(r, s), at(r + 1, s), at(r + 1, s + 1)], [at(r, s), at(r + 1, s + 1), at(r, s + 1)]]
        });
        let (skin, bent) = Skin::rigid(points, triangles.collect());
        let mut scene = Scene::default();
        scene.bent = bent;
        (skin, scene)
    }

    #[test]
    fn a_small_ball_is_drawn_where_its_centre_projects() {
        let camera = camera();
        let look = Look { ambient: 1.0, diffuse: 0.0, exposure: 1.0, vignette: 0.0, ..Look::default() };
        let plain = CoatLook { fur: 0.0, ..CoatLook::default() };
        let mut raster = Raster::default();
        let mut pixels = vec![0u8; 640 * 400];
        for centre in [[0.0, 0.0, 1.0], [0.35, 0.18, 1.0], [-0.31, -0.2, 0.9], [0.12, -0.21, 1.3], [-0.29, 0.17, 0.8]] {
            let (skin, scene) = ball(centre, 0.004);
            let coat = Coat::new(&plain, &skin.rest_m);
            pixels.fill(0);
            raster.draw(&camera, &look, &skin, &coat, &scene, &mut pixels);
            let drawn = (0..pixels.len()).filter(|index| pixels[*index] > 0);
            let (mut weight, mut sum) = (0.0, [0.0; 2]);
            for index in drawn {
                // Share of the pixel covered, not its shade: the ball is brighter above.
                let level = f64::from(pixels[index]).min(60.0);
                weight += level;
                sum[0] += level * (index % 640) as f64;
                sum[1] += level * (index / 640) as f64;
            }
            let expected = camera.project(centre).expect("in front");
            let off = [sum[0] / weight - expected[0], sum[1] / weight - expected[1]];
            assert!(off[0].hypot(off[1]) < 0.3, "{centre:?}: {off:?} px off");
            assert!(weight > 60.0 * 12.0, "{centre:?}: a ball of 3 px radius must cover more");
        }
    }

    #[test]
    fn what_lies_behind_the_ball_is_hidden() {
        let (camera, look) = (camera(), Look::default());
        let (skin, scene) = ball([0.1, 0.05, 1.0], 0.03);
        let coat = Coat::new(&look.coat, &skin.rest_m);
        let mut raster = Raster::default();
        raster.draw(&camera, &look, &skin, &coat, &scene, &mut vec![0; 640 * 400]);
        let pixel = camera.project([0.1, 0.05, 1.0]).expect("in front");
        assert!(raster.is_visible(pixel, 0.971, 0.005));
        assert!(raster.is_visible(pixel, 1.0, 0.035));
        assert!(!raster.is_visible(pixel, 1.02, 0.01));
        assert!(raster.is_visible([pixel[0] + 60.0, pixel[1]], 1.02, 0.01), "beside it");
    }
}
