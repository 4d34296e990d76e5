//! When the virtual rat no longer imitates, and why it was put back.

use super::tracking::TrackingError;

/// Root farther than this from its reference ends an episode (the field's bound).
const ROOT_MAX_M: f64 = 0.1;
/// Root turned farther than this against its reference ends an episode.
const TURN_MAX_RAD: f64 = std::f64::consts::FRAC_PI_3;
/// Joints farther than this from their reference (Euclidean, all hinges) end an episode.
const JOINTS_MAX_RAD: f64 = 4.5;

/// Why the virtual rat was put back onto its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResetReason {
    /// The first posture.
    Start = 1,
    /// The root was more than 0.1 m away.
    RootFar = 2,
    /// The root was turned by more than 60 degrees.
    Turned = 3,
    /// The joints were more than 4.5 rad away (Euclidean over all hinges).
    JointsFar = 4,
    /// The policy gave a value that is not a number.
    NotFinite = 5,
    /// The simulation blew up.
    Diverged = 6,
    /// The reference was missing for longer than it may be held, and is back.
    ReferenceLost = 7,
    /// The stage was not called for longer than it can catch up.
    Paused = 8,
    /// Time went backwards: the board restarted.
    ClockStep = 9,
}

impl ResetReason {
    /// All reasons, in the order of their codes (code 1 first).
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::RootFar,
        Self::Turned,
        Self::JointsFar,
        Self::NotFinite,
        Self::Diverged,
        Self::ReferenceLost,
        Self::Paused,
        Self::ClockStep,
    ];

    /// In words, for the panel and for events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::RootFar => "root far from its reference",
            Self::Turned => "turned over",
            Self::JointsFar => "joints far from their reference",
            Self::NotFinite => "policy output not finite",
            Self::Diverged => "physics diverged",
            Self::ReferenceLost => "reference was lost",
            Self::Paused => "paused",
            Self::ClockStep => "clock stepped back",
        }
    }

    /// True where the policy or the physics failed; false where the reference or the caller did.
    pub const fn is_fall(self) -> bool {
        matches!(self, Self::RootFar | Self::Turned | Self::JointsFar | Self::NotFinite | Self::Diverged)
    }
}

/// The reason to reset, if the error is beyond what counts as imitation.
pub(super) fn off_the_rails(error: &TrackingError) -> Option<ResetReason> {
    if !error.root_m.is_finite() || !error.orientation_rad.is_finite() || !error.joints_l2_rad.is_finite() {
        Some(ResetReason::Diverged)
    } else if error.root_m > ROOT_MAX_M {
        Some(ResetReason::RootFar)
    } else if error.orientation_rad > TURN_MAX_RAD {
        Some(ResetReason::Turned)
    } else if error.joints_l2_rad > JOINTS_MAX_RAD {
        Some(ResetReason::JointsFar)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_has_its_reason() {
        let fine = TrackingError::default();
        assert_eq!(off_the_rails(&fine), None);
        assert_eq!(off_the_rails(&TrackingError { root_m: 0.11, ..fine }), Some(ResetReason::RootFar));
        assert_eq!(off_the_rails(&TrackingError { orientation_rad: 1.1, ..fine }), Some(ResetReason::Turned));
        assert_eq!(off_the_rails(&TrackingError { joints_l2_rad: 4.6, ..fine }), Some(ResetReason::JointsFar));
        assert_eq!(off_the_rails(&TrackingError { root_m: f64::NAN, ..fine }), Some(ResetReason::Diverged));
        for (index, reason) in ResetReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index + 1);
        }
    }
}
