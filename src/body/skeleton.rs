//! Where the rat's bodies are at given coordinates, for whoever needs no more than that.
//!
//! MuJoCo's own kinematics place geometries, sites and centres of mass as well.

use mimicd_rat::{QPOS_LEN, RatModel};

use super::tree::{Posture, Tree};

/// The rat's bodies. Allocates only when made.
#[derive(Clone, Debug)]
pub struct Skeleton {
    tree: Tree,
    posture: Posture,
}

impl Skeleton {
    /// The bodies of `rat`.
    pub fn new(rat: &RatModel) -> Self {
        let tree = Tree::new(rat);
        Self { posture: tree.posture(), tree }
    }

    /// Moves everything to `qpos` and gives the bodies' origins by MuJoCo's ids, world, metres.
    pub fn place(&mut self, qpos: &[f64; QPOS_LEN]) -> &[[f64; 3]] {
        self.tree.forward(qpos, &mut self.posture);
        &self.posture.body_m
    }
}
