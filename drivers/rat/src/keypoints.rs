//! The 23 keypoints that rat pose networks give, as sites on the body.

use serde::{Deserialize, Serialize};

/// Keypoint names in the order of the published rat23 set.
pub const RAT23: [&str; 23] = [
    "Snout",
    "EarL",
    "EarR",
    "SpineF",
    "SpineM",
    "SpineL",
    "TailBase",
    "ShoulderL",
    "ElbowL",
    "WristL",
    "HandL",
    "ShoulderR",
    "ElbowR",
    "WristR",
    "HandR",
    "HipL",
    "KneeL",
    "AnkleL",
    "FootL",
    "HipR",
    "KneeR",
    "AnkleR",
    "FootR",
];

/// Pairs of [`RAT23`] indices joined by a line when the keypoints are drawn (the published skeleton, counted from 0).
pub const RAT23_EDGES: [[usize; 2]; 23] = [
    [0, 1],
    [0, 2],
    [0, 3],
    [1, 2],
    [3, 4],
    [3, 7],
    [3, 11],
    [4, 5],
    [5, 6],
    [5, 15],
    [5, 19],
    [7, 8],
    [8, 9],
    [9, 10],
    [11, 12],
    [12, 13],
    [13, 14],
    [15, 16],
    [16, 17],
    [17, 18],
    [19, 20],
    [20, 21],
    [21, 22],
];

/// A keypoint fixed to a body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeypointSite {
    /// Keypoint name; also the name of the MuJoCo site.
    pub name: String,
    /// Body that carries it.
    pub body: String,
    /// Where on the body, in the body's frame, metres, **after** scaling: offsets are never scaled again.
    pub offset_m: [f64; 3],
}

/// Which body carries each keypoint of [`RAT23`], and where on it fitting starts (the field's published values).
const RAT23_ON_BODY: [(&str, [f64; 3]); 23] = [
    ("skull", [0.0; 3]),
    ("skull", [0.0; 3]),
    ("skull", [0.0; 3]),
    ("vertebra_cervical_5", [-0.015, 0.0, 0.0]),
    ("vertebra_1", [0.0; 3]),
    ("pelvis", [0.0; 3]),
    ("pelvis", [0.0; 3]),
    ("scapula_L", [0.0287, 0.00984, -0.02542]),
    ("upper_arm_L", [-0.01593, 0.01036, -0.0223]),
    ("lower_arm_L", [0.0; 3]),
    ("hand_L", [0.00303, 0.00152, -0.00834]),
    ("scapula_R", [0.0287, -0.00984, -0.02542]),
    ("upper_arm_R", [-0.01593, -0.01036, -0.0223]),
    ("lower_arm_R", [0.0; 3]),
    ("hand_R", [0.00303, -0.00152, -0.00834]),
    ("pelvis", [-0.015, 0.015, 0.0]),
    ("upper_leg_L", [0.01542, 0.01748, -0.0257]),
    ("lower_leg_L", [-0.0323, -0.00473, -0.02206]),
    ("foot_L", [0.0211, 0.00761, -0.00275]),
    ("pelvis", [-0.015, -0.015, 0.0]),
    ("upper_leg_R", [0.01542, -0.01748, -0.0257]),
    ("lower_leg_R", [-0.0323, 0.00473, -0.02206]),
    ("foot_R", [0.0211, -0.00761, -0.00275]),
];

/// The 23 sites with the offsets that fitting starts from, in [`RAT23`] order.
pub fn rat23_sites() -> Vec<KeypointSite> {
    RAT23
        .iter()
        .zip(RAT23_ON_BODY)
        .map(|(name, (body, offset_m))| KeypointSite { name: (*name).to_owned(), body: body.to_owned(), offset_m })
        .collect()
}
