//! Keeps the body above the floor: the lowest point of every geom, and rows that push it up.

use mimicd_rat::{GeomShape, QVEL_LEN, RatModel};

use super::math::{Mat3, Vec3, add, length, matrix, product, rotate};
use super::normal::Normal;
use super::tree::{Posture, Tree};

/// A limb with more velocities than this below its last keypoint moves out of the floor's way by itself (the tail);
/// shorter ones (toes, fingers) take their limb along.
const FREE_CHAIN_MIN: usize = 4;

#[derive(Clone, Debug)]
enum Shape {
    /// Ends of the axis, and the radius; both ends are the same for a sphere.
    Round([Vec3; 2], f64),
    /// Centre, rotation against the body, radii.
    Ellipsoid(Vec3, Mat3, Vec3),
}

#[derive(Clone, Debug)]
struct FloorGeom {
    body: usize,
    shape: Shape,
    /// Farthest that the geom reaches from the body's origin, metres.
    reach_m: f64,
    /// How many velocities of the body's chain its rows act on.
    depth: usize,
    /// Nothing but the floor tells where it is: the tail.
    free: bool,
}

/// What a depth below the floor costs, against a keypoint's distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FloorWeights {
    /// Of what keypoints hold in place.
    pub(super) held: f64,
    /// Of the tail.
    pub(super) free: f64,
}

impl FloorWeights {
    /// No floor.
    pub(super) const NONE: Self = Self { held: 0.0, free: 0.0 };

    fn of(self, geom: &FloorGeom) -> f64 {
        if geom.free { self.free } else { self.held }
    }
}

/// A geom below the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    /// Which geom, for [`Floor::push`].
    geom: usize,
    point_m: Vec3,
    /// How far below, metres.
    pub(super) depth_m: f64,
}

/// The floor at z = 0 and the geoms that may touch it.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    geoms: Vec<FloorGeom>,
    free_dofs: [bool; QVEL_LEN],
    slopes: Vec<f64>,
    contacts: Vec<Contact>,
}

impl Floor {
    /// `keypoint_bodies`: the bodies that carry keypoints.
    pub(super) fn new(rat: &RatModel, tree: &Tree, keypoint_bodies: &[usize]) -> Self {
        let observed = observed(tree, keypoint_bodies);
        let geoms: Vec<FloorGeom> = rat
            .geoms()
            .iter()
            .filter_map(|geom| {
                let rotation = matrix(geom.quaternion);
                let (shape, extent) = match geom.shape {
                    GeomShape::Sphere(radius) => (Shape::Round([geom.position_m; 2], radius), radius),
                    GeomShape::Capsule(radius, half) => {
                        let ends = [half, -half].map(|z| add(geom.position_m, rotate(&rotation, [0.0, 0.0, z])));
                        (Shape::Round(ends, radius), radius + half)
                    }
                    GeomShape::Ellipsoid(radii) => {
                        (Shape::Ellipsoid(geom.position_m, rotation, radii), radii.iter().copied().fold(0.0, f64::max))
                    }
                    GeomShape::Plane | GeomShape::Cylinder(..) | GeomShape::Box(_) => return None,
                };
                let chain = tree.chain(geom.body);
                let free = chain.iter().take_while(|&&dof| !observed[usize::from(dof)]).count();
                let free_chain = free >= FREE_CHAIN_MIN;
                let depth = if free_chain { free } else { chain.len() };
                let reach_m = length(geom.position_m) + extent;
                Some(FloorGeom { body: geom.body, shape, reach_m, depth, free: free_chain })
            })
            .collect();
        let mut free_dofs = [false; QVEL_LEN];
        for geom in geoms.iter().filter(|geom| geom.free) {
            tree.chain(geom.body)[..geom.depth].iter().for_each(|&dof| free_dofs[usize::from(dof)] = true);
        }
        let capacity = geoms.len();
        Self { geoms, free_dofs, slopes: vec![0.0; QVEL_LEN], contacts: Vec::with_capacity(capacity) }
    }

    /// Finds what is lower than `height_m`.
    pub(super) fn find(&mut self, posture: &Posture, height_m: f64) -> &[Contact] {
        self.contacts.clear();
        for (index, geom) in self.geoms.iter().enumerate() {
            if posture.body_m[geom.body][2] > height_m + geom.reach_m {
                continue;
            }
            let (point_m, radius) = lowest(geom, posture);
            let depth_m = height_m - (point_m[2] - radius);
            if depth_m > 0.0 {
                self.contacts.push(Contact { geom: index, point_m, depth_m });
            }
        }
        &self.contacts
    }

    /// Half the weighted sum of squares of the depths of what is held.
    ///
    /// The tail is left out: its rows move only itself, so a step of the root that dips it must not count against that
    /// step.
    pub(super) fn cost(&self, weights: FloorWeights) -> f64 {
        let held = self.contacts.iter().filter(|contact| !self.geoms[contact.geom].free);
        0.5 * weights.held * held.map(|contact| contact.depth_m * contact.depth_m).sum::<f64>()
    }

    /// Velocities that only the floor's rows move: the tail's.
    pub(super) fn free_dofs(&self) -> &[bool; QVEL_LEN] {
        &self.free_dofs
    }

    /// Adds a row for each contact found last.
    pub(super) fn push(&mut self, tree: &Tree, posture: &Posture, weights: FloorWeights, normal: &mut Normal) {
        for contact in &self.contacts {
            let geom = &self.geoms[contact.geom];
            let chain = &tree.chain(geom.body)[..geom.depth];
            for (slope, &dof) in self.slopes.iter_mut().zip(chain) {
                *slope = -posture.vertical(usize::from(dof), contact.point_m);
            }
            normal.add_row(chain, &self.slopes[..chain.len()], contact.depth_m, weights.of(geom));
        }
    }
}

/// Velocities that move some keypoint.
pub(super) fn observed(tree: &Tree, keypoint_bodies: &[usize]) -> [bool; QVEL_LEN] {
    let mut observed = [false; QVEL_LEN];
    for &body in keypoint_bodies {
        tree.chain(body).iter().for_each(|&dof| observed[usize::from(dof)] = true);
    }
    observed
}

/// The lowest point of the geom's core in the world, and the radius around it.
#[inline]
fn lowest(geom: &FloorGeom, posture: &Posture) -> (Vec3, f64) {
    match &geom.shape {
        Shape::Round(ends, radius) => {
            let [a, b] = ends.map(|end| posture.point_m(geom.body, end));
            (if a[2] < b[2] { a } else { b }, *radius)
        }
        Shape::Ellipsoid(centre, own, radii) => {
            let rotation = product(&posture.rotation[geom.body], own);
            let down = [rotation[6] * radii[0], rotation[7] * radii[1], rotation[8] * radii[2]];
            let scale = -1.0 / length(down).max(1e-12);
            let support = [0, 1, 2].map(|axis| scale * radii[axis] * down[axis]);
            (add(posture.point_m(geom.body, *centre), rotate(&rotation, support)), 0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use mimicd_rat::Kinematics;

    use super::super::{testing, tree::Tree};
    use super::Floor;

    #[test]
    fn the_straight_tail_is_found_below_the_floor() {
        let Some(rat) = testing::rat() else { return };
        let tree = Tree::new(&rat);
        let mut posture = tree.posture();
        let mut qpos = rat.reference_qpos();
        // Nose up: the body pitches about y and the tail behind it dips.
        qpos[3..7].copy_from_slice(&super::super::math::exponential([0.0, -0.4, 0.0]));
        tree.forward(&qpos, &mut posture);
        let mut floor = Floor::new(&rat, &tree, &[rat.body_id("skull").unwrap()]);
        let deepest = floor.find(&posture, 0.0).iter().map(|contact| contact.depth_m).fold(0.0, f64::max);
        let mut truth = Kinematics::new(&rat);
        truth.set(&qpos);
        let tip = rat.body_id("vertebra_C30").unwrap();
        assert!(deepest > 0.05, "{deepest}");
        assert!((deepest + truth.body_positions_m()[tip][2]).abs() < 0.01);
        qpos[2] = 1.0;
        tree.forward(&qpos, &mut posture);
        assert!(floor.find(&posture, 0.0).is_empty());
    }
}
