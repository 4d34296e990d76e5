//! What the rat does: bouts of behaviour, and the posture and pace each asks for.
//!
//! Postures were fitted by hand to medians over real reference motion registered to this body: heights and pitches of pelvis,
//! torso and head, and where the paws are relative to them, for walking, sitting, sniffing, grooming and rearing rats.

use crate::render::Dice;

/// What the rat is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// Sits, breathes, looks around.
    #[default]
    Still,
    /// Stands low and sniffs the floor.
    Sniff,
    /// Walks somewhere.
    Walk,
    /// Turns on the spot.
    Turn,
    /// Stands up on its hind legs.
    Rear,
    /// Strokes its face with both paws.
    GroomFace,
    /// Licks its flank.
    GroomFlank,
}

impl Behaviour {
    /// Every behaviour.
    pub const ALL: [Self; 7] =
        [Self::Still, Self::Sniff, Self::Walk, Self::Turn, Self::Rear, Self::GroomFace, Self::GroomFlank];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Sniff => "sniff",
            Self::Walk => "walk",
            Self::Turn => "turn",
            Self::Rear => "rear",
            Self::GroomFace => "groom_face",
            Self::GroomFlank => "groom_flank",
        }
    }
}

/// Entries of a [`Posture`].
pub(crate) mod part {
    /// Height of the pelvis, m.
    pub(crate) const PELVIS_HEIGHT: usize = 0;
    /// How far the pelvis sits back from above the hind paws, m.
    pub(crate) const PELVIS_BACK: usize = 1;
    /// Pitch of pelvis, torso and head, nose up, rad.
    pub(crate) const PELVIS_PITCH: usize = 2;
    pub(crate) const TORSO_PITCH: usize = 3;
    pub(crate) const HEAD_PITCH: usize = 4;
    /// Turn of the torso against the pelvis and of the head against the torso, to the left, rad.
    pub(crate) const BEND: usize = 5;
    pub(crate) const HEAD_YAW: usize = 6;
    /// Roll of pelvis and head, left side up, rad.
    pub(crate) const ROLL: usize = 7;
    pub(crate) const HEAD_ROLL: usize = 8;
    /// 1 with the hands at the face, 0 with them before the chest (when they are off the floor at all).
    pub(crate) const HANDS_UP: usize = 9;
    /// Strength of licking, sniffing and stroking movements, 0..1.
    pub(crate) const STROKE: usize = 10;
}

/// A posture as numbers that can be filtered; see [`part`].
pub(crate) type Posture = [f64; 11];

/// How fast each entry of a posture follows its target, rad/s (critically damped).
pub(crate) const FOLLOW: Posture = [6.0, 5.5, 6.0, 6.0, 8.0, 6.0, 8.5, 5.0, 7.0, 8.0, 5.0];

/// What the present bout asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) behaviour: Behaviour,
    pub(crate) posture: Posture,
    /// Walking speed, m/s.
    pub(crate) speed_m_per_s: f64,
    /// Heading rate, rad/s.
    pub(crate) turn_rad_per_s: f64,
    /// Both hands off the floor.
    pub(crate) hands_free: bool,
}

/// Chooses bouts and, within them, where to go and where to look.
#[derive(Clone, Debug)]
pub(crate) struct Planner {
    dice: Dice,
    behaviour: Behaviour,
    left_s: f64,
    /// Where a walk goes, m.
    goal_m: [f64; 2],
    pace_m_per_s: f64,
    /// Heading a turn ends at, rad.
    heading_rad: f64,
    /// Side of flank grooming.
    side: f64,
    look: [f64; 3],
    look_left_s: f64,
}

/// Greatest distance of a walk's goal from the arena's centre, m: nose and tail stay inside the wall.
const GOAL_RADIUS_M: f64 = 0.27;

impl Planner {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed, 0xbe4a),
            behaviour: Behaviour::Still,
            left_s: 1.0,
            goal_m: [0.0; 2],
            pace_m_per_s: 0.15,
            heading_rad: 0.0,
            side: 1.0,
            look: [0.0; 3],
            look_left_s: 0.0,
        }
    }

    /// A uniform number in [low, high) from the planner's stream.
    pub(crate) fn draw(&mut self, low: f64, high: f64) -> f64 {
        self.dice.range(low, high)
    }

    /// What the rat wants `step_s` later, being at `place_m` with `heading_rad`.
    pub(crate) fn wish(&mut self, step_s: f64, place_m: [f64; 2], heading_rad: f64) -> Wish {
        self.left_s -= step_s;
        let (off_m, error_rad) = self.toward_goal(place_m, heading_rad);
        let has_arrived = match self.behaviour {
            Behaviour::Walk => off_m < 0.04,
            Behaviour::Turn => wrap(self.heading_rad - heading_rad).abs() < 0.08,
            _ => false,
        };
        if self.left_s <= 0.0 || has_arrived {
            self.next_bout(place_m, heading_rad);
        }
        self.look_left_s -= step_s;
        if self.look_left_s <= 0.0 {
            self.look_left_s = self.dice.range(0.35, 1.4);
            self.look = [0.45 * self.dice.normal(), 0.13 * self.dice.normal(), 0.16 * self.dice.normal()];
        }
        let (speed_m_per_s, turn_rad_per_s) = match self.behaviour {
            Behaviour::Walk => {
                let turn = (2.6 * error_rad).clamp(-2.0, 2.0);
                let slow = error_rad.cos().max(0.12) * (off_m / 0.10).clamp(0.25, 1.0);
                (self.pace_m_per_s * slow, turn)
            }
            Behaviour::Turn => (0.0, (3.0 * wrap(self.heading_rad - heading_rad)).clamp(-2.1, 2.1)),
            _ => (0.0, 0.0),
        };
        Wish {
            behaviour: self.behaviour,
            posture: self.posture(turn_rad_per_s),
            speed_m_per_s,
            turn_rad_per_s,
            hands_free: matches!(self.behaviour, Behaviour::Rear | Behaviour::GroomFace),
        }
    }

    fn toward_goal(&self, place_m: [f64; 2], heading_rad: f64) -> (f64, f64) {
        let [dx, dy] = [self.goal_m[0] - place_m[0], self.goal_m[1] - place_m[1]];
        (dx.hypot(dy), wrap(dy.atan2(dx) - heading_rad))
    }

    fn next_bout(&mut self, place_m: [f64; 2], heading_rad: f64) {
        use Behaviour::{GroomFace, GroomFlank, Rear, Sniff, Still, Turn, Walk};
        let choices: &[(Behaviour, f64)] = match self.behaviour {
            Walk => &[(Walk, 0.22), (Still, 0.15), (Sniff, 0.18), (Rear, 0.21), (GroomFace, 0.16), (Turn, 0.08)],
            Turn => &[(Walk, 0.5), (Sniff, 0.18), (Rear, 0.2), (GroomFace, 0.12)],
            Still => &[(Walk, 0.36), (GroomFace, 0.26), (Turn, 0.12), (Rear, 0.16), (Sniff, 0.1)],
            Sniff => &[(Walk, 0.44), (Rear, 0.28), (Turn, 0.12), (GroomFace, 0.16)],
            Rear => &[(Walk, 0.45), (Sniff, 0.2), (GroomFace, 0.2), (Turn, 0.15)],
            GroomFace => &[(GroomFlank, 0.45), (Still, 0.2), (Walk, 0.25), (Turn, 0.1)],
            GroomFlank => &[(GroomFace, 0.3), (Still, 0.2), (Walk, 0.4), (Turn, 0.1)],
        };
        let mut mark = self.dice.unit();
        self.behaviour = choices
            .iter()
            .find(|(_, share)| {
                mark -= share;
                mark <= 0.0
            })
            .map_or(Walk, |(behaviour, _)| *behaviour);
        let [low, high] = match self.behaviour {
            Walk => [2.0, 7.0],
            Turn => [1.5, 3.0],
            Still => [1.2, 4.5],
            Sniff => [1.0, 3.0],
            Rear => [1.4, 3.5],
            GroomFace => [2.5, 7.0],
            GroomFlank => [1.8, 4.0],
        };
        self.left_s = self.dice.range(low, high);
        self.side = if self.dice.unit() < 0.5 { 1.0 } else { -1.0 };
        let turn = self.side * self.dice.range(0.8, 2.6);
        self.heading_rad = heading_rad + turn;
        // Slow walks are as common as fast ones: uniform in the logarithm of the speed.
        self.pace_m_per_s = 0.06 * (0.36f64 / 0.06).powf(self.dice.unit());
        for _ in 0..8 {
            let radius = GOAL_RADIUS_M * self.dice.unit().sqrt();
            let bearing = self.dice.range(0.0, std::f64::consts::TAU);
            self.goal_m = [radius * bearing.cos(), radius * bearing.sin()];
            if (self.goal_m[0] - place_m[0]).hypot(self.goal_m[1] - place_m[1]) > 0.15 {
                break;
            }
        }
    }

    fn posture(&self, turn_rad_per_s: f64) -> Posture {
        let [look, nod, tilt] = self.look;
        let bend = (0.22 * turn_rad_per_s).clamp(-0.5, 0.5);
        let lead = 0.2 * turn_rad_per_s;
        let side = self.side;
        //   height back   pelvis torso  head          bend         head yaw            roll         head roll    hands stroke
        match self.behaviour {
            Behaviour::Still => [0.056, 0.031, 0.52, 0.02, -0.42 + nod, 0.1 * look, look, 0.0, tilt, 0.0, 0.0],
            Behaviour::Sniff => {
                [0.056, 0.022, 0.40, -0.06, -0.80 + nod, 0.15 * look, 0.7 * look, 0.0, 0.5 * tilt, 0.0, 0.6]
            }
            Behaviour::Walk => {
                [0.063, 0.0, -0.04, 0.14, -0.40 + 0.6 * nod, bend, lead + 0.35 * look, 0.0, 0.4 * tilt, 0.0, 0.0]
            }
            Behaviour::Turn => {
                [0.060, 0.012, 0.16, 0.08, -0.40 + 0.6 * nod, 1.3 * bend, lead + 0.2 * look, 0.0, 0.4 * tilt, 0.0, 0.0]
            }
            Behaviour::Rear => {
                [0.074, 0.020, 0.42, 1.30, 0.62 + 1.2 * nod, 0.12 * look, 0.8 * look, 0.0, tilt, 0.0, 0.0]
            }
            Behaviour::GroomFace => {
                [0.053, 0.040, 0.66, 0.20, -0.90 + 0.5 * nod, 0.1 * look, 0.25 * look, 0.0, 0.8 * tilt, 1.0, 1.0]
            }
            Behaviour::GroomFlank => {
                [0.055, 0.033, 0.52, 0.05, -0.75, 0.62 * side, 0.95 * side, -0.06 * side, 0.25 * side, 0.0, 0.8]
            }
        }
    }
}

/// An angle brought into (-pi, pi].
pub(crate) fn wrap(angle_rad: f64) -> f64 {
    let turned = angle_rad.rem_euclid(std::f64::consts::TAU);
    if turned > std::f64::consts::PI { turned - std::f64::consts::TAU } else { turned }
}
