//! A line from one clock to another, with its uncertainty and the range it was fitted on.

use std::marker::PhantomData;

use mimicd_device::{ClockDomain, Span, Time};

/// Maps instants of `A` to instants of `B`: `b = b0 + (a - a0) * (1 + rate_offset)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockMap<A: ClockDomain, B: ClockDomain> {
    a0_ns: i64,
    b0_ns: i64,
    rate_offset: f64,
    uncertainty: Span,
    valid_from: Time<A>,
    valid_to: Time<A>,
    domains: PhantomData<(A, B)>,
}

/// An instant that crossed domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped<B: ClockDomain> {
    /// The instant.
    pub at: Time<B>,
    /// How far it may be off.
    pub uncertainty: Span,
    /// Whether the source lay outside the range that the map was fitted on.
    pub extrapolated: bool,
}

impl<A: ClockDomain, B: ClockDomain> ClockMap<A, B> {
    /// How fast an extrapolated instant becomes uncertain: crystals wander by less than this between fits.
    pub const EXTRAPOLATION_PPM: f64 = 20.0;

    /// A map through `(a0, b0)` with `rate_offset` (b's rate over a's, less one), fitted on `valid_from..=valid_to`.
    pub fn new(
        a0: Time<A>,
        b0: Time<B>,
        rate_offset: f64,
        uncertainty: Span,
        valid_from: Time<A>,
        valid_to: Time<A>,
    ) -> Self {
        Self {
            a0_ns: a0.nanos(),
            b0_ns: b0.nanos(),
            rate_offset,
            uncertainty,
            valid_from,
            valid_to,
            domains: PhantomData,
        }
    }

    /// `a` on the other clock.
    pub fn map(&self, a: Time<A>) -> Mapped<B> {
        let since = a.nanos() - self.a0_ns;
        let at = Time::from_nanos(self.b0_ns + since + (since as f64 * self.rate_offset).round() as i64);
        let outside = (self.valid_from.nanos() - a.nanos()).max(a.nanos() - self.valid_to.nanos()).max(0);
        let growth = (outside as f64 * Self::EXTRAPOLATION_PPM * 1e-6).ceil() as i64;
        Mapped { at, uncertainty: self.uncertainty + Span::from_nanos(growth), extrapolated: outside > 0 }
    }

    /// The map in the other direction, exact to a nanosecond.
    pub fn inverse(&self) -> ClockMap<B, A> {
        let there = |a: Time<A>| self.map(a).at;
        ClockMap::new(
            Time::from_nanos(self.b0_ns),
            Time::from_nanos(self.a0_ns),
            1.0 / (1.0 + self.rate_offset) - 1.0,
            self.uncertainty,
            there(self.valid_from),
            there(self.valid_to),
        )
    }

    /// Rate of `B` against `A`, in parts per million.
    pub fn drift_ppm(&self) -> f64 {
        self.rate_offset * 1e6
    }

    /// How far a mapped instant inside the valid range may be off.
    pub fn uncertainty(&self) -> Span {
        self.uncertainty
    }
}

#[cfg(test)]
mod tests {
    use mimicd_device::{BoardTime, Host, HostTime};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_and_its_inverse_cancel(ppm in -200.0..200.0f64, a in 0i64..86_400_000_000_000, b0 in -1i64<<50..1i64<<50) {
            let map: ClockMap<Host, mimicd_device::Board> = ClockMap::new(
                HostTime::from_nanos(1_000), BoardTime::from_nanos(b0), ppm * 1e-6, Span::from_micros(10),
                HostTime::ZERO, HostTime::from_nanos(1_000_000));
            let there = map.map(HostTime::from_nanos(a));
            let back = map.inverse().map(there.at);
            prop_assert!((back.at.nanos() - a).abs() <= 2);
        }
    }

    #[test]
    fn extrapolation_is_flagged_and_grows() {
        let map: ClockMap<Host, mimicd_device::Board> = ClockMap::new(
            HostTime::ZERO,
            BoardTime::ZERO,
            0.0,
            Span::from_micros(5),
            HostTime::ZERO,
            HostTime::from_nanos(1_000_000_000),
        );
        let inside = map.map(HostTime::from_nanos(500_000_000));
        let outside = map.map(HostTime::from_nanos(2_000_000_000));
        assert!(!inside.extrapolated && outside.extrapolated);
        assert_eq!(outside.uncertainty, Span::from_micros(25));
    }
}
