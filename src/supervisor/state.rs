//! The rig's states as a pure function.
//!
//! ```text
//!                 arm             passed            start              stop, disk margin, fault, SIGTERM
//!        ┌──────────────► arming ───────► armed ─────────────► recording ─────────────► sealing
//!      idle ◄── failed ─────┘              │ ▲                    │ ▲                      │  │
//!        ▲ ◄────────── disarm ─────────────┘ │                    └─┘ mark                 │  │ not sealed,
//!        │                                   └──────────────── sealed ────────────────────┘  │ or a fault
//!        └──────────── disarm ──────────── faulted ◄──────────────────────────────────────────┘ waits
//!                                            ▲
//!                          fault in idle, arming or armed
//! ```
//!
//! A fault never skips the sealing: while recording it leads to `sealing` first, and the fault, still standing, then leads
//! on to `faulted`. Being degraded is a list of named conditions beside the state, not a state.

use crate::pipeline::RigState;

/// What happened, as far as the state is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Someone asked to arm.
    Arm,
    /// All pre-flight checks passed (or only warned).
    PreflightPassed,
    /// A pre-flight check failed, or could not be tried.
    PreflightFailed,
    /// A recording has begun.
    Started,
    /// The recording has to end: asked for, disk margin, or shutdown.
    Stop,
    /// The recording is sealed.
    Sealed,
    /// The recording could not be sealed.
    SealFailed,
    /// Someone asked to disarm.
    Disarm,
    /// The rig stopped and cannot go on by itself.
    Fault,
}

/// The state after `input` in `state`; `None` if the input is refused there.
pub const fn next(state: RigState, input: Input) -> Option<RigState> {
    use RigState::{Armed, Arming, Faulted, Idle, Recording, Sealing};
    Some(match (state, input) {
        (Idle, Input::Arm) => Arming,
        (Arming, Input::PreflightPassed) | (Sealing, Input::Sealed) => Armed,
        (Arming, Input::PreflightFailed) | (Armed | Faulted, Input::Disarm) => Idle,
        (Armed, Input::Started) => Recording,
        (Recording, Input::Stop | Input::Fault) => Sealing,
        (Sealing, Input::SealFailed) | (Idle | Arming | Armed, Input::Fault) => Faulted,
        _ => return None,
    })
}

/// What an operator can do about a command refused in `state`.
pub const fn advice(state: RigState) -> &'static str {
    match state {
        RigState::Idle => "arm first",
        RigState::Arming => "wait for the pre-flight checks",
        RigState::Armed => "start a recording first, or disarm",
        RigState::Recording => "stop the recording first",
        RigState::Sealing => "wait until the recording is sealed",
        RigState::Faulted => "look at the fault, then disarm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RigState::{Armed, Arming, Faulted, Idle, Recording, Sealing};

    const STATES: [RigState; 6] = [Idle, Arming, Armed, Recording, Sealing, Faulted];
    const INPUTS: [Input; 9] = [
        Input::Arm,
        Input::PreflightPassed,
        Input::PreflightFailed,
        Input::Started,
        Input::Stop,
        Input::Sealed,
        Input::SealFailed,
        Input::Disarm,
        Input::Fault,
    ];

    #[test]
    fn the_ordinary_course_and_back() {
        let course = [
            (Input::Arm, Arming),
            (Input::PreflightPassed, Armed),
            (Input::Started, Recording),
            (Input::Stop, Sealing),
            (Input::Sealed, Armed),
            (Input::Disarm, Idle),
        ];
        let mut state = Idle;
        for (input, after) in course {
            state = next(state, input).expect("allowed");
            assert_eq!(state, after);
        }
    }

    #[test]
    fn recording_is_left_only_through_sealing() {
        for input in INPUTS {
            assert!(matches!(next(Recording, input), None | Some(Sealing)), "{input:?}");
        }
    }

    #[test]
    fn recording_is_entered_only_from_armed() {
        for state in STATES {
            for input in INPUTS {
                if next(state, input) == Some(Recording) {
                    assert_eq!((state, input), (Armed, Input::Started));
                }
            }
        }
    }

    #[test]
    fn every_state_has_a_way_back_to_idle() {
        for start in STATES {
            let mut reached = vec![start];
            let mut at = 0;
            while at < reached.len() {
                for input in INPUTS {
                    if let Some(state) = next(reached[at], input).filter(|state| !reached.contains(state)) {
                        reached.push(state);
                    }
                }
                at += 1;
            }
            assert!(reached.contains(&Idle), "{start:?} reaches {reached:?}");
        }
    }
}
