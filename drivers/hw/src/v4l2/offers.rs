//! Reads what a device offers, for `negotiate`.

use std::time::Duration;

use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture as _;
use v4l::{Device, FourCC};

use super::negotiate::{Offer, Size};

/// All formats of `device` with their sizes and rates.
pub(super) fn read(device: &Device) -> Vec<Offer> {
    let formats = device.enum_formats().unwrap_or_default();
    let offer = |format: v4l::format::Description| Offer {
        fourcc: format.fourcc.repr,
        sizes: sizes(device, format.fourcc),
        description: format.description,
    };
    formats.into_iter().map(offer).collect()
}

/// Empty where the driver does not list them.
fn sizes(device: &Device, fourcc: FourCC) -> Vec<Size> {
    let listed = device.enum_framesizes(fourcc).unwrap_or_default();
    let size = |size: v4l::FrameSize| match size.size {
        FrameSizeEnum::Discrete(one) => {
            Size::Exact { size_px: [one.width, one.height], rates_hz: rates(device, fourcc, one.width, one.height) }
        }
        FrameSizeEnum::Stepwise(range) => Size::Range {
            min_px: [range.min_width, range.min_height],
            max_px: [range.max_width, range.max_height],
            step_px: [range.step_width, range.step_height],
        },
    };
    listed.into_iter().map(size).collect()
}

fn rates(device: &Device, fourcc: FourCC, width: u32, height: u32) -> Vec<f64> {
    let listed = device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
    let rate = |interval: v4l::FrameInterval| match interval.interval {
        FrameIntervalEnum::Discrete(one) if one.numerator > 0 => {
            Some(f64::from(one.denominator) / f64::from(one.numerator))
        }
        _ => None,
    };
    // A device with a range of rates takes any of them; an empty list says so.
    listed.into_iter().map(rate).collect::<Option<Vec<f64>>>().unwrap_or_default()
}

/// The length of a frame as V4L2 wants it, a fraction of a second.
pub(super) fn interval(rate_hz: f64) -> v4l::Fraction {
    let length = Duration::from_secs_f64(1.0 / rate_hz.max(1e-3));
    if (rate_hz - rate_hz.round()).abs() < 1e-6 {
        return v4l::Fraction::new(1, rate_hz.round() as u32);
    }
    v4l::Fraction::new(length.as_micros() as u32, 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rates_are_exact_fractions() {
        let whole = interval(50.0);
        assert_eq!((whole.numerator, whole.denominator), (1, 50));
        let ntsc = interval(30_000.0 / 1_001.0);
        assert_eq!((ntsc.numerator, ntsc.denominator), (33_366, 1_000_000));
    }
}
