//! The lab panel: four buttons to ground, the interlock and the emergency stop, both closed to ground when all is well.

use mimicd_board::{Capture, Change, Debounce};
use mimicd_wire::Button;

use super::chip;

const BUTTONS: [(u32, Button); 4] =
    [(22, Button::Arm), (26, Button::Record), (27, Button::Stop), (28, Button::Mark)];
const INTERLOCK: u32 = 20;
const EMERGENCY_STOP: u32 = 21;

/// The panel as it was seen last.
pub(super) struct Panel {
    contacts: [Debounce; BUTTONS.len()],
    interlock_open: bool,
    stop_open: bool,
}

impl Panel {
    /// A panel on which all is well; the first look tells what is not.
    pub(super) const fn new() -> Self {
        Self { contacts: [Debounce::new(); BUTTONS.len()], interlock_open: false, stop_open: false }
    }

    /// One thing that has changed since the last look.
    pub(super) fn look(&mut self, now_ns: u64) -> Option<Capture> {
        let levels = chip::levels();
        let is_open = |pin: u32| levels >> pin & 1 == 1;
        let changed = |change| Some(Capture { at_ns: now_ns, change });
        // Neither is debounced: opening for an instant is enough.
        if is_open(EMERGENCY_STOP) != self.stop_open {
            self.stop_open = !self.stop_open;
            if self.stop_open {
                return changed(Change::Button(Button::EmergencyStop));
            }
        }
        if is_open(INTERLOCK) != self.interlock_open {
            self.interlock_open = !self.interlock_open;
            return changed(Change::Interlock { open: self.interlock_open });
        }
        for (contact, (pin, button)) in self.contacts.iter_mut().zip(BUTTONS) {
            if contact.take(now_ns, !is_open(pin)) {
                return changed(Change::Button(button));
            }
        }
        None
    }
}
