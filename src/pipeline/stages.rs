//! What the loop works with: its stages, and the spikes it hears of.

use crate::body::BodyStage;
use crate::imitation::ImitationStage;
use crate::pose::PoseStage;

/// A spike, as the loop hears of it.
#[derive(Clone, Copy, Debug)]
pub struct SpikeNote {
    /// Array index.
    pub array: u8,
    /// Unit; 0 = unsorted.
    pub unit: u16,
}

/// The stages of the loop.
pub struct Stages {
    /// Views to keypoints.
    pub pose: PoseStage,
    /// Keypoints to joint angles.
    pub body: BodyStage,
    /// Joint angles to the virtual rat.
    pub imitation: ImitationStage,
}
