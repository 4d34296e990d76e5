//! What all cameras share at one instant: the bent skin and the shadow it throws on the floor.

use super::look::Look;
use super::skin::{Bent, Skin};
use crate::rat::Placement;

/// Cells of the shadow map along each side.
const CELLS: usize = 128;
const CELL_M: f32 = 0.004;
/// Passes of the blur along each axis, and how far they spread, cells.
const BLURS: usize = 2;
const BLUR_REACH: usize = 2 * BLURS;
/// Half the side of the floor square that the shadow map covers, m.
const SHADOW_REACH_M: f32 = CELLS as f32 * CELL_M / 2.0;

/// The rat at one instant, ready to be drawn from any side. Keep one and update it: a steady state allocates nothing.
#[derive(Clone, Debug)]
pub struct Scene {
    pub(crate) bent: Bent,
    /// Share of light that reaches the floor, row by row.
    shadow: Vec<f32>,
    scratch: Vec<f32>,
    /// Middle of the shadow map, m.
    pub(crate) middle_m: [f32; 2],
    /// Columns and rows of the map that may be dark: first and one past the last.
    dark: [[usize; 2]; 2],
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            bent: Bent::default(),
            shadow: vec![1.0; CELLS * CELLS],
            scratch: vec![0.0; CELLS * CELLS],
            middle_m: [0.0; 2],
            dark: [[0; 2]; 2],
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
        let (i, j) = (u as i32 as usize, v as i32 as usize);
        let (fu, fv) = (u - i as f32, v - j as f32);
        let at = &self.shadow[j * CELLS + i..];
        let top = at[0] + (at[1] - at[0]) * fu;
        let bottom = at[CELLS] + (at[CELLS + 1] - at[CELLS]) * fu;
        top + (bottom - top) * fv
    }

    /// Corners of the floor rectangle outside which there is no shadow, m: least and greatest x, least and greatest y.
    pub(crate) fn shadow_bounds_m(&self) -> [[f64; 2]; 2] {
        std::array::from_fn(|axis| {
            let edge = |cell: usize| f64::from(cell as f32 * CELL_M - SHADOW_REACH_M + self.middle_m[axis]);
            [edge(self.dark[axis][0]), edge(self.dark[axis][1])]
        })
    }

    /// Two soft shadows in one map: contact (near the floor, straight down) and the main light's.
    fn throw_shadow(&mut self, skin: &Skin, look: &Look) {
        let [lx, ly, lz] = look.light.map(|x| x as f32);
        let lean = [lx / lz.max(0.2), ly / lz.max(0.2)];
        self.shadow.fill(0.0);
        self.scratch.fill(0.0);
        let origin = self.middle_m.map(|middle| SHADOW_REACH_M - middle);
        let mut bounds = [[CELLS, 0]; 2];
        for (point, area) in self.bent.points_m.iter().zip(&skin.areas_m2) {
            let height = point[2].max(0.0);
            let near = height / 0.022;
            let contact = 1.1 / (1.0 + near * near);
            splat(&mut self.shadow, &mut bounds, [point[0] + origin[0], point[1] + origin[1]], area * contact);
            let far = height / 0.12;
            let thrown = [point[0] - lean[0] * height + origin[0], point[1] - lean[1] * height + origin[1]];
            splat(&mut self.shadow, &mut bounds, thrown, area * 0.55 / (1.0 + far * far));
        }
        self.dark = bounds.map(|[low, high]| [low.saturating_sub(BLUR_REACH), (high + 1 + BLUR_REACH).min(CELLS)]);
        for _ in 0..BLURS {
            box_blur(&self.shadow, &mut self.scratch, &self.dark, 1);
            box_blur(&self.scratch, &mut self.shadow, &self.dark, CELLS);
        }
        let strength = look.shadow as f32;
        for cell in &mut self.shadow {
            let density = *cell / (CELL_M * CELL_M);
            *cell = 1.0 - strength * density / (density + 0.8);
        }
    }
}

#[inline(always)]
fn splat(map: &mut [f32], bounds: &mut [[usize; 2]; 2], from_corner_m: [f32; 2], weight: f32) {
    let [u, v] = from_corner_m.map(|x| x / CELL_M);
    let last = (CELLS - 1) as f32;
    if u >= 0.0 && v >= 0.0 && u < last && v < last {
        let cell = [u as i32 as usize, v as i32 as usize];
        map[cell[1] * CELLS + cell[0]] += weight;
        for (bound, at) in bounds.iter_mut().zip(cell) {
            *bound = [bound[0].min(at), bound[1].max(at)];
        }
    }
}

/// A 5-cell mean along one axis within `region` (columns, rows); `step` is between neighbours along the axis.
fn box_blur(from: &[f32], into: &mut [f32], region: &[[usize; 2]; 2], step: usize) {
    let [[left, right], [top, bottom]] = *region;
    let reach = 2 * step;
    for row in top..bottom {
        let (start, end) = (row * CELLS + left, row * CELLS + right);
        let line = start.max(reach)..end.min(CELLS * CELLS - reach);
        for at in line {
            into[at] = 0.2 * (from[at - reach] + from[at - step] + from[at] + from[at + step] + from[at + reach]);
        }
    }
}
