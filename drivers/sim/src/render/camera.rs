//! The twin's cameras: a pinhole with radial and tangential distortion, as plain numbers.

use serde::Deserialize;

/// One calibrated camera. Pixel (0, 0) is the centre of the top left pixel; camera axes are x right, y down, z forward.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinCamera {
    /// Name of the camera.
    pub name: String,
    /// Image width, px.
    pub width_px: u32,
    /// Image height, px.
    pub height_px: u32,
    /// Intrinsics, row-major: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], px.
    pub k: [[f64; 3]; 3],
    /// Distortion k1, k2, p1, p2, k3 (the Brown-Conrady model).
    pub distortion: [f64; 5],
    /// Rotation of the camera-from-world transform, row-major.
    pub rotation: [[f64; 3]; 3],
    /// Translation of the camera-from-world transform, m.
    pub translation_m: [f64; 3],
}

impl TwinCamera {
    /// A world point in the camera's frame, m.
    pub fn in_camera(&self, world_m: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| {
            let axis = self.rotation[row];
            axis[0] * world_m[0] + axis[1] * world_m[1] + axis[2] * world_m[2] + self.translation_m[row]
        })
    }

    /// Pixel of a world point; `None` when it is not in front of the camera. The pixel may lie outside the image.
    pub fn project(&self, world_m: [f64; 3]) -> Option<[f64; 2]> {
        let [x, y, z] = self.in_camera(world_m);
        (z > 1e-6).then(|| self.pixel([x / z, y / z]))
    }

    /// Pixel of an undistorted direction (x/z, y/z).
    pub fn pixel(&self, direction: [f64; 2]) -> [f64; 2] {
        let [x, y] = self.distort(direction);
        let [[fx, skew, cx], [_, fy, cy], _] = self.k;
        [fx * x + skew * y + cx, fy * y + cy]
    }

    /// Direction (x/z, y/z) whose image is at `pixel`: the inverse of [`Self::pixel`], to 1e-12.
    pub fn direction(&self, pixel: [f64; 2]) -> [f64; 2] {
        let [[fx, skew, cx], [_, fy, cy], _] = self.k;
        let y = (pixel[1] - cy) / fy;
        let x = (pixel[0] - cx - skew * y) / fx;
        let mut guess = [x, y];
        for _ in 0..30 {
            let [u, v] = self.distort(guess);
            let step = [x - u, y - v];
            guess = [guess[0] + step[0], guess[1] + step[1]];
            if step[0].abs().max(step[1].abs()) < 1e-13 {
                break;
            }
        }
        guess
    }

    /// Where the camera stands in the world, m.
    pub fn centre_m(&self) -> [f64; 3] {
        std::array::from_fn(|axis| -(0..3).map(|row| self.rotation[row][axis] * self.translation_m[row]).sum::<f64>())
    }

    /// A direction of the camera's frame in the world's frame.
    pub fn to_world(&self, direction: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|axis| (0..3).map(|row| self.rotation[row][axis] * direction[row]).sum())
    }

    /// The same camera in the same place, turned about its vertical axis; positive: to its right.
    pub(crate) fn turned(&self, deg: f64) -> Self {
        let (sin, cos) = deg.to_radians().sin_cos();
        let turn = |[x, y, z]: [f64; 3]| [cos * x - sin * z, y, sin * x + cos * z];
        let mut turned = self.clone();
        for column in 0..3 {
            let axis = turn([0, 1, 2].map(|row| self.rotation[row][column]));
            (0..3).for_each(|row| turned.rotation[row][column] = axis[row]);
        }
        turned.translation_m = turn(self.translation_m);
        turned
    }

    fn distort(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [k1, k2, p1, p2, k3] = self.distortion;
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        [
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        ]
    }
}
