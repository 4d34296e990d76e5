//! The three device roles. Each has a real and a simulated implementor.
//!
//! All three share one shape so that the threaded and the stepped runner drive the same code: `poll(now, …)` never
//! blocks and does what is due at `now`; `wait(until)` blocks until something may be due or the deadline has come
//! (simulated devices in stepped mode are never waited on). `poll` allocates nothing in a steady state.

use std::sync::Arc;

use crate::{
    BoardCommand, BoardEvent, ClockReading, CommandId, DeviceAlarm, DeviceError, Frame, FrameGeometry, HostTime,
    SampleBlock,
};

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The given memory has been filled.
    Ready,
    /// Nothing is due; the given memory is as it was.
    Nothing,
}

/// A camera that is open and (after [`start`](CameraSource::start)) delivering.
pub trait CameraSource: Send {
    /// Size and layout of the frames it will deliver.
    fn geometry(&self) -> FrameGeometry;

    /// Identity for the manifest: model, serial number, bus address.
    fn identity(&self) -> &str;

    /// Begins delivery.
    ///
    /// # Errors
    /// `Busy`, `Disconnected`, `Unsupported`, `PermissionDenied`, `Io`.
    fn start(&mut self) -> Result<(), DeviceError>;

    /// Ends delivery; frames still inside the device are lost.
    fn stop(&mut self);

    /// Fills `frame` with the next image if one is there. May swap `frame.pixels` for another buffer of equal length.
    ///
    /// # Errors
    /// `Disconnected` (reopen), `Protocol`, `Io`. A damaged image is not an error: see [`crate::Integrity`].
    fn poll(&mut self, now: HostTime, frame: &mut Frame) -> Result<Polled, DeviceError>;

    /// Blocks until a frame may be there or `until` has come.
    fn wait(&mut self, until: HostTime);

    /// Closes and opens the device again after an error.
    ///
    /// # Errors
    /// `NotFound`, `Busy`: try again later.
    fn reopen(&mut self) -> Result<(), DeviceError>;

    /// Bytes of images that this program has copied so far on their way into frames; `None` where nobody counts.
    fn copied_bytes(&self) -> Option<u64> {
        None
    }

    /// Reads the camera's clock, where it offers that. It asks the camera and waits for its answer: not while frames are due.
    fn read_clock(&mut self) -> Option<ClockReading> {
        None
    }
}

/// An electrode array that is open and (after [`start`](EphysSource::start)) delivering.
pub trait EphysSource: Send {
    /// Channels per sample.
    fn channels(&self) -> usize;

    /// Nominal sample rate.
    fn rate_hz(&self) -> f64;

    /// The most samples one block will hold.
    fn block_samples_max(&self) -> usize;

    /// Identity for the manifest.
    fn identity(&self) -> &str;

    /// Begins delivery.
    ///
    /// # Errors
    /// As for [`CameraSource::start`].
    fn start(&mut self) -> Result<(), DeviceError>;

    /// Ends delivery.
    fn stop(&mut self);

    /// Fills `block` with the next consecutive samples if there are any.
    ///
    /// # Errors
    /// As for [`CameraSource::poll`]. A gap is not an error: the block after it is flagged.
    fn poll(&mut self, now: HostTime, block: &mut SampleBlock) -> Result<Polled, DeviceError>;

    /// Blocks until samples may be there or `until` has come.
    fn wait(&mut self, until: HostTime);

    /// Closes and opens the device again after an error.
    ///
    /// # Errors
    /// `NotFound`, `Busy`: try again later.
    fn reopen(&mut self) -> Result<(), DeviceError>;

    /// What somebody has to mend while samples flow on; `None` when all is well. Cheap: asked at every pass.
    fn alarm(&self) -> Option<DeviceAlarm> {
        None
    }
}

/// Wakes the thread that waits for a device. Cheap, callable from any thread; a wake before the wait is not lost.
pub trait Wake: Send + Sync {
    /// Ends the wait, or lets the next one return at once.
    fn wake(&self);
}

/// The sync board: master clock, triggers, edges, outputs, buttons.
pub trait SyncBoard: Send {
    /// Identity for the manifest.
    fn identity(&self) -> &str;

    /// The next thing that happened on the board and the host time its message arrived, oldest first.
    ///
    /// # Errors
    /// `Disconnected`, `Protocol`, `Io`.
    fn poll(&mut self, now: HostTime) -> Result<Option<(HostTime, BoardEvent)>, DeviceError>;

    /// Sends a command; its acknowledgement comes as [`BoardEvent::Ack`].
    ///
    /// # Errors
    /// `Disconnected`, `WouldBlock` (the outgoing queue is full: the command was not taken), `Io`.
    fn send(&mut self, now: HostTime, command: BoardCommand) -> Result<CommandId, DeviceError>;

    /// Blocks until an event may be there, the waker was used, or `until` has come.
    fn wait(&mut self, until: HostTime);

    /// Ends a [`wait`](Self::wait), so that a command which another thread has ready goes out at once.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Closes and opens the link again after an error.
    ///
    /// # Errors
    /// `NotFound`, `Busy`: try again later.
    fn reopen(&mut self) -> Result<(), DeviceError>;
}
