//! The tail: thirty vertebrae that lie along the floor wherever the rump goes.
//!
//! The body model's tail bends by at most 5 degrees a hinge, twelve hinges up and down and twelve sideways, so that a rump
//! pitched far up needs most of its hinges only to keep the tip off the floor. The angles are chosen from base to tip: each
//! hinge turns as far as its limits allow toward the slope that would bring the rest of the tail smoothly to the floor.

use nalgebra::Vector3;

use super::skeleton::{HINGES, Placement, Skeleton};
use crate::SimError;

/// Height of the tail's axis where it lies on the floor, m: its radius and a little air.
const REST_M: f64 = 0.0042;
/// Distance over which a raised tail comes down to the floor, m.
const DESCENT_M: f64 = 0.055;

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
        for lift in &self.lifts {
            hinges_rad[*lift] = 0.0;
        }
        for body in self.first_body..=self.last_body {
            let parent = skeleton.bodies()[body].parent.unwrap_or(0);
            placement[body] = placement[parent] * skeleton.turned(body, hinges_rad);
            let Some(lift) = skeleton.bodies()[body].hinges.clone().find(|hinge| self.lifts.contains(hinge)) else {
                continue;
            };
            let along = self.direction(skeleton, placement, body);
            let height = placement[body].translation.z;
            let slope = ((REST_M - height) / DESCENT_M).clamp(-0.9, 0.35).atan();
            let axis = placement[body].rotation * skeleton.hinges()[lift].axis;
            let turned = axis.cross(&along);
            let wanted = (slope - along.z.clamp(-1.0, 1.0).asin()) * if turned.z >= 0.0 { 1.0 } else { -1.0 };
            let [low, high] = skeleton.hinges()[lift].range_rad;
            hinges_rad[lift] = wanted.clamp(low, high);
            placement[body] = placement[parent] * skeleton.turned(body, hinges_rad);
        }
    }

    /// Direction in which the tail continues from `body`.
    fn direction(&self, skeleton: &Skeleton, placement: &Placement, body: usize) -> Vector3<f64> {
        let next = (body + 1).min(self.last_body);
        let offset = skeleton.bodies()[next].parent_from_body.translation.vector;
        (placement[body.min(self.last_body - 1)].rotation * offset).normalize()
    }
}
