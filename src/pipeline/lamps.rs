//! The lamps of the lab panel: what they show, and the commands that make them show it.
//!
//! | lamp | lit while |
//! |---|---|
//! | arm | the trigger train runs |
//! | record | a recording is written |
//! | stop | outputs may be driven |
//! | mark | a moment after a mark was put |
//! | emergency stop | the board's emergency stop is latched |

use mimicd_device::{BoardCommand, HostTime, Span};

/// Lamps of a panel, in the order of its buttons.
pub const LAMPS: usize = 5;

/// How long the mark lamp stays lit.
const MARK_LIT: Span = Span::from_millis(300);

/// What the lamps show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lamps {
    shown: [Option<bool>; LAMPS],
    mark_until: Option<HostTime>,
    /// Whether the board's emergency stop is latched.
    pub stop_latched: bool,
}

/// What decides the lamps.
#[derive(Clone, Copy, Debug)]
pub struct Showing {
    /// The trigger train runs.
    pub train: bool,
    /// A recording is written.
    pub recording: bool,
    /// Outputs may be driven.
    pub outputs: bool,
}

impl Lamps {
    /// Lights the mark lamp for a moment.
    pub fn mark(&mut self, now: HostTime) {
        self.mark_until = Some(now + MARK_LIT);
    }

    /// The board may show anything: say everything again.
    pub fn forget(&mut self) {
        self.shown = [None; LAMPS];
    }

    /// The next command that is needed to show what is so, if any.
    pub fn next(&self, now: HostTime, showing: Showing) -> Option<BoardCommand> {
        let mark = self.mark_until.is_some_and(|until| now < until);
        let wanted = [showing.train, showing.recording, showing.outputs, mark, self.stop_latched];
        let lamp = (0..LAMPS).find(|&lamp| self.shown[lamp] != Some(wanted[lamp]))?;
        Some(BoardCommand::Lamp { lamp: lamp as u8, on: wanted[lamp] })
    }

    /// The board was told.
    pub fn told(&mut self, command: BoardCommand) {
        if let BoardCommand::Lamp { lamp, on } = command {
            self.shown[usize::from(lamp)] = Some(on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(lamps: &mut Lamps, at_millis: i64, showing: Showing) -> Vec<(u8, bool)> {
        let mut told = Vec::new();
        while let Some(command) = lamps.next(HostTime::from_nanos(at_millis * 1_000_000), showing) {
            lamps.told(command);
            if let BoardCommand::Lamp { lamp, on } = command {
                told.push((lamp, on));
            }
        }
        told
    }

    #[test]
    fn only_changes_are_said_and_all_of_it_after_a_restart() {
        let (mut lamps, mut showing) = (Lamps::default(), Showing { train: true, recording: false, outputs: false });
        assert_eq!(tell(&mut lamps, 0, showing), [(0, true), (1, false), (2, false), (3, false), (4, false)]);
        showing.recording = true;
        lamps.mark(HostTime::from_nanos(5_000_000));
        assert_eq!(tell(&mut lamps, 6, showing), [(1, true), (3, true)]);
        lamps.stop_latched = true;
        assert_eq!(tell(&mut lamps, 400, showing), [(3, false), (4, true)]);
        lamps.forget();
        assert_eq!(tell(&mut lamps, 500, showing).len(), LAMPS);
    }
}
