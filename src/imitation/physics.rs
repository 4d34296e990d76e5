//! The virtual rat: one MuJoCo simulation, driven by actions, put back on its reference when asked.

use std::sync::Arc;

use mimicd_rat::{ACTUATORS, RatModel};
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::ImitationError;
use super::assist::Assist;
use super::reference::{Qpos, Qvel};

/// Faster than any animal, slower than any blow-up: rad/s of a hinge or the root.
const SPIN_MAX_RAD_PER_S: f64 = 500.0;
/// Faster than any rat: m/s of the root.
const SPEED_MAX_M_PER_S: f64 = 20.0;

/// Where the sensors of the proprioception are in `sensordata`.
#[derive(Clone, Copy)]
pub(super) struct SensorPlaces {
    pub(super) accelerometer: usize,
    pub(super) velocimeter: usize,
    pub(super) gyro: usize,
    /// Palm left, palm right, sole left, sole right.
    pub(super) touch: [usize; 4],
}

/// A simulated rat.
pub(super) struct VirtualRat {
    data: MjData<Arc<MjModel>>,
    substeps: usize,
    floor: usize,
    sensors: SensorPlaces,
    /// Affine servo of each actuator: `[gain, constant, stiffness]`; `None` where the control is a force.
    servos: Vec<Option<[f64; 3]>>,
    warnings: i64,
    assist: Option<Assist>,
}

impl VirtualRat {
    /// `assist_weights`: most force of the helping hand on the root, in weights of the animal; 0 = none.
    pub(super) fn new(rat: &RatModel, substeps: usize, assist_weights: f64) -> Result<Self, ImitationError> {
        let sensor = |name: &str| {
            rat.sensor(name).map(|sensor| sensor.data.start).ok_or_else(|| ImitationError::Rig {
                reason: format!("the body has no sensor {name:?}; expected the dm_control rat"),
            })
        };
        let sensors = SensorPlaces {
            accelerometer: sensor("accelerometer")?,
            velocimeter: sensor("velocimeter")?,
            gyro: sensor("gyro")?,
            touch: [sensor("palm_L")?, sensor("palm_R")?, sensor("sole_L")?, sensor("sole_R")?],
        };
        let floor = rat.geoms().iter().position(|geom| geom.name == "floor").ok_or_else(|| ImitationError::Rig {
            reason: "the body was loaded without a floor; the virtual rat stands on one".to_owned(),
        })?;
        let model = rat.model();
        let servos = (0..ACTUATORS)
            .map(|id| {
                let (gain, bias) = (model.actuator_gainprm()[id][0], model.actuator_biasprm()[id]);
                (bias[1] < 0.0).then_some([gain, bias[0], -bias[1]])
            })
            .collect();
        let assist = (assist_weights > 0.0).then(|| Assist { weights: assist_weights, mass_kg: rat.mass_kg() });
        Ok(Self { data: rat.make_data(), substeps, floor, sensors, servos, warnings: 0, assist })
    }

    /// Puts the rat on a posture, out of the floor, actuators holding it.
    pub(super) fn reset(&mut self, qpos: &Qpos, qvel: &Qvel) {
        self.data.reset();
        self.data.qpos_mut().copy_from_slice(qpos);
        self.data.qvel_mut().copy_from_slice(qvel);
        self.data.forward();
        let depth = self.floor_depth_m();
        if depth > 0.0 {
            // Starting inside the floor would throw the rat into the air.
            self.data.qpos_mut()[2] += depth;
        }
        for (id, servo) in self.servos.iter().enumerate() {
            let hold = servo.map_or(0.0, |[gain, constant, stiffness]| {
                ((stiffness * self.data.actuator_length()[id] - constant) / gain).clamp(-1.0, 1.0)
            });
            self.data.act_mut()[id] = hold;
            self.data.ctrl_mut()[id] = hold;
        }
        self.data.forward();
        self.warnings = self.warning_count();
    }

    /// One control period under `action` towards `reference`; false when the simulation has left what physics allows.
    pub(super) fn drive(&mut self, action: &[f32; ACTUATORS], reference: (&Qpos, &Qvel)) -> bool {
        for (control, &value) in self.data.ctrl_mut().iter_mut().zip(action) {
            *control = f64::from(value);
        }
        if let Some(assist) = self.assist {
            let state = (self.data.qpos(), self.data.qvel());
            // The root is the first body after the world; its subtree is the whole rat.
            let force = assist.root_force(state, self.data.subtree_com()[1], reference);
            self.data.qfrc_applied_mut()[..6].copy_from_slice(&force);
        }
        for _ in 0..self.substeps {
            self.data.step();
        }
        self.is_sane()
    }

    pub(super) fn data(&self) -> &MjData<Arc<MjModel>> {
        &self.data
    }

    pub(super) fn sensors(&self) -> &SensorPlaces {
        &self.sensors
    }

    fn is_sane(&self) -> bool {
        let slow = |(dof, v): (usize, &f64)| {
            v.is_finite() && v.abs() < if dof < 3 { SPEED_MAX_M_PER_S } else { SPIN_MAX_RAD_PER_S }
        };
        self.warning_count() == self.warnings
            && self.data.qpos().iter().all(|value| value.is_finite())
            && self.data.qvel().iter().enumerate().all(slow)
    }

    /// MuJoCo replaces a state that has become impossible and counts a warning.
    fn warning_count(&self) -> i64 {
        self.data.warning().iter().map(|warning| i64::from(warning.number)).sum()
    }

    fn floor_depth_m(&self) -> f64 {
        let floor = self.floor as i32;
        let touches = |geoms: [i32; 2]| geoms.contains(&floor);
        self.data.contact().iter().filter(|c| touches(c.geom)).map(|c| -c.dist).fold(0.0, f64::max)
    }
}
