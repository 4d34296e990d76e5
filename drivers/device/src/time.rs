//! Clock domains as types.
//!
//! | type | source of time | unit | zero |
//! |---|---|---|---|
//! | [`BoardTime`] | sync board's counter, extended to 64 bit | ns | board power-up (or reset) |
//! | [`CameraTime`] | one camera's own counter | ns | unknown |
//! | [`HostTime`] | `CLOCK_MONOTONIC` | ns | host boot |
//! | [`RigTime`] | the board's clock, counted from the start of the recording; `t_ns` in every table | ns | recording start |
//! | [`SampleIndex`] | one array's sample counter; a count, not a time | samples | run start |
//!
//! Subtraction and ordering exist only within a domain. Crossing needs a `ClockMap` (the `clock` layer), which
//! yields a value with its uncertainty.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Add, AddAssign, Sub};

/// A clock: a marker type that names one source of time.
pub trait ClockDomain: Copy + Eq + Ord + fmt::Debug + Send + Sync + 'static {
    /// Name as it is written into tables and messages.
    const NAME: &'static str;
}

macro_rules! domain {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl ClockDomain for $name {
            const NAME: &'static str = $text;
        }
    };
}

domain!(
    /// The sync board's clock: the master.
    Board, "board");
domain!(
    /// One camera's clock. Two cameras share this type but never a [`Time`]: keep them apart by their index.
    Camera, "camera");
domain!(
    /// The host's `CLOCK_MONOTONIC`.
    Host, "host");
domain!(
    /// The board's clock counted from the start of the recording.
    Rig, "rig");

/// A signed length of time in nanoseconds. Lengths of different clocks differ by parts per million and may be mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// A span of `micros` microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros * 1_000)
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }

    /// A span of `secs` seconds, rounded to the nearest nanosecond.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9).round() as i64)
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds as a float, for reports and filters.
    pub fn secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }

    /// Milliseconds as a float, for reports.
    pub fn millis_f64(self) -> f64 {
        self.0 as f64 * 1e-6
    }

    /// The span without its sign.
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// The span as a standard duration; negative spans give zero.
    pub fn to_duration(self) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0.max(0) as u64)
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

/// An instant of the clock `D`, in nanoseconds since that clock's zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time<D: ClockDomain> {
    nanos: i64,
    domain: PhantomData<D>,
}

/// An instant of the sync board's clock.
pub type BoardTime = Time<Board>;
/// An instant of one camera's clock.
pub type CameraTime = Time<Camera>;
/// An instant of the host's `CLOCK_MONOTONIC`.
pub type HostTime = Time<Host>;
/// An instant of the recording: `t_ns`.
pub type RigTime = Time<Rig>;

/// A camera's clock, read between two readings of the host's: at `device` the host's clock showed something between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Before the camera was asked.
    pub before: HostTime,
    /// What its clock showed.
    pub device: CameraTime,
    /// After it had answered.
    pub after: HostTime,
}

impl<D: ClockDomain> Time<D> {
    /// The clock's zero.
    pub const ZERO: Self = Self::from_nanos(0);

    /// The instant `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos, domain: PhantomData }
    }

    /// Nanoseconds since the clock's zero.
    pub const fn nanos(self) -> i64 {
        self.nanos
    }

    /// The span since `earlier`; negative when `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.nanos - earlier.nanos)
    }
}

impl<D: ClockDomain> fmt::Debug for Time<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}ns", D::NAME, self.nanos)
    }
}

impl<D: ClockDomain> Add<Span> for Time<D> {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self::from_nanos(self.nanos + span.0)
    }
}

impl<D: ClockDomain> AddAssign<Span> for Time<D> {
    fn add_assign(&mut self, span: Span) {
        self.nanos += span.0;
    }
}

impl<D: ClockDomain> Sub<Span> for Time<D> {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self::from_nanos(self.nanos - span.0)
    }
}

impl<D: ClockDomain> Sub for Time<D> {
    type Output = Span;
    fn sub(self, earlier: Self) -> Span {
        self.since(earlier)
    }
}

/// One array's sample counter, extended to 64 bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleIndex(pub u64);

/// Which moment of an event a time stamp marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Exposure began.
    ExposureStart,
    /// Middle of the exposure.
    ExposureMiddle,
    /// Exposure ended.
    ExposureEnd,
    /// First byte of the frame reached the host controller.
    TransferStart,
    /// Last byte of the frame reached the host controller.
    TransferEnd,
    /// The device does not say.
    Unknown,
}

/// A value with the instant it happened (in the device's own clock) and the instant the host first held it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped<T, D: ClockDomain> {
    /// When it happened, on the device's clock.
    pub at: Time<D>,
    /// When the host first held it.
    pub arrival: HostTime,
    /// What happened.
    pub value: T,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_instants_keep_their_arithmetic() {
        let start = BoardTime::from_nanos(5);
        let end = start + Span::from_micros(2);
        assert_eq!(end - start, Span::from_nanos(2_000));
        assert_eq!((start - end).nanos(), -2_000);
        assert_eq!(Span::from_secs_f64(1e-9 * 1.6).nanos(), 2);
        assert_eq!(Span::from_millis(-1).to_duration(), core::time::Duration::ZERO);
        assert_eq!(format!("{end:?}"), "board:2005ns");
    }
}
