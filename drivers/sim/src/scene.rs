//! What there is to see and to feel: the rat's world, or a stand-in for it.

use mimicd_device::Span;

use crate::pattern::Pattern;

/// How the rat moves at an instant: what the neurons listen to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Movement {
    /// Speed over the floor.
    pub speed_m_per_s: f64,
    /// Height of the snout.
    pub head_height_m: f64,
    /// Turning, left positive.
    pub heading_rate_rad_per_s: f64,
    /// Height of the right forepaw: rises once a stride.
    pub paw_height_m: f64,
}

impl Movement {
    /// The movement `share` (0 to 1) of the way from `self` to `other`.
    pub(crate) fn toward(&self, other: &Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * share;
        Self {
            speed_m_per_s: mix(self.speed_m_per_s, other.speed_m_per_s),
            head_height_m: mix(self.head_height_m, other.head_height_m),
            heading_rate_rad_per_s: mix(self.heading_rate_rad_per_s, other.heading_rate_rad_per_s),
            paw_height_m: mix(self.paw_height_m, other.paw_height_m),
        }
    }
}

/// The world of a twin.
#[derive(Clone)]
pub(crate) enum Scene {
    /// No rat: the movement is a sum of sines.
    Pattern,
}

impl Scene {
    /// How the rat moves at `at`.
    pub(crate) fn movement(&self, at: Span) -> Movement {
        match self {
            Self::Pattern => pattern_movement(at),
        }
    }
}

fn pattern_movement(at: Span) -> Movement {
    let wave = |period_s: f64| (at.secs_f64() / period_s * core::f64::consts::TAU).sin();
    Movement {
        speed_m_per_s: 0.15 + 0.15 * wave(7.0),
        head_height_m: 0.06 + 0.04 * wave(11.0),
        heading_rate_rad_per_s: 1.5 * wave(5.0),
        paw_height_m: 0.01 + 0.008 * wave(0.4),
    }
}

/// Paints one camera's images.
pub(crate) enum Painter {
    /// Test pictures.
    Pattern(Pattern),
}

/// What to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    /// Middle of the exposure.
    pub(crate) at: Span,
    /// Trigger index, for test pictures.
    pub(crate) number: u64,
    /// Seed of the image's noise.
    pub(crate) seed: u64,
}

impl Painter {
    pub(crate) fn paint(&mut self, shot: Shot, pixels: &mut [u8]) {
        match self {
            Self::Pattern(pattern) => pattern.draw(shot.number as u32, pixels),
        }
    }
}
