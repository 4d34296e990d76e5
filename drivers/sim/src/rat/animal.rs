//! The moving rat: one keyframe after another from behaviour to joint angles.
//!
//! behaviour -> posture (filtered) and pace -> pelvis over the floor -> paws -> spine, neck -> limbs by inverse kinematics ->
//! tail along the floor. Everything is carried in one cloneable state, so that movement can be taken up again from a
//! checkpoint and comes out the same.

use std::f64::consts::TAU;
use std::sync::Arc;

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};

use super::behaviour::{Behaviour, FOLLOW, Planner, Posture, Wish, part, wrap};
use super::limb::{Limb, Reach};
use super::paws::{Carriage, PAWS, Paws, Step, TIP_HEIGHT_M, smooth};
use super::skeleton::{BODIES, HINGES, Placement, QPOS, Skeleton};
use super::tail::Tail;
use crate::SimError;

/// Time between keyframes, s.
pub(crate) const KEY_S: f64 = 0.01;
/// Fastest any limb hinge is let turn, rad/s.
const RATE_MAX_RAD_PER_S: f64 = 14.0;
/// A paw's knuckles may sink this far into the floor before the paw is raised, m.
const SINK_M: f64 = 0.0008;
/// A standing paw that the limb cannot bring closer than this takes a step, m.
const OUT_OF_REACH_M: f64 = 0.0015;
/// Angle of the jaw with the mouth shut, rad.
pub(crate) const MOUTH_SHUT_RAD: f64 = -0.28;

/// What is kept of one instant.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) qpos: [f64; QPOS],
    pub(crate) behaviour: Behaviour,
    pub(crate) speed_m_per_s: f64,
    pub(crate) turn_rad_per_s: f64,
    pub(crate) heading_rad: f64,
    pub(crate) phase: f64,
    pub(crate) paws_down: [bool; PAWS],
}

/// Hinges that share a turn of the trunk, with their shares.
type Chain = Vec<(usize, f64)>;

/// The parts of the skeleton that movement is made with.
#[derive(Clone, Debug)]
pub(crate) struct Rig {
    pub(crate) skeleton: Skeleton,
    pub(crate) tail: Tail,
    limbs: [Limb; PAWS],
    /// Solids of foot or hand and digits, by paw.
    paw_solids: [Vec<usize>; PAWS],
    pelvis: usize,
    skull: usize,
    lumbar: [Chain; 3],
    neck: [Chain; 3],
    mandible: usize,
    /// Parts of trunk and neck, in order, with the limbs' first parts left out.
    trunk: Vec<usize>,
}

impl Rig {
    pub(crate) fn new(skeleton: Skeleton) -> Result<Self, SimError> {
        let tail = Tail::new(&skeleton)?;
        let hind = |side: &str| limb(&skeleton, ["upper_leg", "lower_leg", "foot", "toe"], side, &HIND);
        let fore = |side: &str| limb(&skeleton, ["scapula", "upper_arm", "lower_arm", "hand", "finger"], side, &FORE);
        let limbs = [hind("L")?, hind("R")?, fore("L")?, fore("R")?];
        let paw_solids = [0, 1, 2, 3].map(|paw: usize| {
            let parts = &limbs[paw].bodies[limbs[paw].bodies.len() - 2..];
            let solids = skeleton.solids().iter().enumerate();
            solids.filter(|(_, solid)| parts.contains(&solid.body)).map(|(index, _)| index).collect()
        });
        let chain = |names: &[(&str, f64)]| {
            names.iter().map(|(name, share)| Ok((skeleton.hinge(name)?, *share))).collect::<Result<Chain, SimError>>()
        };
        let lumbar = [
            chain(&[("vertebra_1_extend", 0.55), ("vertebra_4_extend", 0.45)])?,
            chain(&[("vertebra_2_bend", 0.55), ("vertebra_5_bend", 0.45)])?,
            chain(&[("vertebra_3_twist", 0.5), ("vertebra_6_twist", 0.5)])?,
        ];
        let neck = [
            chain(&[
                ("vertebra_cervical_5_extend", 0.33),
                ("vertebra_cervical_2_extend", 0.33),
                ("vertebra_atlant_extend", 0.34),
            ])?,
            chain(&[("vertebra_cervical_4_bend", 0.5), ("vertebra_cervical_1_bend", 0.5)])?,
            chain(&[("vertebra_cervical_3_twist", 0.5), ("vertebra_axis_twist", 0.5)])?,
        ];
        let (pelvis, skull) = (skeleton.body("pelvis")?, skeleton.body("skull")?);
        let in_limb = |body: &usize| limbs.iter().any(|limb| limb.bodies.contains(body));
        let trunk = (0..BODIES).filter(|body| !in_limb(body) && !tail.contains(*body)).collect();
        let mandible = skeleton.hinge("mandible")?;
        Ok(Self { tail, limbs, paw_solids, pelvis, skull, lumbar, neck, mandible, trunk, skeleton })
    }
}

/// Natural angles of a left hind limb's hinges (the right one's are the same: its axes are mirrored).
const HIND: [f64; 5] = [0.12, -0.08, -0.2, -0.25, 0.45];
/// Natural angles of a fore limb's hinges.
const FORE: [f64; 7] = [0.05, -0.16, 0.0, 0.15, 0.62, -0.1, 0.1];

fn limb<const N: usize>(
    skeleton: &Skeleton,
    parts: [&str; N],
    side: &str,
    natural_rad: &[f64],
) -> Result<Limb, SimError> {
    let names: Vec<String> = parts.iter().map(|part| format!("{part}_{side}")).collect();
    let tip = if N == 4 { [0.0143, 0.0, 0.0] } else { [0.0073, 0.0, 0.0] };
    Limb::new(skeleton, &names, tip, natural_rad)
}

/// The rat's whole state at a keyframe.
#[derive(Clone, Debug)]
pub(crate) struct Animal {
    rig: Arc<Rig>,
    planner: Planner,
    wish: Option<Wish>,
    time_s: f64,
    /// Point on the floor above which the pelvis stands when not sitting back, m.
    place_m: [f64; 2],
    heading_rad: f64,
    speed_m_per_s: f64,
    turn_rad_per_s: f64,
    posture: Posture,
    posture_rate: Posture,
    /// Phase of the present rhythm (strokes, licks, sniffs), turns.
    rhythm: f64,
    breath: f64,
    tail_wave: [f64; 16],
    paws: Paws,
    hinges_rad: [f64; HINGES],
    placement: Placement,
}

impl Animal {
    pub(crate) fn new(rig: Arc<Rig>, seed: u64) -> Self {
        let mut planner = Planner::new(seed);
        let heading_rad = planner.draw(0.0, TAU);
        let posture = planner.wish(0.0, [0.0; 2], heading_rad).posture;
        let mut hinges_rad = [0.0; HINGES];
        for limb in &rig.limbs {
            limb.relax(&mut hinges_rad);
        }
        let mut animal = Self {
            rig,
            planner,
            wish: None,
            time_s: 0.0,
            place_m: [0.0; 2],
            heading_rad,
            speed_m_per_s: 0.0,
            turn_rad_per_s: 0.0,
            posture,
            posture_rate: [0.0; 11],
            rhythm: 0.0,
            breath: 0.0,
            tail_wave: [0.0; 16],
            paws: Paws::new([Vector3::zeros(); PAWS]),
            hinges_rad,
            placement: [Isometry3::identity(); BODIES],
        };
        animal.place_trunk();
        animal.paws = Paws::new(animal.carriage(false).natural_m);
        for _ in 0..40 {
            animal.place_limbs(1.0);
        }
        animal
    }

    /// Moves on by one keyframe and says where everything is.
    pub(crate) fn advance(&mut self) -> Key {
        let wish = self.planner.wish(KEY_S, self.place_m, self.heading_rad);
        self.wish = Some(wish);
        self.time_s += KEY_S;
        self.speed_m_per_s += (wish.speed_m_per_s - self.speed_m_per_s) * (KEY_S / 0.22);
        self.turn_rad_per_s += (wish.turn_rad_per_s - self.turn_rad_per_s) * (KEY_S / 0.18);
        self.heading_rad = wrap(self.heading_rad + self.turn_rad_per_s * KEY_S);
        let (sin, cos) = self.heading_rad.sin_cos();
        self.place_m[0] += self.speed_m_per_s * cos * KEY_S;
        self.place_m[1] += self.speed_m_per_s * sin * KEY_S;
        let entries = self.posture.iter_mut().zip(&mut self.posture_rate);
        for ((value, rate), (target, follow)) in entries.zip(wish.posture.iter().zip(FOLLOW)) {
            *rate += (follow * follow * (target - *value) - 2.0 * follow * *rate) * KEY_S;
            *value += *rate * KEY_S;
        }
        let rhythm_hz = match wish.behaviour {
            Behaviour::Sniff => 6.5,
            Behaviour::GroomFlank => 4.6,
            _ => 3.9,
        };
        self.rhythm = (self.rhythm + rhythm_hz * KEY_S).fract();
        self.breath = (self.breath + 1.7 * KEY_S).fract();
        self.place_trunk();
        // Hands come down only when the chest has.
        let hands_free = wish.hands_free || self.posture[part::TORSO_PITCH] > 0.42;
        let carriage = self.carriage(hands_free);
        self.paws.advance(KEY_S, &carriage);
        self.place_limbs(RATE_MAX_RAD_PER_S * KEY_S);
        self.lay_tail();
        self.key(wish.behaviour)
    }

    /// Places pelvis, spine, torso, neck and head.
    fn place_trunk(&mut self) {
        let rig = Arc::clone(&self.rig);
        let p = &self.posture;
        let gait = (self.speed_m_per_s / 0.2).min(1.0);
        let swing = TAU * self.paws.phase;
        let stroke = p[part::STROKE] * (TAU * self.rhythm).sin();
        let breath = (TAU * self.breath).sin();
        let pelvis_yaw = self.heading_rad + 0.05 * gait * (swing + 0.6).sin();
        let pelvis_roll = p[part::ROLL] + 0.035 * gait * (swing + 2.2).sin();
        let torso_pitch = p[part::TORSO_PITCH] + 0.006 * breath + 0.02 * gait * (2.0 * swing).sin();
        let height = p[part::PELVIS_HEIGHT] + 0.0005 * breath + 0.0018 * gait * (2.0 * swing + 1.0).sin();
        let sway = 0.0018 * gait * (swing + 1.2).sin();
        let (sin, cos) = self.heading_rad.sin_cos();
        let back = p[part::PELVIS_BACK];
        let place = Translation3::new(
            self.place_m[0] - back * cos - sway * sin,
            self.place_m[1] - back * sin + sway * cos,
            height,
        );
        let pelvis = Isometry3::from_parts(place, rotation(pelvis_yaw, p[part::PELVIS_PITCH], pelvis_roll));
        let bend = p[part::BEND] - 0.07 * gait * (swing + 0.6).sin();
        // A hinge turns the rump against the torso: the opposite way round from the torso against the pelvis.
        let skeleton = &rig.skeleton;
        share(skeleton, &rig.lumbar[0], torso_pitch - p[part::PELVIS_PITCH], &mut self.hinges_rad);
        share(skeleton, &rig.lumbar[1], -bend, &mut self.hinges_rad);
        share(skeleton, &rig.lumbar[2], pelvis_roll * 0.8, &mut self.hinges_rad);
        let head = p[part::HEAD_PITCH] + 0.05 * stroke;
        share(skeleton, &rig.neck[0], torso_pitch - head, &mut self.hinges_rad);
        share(skeleton, &rig.neck[1], p[part::HEAD_YAW], &mut self.hinges_rad);
        share(skeleton, &rig.neck[2], p[part::HEAD_ROLL] + 0.03 * stroke, &mut self.hinges_rad);
        self.hinges_rad[rig.mandible] = MOUTH_SHUT_RAD;
        self.placement[0] = Isometry3::identity();
        for body in &rig.trunk[1..] {
            let parent = skeleton.bodies()[*body].parent.unwrap_or(0);
            self.placement[*body] = self.placement[parent] * skeleton.turned(*body, &self.hinges_rad);
        }
        let world_from_torso = pelvis * self.placement[rig.pelvis].inverse();
        for body in &rig.trunk {
            self.placement[*body] = world_from_torso * self.placement[*body];
        }
    }

    fn carriage(&self, hands_free: bool) -> Carriage {
        let (sin, cos) = self.heading_rad.sin_cos();
        let pivot = Vector3::new(self.place_m[0], self.place_m[1], 0.0);
        let torso = &self.placement[0];
        let chest_yaw = self.heading_rad + self.posture[part::BEND];
        let (chest_sin, chest_cos) = chest_yaw.sin_cos();
        let chest = Vector3::new(torso.translation.x, torso.translation.y, 0.0);
        let natural_m = std::array::from_fn(|paw| {
            let side = if paw % 2 == 0 { 1.0 } else { -1.0 };
            let mut place = if paw < 2 {
                pivot + Vector3::new(0.008 * cos - 0.021 * side * sin, 0.008 * sin + 0.021 * side * cos, 0.0)
            } else {
                let (ahead, out) = (0.034, 0.0165 * side);
                chest + Vector3::new(ahead * chest_cos - out * chest_sin, ahead * chest_sin + out * chest_cos, 0.0)
            };
            place.z = TIP_HEIGHT_M[paw];
            place
        });
        let hands_m = [1.0, -1.0].map(|side| self.free_hand(side));
        let velocity = Vector3::new(cos, sin, 0.0) * self.speed_m_per_s;
        Carriage { natural_m, pivot_m: pivot, velocity, turn_rad_per_s: self.turn_rad_per_s, hands_m, hands_free }
    }

    /// Where a hand off the floor is held: before the chest, or stroking the face.
    fn free_hand(&self, side: f64) -> Vector3<f64> {
        let face = self.posture[part::HANDS_UP].clamp(0.0, 1.0);
        let reach = self.posture[part::STROKE].clamp(0.0, 1.0);
        let turn = TAU * self.rhythm + if side > 0.0 { 0.0 } else { 0.5 };
        // Every few seconds the strokes grow from the nose to behind the ears, now more on one side.
        let grow = 0.5 + 0.5 * (self.time_s * 1.1 + 0.7 * side).sin();
        let chest = nalgebra::Point3::new(0.016, 0.017 * side, -0.056);
        let cheek = nalgebra::Point3::new(
            0.036 - (0.006 + 0.012 * grow) * reach * (0.5 - 0.5 * turn.cos()),
            (0.009 + 0.006 * grow * (0.5 - 0.5 * turn.cos())) * side,
            -0.016 + 0.007 * reach * turn.sin(),
        );
        let chest = (self.placement[0] * chest).coords;
        let cheek = (self.placement[self.rig.skull] * cheek).coords;
        chest + (cheek - chest) * smooth(face)
    }

    fn place_limbs(&mut self, step_rad: f64) {
        let rig = Arc::clone(&self.rig);
        let from_rad = self.hinges_rad;
        for (index, limb) in rig.limbs.iter().enumerate() {
            let paw = self.paws.paws[index];
            let side = if index % 2 == 0 { 1.0 } else { -1.0 };
            let (yaw, hip) = if index < 2 {
                (self.heading_rad + 0.12 * side, self.placement[rig.pelvis].translation.vector)
            } else {
                let torso = &self.placement[0];
                (self.heading_rad + self.posture[part::BEND] + 0.1 * side, torso.translation.vector)
            };
            let (sin, cos) = self.heading_rad.sin_cos();
            let ahead = (paw.tip_m.x - hip.x) * cos + (paw.tip_m.y - hip.y) * sin;
            let in_air = match paw.step {
                Step::Swing { done, .. } => (std::f64::consts::PI * done).sin(),
                _ => 0.0,
            };
            let free = match paw.step {
                Step::Free { share, .. } => smooth(share),
                Step::Swing { done, swing_s, .. } if swing_s > 0.3 => 1.0 - smooth(done),
                _ => 0.0,
            };
            // The heel rises as the body passes over the paw.
            let (pitch, weight) = if index < 2 {
                ((-0.86 + 17.0 * ahead - 0.15 * in_air).clamp(-1.3, -0.13), 0.004)
            } else {
                ((-1.35 + 9.0 * ahead - 0.2 * in_air).clamp(-1.45, -0.5), 0.002)
            };
            let direction = Vector3::new(pitch.cos() * yaw.cos(), pitch.cos() * yaw.sin(), pitch.sin());
            let reach = Reach { tip_m: paw.tip_m, direction, direction_m: weight * (1.0 - free) };
            // Digits cannot bend up past the paw's line; they curl down to lie flat when it points up.
            let curl = if index < 2 {
                0.25 * in_air
            } else {
                0.35 * free + 0.3 * in_air + limb.pitch_rad_above(&self.placement)
            };
            let [low, high] = rig.skeleton.hinges()[limb.digits].range_rad;
            let wanted = curl.clamp(low, high);
            let old = self.hinges_rad[limb.digits];
            self.hinges_rad[limb.digits] = wanted.clamp(old - step_rad, old + step_rad);
            limb.reach(&rig.skeleton, &reach, (&from_rad, step_rad), &mut self.hinges_rad, &mut self.placement);
            let sunk = -rig.paw_solids[index]
                .iter()
                .map(|solid| rig.skeleton.lowest_m(&rig.skeleton.solids()[*solid], &self.placement))
                .fold(f64::MAX, f64::min);
            if sunk > SINK_M {
                let raised = Reach { tip_m: paw.tip_m + Vector3::z() * (sunk - SINK_M), ..reach };
                limb.reach(&rig.skeleton, &raised, (&from_rad, step_rad), &mut self.hinges_rad, &mut self.placement);
            }
            let miss = limb.tip(&self.placement) - paw.tip_m;
            if paw.step == Step::Down && miss.x.hypot(miss.y) > OUT_OF_REACH_M {
                self.paws.release(index);
            }
        }
    }

    fn lay_tail(&mut self) {
        let rig = Arc::clone(&self.rig);
        // Turning leaves the tail behind; a slow wave runs down it.
        let idle = 0.028 * (0.9 * self.time_s + 2.0 * (0.23 * self.time_s).sin()).sin();
        let mut lead = (0.045 * self.turn_rad_per_s + idle).clamp(-0.085, 0.085);
        for (wave, bend) in self.tail_wave.iter_mut().zip(rig.tail.bends()) {
            *wave += (lead - *wave) * (KEY_S * 9.0);
            lead = *wave;
            self.hinges_rad[*bend] = *wave;
        }
        rig.tail.lay(&rig.skeleton, &mut self.hinges_rad, &mut self.placement);
    }

    fn key(&self, behaviour: Behaviour) -> Key {
        let torso_from_root = self.rig.skeleton.turned(0, &self.hinges_rad).inverse();
        let root = self.placement[0] * torso_from_root;
        let mut qpos = [0.0; QPOS];
        let (at, turn) = (root.translation.vector, root.rotation);
        qpos[..7].copy_from_slice(&[at.x, at.y, at.z, turn.w, turn.i, turn.j, turn.k]);
        qpos[7..].copy_from_slice(&self.hinges_rad);
        Key {
            qpos,
            behaviour,
            speed_m_per_s: self.speed_m_per_s,
            turn_rad_per_s: self.turn_rad_per_s,
            heading_rad: self.heading_rad,
            phase: self.paws.phase,
            paws_down: self.paws.paws.map(|paw| paw.step == Step::Down),
        }
    }
}

/// Yaw to the left, then pitch nose up, then roll left side up.
fn rotation(yaw: f64, pitch: f64, roll: f64) -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw)
        * UnitQuaternion::from_axis_angle(&Vector3::y_axis(), -pitch)
        * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), roll)
}

/// Spreads a turn over hinges by their shares, within their limits.
fn share(skeleton: &Skeleton, chain: &Chain, angle_rad: f64, hinges_rad: &mut [f64; HINGES]) {
    for (hinge, part) in chain {
        let [low, high] = skeleton.hinges()[*hinge].range_rad;
        hinges_rad[*hinge] = (angle_rad * part).clamp(low, high);
    }
}
