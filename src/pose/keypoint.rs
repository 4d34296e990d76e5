//! One keypoint in space.

/// One keypoint in the world, with everything a later stage needs to weigh it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keypoint {
    /// Position in the world, metres. Meaningless where the confidence is 0.
    pub xyz_m: [f64; 3],
    /// 0 (missing) to 1.
    pub confidence: f32,
    /// The views it was made from; bit `i` is camera `i`.
    pub views: u32,
    /// Root mean square distance to those views' detections, pixels.
    pub residual_px: f32,
    /// Covariance, square metres: xx, xy, xz, yy, yz, zz.
    pub covariance_m2: [f32; 6],
}

impl Keypoint {
    /// No keypoint.
    pub const MISSING: Self =
        Self { xyz_m: [0.0; 3], confidence: 0.0, views: 0, residual_px: 0.0, covariance_m2: [0.0; 6] };

    /// A keypoint from a recording that knows no more than a position and a confidence.
    pub fn recorded(xyz_m: [f64; 3], confidence: f32) -> Self {
        Self { xyz_m, confidence, ..Self::MISSING }
    }
}
