//! What came from one camera, and whether every loss was declared. Pure.

use mimicd_device::{Frame, HostTime, Integrity, Span};

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
    /// Frames with a counter that had come before.
    pub(super) out_of_order: u64,
    /// Times that the device was lost.
    pub(super) lost: u64,
    /// Times that it came back.
    pub(super) reopened: u64,
    last: Option<u64>,
    fresh: bool,
    span: Option<[HostTime; 2]>,
    intervals_micros: Vec<i64>,
    delays_micros: Vec<i64>,
    /// Nanoseconds that the device's clock gained, and when on the host's, since the device was opened.
    stamps: Option<[(i64, i64); 2]>,
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
                return;
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
        self.last = Some(frame.counter);
        self.time(frame);
    }

    /// The device is gone.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
    }

    /// The device is back: its counter starts anew, and the first frame must say that something is missing.
    pub(super) fn reopen(&mut self) {
        self.reopened += 1;
        self.last = None;
        self.stamps = None;
        self.fresh = true;
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
            // The domains meet only to be compared: V4L2 stamps with the host's own clock, others drift against it.
            self.delays_micros.push(micros(Span::from_nanos(frame.arrival.nanos() - stamp.nanos())));
            let now = (stamp.nanos(), frame.arrival.nanos());
            self.stamps = Some([self.stamps.map_or(now, |[first, _]| first), now]);
        }
    }

    /// How fast the device's clock ran against the host's since the device was last opened.
    fn drift_ppm(&self) -> Option<f64> {
        let [(device_first, host_first), (device, host)] = self.stamps?;
        let host_span = (host - host_first) as f64;
        (host_span > 1e9).then(|| ((device - device_first) as f64 / host_span - 1.0) * 1e6)
    }

    /// Two lines for a human.
    pub(super) fn report(&self) -> String {
        let seconds = self.span.map_or(0.0, |[first, last]| (last - first).secs_f64());
        let rate = if seconds > 0.0 { (self.frames.max(1) - 1) as f64 / seconds } else { 0.0 };
        let [intervals, delays] = [&self.intervals_micros, &self.delays_micros].map(|values| quantiles(values));
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
        text += &match self.delays_micros.iter().max() {
            // Two clocks with zeros of their own: only their rates can be compared.
            Some(longest) if longest.abs() > 60_000_000 => "its stamps are of a clock of its own".to_owned(),
            _ => format!("from stamp to arrival {delays}"),
        };
        if let Some(drift) = self.drift_ppm() {
            text += &format!("; its clock against the host's {drift:+.0} ppm");
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
    use mimicd_device::{CameraIndex, FrameGeometry, PixelFormat};

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
    fn a_silent_camera_does_not_add_up() {
        assert!(!Account::default().adds_up());
    }
}
