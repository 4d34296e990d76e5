//! More of registration: fitting, refinement, other animals, other people's files.

mod fitting;
mod formats;
mod mice;

use mimicd::body::Subject;
use mimicd::pose::Keypoint;
use mimicd_rat::{Kinematics, QPOS_LEN, RatModel};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The keypoints that a subject would show in these postures, with noise.
pub fn keypoints_of(
    rat: &RatModel,
    subject: &Subject,
    postures: &[[f64; QPOS_LEN]],
    noise_m: f64,
) -> Vec<Vec<Keypoint>> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut noise = || noise_m * ((0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0);
    let mut kinematics = Kinematics::new(rat);
    let mut frame = |qpos: &[f64; QPOS_LEN]| {
        kinematics.set(qpos);
        let place = |index: usize| kinematics.keypoint_m(index).map(|value| value + noise());
        (0..subject.keypoint.len()).map(place).map(|place| Keypoint::recorded(place, 1.0)).collect()
    };
    postures.iter().map(&mut frame).collect()
}
