//! What came from one camera, and whether every loss was declared. Pure.

use mimicd_device::{ClockReading, Frame, HostTime, Integrity, Span};

/// From a frame's stamp to its arrival. The clocks meet only to be compared: V4L2 stamps with the host's own, others drift.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Delay {
    arrival_ns: i64,
    delay_ns: i64,
}

/// The account of one camera.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Account {
    /// Frames that came.
    pub(super) frames: u64,
    /// Counter values that never came, within one opening of the device.
    pub(super) missing: u64,
    /// Runs of missing values: first and last.
    pub(super) gaps: Vec<[u64; 2]>,
    /// Losses that no flag declared.
    pub(super) undeclared: u64,
    /// Frames that the device calls damaged.
    pub(super) corrupt: u64,
    /// Frames that came after one with a higher counter; no longer missing.
    pub(super) out_of_order: u64,
    /// Times that the device was lost.
    pub(super) lost: u64,
    /// Times that it came back.
    pub(super) reopened: u64,
    first: Option<u64>,
    last: Option<u64>,
    fresh: bool,
    span: Option<[HostTime; 2]>,
    intervals_micros: Vec<i64>,
    /// When on the host's clock, and how long after the device's stamp, frames came since the device was opened.
    delays: Vec<Delay>,
    /// The device's clock, read since it was opened.
    readings: Vec<ClockReading>,
}

impl Account {
    /// Takes a frame in.
    pub(super) fn see(&mut self, frame: &Frame) {
        self.frames += 1;
        self.corrupt += u64::from(frame.integrity.contains(Integrity::CORRUPT));
        let declared = frame.integrity.contains(Integrity::GAP_BEFORE);
        let skipped = match self.last {
            Some(last) if frame.counter <= last => {
                self.out_of_order += 1;
                return self.find_again(frame.counter);
            }
            Some(last) => frame.counter - last - 1,
            None => 0,
        };
        if skipped > 0 {
            self.missing += skipped;
            self.gaps.push([frame.counter - skipped, frame.counter - 1]);
        }
        self.undeclared += u64::from((skipped > 0 || self.fresh) && !declared);
        self.fresh = false;
        self.first.get_or_insert(frame.counter);
        self.last = Some(frame.counter);
        self.time(frame);
    }

    /// A frame that had been declared missing came after all.
    fn find_again(&mut self, counter: u64) {
        let Some(at) = self.gaps.iter().position(|[first, last]| (*first..=*last).contains(&counter)) else { return };
        let [first, last] = self.gaps.remove(at);
        self.missing -= 1;
        if counter < last {
            self.gaps.insert(at, [counter + 1, last]);
        }
        if first < counter {
            self.gaps.insert(at, [first, counter - 1]);
        }
    }

    /// The device is gone.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
    }

    /// The device is back: its counter starts anew, and the first frame must say that something is missing.
    pub(super) fn reopen(&mut self) {
        self.reopened += 1;
        (self.first, self.last) = (None, None);
        self.delays.clear();
        self.readings.clear();
        self.fresh = true;
    }

    /// The device's clock was read.
    pub(super) fn read_clock(&mut self, reading: ClockReading) {
        self.readings.push(reading);
    }

    /// From stamp to arrival, microseconds, by a clock that was read before the frames and after them, and how far off that
    /// may be.
    fn transits_micros(&self) -> Option<(Vec<i64>, i64)> {
        let (first, last) = (self.readings.first()?, self.readings.last()?);
        let middle = |reading: &ClockReading| (reading.before.nanos() + reading.after.nanos()) / 2;
        let device_span = (last.device - first.device).nanos();
        if device_span <= 0 {
            return None;
        }
        let rate = (middle(last) - middle(first)) as f64 / device_span as f64;
        let transit = |delay: &Delay| {
            let stamp_ns = delay.arrival_ns - delay.delay_ns;
            let on_host_ns = middle(first) as f64 + (stamp_ns - first.device.nanos()) as f64 * rate;
            (delay.arrival_ns as f64 - on_host_ns) as i64 / 1_000
        };
        let off = [first, last].map(|reading| (reading.after - reading.before).nanos() / 2_000);
        Some((self.delays.iter().map(transit).collect(), off[0].max(off[1])))
    }

    /// Whether it is there, gave frames, and declared every loss.
    pub(super) fn adds_up(&self) -> bool {
        self.frames > 0 && self.undeclared == 0 && self.lost == self.reopened
    }

    fn time(&mut self, frame: &Frame) {
        let micros = |span: Span| span.nanos() / 1_000;
        if let Some([_, last]) = self.span {
            self.intervals_micros.push(micros(frame.arrival - last));
        }
        let first = self.span.map_or(frame.arrival, |[first, _]| first);
        self.span = Some([first, frame.arrival]);
        if let Some(stamp) = frame.device_time {
            let arrival_ns = frame.arrival.nanos();
            self.delays.push(Delay { arrival_ns, delay_ns: arrival_ns - stamp.nanos() });
        }
    }

    /// How fast the device's clock ran against the host's: between the shortest delays of the first and the last third, which
    /// waited least on their way.
    fn drift_ppm(&self) -> Option<f64> {
        let third = self.delays.len() / 3;
        let shortest = |delays: &[Delay]| delays.iter().min_by_key(|delay| delay.delay_ns).copied();
        let first = shortest(self.delays.get(..third)?)?;
        let last = shortest(self.delays.get(self.delays.len() - third..)?)?;
        let span = (last.arrival_ns - first.arrival_ns) as f64;
        (span > 1e9).then(|| (first.delay_ns - last.delay_ns) as f64 / span * 1e6)
    }

    /// Two lines for a human.
    pub(super) fn report(&self) -> String {
        let seconds = self.span.map_or(0.0, |[first, last]| (last - first).secs_f64());
        let rate = if seconds > 0.0 { (self.frames.max(1) - 1) as f64 / seconds } else { 0.0 };
        let delays_micros: Vec<i64> = self.delays.iter().map(|delay| delay.delay_ns / 1_000).collect();
        let [intervals, delays] = [&self.intervals_micros, &delays_micros].map(|values| quantiles(values));
        let mut text = format!(
            "{} frames in {seconds:.2} s ({rate:.2} Hz), {} missing in {} gaps, {} damaged, {} out of order, {} undeclared, lost {} times, back {}",
            self.frames,
            self.missing,
            self.gaps.len(),
            self.corrupt,
            self.out_of_order,
            self.undeclared,
            self.lost,
            self.reopened,
        );
        text += &format!("\n    from frame to frame {intervals}; ");
        text += &match (self.transits_micros(), delays_micros.iter().max()) {
            (Some((transits, off)), _) => {
                format!(
                    "from stamp to arrival {} (its clock was read to {:.2} ms)",
                    quantiles(&transits),
                    off as f64 * 1e-3
                )
            }
            // Two clocks with zeros of their own: only their rates can be compared.
            (None, Some(longest)) if longest.abs() > 60_000_000 => "its stamps are of a clock of its own".to_owned(),
            _ => format!("from stamp to arrival {delays}"),
        };
        if let Some(drift) = self.drift_ppm() {
            text += &format!("; its clock against the host's {drift:+.0} ppm");
        }
        if let (Some(first), Some(last)) = (self.first, self.last) {
            text += &format!("; counter {first} to {last} since it was opened");
        }
        if !self.gaps.is_empty() {
            let shown = self.gaps.iter().take(12).map(|[first, last]| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            });
            let more = if self.gaps.len() > 12 { ", ..." } else { "" };
            text += &format!("\n    missing: {}{more}", shown.collect::<Vec<_>>().join(", "));
        }
        text
    }
}

fn quantiles(micros: &[i64]) -> String {
    if micros.is_empty() {
        return "unknown".to_owned();
    }
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 * 1e-3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0))
}

#[cfg(test)]
mod tests {
    use mimicd_device::{CameraIndex, CameraTime, FrameGeometry, PixelFormat};

    use super::*;

    fn frame(counter: u64, integrity: Integrity) -> Frame {
        let geometry = FrameGeometry { width_px: 1, height_px: 1, format: PixelFormat::Mono8 };
        let arrival = HostTime::from_nanos(counter as i64 * 20_000_000);
        Frame { counter, integrity, arrival, ..Frame::blank(CameraIndex(0), geometry) }
    }

    #[test]
    fn declared_losses_add_up_and_undeclared_ones_do_not() {
        let mut account = Account::default();
        for counter in [3, 4, 5] {
            account.see(&frame(counter, Integrity::empty()));
        }
        account.see(&frame(8, Integrity::GAP_BEFORE | Integrity::CORRUPT));
        assert_eq!((account.frames, account.missing, account.corrupt), (4, 2, 1));
        assert_eq!(account.gaps, [[6, 7]]);
        assert!(account.adds_up(), "{account:?}");
        assert!(account.report().contains("2 missing in 1 gaps") && account.report().contains("missing: 6-7"));
        account.see(&frame(10, Integrity::empty()));
        assert!(!account.adds_up(), "an undeclared loss");
    }

    #[test]
    fn a_frame_that_was_overtaken_is_not_missing() {
        let mut account = Account::default();
        account.see(&frame(1, Integrity::empty()));
        account.see(&frame(5, Integrity::GAP_BEFORE));
        account.see(&frame(3, Integrity::OUT_OF_ORDER));
        assert_eq!((account.missing, account.out_of_order), (2, 1));
        assert_eq!(account.gaps, [[2, 2], [4, 4]]);
        account.see(&frame(2, Integrity::OUT_OF_ORDER));
        account.see(&frame(4, Integrity::OUT_OF_ORDER));
        assert!(account.gaps.is_empty() && account.missing == 0 && account.adds_up(), "{account:?}");
    }

    #[test]
    fn a_camera_that_came_back_must_say_so_and_one_that_did_not_is_missing() {
        let mut account = Account::default();
        account.see(&frame(100, Integrity::empty()));
        account.lose();
        assert!(!account.adds_up(), "still gone");
        account.reopen();
        account.see(&frame(0, Integrity::GAP_BEFORE));
        assert!(account.adds_up(), "{account:?}");
        account.lose();
        account.reopen();
        account.see(&frame(0, Integrity::empty()));
        assert_eq!(account.undeclared, 1);
    }

    #[test]
    fn a_clock_that_drifts_is_seen_through_late_frames() {
        let mut account = Account::default();
        for counter in 0..1_000u64 {
            let late = if counter % 7 == 0 { 0 } else { (counter as i64 * 7_919) % 9_000_000 };
            let mut frame = frame(counter, Integrity::empty());
            // 80 ppm fast, and 5 s ahead.
            let stamp = frame.arrival.nanos() / 12_500 + frame.arrival.nanos() + 5_000_000_000;
            frame.device_time = Some(CameraTime::from_nanos(stamp));
            frame.arrival += Span::from_nanos(late);
            account.see(&frame);
        }
        let drift = account.drift_ppm().expect("twenty seconds");
        assert!((drift - 80.0).abs() < 1.0, "{drift}");
    }

    #[test]
    fn the_way_of_a_frame_is_known_by_a_clock_that_was_read() {
        let mut account = Account::default();
        // 80 ppm fast, and 5,000 s ahead.
        let stamp = |at: HostTime| CameraTime::from_nanos(at.nanos() / 12_500 + at.nanos() + 5_000_000_000_000);
        let reading = |at: HostTime| ClockReading {
            before: at - Span::from_micros(150),
            device: stamp(at),
            after: at + Span::from_micros(150),
        };
        account.read_clock(reading(HostTime::from_nanos(0)));
        for counter in 0..1_000u64 {
            let mut frame = frame(counter, Integrity::empty());
            frame.device_time = Some(stamp(frame.arrival));
            frame.arrival += Span::from_millis(7);
            account.see(&frame);
        }
        assert!(account.report().contains("stamps are of a clock of its own"), "{}", account.report());
        account.read_clock(reading(HostTime::from_nanos(21_000_000_000)));
        let wanted = "from stamp to arrival p50 7.00 ms, p99 7.00 ms, max 7.00 ms (its clock was read to 0.15 ms)";
        assert!(account.report().contains(wanted), "{}", account.report());
        account.reopen();
        assert_eq!(account.transits_micros(), None, "its clock may have begun anew");
    }

    #[test]
    fn a_silent_camera_does_not_add_up() {
        assert!(!Account::default().adds_up());
    }
}
