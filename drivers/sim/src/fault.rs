//! The fault script: what goes wrong, where and when.
//!
//! Times are seconds of universe time. A fault of one frame hits the first frame whose trigger is not before its time.

use mimicd_device::Span;
use serde::{Deserialize, Serialize};

use crate::SimError;

/// A device with a clock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The sync board.
    Board,
    /// A camera by index.
    Camera(u8),
    /// An array by index.
    Array(u8),
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// A frame is exposed and counted by the camera, but lost on its way to the host.
    FrameDropped {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
    },
    /// A camera does not see one trigger: no exposure, no frame, no count.
    TriggerMissed {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
    },
    /// A frame arrives after the one that follows it.
    ArrivalSwapped {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
    },
    /// A camera goes on delivering frames, all with the same image.
    CameraFrozen {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// A camera is gone: errors, then no such device, until it is back and reopened; its counter starts again.
    CameraVanished {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// Frames of a camera wait in its queue of four; what does not fit is lost.
    CameraStalled {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// A camera is bumped: it stands where it was but looks to the side, until it is put back.
    CameraMoved {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
        /// How far it is turned about its vertical axis, degrees; positive: to its right.
        turn_deg: f64,
    },
    /// The board restarts: its clock, its train and its memory are gone.
    BoardReset {
        /// When.
        at_s: f64,
    },
    /// The link to the board is gone; the board itself goes on.
    BoardVanished {
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// Messages from the board are lost.
    MessagesLost {
        /// When.
        at_s: f64,
        /// How many.
        count: u32,
    },
    /// A clock's rate changes.
    DriftChange {
        /// Whose clock.
        device: Device,
        /// When.
        at_s: f64,
        /// By how much.
        ppm: f64,
    },
    /// A camera's clock jumps.
    ClockStep {
        /// Camera index.
        camera: u8,
        /// When.
        at_s: f64,
        /// By how much.
        step_micros: i64,
    },
    /// The board's clock jumps, by less than the trigger period; its epoch stays.
    BoardStep {
        /// When.
        at_s: f64,
        /// By how much.
        step_micros: i64,
    },
    /// Samples of an array are lost inside the device; its counter goes on.
    EphysGap {
        /// Array index.
        array: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// Samples of an array wait; the device holds one second of them, later ones are lost.
    EphysStalled {
        /// Array index.
        array: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// An array is gone until it is back and reopened; its counter goes on.
    EphysVanished {
        /// Array index.
        array: u8,
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// The recorder's disk takes no more than so many bytes a second.
    DiskSlow {
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
        /// Bytes a second.
        bytes_per_s: u64,
    },
    /// The recorder's disk refuses writes for want of room.
    DiskFull {
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// The recorder's disk answers writes with input/output errors.
    DiskFailing {
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
    /// The pose network answers with values that are not numbers.
    NetworkNan {
        /// When.
        at_s: f64,
        /// For how long.
        for_s: f64,
    },
}

/// A stretch of universe time, its end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Span,
    pub(crate) to: Span,
}

impl Window {
    fn new(at_s: f64, for_s: f64) -> Self {
        Self { from: Span::from_secs_f64(at_s), to: Span::from_secs_f64(at_s + for_s) }
    }

    pub(crate) fn holds(&self, at: Span) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// What happens to one camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameraFaults {
    pub(crate) dropped: Vec<Span>,
    pub(crate) missed: Vec<Span>,
    pub(crate) swapped: Vec<Span>,
    pub(crate) frozen: Vec<Window>,
    pub(crate) vanished: Vec<Window>,
    pub(crate) stalled: Vec<Window>,
    /// With the turn in degrees.
    pub(crate) moved: Vec<(Window, f64)>,
}

/// What happens to one array. Gaps are in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArrayFaults {
    pub(crate) gaps: Vec<Window>,
    pub(crate) stalled: Vec<Window>,
    pub(crate) vanished: Vec<Window>,
}

/// What happens to the board. All in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct BoardFaults {
    pub(crate) resets: Vec<Span>,
    pub(crate) vanished: Vec<Window>,
    pub(crate) lost: Vec<(Span, u32)>,
}

/// Faults that happen to the host rather than to a device; the layers concerned ask for them.
#[derive(Clone, Debug, Default)]
pub struct HostFaults {
    disk_slow: Vec<(Window, u64)>,
    disk_full: Vec<Window>,
    disk_failing: Vec<Window>,
    network_nan: Vec<Window>,
}

impl HostFaults {
    /// Whether the script disturbs the disk at all.
    pub fn disk_ever_fails(&self) -> bool {
        !(self.disk_slow.is_empty() && self.disk_full.is_empty() && self.disk_failing.is_empty())
    }

    /// Bytes a second that the disk takes at `universe`, if it is slow then.
    pub fn disk_bytes_per_s(&self, universe: Span) -> Option<u64> {
        self.disk_slow.iter().find(|(window, _)| window.holds(universe)).map(|&(_, rate)| rate)
    }

    /// Whether the disk has no room at `universe`.
    pub fn disk_is_full(&self, universe: Span) -> bool {
        self.disk_full.iter().any(|window| window.holds(universe))
    }

    /// Whether the disk answers with input/output errors at `universe`.
    pub fn disk_is_failing(&self, universe: Span) -> bool {
        self.disk_failing.iter().any(|window| window.holds(universe))
    }

    /// Whether the pose network's answers are not numbers at `universe`.
    pub fn network_is_nan(&self, universe: Span) -> bool {
        self.network_nan.iter().any(|window| window.holds(universe))
    }
}

/// Furthest that a bumped camera turns; beyond it the arena is out of view.
const TURN_DEG_MAX: f64 = 45.0;

/// How long an array's device holds samples that nobody takes.
pub(crate) const EPHYS_BUFFER_S: f64 = 1.0;

/// The script, sorted by device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub(crate) cameras: Vec<CameraFaults>,
    pub(crate) arrays: Vec<ArrayFaults>,
    pub(crate) board: BoardFaults,
    pub(crate) host: HostFaults,
    /// Rate changes and steps of clocks: device, when, ppm, step.
    pub(crate) clocks: Vec<(Device, Span, f64, Span)>,
}

impl Script {
    pub(crate) fn new(faults: &[Fault], cameras: usize, arrays: usize) -> Result<Self, SimError> {
        let mut script = Self {
            cameras: vec![CameraFaults::default(); cameras],
            arrays: vec![ArrayFaults::default(); arrays],
            ..Self::default()
        };
        for (index, fault) in faults.iter().enumerate() {
            script.add(fault).ok_or_else(|| {
                let expected =
                    format!("a camera below {cameras}, an array below {arrays}, times and lengths >= 0, rates > 0, turns within {TURN_DEG_MAX} deg");
                SimError::option(format!("fault {index}"), format!("{fault:?}"), expected)
            })?;
        }
        script.sort();
        Ok(script)
    }

    /// `None` if the fault names a device that is not there or an impossible time.
    fn add(&mut self, fault: &Fault) -> Option<()> {
        match *fault {
            Fault::FrameDropped { camera, at_s } => self.camera(camera)?.dropped.push(instant(at_s)?),
            Fault::TriggerMissed { camera, at_s } => self.camera(camera)?.missed.push(instant(at_s)?),
            Fault::ArrivalSwapped { camera, at_s } => self.camera(camera)?.swapped.push(instant(at_s)?),
            Fault::CameraFrozen { camera, at_s, for_s } => self.camera(camera)?.frozen.push(window(at_s, for_s)?),
            Fault::CameraVanished { camera, at_s, for_s } => self.camera(camera)?.vanished.push(window(at_s, for_s)?),
            Fault::CameraStalled { camera, at_s, for_s } => self.camera(camera)?.stalled.push(window(at_s, for_s)?),
            Fault::CameraMoved { camera, at_s, for_s, turn_deg } => {
                let turn_deg = Some(turn_deg).filter(|turn| turn.abs() <= TURN_DEG_MAX)?;
                self.camera(camera)?.moved.push((window(at_s, for_s)?, turn_deg));
            }
            Fault::BoardReset { at_s } => self.board.resets.push(instant(at_s)?),
            Fault::BoardVanished { at_s, for_s } => self.board.vanished.push(window(at_s, for_s)?),
            Fault::MessagesLost { at_s, count } => self.board.lost.push((instant(at_s)?, count)),
            Fault::DriftChange { device, at_s, ppm } => {
                self.clocks.push((self.known(device)?, instant(at_s)?, ppm.clamp(-400.0, 400.0), Span::ZERO));
            }
            Fault::ClockStep { camera, at_s, step_micros } => {
                let device = self.known(Device::Camera(camera))?;
                self.clocks.push((device, instant(at_s)?, 0.0, Span::from_micros(step_micros)));
            }
            Fault::BoardStep { at_s, step_micros } => {
                self.clocks.push((Device::Board, instant(at_s)?, 0.0, Span::from_micros(step_micros)));
            }
            Fault::EphysGap { array, at_s, for_s } => self.array(array)?.gaps.push(window(at_s, for_s)?),
            Fault::EphysStalled { array, at_s, for_s } => {
                let stalled = window(at_s, for_s)?;
                let faults = self.array(array)?;
                faults.stalled.push(stalled);
                if for_s > EPHYS_BUFFER_S {
                    faults.gaps.push(window(at_s + EPHYS_BUFFER_S, for_s - EPHYS_BUFFER_S)?);
                }
            }
            Fault::EphysVanished { array, at_s, for_s } => {
                let gone = window(at_s, for_s)?;
                let faults = self.array(array)?;
                faults.vanished.push(gone);
                faults.gaps.push(gone);
            }
            Fault::DiskSlow { bytes_per_s: 0, .. } => return None,
            Fault::DiskSlow { at_s, for_s, bytes_per_s } => {
                self.host.disk_slow.push((window(at_s, for_s)?, bytes_per_s));
            }
            Fault::DiskFull { at_s, for_s } => self.host.disk_full.push(window(at_s, for_s)?),
            Fault::DiskFailing { at_s, for_s } => self.host.disk_failing.push(window(at_s, for_s)?),
            Fault::NetworkNan { at_s, for_s } => self.host.network_nan.push(window(at_s, for_s)?),
        }
        Some(())
    }

    fn camera(&mut self, index: u8) -> Option<&mut CameraFaults> {
        self.cameras.get_mut(usize::from(index))
    }

    fn array(&mut self, index: u8) -> Option<&mut ArrayFaults> {
        self.arrays.get_mut(usize::from(index))
    }

    fn known(&self, device: Device) -> Option<Device> {
        let there = match device {
            Device::Board => true,
            Device::Camera(index) => usize::from(index) < self.cameras.len(),
            Device::Array(index) => usize::from(index) < self.arrays.len(),
        };
        there.then_some(device)
    }

    fn sort(&mut self) {
        for array in &mut self.arrays {
            array.gaps.sort_by_key(|gap| gap.from);
        }
        self.board.resets.sort();
        self.board.vanished.sort_by_key(|window| window.from);
        self.board.lost.sort();
    }
}

fn instant(at_s: f64) -> Option<Span> {
    (at_s.is_finite() && (0.0..1e9).contains(&at_s)).then(|| Span::from_secs_f64(at_s))
}

fn window(at_s: f64, for_s: f64) -> Option<Window> {
    instant(at_s)?;
    instant(for_s)?;
    Some(Window::new(at_s, for_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_absent_devices_are_refused_by_name() {
        let error = Script::new(&[Fault::FrameDropped { camera: 6, at_s: 1.0 }], 6, 2).unwrap_err().to_string();
        assert!(error.contains("fault 0") && error.contains("camera: 6") && error.contains("below 6"), "{error}");
        assert!(Script::new(&[Fault::EphysGap { array: 0, at_s: f64::NAN, for_s: 1.0 }], 6, 2).is_err());
        assert!(Script::new(&[Fault::CameraMoved { camera: 0, at_s: 1.0, for_s: 1.0, turn_deg: 90.0 }], 6, 2).is_err());
        assert!(Script::new(&[Fault::EphysGap { array: 1, at_s: 1.0, for_s: 1.0 }], 6, 2).is_ok());
    }
}
