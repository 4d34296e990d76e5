//! The tail: thirty vertebrae that lie along the floor wherever the rump goes.
//!
//! The body model's tail bends by at most 5 degrees a hinge, twelve hinges up and down and twelve sideways, so that a rump
//! pitched far up needs most of its hinges only to keep the tip off the floor. The root's hinges lift together, as little
//! as keeps every vertebra above the floor; each further hinge turns as far as its limits allow toward the slope that
//! brings the rest of the tail down to the floor and along it.

use nalgebra::Vector3;

use super::skeleton::{HINGES, Placement, Skeleton};
use crate::SimError;

/// Height of the tail's axis where it lies on the floor, m: its radius and a little air.
const REST_M: f64 = 0.0042;
/// Distance over which a raised tail comes down to the floor, m.
const DESCENT_M: f64 = 0.04;
/// Lifting hinges that count as the tail's root: those on neighbouring vertebrae.
const ROOT_LIFTS: usize = 7;
/// Halvings of the root's lift: to 0.02 degrees a hinge.
const HALVINGS: usize = 9;

/// The tail's parts and hinges.
#[derive(Clone, Debug)]
pub struct Tail {
    first_body: usize,
    last_body: usize,
    /// Hinges that lift, base to tip.
    lifts: Vec<usize>,
    /// Hinges that turn sideways, base to tip.
    bends: Vec<usize>,
}

impl Tail {
    /// Finds the tail in `skeleton`.
    ///
    /// # Errors
    /// [`SimError::Body`] when there is no tail of 30 vertebrae.
    pub fn new(skeleton: &Skeleton) -> Result<Self, SimError> {
        let named = |ending: &str| {
            let hinges = skeleton.hinges().iter().enumerate();
            let of_tail =
                hinges.filter(|(_, hinge)| hinge.name.starts_with("vertebra_C") && hinge.name.ends_with(ending));
            of_tail.map(|(index, _)| index).collect::<Vec<_>>()
        };
        Ok(Self {
            first_body: skeleton.body("vertebra_C1")?,
            last_body: skeleton.body("vertebra_C30")?,
            lifts: named("_extend"),
            bends: named("_bend"),
        })
    }

    /// Whether `body` is one of the tail's.
    pub fn contains(&self, body: usize) -> bool {
        (self.first_body..=self.last_body).contains(&body)
    }

    /// Hinges that turn the tail sideways, base to tip.
    pub fn bends(&self) -> &[usize] {
        &self.bends
    }

    /// Chooses the lifting hinges for the rump's place in `placement`, keeping the sideways ones as they are, and places
    /// the tail's parts accordingly.
    pub fn lay(&self, skeleton: &Skeleton, hinges_rad: &mut [f64; HINGES], placement: &mut Placement) {
        // The least lift of the root that keeps all of the tail above the floor, by halving.
        let (mut low, mut high) = (-1.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            let lowest = self.hang(skeleton, middle, hinges_rad, placement);
            if lowest < REST_M { low = middle } else { high = middle }
        }
        self.hang(skeleton, high, hinges_rad, placement);
    }

    /// Places the tail with its root lifted by `lift` (-1..1 of what its hinges can) and the rest laid toward the floor;
    /// gives the height of the lowest vertebra.
    fn hang(&self, skeleton: &Skeleton, lift: f64, hinges_rad: &mut [f64; HINGES], placement: &mut Placement) -> f64 {
        let rump = skeleton.bodies()[self.first_body].parent.unwrap_or(0);
        let backward = -(placement[rump].rotation * Vector3::x());
        let backward = Vector3::new(backward.x, backward.y, 0.0).try_normalize(1e-6).unwrap_or_else(Vector3::x);
        let mut lowest = f64::MAX;
        for body in self.first_body..=self.last_body {
            let parent = skeleton.bodies()[body].parent.unwrap_or(0);
            let hinge = skeleton.bodies()[body]
                .hinges
                .clone()
                .find_map(|hinge| self.lifts.iter().position(|lift| *lift == hinge).map(|order| (order, hinge)));
            if let Some((order, hinge)) = hinge {
                let [low, high] = skeleton.hinges()[hinge].range_rad;
                hinges_rad[hinge] = if order < ROOT_LIFTS {
                    (lift * high).clamp(low, high)
                } else {
                    hinges_rad[hinge] = 0.0;
                    placement[body] = placement[parent] * skeleton.turned(body, hinges_rad);
                    let along = self.direction(skeleton, placement, body);
                    // Measured from straight back, so that a tail hanging past the vertical is still known to hang.
                    let angle = along.z.atan2(along.dot(&backward));
                    let slope = ((REST_M - placement[body].translation.z) / DESCENT_M).clamp(-0.9, 0.5).atan();
                    (slope - angle).clamp(low, high)
                };
            }
            placement[body] = placement[parent] * skeleton.turned(body, hinges_rad);
            lowest = lowest.min(placement[body].translation.z);
        }
        lowest
    }

    /// Direction in which the tail continues from `body`.
    fn direction(&self, skeleton: &Skeleton, placement: &Placement, body: usize) -> Vector3<f64> {
        let next = (body + 1).min(self.last_body);
        let offset = skeleton.bodies()[next].parent_from_body.translation.vector;
        (placement[body.min(self.last_body - 1)].rotation * offset).normalize()
    }
}
