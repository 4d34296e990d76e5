//! The rat's skeleton as plain numbers: where every body is for given joint angles.
//!
//! Read once from the body model file through MuJoCo, then evaluated without it: a pose costs a few microseconds, needs no
//! scratch memory and can be asked for from any thread. A test holds it equal to MuJoCo's own kinematics.

use std::path::Path;

use mimicd_rat::{GeomShape, RatOptions};
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3};

use crate::SimError;

/// Bodies of the rat, the torso first; MuJoCo's world body and the root's carrier are not counted.
pub const BODIES: usize = 65;
/// Hinges of the rat.
pub const HINGES: usize = 67;
/// Length of the rat's coordinates: root position 3, root quaternion 4 (w first), hinges 67.
pub const QPOS: usize = 7 + HINGES;

/// One rigid part.
#[derive(Clone, Debug)]
pub struct Body {
    /// Name in the body model.
    pub name: String,
    /// Index of the part it hangs on; `None` for the torso.
    pub parent: Option<usize>,
    /// Place in the parent's frame (for the torso: in the root's frame) at zero angles.
    pub parent_from_body: Isometry3<f64>,
    /// Its hinges, in the order they turn it.
    pub hinges: std::ops::Range<usize>,
}

/// One hinge.
#[derive(Clone, Debug)]
pub struct Hinge {
    /// Name in the body model.
    pub name: String,
    /// The part it turns.
    pub body: usize,
    /// Axis in the part's frame.
    pub axis: Unit<Vector3<f64>>,
    /// Anchor in the part's frame, m.
    pub anchor_m: Vector3<f64>,
    /// Least and greatest angle, rad.
    pub range_rad: [f64; 2],
}

/// A solid of the collision model.
#[derive(Clone, Debug)]
pub struct Solid {
    /// The part that carries it.
    pub body: usize,
    /// Its place in the part's frame.
    pub body_from_solid: Isometry3<f64>,
    /// Its form.
    pub shape: Shape,
}

/// Form of a [`Solid`]; sizes in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A ball.
    Sphere {
        /// Radius.
        radius_m: f64,
    },
    /// A capsule along its own z axis.
    Capsule {
        /// Radius.
        radius_m: f64,
        /// Half the length of its straight part.
        half_m: f64,
    },
    /// An ellipsoid.
    Ellipsoid {
        /// Half axes.
        radii_m: [f64; 3],
    },
}

/// Where every part is, world frame.
pub type Placement = [Isometry3<f64>; BODIES];

/// The rat's parts, hinges and solids at the field's body scale.
#[derive(Clone, Debug)]
pub struct Skeleton {
    bodies: Vec<Body>,
    hinges: Vec<Hinge>,
    solids: Vec<Solid>,
}

impl Skeleton {
    /// Reads the body model at `mjcf`, scaled as the field does.
    ///
    /// # Errors
    /// [`SimError::Body`] when the file cannot be read or is not the rat this crate knows (65 parts, 67 hinges).
    pub fn load(mjcf: &Path) -> Result<Self, SimError> {
        let options = RatOptions { floor: false, sites: Vec::new(), ..RatOptions::default() };
        let rat = mimicd_rat::load(mjcf, &options).map_err(|error| SimError::Body(error.to_string()))?;
        let torso = rat.body_id("torso").ok_or_else(|| SimError::Body("no part named torso".into()))?;
        let bodies: Vec<Body> = rat.bodies().iter().skip(torso).map(|body| read_body(body, torso)).collect();
        let hinges: Vec<Hinge> = rat.joints().iter().skip(1).map(|joint| read_hinge(joint, torso)).collect();
        if bodies.len() != BODIES || hinges.len() != HINGES {
            return Err(SimError::Body(format!(
                "{} parts and {} hinges: expected the rat's {BODIES} and {HINGES}",
                bodies.len(),
                hinges.len()
            )));
        }
        let solids = rat.geoms().iter().filter_map(|geom| read_solid(geom, torso)).collect();
        Ok(Self { bodies, hinges, solids })
    }

    /// The parts, parents before children.
    pub fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// The hinges, in the order of `qpos[7..]`.
    pub fn hinges(&self) -> &[Hinge] {
        &self.hinges
    }

    /// The solids of the collision model.
    pub fn solids(&self) -> &[Solid] {
        &self.solids
    }

    /// Index of the part called `name`.
    ///
    /// # Errors
    /// [`SimError::Body`] naming the part when the model has none of that name.
    pub fn body(&self, name: &str) -> Result<usize, SimError> {
        let found = self.bodies.iter().position(|body| body.name == name);
        found.ok_or_else(|| SimError::Body(format!("no part named {name} in the body model")))
    }

    /// Index of the hinge called `name`, from 0 (`qpos` index less 7).
    ///
    /// # Errors
    /// [`SimError::Body`] naming the hinge when the model has none of that name.
    pub fn hinge(&self, name: &str) -> Result<usize, SimError> {
        let found = self.hinges.iter().position(|hinge| hinge.name == name);
        found.ok_or_else(|| SimError::Body(format!("no hinge named {name} in the body model")))
    }

    /// Places every part for the coordinates `qpos` (root on the body's carrier, as in the reference clips).
    pub fn place(&self, qpos: &[f64; QPOS]) -> Placement {
        let root = root_pose(qpos);
        let mut placement = [Isometry3::identity(); BODIES];
        for index in 0..BODIES {
            let parent = self.bodies[index].parent.map_or(root, |parent| placement[parent]);
            placement[index] = parent * self.turned(index, &qpos[7..]);
        }
        placement
    }

    /// Where part `index` is in its parent's frame when its hinges stand at their angles in `hinges_rad` (all 67).
    pub(crate) fn turned(&self, index: usize, hinges_rad: &[f64]) -> Isometry3<f64> {
        let body = &self.bodies[index];
        let mut pose = body.parent_from_body;
        for hinge_index in body.hinges.clone() {
            let hinge = &self.hinges[hinge_index];
            let turn = UnitQuaternion::from_axis_angle(&hinge.axis, hinges_rad[hinge_index]);
            let anchor = pose * nalgebra::Point3::from(hinge.anchor_m);
            let rotation = pose.rotation * turn;
            pose = Isometry3::from_parts(Translation3::from(anchor.coords - rotation * hinge.anchor_m), rotation);
        }
        pose
    }

    /// Height of the lowest point of `solid`, m.
    pub fn lowest_m(&self, solid: &Solid, placement: &Placement) -> f64 {
        let pose = placement[solid.body] * solid.body_from_solid;
        let up = pose.rotation.inverse() * Vector3::z();
        let reach = match solid.shape {
            Shape::Sphere { radius_m } => radius_m,
            Shape::Capsule { radius_m, half_m } => radius_m + half_m * up.z.abs(),
            Shape::Ellipsoid { radii_m } => up.component_mul(&Vector3::from(radii_m)).norm(),
        };
        pose.translation.z - reach
    }
}

/// The root's pose in `qpos`.
pub(crate) fn root_pose(qpos: &[f64; QPOS]) -> Isometry3<f64> {
    let quaternion = Quaternion::new(qpos[3], qpos[4], qpos[5], qpos[6]);
    Isometry3::from_parts(Translation3::new(qpos[0], qpos[1], qpos[2]), UnitQuaternion::new_normalize(quaternion))
}

fn pose_from(position_m: [f64; 3], quaternion: [f64; 4]) -> Isometry3<f64> {
    let [w, x, y, z] = quaternion;
    Isometry3::from_parts(
        Translation3::from(Vector3::from(position_m)),
        UnitQuaternion::new_normalize(Quaternion::new(w, x, y, z)),
    )
}

/// `torso` is the model's id of our part 0.
fn read_body(body: &mimicd_rat::Body, torso: usize) -> Body {
    Body {
        name: body.name.clone(),
        parent: body.parent.checked_sub(torso),
        parent_from_body: pose_from(body.position_m, body.quaternion),
        // The model's joint 0 is the free joint of the root.
        hinges: body.joints.start.saturating_sub(1)..body.joints.end.saturating_sub(1),
    }
}

fn read_hinge(joint: &mimicd_rat::Joint, torso: usize) -> Hinge {
    Hinge {
        name: joint.name.clone(),
        body: joint.body - torso,
        axis: Unit::new_normalize(Vector3::from(joint.axis)),
        anchor_m: Vector3::from(joint.anchor_m),
        range_rad: joint.limits_rad.unwrap_or([-std::f64::consts::PI, std::f64::consts::PI]),
    }
}

fn read_solid(geom: &mimicd_rat::Geom, torso: usize) -> Option<Solid> {
    let shape = match geom.shape {
        GeomShape::Sphere(radius_m) => Shape::Sphere { radius_m },
        GeomShape::Capsule(radius_m, half_m) => Shape::Capsule { radius_m, half_m },
        GeomShape::Ellipsoid(radii_m) => Shape::Ellipsoid { radii_m },
        GeomShape::Plane | GeomShape::Cylinder(..) | GeomShape::Box(_) => return None,
    };
    let body = geom.body.checked_sub(torso)?;
    Some(Solid { body, body_from_solid: pose_from(geom.position_m, geom.quaternion), shape })
}
