//! Angles of the pose and what the animal does, as signals made from other keypoint signals.
//!
//! | signal | meaning |
//! |---|---|
//! | `pose.<keypoint>.angle_rad` | angle at elbow, knee and mid spine; π = straight |
//! | `pose.trunk.pitch_rad`, `.heading_rad` | of the line from the tail's base to the front of the spine |
//! | `pose.head.pitch_rad`, `.yaw_rad` | of the line from there to the snout; yaw against the trunk, left positive |
//! | `behaviour.moving` | 1 while the trunk moves (over 0.08 m/s, until under 0.04), else 0 |
//! | `behaviour.rearing` | 1 while the trunk points up (over 0.7 rad, until under 0.5), else 0 |
//! | `behaviour.still_s` | time since it last moved |

use std::f64::consts::{PI, TAU};

use mimicd_device::BoardTime;

use super::signals::{Reading, SignalIndex, SignalNames, SignalTable};

/// Outer, middle and other outer keypoint of each angle; the middle one names it.
const ANGLES: [[&str; 3]; 5] = [
    ["ShoulderL", "ElbowL", "WristL"],
    ["ShoulderR", "ElbowR", "WristR"],
    ["HipL", "KneeL", "AnkleL"],
    ["HipR", "KneeR", "AnkleR"],
    ["SpineF", "SpineM", "SpineL"],
];
/// Tail base, front of the spine, snout.
const AXES: [&str; 3] = ["TailBase", "SpineF", "Snout"];
/// The keypoint that stands for the trunk's movement.
const TRUNK: &str = "SpineM";

/// Begin and end of a state with hysteresis.
const MOVING_M_PER_S: [f64; 2] = [0.08, 0.04];
const REARING_RAD: [f64; 2] = [0.7, 0.5];

/// Fills the posture and behaviour signals, as far as the keypoints are there that they need.
#[derive(Clone, Debug)]
pub struct PostureSignals {
    angles: Vec<([usize; 3], SignalIndex)>,
    axes: Option<([usize; 3], SignalIndex)>,
    behaviour: Option<Behaviour>,
}

#[derive(Clone, Debug)]
struct Behaviour {
    first: SignalIndex,
    speed: SignalIndex,
    moving: bool,
    rearing: bool,
    moved: Option<BoardTime>,
}

impl PostureSignals {
    /// Adds the signals to `names`; those of the keypoints must be there already.
    pub fn new(names: &mut SignalNames, keypoints: &[String]) -> Self {
        let place = |name: &str| keypoints.iter().position(|known| known == name);
        let places = |all: [&str; 3]| Some([place(all[0])?, place(all[1])?, place(all[2])?]);
        let mut angle = |all: [&str; 3]| Some((places(all)?, names.push(format!("pose.{}.angle_rad", all[1]))));
        let angles = ANGLES.into_iter().filter_map(&mut angle).collect();
        let axes = places(AXES).map(|places| {
            let parts = ["trunk.pitch_rad", "trunk.heading_rad", "head.pitch_rad", "head.yaw_rad"];
            (places, names.extend(parts.map(|part| format!("pose.{part}"))))
        });
        let speed = names.find(&format!("pose.{TRUNK}.speed_m_per_s")).filter(|_| axes.is_some());
        let behaviour = speed.map(|speed| Behaviour {
            first: names.extend(["behaviour.moving", "behaviour.rearing", "behaviour.still_s"]),
            speed,
            moving: false,
            rearing: false,
            moved: None,
        });
        Self { angles, axes, behaviour }
    }

    /// Sets everything as it was at `at`; the keypoint signals of that instant must be set.
    pub fn set(&mut self, table: &mut SignalTable, at: BoardTime, keypoints_m: &[Option<[f64; 3]>]) {
        let get = |place: usize| keypoints_m.get(place).copied().flatten();
        for &([a, middle, b], index) in &self.angles {
            let value =
                get(a).zip(get(middle)).zip(get(b)).map(|((a, middle), b)| angle(minus(a, middle), minus(b, middle)));
            table.set(index, at, value.unwrap_or(f64::NAN));
        }
        let Some(([tail, front, snout], first)) = self.axes else { return };
        let trunk = get(tail).zip(get(front)).map(|(tail, front)| minus(front, tail));
        let head = get(front).zip(get(snout)).map(|(front, snout)| minus(snout, front));
        let pitch = |axis: Option<[f64; 3]>| axis.map_or(f64::NAN, |[x, y, z]| z.atan2(x.hypot(y)));
        let heading = |axis: Option<[f64; 3]>| axis.map_or(f64::NAN, |[x, y, _]| y.atan2(x));
        let yaw = wrapped(heading(head) - heading(trunk));
        table.set_all(first, at, [pitch(trunk), heading(trunk), pitch(head), yaw]);
        if let Some(behaviour) = &mut self.behaviour {
            behaviour.set(table, at, pitch(trunk));
        }
    }
}

impl Behaviour {
    fn set(&mut self, table: &mut SignalTable, at: BoardTime, pitch_rad: f64) {
        let Reading::Value { value: speed, .. } = table.reading(self.speed) else {
            return table.invalidate(self.first, 3, at);
        };
        if !pitch_rad.is_finite() {
            return table.invalidate(self.first, 3, at);
        }
        self.moving = hysteresis(self.moving, speed, MOVING_M_PER_S);
        self.rearing = hysteresis(self.rearing, pitch_rad, REARING_RAD);
        // A clock that ran backwards belongs to another board.
        if self.moving || self.moved.is_none_or(|moved| at < moved) {
            self.moved = Some(at);
        }
        let still = self.moved.map_or(f64::NAN, |moved| (at - moved).secs_f64());
        table.set_all(self.first, at, [f64::from(u8::from(self.moving)), f64::from(u8::from(self.rearing)), still]);
    }
}

fn hysteresis(on: bool, value: f64, [begin, end]: [f64; 2]) -> bool {
    if on { value >= end } else { value > begin }
}

fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| a[axis] - b[axis])
}

/// Angle between two directions, 0 to π; NaN where one has no length.
fn angle(a: [f64; 3], b: [f64; 3]) -> f64 {
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos()
}

fn wrapped(angle_rad: f64) -> f64 {
    (angle_rad + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::PoseSignals;

    struct Animal {
        names: SignalNames,
        table: SignalTable,
        pose: PoseSignals,
        posture: PostureSignals,
        points: Vec<Option<[f64; 3]>>,
        keypoints: Vec<String>,
    }

    impl Animal {
        fn new() -> Self {
            let keypoints: Vec<String> = mimicd_rat::RAT23.iter().map(|name| (*name).to_owned()).collect();
            let mut names = SignalNames::new();
            let pose = PoseSignals::new(&mut names, &keypoints);
            let posture = PostureSignals::new(&mut names, &keypoints);
            let points = vec![Some([0.0; 3]); keypoints.len()];
            Self { table: SignalTable::new(&names), names, pose, posture, points, keypoints }
        }

        fn put(&mut self, name: &str, at: Option<[f64; 3]>) {
            let place = self.keypoints.iter().position(|known| known == name).unwrap();
            self.points[place] = at;
        }

        fn look(&mut self, frame: i64) {
            let at = BoardTime::from_nanos(frame * 20_000_000);
            self.pose.set(&mut self.table, at, self.points.iter().copied());
            self.posture.set(&mut self.table, at, &self.points);
        }

        fn value(&self, name: &str) -> Option<f64> {
            match self.table.reading(self.names.find(name).unwrap()) {
                Reading::Value { value, .. } => Some(value),
                _ => None,
            }
        }
    }

    #[test]
    fn angles_and_axes_are_those_of_the_drawing() {
        let mut animal = Animal::new();
        animal.put("HipL", Some([0.0, 0.0, 1.0]));
        animal.put("AnkleL", Some([1.0, 0.0, 0.0]));
        animal.put("SpineF", Some([0.0, 1.0, 1.0]));
        animal.put("Snout", Some([-1.0, 2.0, 1.0]));
        animal.look(0);
        let close = |name: &str, wanted: f64| {
            let value = animal.value(name).unwrap();
            assert!((value - wanted).abs() < 1e-9, "{name} = {value}, wanted {wanted}");
        };
        close("pose.KneeL.angle_rad", PI / 2.0);
        close("pose.trunk.pitch_rad", PI / 4.0);
        close("pose.trunk.heading_rad", PI / 2.0);
        close("pose.head.pitch_rad", 0.0);
        close("pose.head.yaw_rad", PI / 4.0);
        animal.put("KneeL", None);
        animal.look(1);
        assert_eq!(animal.value("pose.KneeL.angle_rad"), None, "an angle without its keypoint is no number");
    }

    #[test]
    fn behaviour_has_hysteresis_and_counts_rest() {
        let mut animal = Animal::new();
        animal.put("SpineF", Some([0.0, 1.0, 0.0]));
        let mut x = 0.0;
        let mut walk = |animal: &mut Animal, frames: std::ops::Range<i64>, speed_m_per_s: f64| {
            for frame in frames {
                x += speed_m_per_s * 0.02;
                animal.put("SpineM", Some([x, 0.0, 0.0]));
                animal.look(frame);
            }
        };
        walk(&mut animal, 0..50, 0.2);
        assert_eq!((animal.value("behaviour.moving"), animal.value("behaviour.still_s")), (Some(1.0), Some(0.0)));
        walk(&mut animal, 50..100, 0.06);
        assert_eq!(animal.value("behaviour.moving"), Some(1.0), "slower, but not yet still");
        walk(&mut animal, 100..200, 0.0);
        assert_eq!(animal.value("behaviour.moving"), Some(0.0));
        assert!(animal.value("behaviour.still_s").unwrap() > 1.0);
        animal.put("SpineF", Some([0.0, 0.1, 1.0]));
        animal.look(200);
        assert_eq!(animal.value("behaviour.rearing"), Some(1.0));
        animal.put("SpineM", None);
        animal.look(201);
        assert_eq!(animal.value("behaviour.rearing"), None);
    }
}
