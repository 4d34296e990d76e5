//! What a device offers against what the config asks: taken exactly, or refused with what there is. Pure.

use mimicd_device::PixelFormat;

use super::format::{CODES, PixelCode, fourcc_text};

/// Sizes of one format.
#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    /// One size.
    Exact {
        /// Pixels across and down.
        size_px: [u32; 2],
        /// Frame rates; empty where the device does not say (a trigger or a cable decides).
        rates_hz: Vec<f64>,
    },
    /// Every size from the smallest in steps up to the largest.
    Range {
        /// Smallest.
        min_px: [u32; 2],
        /// Largest.
        max_px: [u32; 2],
        /// Steps.
        step_px: [u32; 2],
    },
}

/// One format of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Four-character code.
    pub fourcc: [u8; 4],
    /// What the device calls it.
    pub description: String,
    /// Sizes; empty where the device does not say.
    pub sizes: Vec<Size>,
}

/// What a config asks of a camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// Pixel layout.
    pub format: PixelFormat,
    /// Pixels across and down.
    pub size_px: [u32; 2],
    /// Frames a second that it must reach.
    pub rate_hz: f64,
}

/// What to set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The format.
    pub code: PixelCode,
    /// The rate to set, where the device has a choice.
    pub rate_hz: Option<f64>,
}

/// Rates are written as fractions of a second; this much apart they are the same.
const RATE_TOLERANCE: f64 = 1e-3;

impl Size {
    fn holds(&self, size: [u32; 2]) -> bool {
        match self {
            Self::Exact { size_px, .. } => *size_px == size,
            Self::Range { min_px, max_px, step_px } => (0..2).all(|axis| {
                let [min, step] = [min_px[axis], step_px[axis].max(1)];
                (min..=max_px[axis]).contains(&size[axis]) && (size[axis] - min).is_multiple_of(step)
            }),
        }
    }

    /// Lowest offered rate that is fast enough: `Some(None)` where the device does not say, `None` where it is too slow.
    fn rate_for(&self, wanted_hz: f64) -> Option<Option<f64>> {
        let Self::Exact { rates_hz, .. } = self else { return Some(None) };
        if rates_hz.is_empty() {
            return Some(None);
        }
        let enough = |rate: &f64| *rate >= wanted_hz * (1.0 - RATE_TOLERANCE);
        rates_hz.iter().copied().filter(enough).min_by(f64::total_cmp).map(Some)
    }
}

/// The device's format and rate for what is wanted.
///
/// # Errors
/// One sentence with what is asked and what is offered.
pub fn choose(offers: &[Offer], wanted: &Wanted) -> Result<Choice, String> {
    let [width, height] = wanted.size_px;
    let asked = format!("{} {width}x{height} at {} Hz", wanted.format.name(), wanted.rate_hz);
    let codes = CODES.into_iter().filter(|code| code.format == wanted.format);
    let pairs: Vec<(PixelCode, &Offer)> =
        codes.filter_map(|code| Some((code, offers.iter().find(|offer| offer.fourcc == code.fourcc)?))).collect();
    if pairs.is_empty() {
        return Err(format!("{asked}: no such format; offered: {}", list(offers)));
    }
    let silent = |offer: &Offer| offer.sizes.is_empty();
    let fitting = |offer: &'_ Offer| offer.sizes.iter().find(|size| size.holds(wanted.size_px)).cloned();
    if !pairs.iter().any(|(_, offer)| silent(offer) || fitting(offer).is_some()) {
        return Err(format!("{asked}: no such size; offered: {}", list_of(pairs.iter().map(|(_, offer)| *offer))));
    }
    let choices = pairs.iter().filter_map(|(code, offer)| {
        let rate_hz = if silent(offer) { None } else { fitting(offer)?.rate_for(wanted.rate_hz)? };
        Some(Choice { code: *code, rate_hz })
    });
    choices.into_iter().next().ok_or_else(|| {
        format!("{asked}: too fast for the device; offered: {}", list_of(pairs.iter().map(|(_, offer)| *offer)))
    })
}

/// Offers as people read them: `GREY = mono8: 640x480 @ 30, 60 Hz; …`.
pub fn list(offers: &[Offer]) -> String {
    list_of(offers.iter())
}

fn list_of<'a>(offers: impl Iterator<Item = &'a Offer>) -> String {
    let each: Vec<String> = offers.map(describe).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join("; ") }
}

fn describe(offer: &Offer) -> String {
    let name = PixelCode::of(offer.fourcc).map_or("not taken".to_owned(), |code| code.format.name().to_owned());
    let sizes: Vec<String> = offer.sizes.iter().map(describe_size).collect();
    format!(
        "{} = {name}: {}",
        fourcc_text(offer.fourcc),
        if sizes.is_empty() { "any size".to_owned() } else { sizes.join(", ") }
    )
}

fn describe_size(size: &Size) -> String {
    match size {
        Size::Exact { size_px: [width, height], rates_hz } if rates_hz.is_empty() => format!("{width}x{height}"),
        Size::Exact { size_px: [width, height], rates_hz } => {
            let rates: Vec<String> =
                rates_hz.iter().map(|rate| format!("{}", (rate * 100.0).round() / 100.0)).collect();
            format!("{width}x{height} @ {} Hz", rates.join("/"))
        }
        Size::Range { min_px, max_px, step_px } => format!(
            "{}x{} to {}x{} in steps of {}x{}",
            min_px[0], min_px[1], max_px[0], max_px[1], step_px[0], step_px[1]
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(width: u32, height: u32, rates_hz: &[f64]) -> Size {
        Size::Exact { size_px: [width, height], rates_hz: rates_hz.to_vec() }
    }

    fn offer(fourcc: &[u8; 4], sizes: Vec<Size>) -> Offer {
        Offer { fourcc: *fourcc, description: String::new(), sizes }
    }

    fn wanted(format: PixelFormat, width: u32, height: u32, rate_hz: f64) -> Wanted {
        Wanted { format, size_px: [width, height], rate_hz }
    }

    fn webcam() -> Vec<Offer> {
        vec![
            offer(b"MJPG", vec![exact(1920, 1080, &[30.0])]),
            offer(b"YUYV", vec![exact(640, 480, &[30.0, 15.0, 60.0]), exact(1920, 1080, &[5.0])]),
        ]
    }

    #[test]
    fn what_is_offered_is_taken_at_the_lowest_rate_that_is_enough() {
        let choice = choose(&webcam(), &wanted(PixelFormat::Yuyv, 640, 480, 25.0)).expect("offered");
        assert_eq!((choice.code.fourcc, choice.rate_hz), (*b"YUYV", Some(30.0)));
        let same = choose(&webcam(), &wanted(PixelFormat::Yuyv, 640, 480, 30.000_3)).expect("the same rate");
        assert_eq!(same.rate_hz, Some(30.0));
    }

    #[test]
    fn what_is_not_offered_is_refused_with_what_is() {
        for (asked, words) in [
            (wanted(PixelFormat::Mono8, 640, 480, 30.0), ["no such format", "MJPG = not taken: 1920x1080 @ 30 Hz"]),
            (wanted(PixelFormat::Yuyv, 800, 600, 30.0), ["no such size", "640x480 @ 30/15/60 Hz"]),
            (wanted(PixelFormat::Yuyv, 1920, 1080, 50.0), ["too fast", "1920x1080 @ 5 Hz"]),
        ] {
            let refusal = choose(&webcam(), &asked).expect_err("not offered");
            assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
        }
        assert!(choose(&[], &wanted(PixelFormat::Mono8, 640, 480, 30.0)).expect_err("none").ends_with("nothing"));
    }

    #[test]
    fn ranges_hold_their_steps_only() {
        let range = Size::Range { min_px: [320, 180], max_px: [1920, 1200], step_px: [8, 2] };
        let offers = [offer(b"GREY", vec![range])];
        assert!(choose(&offers, &wanted(PixelFormat::Mono8, 1320, 1048, 50.0)).is_ok());
        for (width, height) in [(1324, 1048), (1320, 1049), (1928, 1200), (312, 180)] {
            let refusal = choose(&offers, &wanted(PixelFormat::Mono8, width, height, 50.0)).expect_err("off the grid");
            assert!(refusal.contains("320x180 to 1920x1200 in steps of 8x2"), "{refusal}");
        }
    }

    #[test]
    fn a_device_that_does_not_say_its_sizes_is_asked() {
        let offers = [offer(b"Y16 ", Vec::new())];
        let choice = choose(&offers, &wanted(PixelFormat::Mono16, 1440, 1080, 50.0)).expect("it may be able to");
        assert_eq!(choice.rate_hz, None);
    }

    #[test]
    fn a_plain_layout_is_preferred_to_a_packed_one() {
        let offers = [offer(b"Y10P", vec![exact(64, 48, &[])]), offer(b"Y10 ", vec![exact(64, 48, &[])])];
        let choice = choose(&offers, &wanted(PixelFormat::Mono10, 64, 48, 50.0)).expect("offered");
        assert_eq!(choice.code.fourcc, *b"Y10 ");
    }
}
