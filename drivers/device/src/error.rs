//! What can go wrong with a device, as closed kinds that say what to do.

use std::fmt;

/// What went wrong. Each kind says what the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceErrorKind {
    /// Nothing to be had at present. Retry at the next poll.
    WouldBlock,
    /// The device exists but somebody else holds it. Retry after a delay and tell the operator who.
    Busy,
    /// There is no such device. Degrade; look for it again every second.
    NotFound,
    /// It was there and has gone (unplugged, powered off, link down). Degrade; reopen when it is back.
    Disconnected,
    /// The device cannot do what the config asks. Stop: the config or the device must change; the message names what is offered.
    Unsupported,
    /// The operating system refuses access. Stop: the message names the permission and how to grant it.
    PermissionDenied,
    /// The device answered with something its protocol does not allow. Resynchronise; after repeated failures reopen.
    Protocol,
    /// The device did not answer in time. Retry the request; after repeated failures reopen.
    TimedOut,
    /// Any other failure of the operating system. Reopen once; if it comes again, degrade.
    Io,
}

impl DeviceErrorKind {
    /// Whether closing and opening the device again may help.
    pub const fn reopen_helps(self) -> bool {
        matches!(self, Self::NotFound | Self::Disconnected | Self::Protocol | Self::TimedOut | Self::Io | Self::Busy)
    }
}

/// What somebody has to mend while a device's data flow on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceAlarm {
    /// The connection that the device takes commands on is gone: should its data stop, nobody can ask for them. Degrade and
    /// tell the operator; it is looked for all the time.
    CommandLost,
}

impl DeviceAlarm {
    /// What is wrong, for a sentence that begins with the device's name.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CommandLost => "has lost its command connection and delivers on",
        }
    }

    /// What an operator does about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::CommandLost => "click Connect in RHX's Remote TCP Control",
        }
    }
}

/// A failure of one device: its kind, and which device and what was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError {
    /// Closed kind: what to do.
    pub kind: DeviceErrorKind,
    /// Which device, what was asked, what it said.
    pub context: String,
}

impl DeviceError {
    /// An error of `kind` with its context.
    pub fn new(kind: DeviceErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into() }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.context)
    }
}

impl std::error::Error for DeviceError {}
