//! What the policy sees: the reference ahead of the virtual rat, and the virtual rat itself.

use std::path::Path;
use std::sync::Arc;

use mimicd_device::{BoardTime, Span};
use mimicd_rat::{ACTUATORS, QPOS_LEN, QVEL_LEN, RatModel};
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;

use super::ImitationError;
use super::manifest::{Egocentric, Field, ObservationSpec};
use super::physics::VirtualRat;
use super::reference::{Qpos, ReferenceWindow};
use super::rotation::{Quat, Vec3, conjugate, minus, multiply, normalised, positive, rotate};
use crate::body::Skeleton;

const HINGES: usize = QPOS_LEN - 7;

/// The reference ahead of an instant: postures and where their bodies are.
struct Outlook {
    qpos: Vec<Qpos>,
    seen: Vec<bool>,
    /// `future_frames x bodies`, world, metres.
    bodies_m: Vec<Vec3>,
    skeleton: Skeleton,
}

/// Fills observations in the manifest's layout.
pub(super) struct Observer {
    fields: Vec<Field>,
    spacing: Span,
    egocentric: Egocentric,
    bodies: Vec<usize>,
    appendages: Vec<usize>,
    torso: usize,
    outlook: Outlook,
    length: usize,
}

impl Observer {
    pub(super) fn new(
        rat: &RatModel,
        spec: &ObservationSpec,
        latent: usize,
        manifest: &Path,
    ) -> Result<Self, ImitationError> {
        let ids = |key: &str, names: &[String]| -> Result<Vec<usize>, ImitationError> {
            let id = |name: &String| {
                let missing = || ImitationError::manifest(manifest, key, format!("the rat has no body {name:?}"));
                rat.body_id(name).ok_or_else(missing)
            };
            names.iter().map(id).collect()
        };
        let bodies = ids("observation.bodies", &spec.bodies)?;
        let appendages = ids("observation.appendages", &spec.appendages)?;
        let torso = rat.body_id("torso").ok_or_else(|| ImitationError::Rig {
            reason: "the body has no torso; expected the dm_control rat".to_owned(),
        })?;
        let frames = spec.future_frames;
        let outlook = Outlook {
            qpos: vec![[0.0; QPOS_LEN]; frames],
            seen: vec![false; frames],
            bodies_m: vec![[0.0; 3]; frames * bodies.len()],
            skeleton: Skeleton::new(rat),
        };
        let sizes = Sizes { frames, bodies: bodies.len(), appendages: appendages.len(), latent };
        let length = spec.fields.iter().map(|&field| sizes.of(field)).sum();
        Ok(Self {
            fields: spec.fields.clone(),
            spacing: Span::from_secs_f64(1.0 / spec.frame_rate_hz),
            egocentric: spec.egocentric,
            bodies,
            appendages,
            torso,
            outlook,
            length,
        })
    }

    /// Values of one observation.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// How far ahead the policy looks.
    pub(super) fn horizon(&self) -> Span {
        Span::from_nanos(self.spacing.nanos() * self.outlook.qpos.len() as i64)
    }

    /// Looks up the reference ahead of `now` and where its bodies are.
    pub(super) fn look_ahead(&mut self, window: &ReferenceWindow, now: BoardTime) {
        let Outlook { qpos, seen, bodies_m, skeleton } = &mut self.outlook;
        let mut at = now;
        for (frame, posture) in qpos.iter_mut().enumerate() {
            at += self.spacing;
            seen[frame] = window.sample(at, posture);
            if self.bodies.is_empty() {
                continue;
            }
            let places_m = skeleton.place(posture);
            let row = &mut bodies_m[frame * self.bodies.len()..(frame + 1) * self.bodies.len()];
            for (place, &id) in row.iter_mut().zip(&self.bodies) {
                *place = places_m[id];
            }
        }
    }

    /// Writes the observation; `out` has [`Observer::length`] values.
    pub(super) fn write(&self, rat: &VirtualRat, previous: &[f32; ACTUATORS], latent: &[f32], out: &mut [f32]) {
        let mut writer = Writer { out, next: 0 };
        let view = View::new(rat, self.egocentric);
        for &field in &self.fields {
            match field {
                Field::ReferenceRootPosition
                | Field::ReferenceRootRotation
                | Field::ReferenceJoints
                | Field::ReferenceBodies
                | Field::ReferenceMask => self.write_reference(field, &view, &mut writer),
                Field::PreviousAction => writer.f32s(previous),
                Field::Latent => writer.f32s(latent),
                _ => self.write_proprioception(field, &view, &mut writer),
            }
        }
    }

    fn write_reference(&self, field: Field, view: &View<'_>, writer: &mut Writer<'_>) {
        let outlook = &self.outlook;
        let qpos = view.data.qpos();
        for (frame, posture) in outlook.qpos.iter().enumerate() {
            match field {
                Field::ReferenceRootPosition => {
                    writer.f64s(&view.egocentric(minus([posture[0], posture[1], posture[2]], view.root)));
                }
                Field::ReferenceRootRotation => {
                    let wanted = [posture[3], posture[4], posture[5], posture[6]];
                    writer.f64s(&positive(multiply(conjugate(view.turn), wanted)));
                }
                Field::ReferenceJoints => {
                    for (wanted, now) in posture[7..].iter().zip(&qpos[7..]) {
                        writer.f64(wanted - now);
                    }
                }
                Field::ReferenceBodies => {
                    let row = &outlook.bodies_m[frame * self.bodies.len()..];
                    for (&wanted, &id) in row.iter().zip(&self.bodies) {
                        writer.f64s(&view.egocentric(minus(wanted, view.data.xpos()[id])));
                    }
                }
                _ => writer.f64(f64::from(u8::from(outlook.seen[frame]))),
            }
        }
    }

    fn write_proprioception(&self, field: Field, view: &View<'_>, writer: &mut Writer<'_>) {
        let data = view.data;
        let sensor = |at: usize, length: usize| &data.sensordata()[at..at + length];
        match field {
            Field::Joints => writer.f64s(&data.qpos()[7..]),
            Field::JointVelocities => writer.f64s(&data.qvel()[6..]),
            Field::ActuatorForces => writer.f64s(data.qfrc_actuator()),
            Field::TorsoHeight => writer.f64(data.xpos()[self.torso][2]),
            Field::WorldUp => writer.f64s(&data.xmat()[self.torso][6..9]),
            Field::Appendages => self.write_appendages(view, writer),
            Field::Accelerometer => writer.f64s(sensor(view.rat.sensors().accelerometer, 3)),
            Field::Velocimeter => writer.f64s(sensor(view.rat.sensors().velocimeter, 3)),
            Field::Gyro => writer.f64s(sensor(view.rat.sensors().gyro, 3)),
            Field::Touch => {
                for at in view.rat.sensors().touch {
                    writer.f64(data.sensordata()[at]);
                }
            }
            Field::RootLinearVelocity => {
                let v = data.qvel();
                writer.f64s(&view.egocentric([v[0], v[1], v[2]]));
            }
            Field::RootAngularVelocity => writer.f64s(&data.qvel()[3..6]),
            Field::Qpos => writer.f64s(data.qpos()),
            Field::Qvel => writer.f64s(data.qvel()),
            _ => unreachable!("the reference, the previous action and the latent are written elsewhere"),
        }
    }

    fn write_appendages(&self, view: &View<'_>, writer: &mut Writer<'_>) {
        let torso = view.data.xpos()[self.torso];
        let turn = match self.egocentric {
            Egocentric::Inverse => conjugate(view.data.xquat()[self.torso]),
            Egocentric::Forward => view.data.xquat()[self.torso],
        };
        for &id in &self.appendages {
            writer.f64s(&rotate(turn, minus(view.data.xpos()[id], torso)));
        }
    }
}

struct Sizes {
    frames: usize,
    bodies: usize,
    appendages: usize,
    latent: usize,
}

impl Sizes {
    fn of(&self, field: Field) -> usize {
        match field {
            Field::ReferenceRootPosition => 3 * self.frames,
            Field::ReferenceRootRotation => 4 * self.frames,
            Field::ReferenceJoints => HINGES * self.frames,
            Field::ReferenceBodies => 3 * self.bodies * self.frames,
            Field::ReferenceMask => self.frames,
            Field::Joints | Field::JointVelocities => HINGES,
            Field::ActuatorForces | Field::Qvel => QVEL_LEN,
            Field::TorsoHeight => 1,
            Field::WorldUp
            | Field::Accelerometer
            | Field::Velocimeter
            | Field::Gyro
            | Field::RootLinearVelocity
            | Field::RootAngularVelocity => 3,
            Field::Appendages => 3 * self.appendages,
            Field::PreviousAction => ACTUATORS,
            Field::Touch => 4,
            Field::Qpos => QPOS_LEN,
            Field::Latent => self.latent,
        }
    }
}

/// The virtual rat now.
struct View<'a> {
    rat: &'a VirtualRat,
    data: &'a MjData<Arc<MjModel>>,
    root: Vec3,
    turn: Quat,
    into_root: Quat,
}

impl<'a> View<'a> {
    fn new(rat: &'a VirtualRat, egocentric: Egocentric) -> Self {
        let data = rat.data();
        let q = data.qpos();
        let turn = normalised([q[3], q[4], q[5], q[6]]);
        let into_root = match egocentric {
            Egocentric::Inverse => conjugate(turn),
            Egocentric::Forward => turn,
        };
        Self { rat, data, root: [q[0], q[1], q[2]], turn, into_root }
    }

    fn egocentric(&self, v: Vec3) -> Vec3 {
        rotate(self.into_root, v)
    }
}

struct Writer<'a> {
    out: &'a mut [f32],
    next: usize,
}

impl Writer<'_> {
    fn f64(&mut self, value: f64) {
        self.out[self.next] = value as f32;
        self.next += 1;
    }

    fn f64s(&mut self, values: &[f64]) {
        for &value in values {
            self.f64(value);
        }
    }

    fn f32s(&mut self, values: &[f32]) {
        self.out[self.next..self.next + values.len()].copy_from_slice(values);
        self.next += values.len();
    }
}
