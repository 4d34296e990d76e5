//! How keypoints move when a group of bodies grows: what the length step needs.

use mimicd_rat::RatModel;
use nalgebra::{DMatrix, DVector};

use crate::body::Subject;
use crate::body::math::{Vec3, add, dot, minus};
use crate::body::solver::Site;
use crate::body::tree::Posture;

/// The animal's own bodies begin here; before them are the world and the root.
const FIRST_BODY: usize = 2;

/// For each keypoint the links from the root to its body, each with the group that it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    count: usize,
    /// Per keypoint: (parent, child, group of the parent).
    links: Vec<Vec<(usize, usize, Option<usize>)>>,
}

impl Groups {
    pub(super) fn new(rat: &RatModel, subject: &Subject, sites: &[Site]) -> Self {
        let group_of = |body: usize| {
            let name = &rat.bodies()[body].name;
            subject.segment.iter().position(|segment| segment.bodies.contains(name))
        };
        let chain = |site: &Site| {
            let mut links = Vec::new();
            let mut child = site.body;
            while child > FIRST_BODY {
                let parent = rat.bodies()[child].parent;
                links.push((parent, child, group_of(parent)));
                child = parent;
            }
            links
        };
        Self { count: subject.segment.len(), links: sites.iter().map(chain).collect() }
    }

    /// Groups, and everything as one more.
    pub(super) fn len(&self) -> usize {
        self.count + 1
    }

    /// Adds a keypoint's equations: `residual` is from the target to the body.
    pub(super) fn add(
        &self,
        posture: &Posture,
        keypoint: usize,
        residual: Vec3,
        weight: f64,
        lengths: &mut DMatrix<f64>,
        pushes: &mut DVector<f64>,
    ) {
        let slope = |group: usize| {
            self.links[keypoint]
                .iter()
                .filter(|(_, _, own)| group == self.count || *own == Some(group))
                .fold([0.0; 3], |sum, &(parent, child, _)| {
                    add(sum, minus(posture.body_m[child], posture.body_m[parent]))
                })
        };
        let slopes: Vec<Vec3> = (0..=self.count).map(slope).collect();
        for (row, a) in slopes.iter().enumerate() {
            pushes[row] -= weight * dot(*a, residual);
            for (column, b) in slopes.iter().enumerate() {
                lengths[(row, column)] += weight * dot(*a, *b);
            }
        }
    }
}
