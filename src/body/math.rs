//! Small fixed-size algebra of the kinematics: vectors `[f64; 3]`, rotations `[f64; 9]` row by row, quaternions w first.

pub(super) type Vec3 = [f64; 3];
pub(super) type Mat3 = [f64; 9];
pub(super) type Quat = [f64; 4];

pub(super) const IDENTITY: Mat3 = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

#[inline]
pub(super) fn add(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline]
pub(super) fn minus(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline]
pub(super) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline]
pub(super) fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline]
pub(super) fn length(a: Vec3) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
pub(super) fn distance(a: Vec3, b: Vec3) -> f64 {
    length(minus(a, b))
}

#[inline]
pub(super) fn rotate(m: &Mat3, v: Vec3) -> Vec3 {
    [
        m[0] * v[0] + m[1] * v[1] + m[2] * v[2],
        m[3] * v[0] + m[4] * v[1] + m[5] * v[2],
        m[6] * v[0] + m[7] * v[1] + m[8] * v[2],
    ]
}

/// The rotation by the transpose: world to body where `m` is world from body.
#[inline]
pub(super) fn rotate_back(m: &Mat3, v: Vec3) -> Vec3 {
    [
        m[0] * v[0] + m[3] * v[1] + m[6] * v[2],
        m[1] * v[0] + m[4] * v[1] + m[7] * v[2],
        m[2] * v[0] + m[5] * v[1] + m[8] * v[2],
    ]
}

#[inline]
pub(super) fn product(a: &Mat3, b: &Mat3) -> Mat3 {
    let mut out = [0.0; 9];
    for row in 0..3 {
        for column in 0..3 {
            out[3 * row + column] =
                a[3 * row] * b[column] + a[3 * row + 1] * b[3 + column] + a[3 * row + 2] * b[6 + column];
        }
    }
    out
}

/// Rotation by `angle` radians about the unit vector `axis`.
#[inline]
pub(super) fn turn(axis: Vec3, angle: f64) -> Mat3 {
    let (s, c) = angle.sin_cos();
    let [x, y, z] = axis;
    let t = 1.0 - c;
    [
        t * x * x + c,
        t * x * y - s * z,
        t * x * z + s * y,
        t * x * y + s * z,
        t * y * y + c,
        t * y * z - s * x,
        t * x * z - s * y,
        t * y * z + s * x,
        t * z * z + c,
    ]
}

/// Rotation matrix of a quaternion, which is normalised first; the zero quaternion is the identity.
pub(super) fn matrix(q: Quat) -> Mat3 {
    let [w, x, y, z] = unit(q);
    [
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - w * z),
        2.0 * (x * z + w * y),
        2.0 * (x * y + w * z),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - w * x),
        2.0 * (x * z - w * y),
        2.0 * (y * z + w * x),
        1.0 - 2.0 * (x * x + y * y),
    ]
}

/// The quaternion of unit length, or the identity where there is no direction to keep.
pub(super) fn unit(q: Quat) -> Quat {
    let norm = q.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm > 1e-12 && norm.is_finite() { q.map(|value| value / norm) } else { [1.0, 0.0, 0.0, 0.0] }
}

pub(super) fn quat_product(a: Quat, b: Quat) -> Quat {
    [
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ]
}

pub(super) fn conjugate(q: Quat) -> Quat {
    [q[0], -q[1], -q[2], -q[3]]
}

/// The rotation by the vector `v`: its length is the angle, its direction the axis.
pub(super) fn exponential(v: Vec3) -> Quat {
    let angle = length(v);
    if angle < 1e-12 {
        return unit([1.0, 0.5 * v[0], 0.5 * v[1], 0.5 * v[2]]);
    }
    let (s, c) = (0.5 * angle).sin_cos();
    let k = s / angle;
    [c, k * v[0], k * v[1], k * v[2]]
}

/// The shortest rotation vector of a unit quaternion.
pub(super) fn logarithm(q: Quat) -> Vec3 {
    let sign = if q[0] < 0.0 { -1.0 } else { 1.0 };
    let v = [sign * q[1], sign * q[2], sign * q[3]];
    let s = length(v);
    let k = if s < 1e-12 { 2.0 } else { 2.0 * s.atan2(sign * q[0]) / s };
    v.map(|value| k * value)
}
