//! What only the host of a rig knows of its health: threads that ended, the recording, the disk.

use std::time::{Duration, Instant};

use super::record_plan::streams;
use super::threads::Threads;
use super::view::HostStatus;
use super::{Counter, Degradation, RecordingProgress};
use crate::config::{CameraConfig, Config};
use crate::record::{DiskState, Recorder, RecorderHealth, VideoHealth};

/// How often the disk is looked at while nothing is recorded.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long trouble is shown after its last sign.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// What the disk would hold, while nothing is recorded.
#[derive(Debug, Default)]
pub(super) struct Space {
    looked_at: Option<Instant>,
    free_bytes: u64,
    seconds_left: Option<f64>,
}

impl Space {
    /// Says what is free and how long it would last; tables are small beside samples and video and are left out.
    pub(super) fn look(&mut self, host: &mut HostStatus, config: &Config) {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.looked_at = Some(Instant::now());
            let (cameras, arrays) = streams(config);
            let forecast = Recorder::forecast(&config.record, Vec::new(), cameras, arrays).ok();
            self.free_bytes = forecast.map_or(0, |forecast| forecast.free_bytes);
            self.seconds_left = forecast.map(|forecast| forecast.seconds());
        }
        host.disk_free_bytes = self.free_bytes;
        host.disk_left_secs = self.seconds_left;
    }
}

/// Threads that ended, and real time that the system refused.
pub(super) fn of_threads(host: &mut HostStatus, threads: &Threads, wants_real_time: bool) {
    host.fault = threads.any_ended().map(|name| format!("thread {name} ended unexpectedly"));
    let refused = threads.real_time_refused();
    if refused > 0 && wants_real_time {
        let message = format!(
            "the system refused real-time priority or memory locking ({refused} times); latencies may jitter: raise LimitRTPRIO and LimitMEMLOCK"
        );
        host.degraded.push(Degradation { code: "realtime_refused".to_owned(), message });
    }
}

/// The recording in progress, its disk and its videos.
pub(super) fn of_recording(
    host: &mut HostStatus,
    name: &str,
    begun: Instant,
    recorder: &Recorder,
    config: &Config,
    trouble: &mut Trouble,
) {
    let health = recorder.health();
    host.recording = Some(RecordingProgress {
        name: name.to_owned(),
        elapsed_secs: begun.elapsed().as_secs_f64(),
        rows: health.lanes.iter().map(|lane| lane.taken).sum(),
        bytes: health.journal_bytes,
        dropped_rows: health.lost(),
    });
    host.disk_free_bytes = health.free_bytes;
    host.disk_left_secs = health.seconds_left;
    let now = Instant::now();
    trouble.disk.see(now, disk_trouble(&health));
    if let Some(message) = trouble.disk.shown(now) {
        host.degraded.push(Degradation { code: "disk".to_owned(), message });
    }
    trouble.videos(host, &config.cameras, &health.videos, now);
    count_losses(host, &config.cameras, &health);
    host.must_stop = cause_to_stop(&health, config.record.disk_margin_bytes);
}

fn disk_trouble(health: &RecorderHealth) -> Option<String> {
    let kept = format!("{} MB wait in memory; what finds no room there is declared", health.buffers_waiting);
    match health.disk {
        DiskState::Normal => None,
        DiskState::Slow => Some(format!("the disk does not keep up: {kept}")),
        DiskState::NearlyFull => {
            Some("the disk is nearly full: the recording is ended while it can still be sealed".into())
        }
        DiskState::Full => Some(format!("the disk is full: {kept}")),
        DiskState::Failing => Some(format!("the disk answers with input/output errors and is tried again: {kept}")),
    }
}

fn count_losses(host: &mut HostStatus, cameras: &[CameraConfig], health: &RecorderHealth) {
    let mut count = |name: &str, place: &str, cause: &str, value: u64| {
        let [name, place, cause] = [name, place, cause].map(str::to_owned);
        host.counters.push(Counter { name, place, cause, value, harm: true });
    };
    for lane in &health.lanes {
        count("recorder_lost", &lane.name, "lane_full", lane.lost);
    }
    for (camera, video) in cameras.iter().zip(&health.videos) {
        count("video_frames_refused", &camera.name, "video_queue_full", video.refused);
        count("encoder_deaths", &camera.name, "encoder_died", video.deaths);
    }
}

/// A condition and when it was last seen: what comes and goes within moments is one condition, not a flood of lines.
#[derive(Clone, Debug, Default)]
struct Shown(Option<(Instant, String)>);

impl Shown {
    fn see(&mut self, now: Instant, message: Option<String>) {
        if let Some(message) = message {
            self.0 = Some((now, message));
        }
    }

    fn shown(&self, now: Instant) -> Option<String> {
        let (at, message) = self.0.as_ref()?;
        (now.duration_since(*at) < SHOWN_FOR).then(|| message.clone())
    }
}

/// What befell the recording lately.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    disk: Shown,
    seen: Vec<VideoHealth>,
    videos: Vec<Shown>,
}

impl Trouble {
    fn videos(&mut self, host: &mut HostStatus, cameras: &[CameraConfig], videos: &[VideoHealth], now: Instant) {
        self.seen.resize(videos.len(), VideoHealth::default());
        self.videos.resize(videos.len(), Shown::default());
        let known = self.seen.iter_mut().zip(&mut self.videos);
        for ((camera, video), (seen, trouble)) in cameras.iter().zip(videos).zip(known) {
            let name = &camera.name;
            let message = if video.deaths > seen.deaths {
                let text = "its video goes on in a new file, and the frames between are declared";
                Some(format!("the encoder of camera {name} ended by itself: {text}"))
            } else if video.refused > seen.refused {
                let text = "some frames are in no video; their rows are there, and each is declared";
                Some(format!("the encoder of camera {name} does not keep up: {text}"))
            } else {
                None
            };
            *seen = *video;
            trouble.see(now, message);
            if let Some(message) = trouble.shown(now) {
                host.degraded.push(Degradation { code: format!("video.{name}"), message });
            }
        }
    }
}

/// Why the recording has to end while it can still be sealed.
fn cause_to_stop(health: &RecorderHealth, margin_bytes: u64) -> Option<String> {
    if !health.asks_to_stop() {
        return None;
    }
    match health.disk {
        DiskState::Normal | DiskState::Slow => None,
        DiskState::NearlyFull => {
            let free = health.free_bytes;
            Some(format!(
                "the disk is nearly full: {free} bytes are free, the margin is {margin_bytes} and the open part is to be sealed"
            ))
        }
        DiskState::Full => Some(format!("the disk is full: a write was refused with {} bytes free", health.free_bytes)),
        DiskState::Failing => Some(format!(
            "the disk has answered with input/output errors for {:.1} s; see the system's log",
            health.refused_for.as_secs_f64()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoders_death_is_shown_for_a_while() {
        let config = Config::load(std::path::Path::new("configs/twin.toml")).expect("the preset loads");
        let mut trouble = Trouble::default();
        let begun = Instant::now();
        let mut shown = |deaths: u64, refused: u64, at_s: u64| {
            let mut host = HostStatus::default();
            let videos = [VideoHealth::default(), VideoHealth { frames: 9, refused, deaths }];
            trouble.videos(&mut host, &config.cameras, &videos, begun + Duration::from_secs(at_s));
            host.degraded
                .into_iter()
                .map(|degraded| format!("{}: {}", degraded.code, degraded.message))
                .collect::<Vec<_>>()
        };
        assert!(shown(0, 0, 0).is_empty());
        let died = shown(1, 0, 1);
        assert!(died.len() == 1 && died[0].starts_with("video.cam2: the encoder of camera cam2 ended"), "{died:?}");
        assert_eq!(shown(1, 0, 5), died);
        assert!(shown(1, 0, 12).is_empty());
        assert!(shown(1, 3, 13)[0].contains("does not keep up"));
    }
}
