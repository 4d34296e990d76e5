//! One keypoint in space.

use nalgebra::Vector3;

/// One keypoint in the world, with everything a later stage needs to weigh it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keypoint {
    /// Position in the world, metres. Meaningless where the confidence is 0.
    pub xyz_m: [f64; 3],
    /// 0 (missing) to 1.
    pub confidence: f32,
    /// The views it was made from; bit `i` is camera `i`.
    pub views: u32,
    /// Root mean square distance of the place that the views agree on to their detections, pixels; 0 where a volumetric
    /// network does not tell single views.
    pub residual_px: f32,
    /// Covariance of the triangulated place, square metres: xx, xy, xz, yy, yz, zz.
    pub covariance_m2: [f32; 6],
    /// What a refiner added to the triangulated place, metres; zero where none did.
    pub correction_m: [f32; 3],
}

impl Keypoint {
    /// No keypoint.
    pub const MISSING: Self = Self {
        xyz_m: [0.0; 3],
        confidence: 0.0,
        views: 0,
        residual_px: 0.0,
        covariance_m2: [0.0; 6],
        correction_m: [0.0; 3],
    };

    /// A keypoint from a recording that knows no more than a position and a confidence.
    pub fn recorded(xyz_m: [f64; 3], confidence: f32) -> Self {
        Self { xyz_m, confidence, ..Self::MISSING }
    }

    /// Where the views say that it is, metres: the position without a refiner's correction. What is compared with the
    /// views (residuals, a bumped camera) is this.
    pub fn triangulated_m(&self) -> Vector3<f64> {
        Vector3::from(self.xyz_m) - Vector3::from(self.correction_m.map(f64::from))
    }

    /// Moves it by a refiner's correction, metres.
    pub(super) fn correct(&mut self, correction_m: &Vector3<f64>) {
        let triangulated = self.triangulated_m();
        self.correction_m = [0, 1, 2].map(|axis| correction_m[axis] as f32);
        self.xyz_m = (triangulated + Vector3::from(self.correction_m.map(f64::from))).into();
    }
}
