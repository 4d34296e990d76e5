//! The compiled body and what is in it, by name and by id.

use std::path::Path;
use std::sync::Arc;

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::{MjModel, MjtGeomBase, MjtJoint, MjtObjBase};

use crate::{RatError, RatOptions, mjcf};

/// Coordinates of the rat: root position (3), root quaternion (4, w first), 67 hinge angles.
pub const QPOS_LEN: usize = 74;
/// Velocities of the rat: root linear, world frame (3); root angular, root frame (3); 67 hinge rates.
pub const QVEL_LEN: usize = 73;
/// Actuators of the rat.
pub const ACTUATORS: usize = 38;

/// One body, in MuJoCo's order (parents before children; 0 is the world).
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// Name.
    pub name: String,
    /// Id of the parent (the world is its own).
    pub parent: usize,
    /// Origin in the parent's frame, metres.
    pub position_m: [f64; 3],
    /// Rotation against the parent, quaternion, w first.
    pub quaternion: [f64; 4],
    /// Mass, kilograms.
    pub mass_kg: f64,
    /// Ids of its joints, in the order they act.
    pub joints: std::ops::Range<usize>,
}

/// One joint. The first is the free joint of the root, all others are hinges.
#[derive(Clone, Debug, PartialEq)]
pub struct Joint {
    /// Name.
    pub name: String,
    /// Body it moves.
    pub body: usize,
    /// First index in `qpos`.
    pub qpos: usize,
    /// First index in `qvel`.
    pub dof: usize,
    /// Lower and upper limit, radians; the free joint has none.
    pub limits_rad: Option<[f64; 2]>,
    /// Anchor in the body's frame, metres.
    pub anchor_m: [f64; 3],
    /// Axis in the body's frame, unit length.
    pub axis: [f64; 3],
    /// Angle at the reference posture, radians.
    pub reference_rad: f64,
}

/// Shape of a geom; sizes are half-sizes, metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GeomShape {
    /// The infinite plane z = 0 of its frame.
    Plane,
    /// Radius.
    Sphere(f64),
    /// Radius and half-length along z, without the caps.
    Capsule(f64, f64),
    /// Radii along the axes.
    Ellipsoid([f64; 3]),
    /// Radius and half-length along z.
    Cylinder(f64, f64),
    /// Half-sizes along the axes.
    Box([f64; 3]),
}

/// One geom.
#[derive(Clone, Debug, PartialEq)]
pub struct Geom {
    /// Name.
    pub name: String,
    /// Body that carries it.
    pub body: usize,
    /// Shape and size.
    pub shape: GeomShape,
    /// Centre in the body's frame, metres.
    pub position_m: [f64; 3],
    /// Rotation against the body, quaternion, w first.
    pub quaternion: [f64; 4],
}

/// One actuator.
#[derive(Clone, Debug, PartialEq)]
pub struct Actuator {
    /// Name.
    pub name: String,
    /// Smallest and largest control.
    pub control_range: [f64; 2],
    /// Smallest and largest force: N m (joints) or the tendon's unit.
    pub force_range: [f64; 2],
}

/// One sensor of the stock body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Name.
    pub name: String,
    /// Its values in MuJoCo's `sensordata`.
    pub data: std::ops::Range<usize>,
}

/// The rat, compiled. Cheap to clone the model handle; everything in here is read-only and shared between threads.
#[derive(Debug)]
pub struct RatModel {
    model: Arc<MjModel>,
    options: RatOptions,
    bodies: Vec<Body>,
    joints: Vec<Joint>,
    geoms: Vec<Geom>,
    actuators: Vec<Actuator>,
    sensors: Vec<Sensor>,
    keypoints: Vec<usize>,
}

/// Loads the stock rat and changes it as the options say.
///
/// # Errors
/// An unreadable file, a file that is not the rat, an impossible option, or what MuJoCo refused.
pub fn load(mjcf: &Path, options: &RatOptions) -> Result<RatModel, RatError> {
    options.check()?;
    let model = mjcf::compile(mjcf, options)?;
    let sizes = (model.ffi().nq, model.ffi().nv, model.ffi().nu);
    if sizes != (QPOS_LEN as i64, QVEL_LEN as i64, ACTUATORS as i64) {
        let found = format!(
            "{} coordinates, {} velocities, {} actuators instead of {QPOS_LEN}, {QVEL_LEN}, {ACTUATORS}",
            sizes.0, sizes.1, sizes.2
        );
        return Err(RatError::NotTheRat { path: mjcf.to_owned(), found });
    }
    RatModel::new(model, options.clone())
}

impl RatModel {
    fn new(model: MjModel, options: RatOptions) -> Result<Self, RatError> {
        let keypoints = options
            .sites
            .iter()
            .map(|site| {
                model
                    .name_to_id(MjtObjBase::mjOBJ_SITE, &site.name)
                    .ok_or_else(|| RatError::UnknownBody { site: site.name.clone(), body: site.body.clone() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            bodies: bodies(&model),
            joints: joints(&model),
            geoms: geoms(&model)?,
            actuators: actuators(&model),
            sensors: sensors(&model),
            model: Arc::new(model),
            options,
            keypoints,
        })
    }

    /// The MuJoCo model; clone the handle to make a simulation of your own: `MjData::new(rat.model().clone())`.
    pub fn model(&self) -> &Arc<MjModel> {
        &self.model
    }

    /// A fresh simulation state at the reference posture.
    pub fn make_data(&self) -> MjData<Arc<MjModel>> {
        MjData::new(Arc::clone(&self.model))
    }

    /// The options it was loaded with.
    pub fn options(&self) -> &RatOptions {
        &self.options
    }

    /// All bodies; 0 is the world, 1 the walker.
    pub fn bodies(&self) -> &[Body] {
        &self.bodies
    }

    /// All joints; 0 is the free joint.
    pub fn joints(&self) -> &[Joint] {
        &self.joints
    }

    /// All geoms (the floor too, where there is one).
    pub fn geoms(&self) -> &[Geom] {
        &self.geoms
    }

    /// The 38 actuators in file order.
    pub fn actuators(&self) -> &[Actuator] {
        &self.actuators
    }

    /// The stock sensors: accelerometer, velocimeter, gyro, palms, soles, torso.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// MuJoCo site ids of the keypoints, in the order of [`RatOptions::sites`].
    pub fn keypoint_sites(&self) -> &[usize] {
        &self.keypoints
    }

    /// Id of the body with this name.
    pub fn body_id(&self, name: &str) -> Option<usize> {
        self.bodies.iter().position(|body| body.name == name)
    }

    /// Id of the joint with this name.
    pub fn joint_id(&self, name: &str) -> Option<usize> {
        self.joints.iter().position(|joint| joint.name == name)
    }

    /// The sensor with this name.
    pub fn sensor(&self, name: &str) -> Option<&Sensor> {
        self.sensors.iter().find(|sensor| sensor.name == name)
    }

    /// Physics step, seconds.
    pub fn timestep_s(&self) -> f64 {
        self.model.opt().timestep
    }

    /// Mass of the whole animal, kilograms.
    pub fn mass_kg(&self) -> f64 {
        self.bodies.iter().map(|body| body.mass_kg).sum()
    }

    /// Coordinates of the reference posture.
    pub fn reference_qpos(&self) -> [f64; QPOS_LEN] {
        let mut qpos = [0.0; QPOS_LEN];
        qpos.copy_from_slice(self.model.qpos0());
        qpos
    }
}

/// An id or address that MuJoCo gives for something that exists.
fn index(id: i32) -> usize {
    usize::try_from(id).expect("MuJoCo gives a non-negative address for what exists")
}

fn name(model: &MjModel, kind: MjtObjBase, id: usize) -> String {
    model.id_to_name(kind, id).unwrap_or_default().to_owned()
}

fn bodies(model: &MjModel) -> Vec<Body> {
    (0..model.body_pos().len())
        .map(|id| {
            let joints = model.body_jntnum()[id];
            let first = if joints == 0 { 0 } else { index(model.body_jntadr()[id]) };
            Body {
                name: name(model, MjtObjBase::mjOBJ_BODY, id),
                parent: index(model.body_parentid()[id]),
                position_m: model.body_pos()[id],
                quaternion: model.body_quat()[id],
                mass_kg: model.body_mass()[id],
                joints: first..first + index(joints),
            }
        })
        .collect()
}

fn joints(model: &MjModel) -> Vec<Joint> {
    (0..model.jnt_pos().len())
        .map(|id| {
            let hinge = model.jnt_type()[id] == MjtJoint::mjJNT_HINGE;
            let qpos = index(model.jnt_qposadr()[id]);
            Joint {
                name: name(model, MjtObjBase::mjOBJ_JOINT, id),
                body: index(model.jnt_bodyid()[id]),
                qpos,
                dof: index(model.jnt_dofadr()[id]),
                limits_rad: (hinge && model.jnt_limited()[id]).then(|| model.jnt_range()[id]),
                anchor_m: model.jnt_pos()[id],
                axis: model.jnt_axis()[id],
                reference_rad: if hinge { model.qpos0()[qpos] } else { 0.0 },
            }
        })
        .collect()
}

fn geoms(model: &MjModel) -> Result<Vec<Geom>, RatError> {
    (0..model.geom_pos().len())
        .map(|id| {
            let size = model.geom_size()[id];
            let shape = match model.geom_type()[id] {
                MjtGeomBase::mjGEOM_PLANE => GeomShape::Plane,
                MjtGeomBase::mjGEOM_SPHERE => GeomShape::Sphere(size[0]),
                MjtGeomBase::mjGEOM_CAPSULE => GeomShape::Capsule(size[0], size[1]),
                MjtGeomBase::mjGEOM_ELLIPSOID => GeomShape::Ellipsoid(size),
                MjtGeomBase::mjGEOM_CYLINDER => GeomShape::Cylinder(size[0], size[1]),
                MjtGeomBase::mjGEOM_BOX => GeomShape::Box(size),
                other => {
                    return Err(RatError::Mujoco { reason: format!("geom {id} has the unexpected shape {other:?}") });
                }
            };
            Ok(Geom {
                name: name(model, MjtObjBase::mjOBJ_GEOM, id),
                body: index(model.geom_bodyid()[id]),
                shape,
                position_m: model.geom_pos()[id],
                quaternion: model.geom_quat()[id],
            })
        })
        .collect()
}

fn actuators(model: &MjModel) -> Vec<Actuator> {
    (0..model.actuator_forcerange().len())
        .map(|id| Actuator {
            name: name(model, MjtObjBase::mjOBJ_ACTUATOR, id),
            control_range: model.actuator_ctrlrange()[id],
            force_range: model.actuator_forcerange()[id],
        })
        .collect()
}

fn sensors(model: &MjModel) -> Vec<Sensor> {
    (0..model.sensor_dim().len())
        .map(|id| {
            let start = index(model.sensor_adr()[id]);
            Sensor {
                name: name(model, MjtObjBase::mjOBJ_SENSOR, id),
                data: start..start + index(model.sensor_dim()[id]),
            }
        })
        .collect()
}
