//! The rat's skeleton as plain numbers: where every body is for given joint angles.
//!
//! Read once from the body model file through MuJoCo, then evaluated without it: a pose costs a few microseconds, needs no
//! scratch memory and can be asked for from any thread. A test holds it equal to MuJoCo's own kinematics.

use std::path::Path;

use mujoco_rs::wrappers::MjModel;
use mujoco_rs::wrappers::mj_model::{MjtGeomBase, MjtObjBase};
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3};

use crate::SimError;

/// The field scales the body model's lengths by this.
pub(crate) const SCALE: f64 = 0.9;
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
    /// Reads the body model at `mjcf`, scaled to the field's 0.9.
    ///
    /// # Errors
    /// [`SimError::Body`] when the file cannot be read or is not the rat this crate knows (65 parts, 67 hinges).
    pub fn load(mjcf: &Path) -> Result<Self, SimError> {
        let model = MjModel::from_xml(mjcf).map_err(|error| SimError::Body(format!("{}: {error}", mjcf.display())))?;
        Self::from_model(&model)
    }

    /// Takes the skeleton out of a model read from the unscaled body file.
    pub(crate) fn from_model(model: &MjModel) -> Result<Self, SimError> {
        let bodies = read_bodies(model);
        let hinges = read_hinges(model);
        if bodies.len() != BODIES || hinges.len() != HINGES {
            return Err(SimError::Body(format!(
                "{} parts and {} hinges: expected the rat's {BODIES} and {HINGES}",
                bodies.len(),
                hinges.len()
            )));
        }
        let solids = read_solids(model);
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

fn pose_from(position: [f64; 3], quaternion: [f64; 4]) -> Isometry3<f64> {
    let [w, x, y, z] = quaternion;
    Isometry3::from_parts(
        Translation3::from(Vector3::from(position) * SCALE),
        UnitQuaternion::new_normalize(Quaternion::new(w, x, y, z)),
    )
}

fn read_bodies(model: &MjModel) -> Vec<Body> {
    let count = model.body_parentid().len();
    (1..count)
        .map(|id| {
            let parent = model.body_parentid()[id] as usize;
            let first = model.body_jntadr()[id].max(0) as usize;
            Body {
                name: model.id_to_name(MjtObjBase::mjOBJ_BODY, id).unwrap_or_default().to_owned(),
                parent: parent.checked_sub(1),
                parent_from_body: pose_from(model.body_pos()[id], model.body_quat()[id]),
                hinges: first..first + model.body_jntnum()[id] as usize,
            }
        })
        .collect()
}

fn read_hinges(model: &MjModel) -> Vec<Hinge> {
    (0..model.jnt_bodyid().len())
        .map(|id| Hinge {
            name: model.id_to_name(MjtObjBase::mjOBJ_JOINT, id).unwrap_or_default().to_owned(),
            body: model.jnt_bodyid()[id] as usize - 1,
            axis: Unit::new_normalize(Vector3::from(model.jnt_axis()[id])),
            anchor_m: Vector3::from(model.jnt_pos()[id]) * SCALE,
            range_rad: model.jnt_range()[id],
        })
        .collect()
}

fn read_solids(model: &MjModel) -> Vec<Solid> {
    let mut solids = Vec::new();
    for id in 0..model.geom_bodyid().len() {
        let body = model.geom_bodyid()[id] as usize;
        let [x, y, z] = model.geom_size()[id].map(|size| size * SCALE);
        let shape = match model.geom_type()[id] {
            MjtGeomBase::mjGEOM_SPHERE => Shape::Sphere { radius_m: x },
            MjtGeomBase::mjGEOM_CAPSULE => Shape::Capsule { radius_m: x, half_m: y },
            MjtGeomBase::mjGEOM_ELLIPSOID => Shape::Ellipsoid { radii_m: [x, y, z] },
            _ => continue,
        };
        if body > 0 {
            let body_from_solid = pose_from(model.geom_pos()[id], model.geom_quat()[id]);
            solids.push(Solid { body: body - 1, body_from_solid, shape });
        }
    }
    solids
}
