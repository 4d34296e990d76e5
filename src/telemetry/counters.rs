//! One atomic counter for each cause of loss or damage.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why data was lost, damaged or refused. Closed, so that no counter can be misspelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Cause {
    /// A camera skipped counters.
    CameraGap,
    /// No free frame slot: somebody holds frames too long.
    FramePoolExhausted,
    /// The loop's frame ring was full.
    LoopRingFull,
    /// A frame came after its set had been handed out.
    FrameLate,
    /// A set was closed without all its cameras.
    SetPartial,
    /// Sets skipped because the loop was behind.
    SetSkipped,
    /// A frame's trigger could not be proved.
    MatchUnproved,
    /// A device failed and was reopened.
    DeviceReopened,
    /// An array skipped samples.
    SampleGap,
    /// No free sample block.
    BlockPoolExhausted,
    /// The spike thread's ring was full.
    SpikeRingFull,
    /// The recorder's lane was full.
    RecordLaneFull,
    /// The encoding thread's ring was full: the live fit does not know the bin.
    EncodeRingFull,
    /// A board message was lost on the link.
    BoardMessageLost,
    /// A command to the board could not be sent.
    BoardSendFailed,
    /// A clock stepped or was reset.
    ClockStep,
    /// The pose network gave values that are not finite.
    PoseNotFinite,
    /// The virtual rat was reset.
    PolicyReset,
    /// An action was refused because its data was too old or untrusted.
    ActionRefused,
    /// The loop ran over its frame period.
    LoopOverrun,
}

impl Cause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::CameraGap,
        Self::FramePoolExhausted,
        Self::LoopRingFull,
        Self::FrameLate,
        Self::SetPartial,
        Self::SetSkipped,
        Self::MatchUnproved,
        Self::DeviceReopened,
        Self::SampleGap,
        Self::BlockPoolExhausted,
        Self::SpikeRingFull,
        Self::RecordLaneFull,
        Self::EncodeRingFull,
        Self::BoardMessageLost,
        Self::BoardSendFailed,
        Self::ClockStep,
        Self::PoseNotFinite,
        Self::PolicyReset,
        Self::ActionRefused,
        Self::LoopOverrun,
    ];

    /// Name as it stands in tables, metrics and on the panel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CameraGap => "camera_gap",
            Self::FramePoolExhausted => "frame_pool_exhausted",
            Self::LoopRingFull => "loop_ring_full",
            Self::FrameLate => "frame_late",
            Self::SetPartial => "set_partial",
            Self::SetSkipped => "set_skipped",
            Self::MatchUnproved => "match_unproved",
            Self::DeviceReopened => "device_reopened",
            Self::SampleGap => "sample_gap",
            Self::BlockPoolExhausted => "block_pool_exhausted",
            Self::SpikeRingFull => "spike_ring_full",
            Self::RecordLaneFull => "record_lane_full",
            Self::EncodeRingFull => "encode_ring_full",
            Self::BoardMessageLost => "board_message_lost",
            Self::BoardSendFailed => "board_send_failed",
            Self::ClockStep => "clock_step",
            Self::PoseNotFinite => "pose_not_finite",
            Self::PolicyReset => "policy_reset",
            Self::ActionRefused => "action_refused",
            Self::LoopOverrun => "loop_overrun",
        }
    }
}

/// Counters for every [`Cause`].
#[derive(Debug, Default)]
pub struct Counters {
    counts: [AtomicU64; Cause::ALL.len()],
}

impl Counters {
    /// Adds `count` to `cause`.
    pub fn add(&self, cause: Cause, count: u64) {
        if count > 0 {
            self.counts[cause as usize].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Present count of `cause`.
    pub fn get(&self, cause: Cause) -> u64 {
        self.counts[cause as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_listed_in_the_order_of_their_numbers() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index, "{}", cause.name());
        }
    }
}
