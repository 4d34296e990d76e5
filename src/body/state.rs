//! What registration says about one frame.

use mimicd_device::Integrity;
use mimicd_rat::{QPOS_LEN, QVEL_LEN};

bitflags::bitflags! {
    /// What is known about one keypoint in one frame. The numbers are written into tables and never change meaning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct KeypointFlags: u8 {
        /// Not given, of too little confidence, not finite, or beyond the world's bounds: not used.
        const MISSING = 1 << 0;
        /// Given but not a number, or infinite.
        const NOT_FINITE = 1 << 1;
        /// Given but farther from the origin than any rig is large.
        const OUT_OF_WORLD = 1 << 2;
        /// Given but so far from the fitted body that it hardly counted.
        const OUTLIER = 1 << 3;
        /// Back after a gap and not yet at full weight.
        const RETURNING = 1 << 4;
    }
}

bitflags::bitflags! {
    /// What is known about the whole body in one frame. The numbers are written into tables and never change meaning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct BodyFlags: u16 {
        /// No keypoint could be used: the posture before is repeated.
        const NO_DATA = 1 << 0;
        /// Fitted from nothing: the first frame, or after the track was lost.
        const COLD_START = 1 << 1;
        /// Some joint moved by its prediction alone, since no keypoint beyond it was seen.
        const EXTRAPOLATED = 1 << 2;
        /// Some joint that a keypoint moves is at its limit.
        const AT_LIMIT = 1 << 3;
        /// Some part of the body is at the floor.
        const FLOOR_CONTACT = 1 << 4;
        /// A joint or the root moved farther in one frame than an animal can.
        const JUMP = 1 << 5;
        /// The keypoints do not fit the body: mean distance beyond the limit.
        const POOR_FIT = 1 << 6;
        /// A keypoint was not finite.
        const NOT_FINITE = 1 << 7;
        /// Too few keypoints to say where the animal is.
        const TOO_FEW = 1 << 8;
    }
}

bitflags::bitflags! {
    /// What is known about one hinge in one frame. The numbers are written into tables and never change meaning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct HingeFlags: u16 {
        /// At its limit, and some keypoint moves it.
        const AT_LIMIT = 1 << 0;
        /// Moved by its prediction alone, since no keypoint beyond it was seen.
        const EXTRAPOLATED = 1 << 1;
    }
}

/// The body in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct BodyState {
    /// Coordinates: root position (metres), root quaternion (w first), hinges (radians).
    pub qpos: [f64; QPOS_LEN],
    /// Velocities: root in the world (m/s), root about its own axes (rad/s), hinges (rad/s).
    pub qvel: [f64; QVEL_LEN],
    /// Distance of each keypoint to its place on the body, metres; NaN where it was not used.
    pub residual_m: Vec<f32>,
    /// Mean of the distances of the keypoints used, metres; NaN where none was.
    pub residual_mean_m: f32,
    /// What is known about each keypoint.
    pub keypoint_flags: Vec<KeypointFlags>,
    /// What is known about the body.
    pub flags: BodyFlags,
    /// Deepest point below the floor, metres; 0 where none is.
    pub floor_depth_m: f32,
    /// Observed hinges that are at a limit: bit `i` is hinge `i`.
    pub limits_hit: u128,
    /// Hinges that were carried by their prediction alone, since no keypoint beyond them was seen: bit `i` is hinge `i`.
    pub extrapolated: u128,
    /// Iterations of the solver.
    pub iterations: u8,
    /// The flags that travel with every row.
    pub integrity: Integrity,
    /// Where the fitted body has its keypoints, world, metres.
    pub sites_m: Vec<[f64; 3]>,
}

impl BodyState {
    /// Room for the state of a body with `keypoints` keypoints.
    pub fn new(keypoints: usize) -> Self {
        let mut qpos = [0.0; QPOS_LEN];
        qpos[3] = 1.0;
        Self {
            qpos,
            qvel: [0.0; QVEL_LEN],
            residual_m: vec![f32::NAN; keypoints],
            residual_mean_m: f32::NAN,
            keypoint_flags: vec![KeypointFlags::MISSING; keypoints],
            flags: BodyFlags::NO_DATA,
            floor_depth_m: 0.0,
            limits_hit: 0,
            extrapolated: 0,
            iterations: 0,
            integrity: Integrity::PARTIAL,
            sites_m: vec![[0.0; 3]; keypoints],
        }
    }

    /// What is known about hinge `hinge` (coordinate `7 + hinge`).
    pub fn hinge_flags(&self, hinge: usize) -> HingeFlags {
        let mut flags = HingeFlags::empty();
        flags.set(HingeFlags::AT_LIMIT, self.limits_hit >> hinge & 1 == 1);
        flags.set(HingeFlags::EXTRAPOLATED, self.extrapolated >> hinge & 1 == 1);
        flags
    }
}
