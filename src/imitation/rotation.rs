//! Quaternions, w first, and what the observation needs of them. All pure.

/// A quaternion, w first.
pub(super) type Quat = [f64; 4];
/// A vector, metres or whatever its name says.
pub(super) type Vec3 = [f64; 3];

pub(super) fn conjugate([w, x, y, z]: Quat) -> Quat {
    [w, -x, -y, -z]
}

pub(super) fn multiply(a: Quat, b: Quat) -> Quat {
    [
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    ]
}

/// The quaternion at unit length; the identity when it has none.
pub(super) fn normalised(q: Quat) -> Quat {
    let length = dot(&q, &q).sqrt();
    if length > 1e-9 { q.map(|value| value / length) } else { [1.0, 0.0, 0.0, 0.0] }
}

/// The same rotation with w >= 0.
pub(super) fn positive(q: Quat) -> Quat {
    if q[0] < 0.0 { q.map(|value| -value) } else { q }
}

/// `v` turned by `q`.
pub(super) fn rotate(q: Quat, v: Vec3) -> Vec3 {
    let [w, x, y, z] = q;
    let t = [2.0 * (y * v[2] - z * v[1]), 2.0 * (z * v[0] - x * v[2]), 2.0 * (x * v[1] - y * v[0])];
    [
        v[0] + w * t[0] + y * t[2] - z * t[1],
        v[1] + w * t[1] + z * t[0] - x * t[2],
        v[2] + w * t[2] + x * t[1] - y * t[0],
    ]
}

/// Angle between two orientations, 0 to pi.
pub(super) fn angle_between_rad(a: &Quat, b: &Quat) -> f64 {
    2.0 * dot(a, b).abs().min(1.0).acos()
}

/// The rotation vector (axis times angle, radians) of a unit quaternion; the shorter way round.
pub(super) fn rotation_vector(q: Quat) -> Vec3 {
    let [w, x, y, z] = positive(q);
    let sine = (x * x + y * y + z * z).sqrt();
    let factor = if sine < 1e-9 { 2.0 } else { 2.0 * sine.atan2(w) / sine };
    [x * factor, y * factor, z * factor]
}

/// The unit quaternion of a rotation vector.
pub(super) fn from_rotation_vector(v: Vec3) -> Quat {
    let angle = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    let factor = if angle < 1e-9 { 0.5 } else { (0.5 * angle).sin() / angle };
    [(0.5 * angle).cos(), v[0] * factor, v[1] * factor, v[2] * factor]
}

/// Between `a` (t = 0) and `b` (t = 1) along the shorter arc.
pub(super) fn slerp(a: Quat, b: Quat, t: f64) -> Quat {
    let turn = rotation_vector(multiply(conjugate(a), b));
    normalised(multiply(a, from_rotation_vector(turn.map(|value| value * t))))
}

pub(super) fn minus(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn norm(v: Vec3) -> f64 {
    (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
}

fn dot(a: &Quat, b: &Quat) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halfway_of_a_quarter_turn_is_an_eighth() {
        let quarter = from_rotation_vector([0.0, 0.0, std::f64::consts::FRAC_PI_2]);
        let half = slerp([1.0, 0.0, 0.0, 0.0], quarter.map(|v| -v), 0.5);
        let turned = rotate(half, [1.0, 0.0, 0.0]);
        assert!((turned[0] - turned[1]).abs() < 1e-12 && turned[2].abs() < 1e-12);
        assert!((angle_between_rad(&half, &quarter) - std::f64::consts::FRAC_PI_4).abs() < 1e-7);
    }

    #[test]
    fn rotation_vectors_come_back() {
        let v = [0.3, -1.1, 0.7];
        let back = rotation_vector(from_rotation_vector(v));
        assert!(norm(minus(v, back)) < 1e-12);
    }
}
