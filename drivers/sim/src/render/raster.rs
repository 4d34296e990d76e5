//! A small triangle rasteriser with two by two samples a pixel. One word a sample holds depth and shade, so that the nearest
//! surface is simply the largest word.

use super::camera::TwinCamera;
use super::coat::Coat;
use super::look::Look;
use super::scene::Scene;
use super::skin::Skin;

const SHADE_BITS: u32 = 12;
const DEPTH_SCALE: f32 = ((1u32 << (32 - SHADE_BITS)) - 2) as f32;

/// A vertex as the camera sees it; image coordinates in samples (two a pixel).
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    x: f32,
    y: f32,
    /// One over depth, scaled to 0..1 over the rat; negative where the vertex cannot be drawn.
    near: f32,
    /// Grey level of a white surface here.
    light: f32,
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
        self.see(camera, look, scene);
        if !self.frame(camera) {
            return;
        }
        for triangle in &skin.triangles {
            self.fill(triangle, skin, coat);
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

    fn see(&mut self, camera: &TwinCamera, look: &Look, scene: &Scene) {
        let r: [[f32; 3]; 3] = camera.rotation.map(|row| row.map(|x| x as f32));
        let t = camera.translation_m.map(|x| x as f32);
        let [k1, k2, p1, p2, k3] = camera.distortion.map(|x| x as f32);
        let [[fx, skew, cx], [_, fy, cy], _] = camera.k.map(|row| row.map(|x| x as f32));
        let half = [camera.width_px as f32 / 2.0, camera.height_px as f32 / 2.0];
        let corner = look.vignette as f32 / (half[0] * half[0] + half[1] * half[1]);
        let shading = Shading::new(look);
        self.seen.clear();
        let (mut least, mut most) = (f32::MAX, 0.0f32);
        for (p, n) in scene.bent.points_m.iter().zip(&scene.bent.normals) {
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
            let light = shading.light(n, p[2]) * (1.0 - corner * off).max(0.0);
            least = least.min(near);
            most = most.max(near);
            self.seen.push(Seen { x: 2.0 * u + 0.5, y: 2.0 * v + 0.5, near, light });
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
        self.samples.clear();
        self.samples.resize(4 * self.width * self.height, 0);
        self.width > 0 && self.height > 0
    }

    #[inline(always)]
    fn fill(&mut self, triangle: &[u32; 3], skin: &Skin, coat: &Coat) {
        let [a, b, c] = triangle.map(|corner| self.seen[corner as usize]);
        let twice_area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);
        if twice_area >= -1e-6 || a.near < 0.0 || b.near < 0.0 || c.near < 0.0 {
            return;
        }
        let (width, height) = (2 * self.width, 2 * self.height);
        let shift = [2.0 * self.left as f32, 2.0 * self.top as f32];
        let first = |low: f32, shift: f32| (low - shift).ceil().max(0.0) as usize;
        let past =
            |high: f32, shift: f32, limit: usize| ((high - shift).floor() + 1.0).clamp(0.0, limit as f32) as usize;
        let (x0, x1) = (first(a.x.min(b.x).min(c.x), shift[0]), past(a.x.max(b.x).max(c.x), shift[0], width));
        let (y0, y1) = (first(a.y.min(b.y).min(c.y), shift[1]), past(a.y.max(b.y).max(c.y), shift[1], height));
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let inverse = 1.0 / twice_area;
        let (px, py) = (x0 as f32 + shift[0], y0 as f32 + shift[1]);
        let edge = |p: Seen, q: Seen| ((q.x - p.x) * (py - p.y) - (q.y - p.y) * (px - p.x)) * inverse;
        let step = |p: Seen, q: Seen| [-(q.y - p.y) * inverse, (q.x - p.x) * inverse];
        let (sb, sc) = (step(c, a), step(a, b));
        let (mut row_b, mut row_c) = (edge(c, a), edge(a, b));
        let [ta, tb, tc] = triangle.map(|corner| skin.coat[corner as usize]);
        for y in y0..y1 {
            let (mut wb, mut wc) = (row_b, row_c);
            for sample in &mut self.samples[y * width + x0..y * width + x1] {
                let wa = 1.0 - wb - wc;
                if wa >= 0.0 && wb >= 0.0 && wc >= 0.0 {
                    let near = wa * a.near + wb * b.near + wc * c.near;
                    let depth = ((near * DEPTH_SCALE) as u32 + 1) << SHADE_BITS;
                    if depth > *sample {
                        let albedo = coat.sample(std::array::from_fn(|k| wa * ta[k] + wb * tb[k] + wc * tc[k]));
                        let light = wa * a.light + wb * b.light + wc * c.light;
                        *sample = depth | ((albedo * light) as u32).min((1 << SHADE_BITS) - 1);
                    }
                }
                wb += sb[0];
                wc += sc[0];
            }
            row_b += sb[1];
            row_c += sc[1];
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
