//! What all cameras share at one instant: the bent skin and the shadow it throws on the floor.

use super::look::Look;
use super::skin::{Bent, Skin};
use crate::rat::Placement;

/// Cells of the shadow map along each side.
const CELLS: usize = 128;
const CELL_M: f32 = 0.004;
/// Half the side of the floor square that the shadow map covers, m.
pub(crate) const SHADOW_REACH_M: f32 = CELLS as f32 * CELL_M / 2.0;

/// The rat at one instant, ready to be drawn from any side. Keep one and update it: a steady state allocates nothing.
#[derive(Clone, Debug)]
pub struct Scene {
    pub(crate) bent: Bent,
    /// Share of light that reaches the floor, row by row.
    shadow: Vec<f32>,
    scratch: Vec<f32>,
    /// Middle of the shadow map, m.
    pub(crate) middle_m: [f32; 2],
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            bent: Bent::default(),
            shadow: vec![1.0; CELLS * CELLS],
            scratch: vec![0.0; CELLS * CELLS],
            middle_m: [0.0; 2],
        }
    }
}

impl Scene {
    pub(crate) fn update(&mut self, skin: &Skin, placement: &Placement, look: &Look) {
        skin.bend(placement, &mut self.bent);
        let torso = placement[0].translation.vector;
        self.middle_m = [torso.x as f32, torso.y as f32];
        self.throw_shadow(skin, look);
    }

    /// Share of light that reaches the floor at (x, y).
    #[inline(always)]
    pub(crate) fn floor_light(&self, [x, y]: [f32; 2]) -> f32 {
        let u = (x - self.middle_m[0] + SHADOW_REACH_M) / CELL_M - 0.5;
        let v = (y - self.middle_m[1] + SHADOW_REACH_M) / CELL_M - 0.5;
        let last = (CELLS - 2) as f32;
        if !(u >= 0.0 && v >= 0.0 && u < last && v < last) {
            return 1.0;
        }
        let (i, j) = (u as usize, v as usize);
        let (fu, fv) = (u - i as f32, v - j as f32);
        let at = &self.shadow[j * CELLS + i..];
        let top = at[0] + (at[1] - at[0]) * fu;
        let bottom = at[CELLS] + (at[CELLS + 1] - at[CELLS]) * fu;
        top + (bottom - top) * fv
    }

    /// Two soft shadows in one map: contact (near the floor, straight down) and the main light's.
    fn throw_shadow(&mut self, skin: &Skin, look: &Look) {
        let [lx, ly, lz] = look.light.map(|x| x as f32);
        let lean = [lx / lz.max(0.2), ly / lz.max(0.2)];
        self.shadow.fill(0.0);
        for (point, area) in self.bent.points_m.iter().zip(&skin.areas_m2) {
            let height = point[2].max(0.0);
            let near = height / 0.022;
            let contact = 1.1 / (1.0 + near * near);
            splat(&mut self.shadow, self.middle_m, [point[0], point[1]], area * contact);
            let far = height / 0.12;
            let thrown = [point[0] - lean[0] * height, point[1] - lean[1] * height];
            splat(&mut self.shadow, self.middle_m, thrown, area * 0.55 / (1.0 + far * far));
        }
        for _ in 0..2 {
            box_blur(&self.shadow, &mut self.scratch, 1, CELLS);
            box_blur(&self.scratch, &mut self.shadow, CELLS, 1);
        }
        let strength = look.shadow as f32;
        for cell in &mut self.shadow {
            let density = *cell / (CELL_M * CELL_M);
            *cell = 1.0 - strength * density / (density + 0.8);
        }
    }
}

#[inline(always)]
fn splat(map: &mut [f32], middle_m: [f32; 2], [x, y]: [f32; 2], weight: f32) {
    let u = (x - middle_m[0] + SHADOW_REACH_M) / CELL_M;
    let v = (y - middle_m[1] + SHADOW_REACH_M) / CELL_M;
    let last = (CELLS - 1) as f32;
    if u >= 0.0 && v >= 0.0 && u < last && v < last {
        map[v as usize * CELLS + u as usize] += weight;
    }
}

/// A 5-cell mean along one axis: `step` between neighbours, `across` between lines. The map's edge stays zero.
fn box_blur(from: &[f32], into: &mut [f32], step: usize, across: usize) {
    into.fill(0.0);
    for line in 0..CELLS {
        let start = line * across;
        for k in 2..CELLS - 2 {
            let at = start + k * step;
            let sum = from[at - 2 * step] + from[at - step] + from[at] + from[at + step] + from[at + 2 * step];
            into[at] = sum * 0.2;
        }
    }
}
