//! Recorded videos of one rig through the front half: decode → gather → record, with the frame sets proved aligned.
//!
//! Every file is decoded on a thread of its own into a pool of frames. Frame `i` of each file is set `i` of the gatherer, as
//! the live loop's; the recorder takes every frame. While decoding, each frame's *activity* (how much of the picture
//! changed) is kept, and from all of them [`crate::clock::alignment`] tells whether the files are in step. Where three cameras or
//! more saw movement, its middle is triangulated through the calibration: what is left is printed per camera.

mod activity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use mimicd_device::{CameraIndex, DeviceError, Frame, Integrity, RigTime, Span};
use mimicd_hw::video::VideoFile;
use nalgebra::Vector2;

use activity::{Activity, Seen};

use super::RigError;
use super::tables::LADDER;
use crate::clock::alignment::{self, AlignmentOptions, Standing, WindowVerdict};
use crate::clock::host_now;
use crate::config::RecordConfig;
use crate::geometry::{Calibration, Observation, TriangulationOptions, triangulate_robust};
use crate::record::schema::standard_tables;
use crate::record::{CameraInfo, FrameStamp, RecordLane, Recorder, RecordingInfo, SourceFile};
use crate::stream::{Consumer, FrameSet, Gatherer, MatchedFrame, Pool, PoolError, Producer, ring};

/// Frames of one camera on their way.
const QUEUED: usize = 16;
/// Views that are farther than this from a triangulated middle of movement do not count for it.
const OUTLIER_PX: f64 = 40.0;

/// One recorded camera.
pub struct VideoSource {
    /// Name; the calibration's camera of that name is used.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Where the file's frames are not what they seem: for tests of what a replay finds.
    pub fault: Option<VideoFault>,
}

/// A fault put into a replayed video, from one frame on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFault {
    /// This many frames are left out at frame `at`: all later ones come early.
    Skip {
        /// First frame left out.
        at: u64,
        /// How many.
        count: u64,
    },
    /// Frame `at` is given twice; all later ones come late.
    Repeat {
        /// The frame.
        at: u64,
    },
}

/// What is to be replayed.
pub struct VideoReplay {
    /// The cameras.
    pub sources: Vec<VideoSource>,
    /// The rig's calibration, with cameras of the same names; none: geometry is not looked at.
    pub calibration: Option<Calibration>,
    /// Frames a second.
    pub rate_hz: f64,
    /// How many sets at most.
    pub frames_max: u64,
    /// Where to.
    pub record: RecordConfig,
}

/// How a replay went.
#[derive(Clone, Debug, serde::Serialize)]
pub struct VideoReport {
    /// The dataset.
    pub folder: PathBuf,
    /// Complete sets.
    pub sets: u64,
    /// Sets that lacked a camera.
    pub partial: u64,
    /// Cameras, in order.
    pub cameras: Vec<CameraStanding>,
    /// Frames that a camera gave twice.
    pub repeated: Vec<(String, usize)>,
}

impl VideoReport {
    /// Whether every camera is proved in step wherever anything can be proved, and nothing came twice.
    pub fn is_aligned(&self) -> bool {
        self.repeated.is_empty() && self.cameras.iter().all(|camera| camera.aligned > 0 && camera.shifted.is_empty())
    }
}

/// What the windows say of one camera.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CameraStanding {
    /// Its name.
    pub name: String,
    /// Frames that came.
    pub frames: u64,
    /// Windows in which it is proved in step.
    pub aligned: usize,
    /// Windows in which too little moved to tell.
    pub unproved: usize,
    /// Windows in which it is out of step: first frame and places late (negative: early).
    pub shifted: Vec<(usize, i32)>,
    /// Median distance of the middle of movement from where the other cameras put it.
    pub residual_px: Option<f64>,
}

impl VideoReplay {
    /// Replays everything into a dataset, telling `progress` each set.
    ///
    /// # Errors
    /// A file that cannot be decoded, files of different lengths, a recorder that does not start or seal.
    pub fn run(self, progress: impl FnMut(u64)) -> Result<VideoReport, RigError> {
        let files = self.open()?;
        let (recorder, mut lanes) = self.recorder(&files)?;
        let (mut rings, mut threads) = (Vec::new(), Vec::new());
        for (index, (file, source)) in files.into_iter().zip(&self.sources).enumerate() {
            let (to_gather, frames) = ring(QUEUED);
            rings.push(frames);
            let decoder = Decoder::new(index, file, source.fault, self.frames_max, to_gather);
            let thread = std::thread::Builder::new().name(format!("decode-{}", source.name));
            threads.push(thread.spawn(move || decoder.run()).map_err(|error| RigError(error.to_string()))?);
        }
        let mut sets =
            Sets { counts: Vec::new(), activity: Activity::new(self.sources.len()), complete: 0, partial: 0 };
        let period = Span::from_secs_f64(1.0 / self.rate_hz);
        sets.gather(&mut rings, &mut lanes, period, progress);
        for (thread, source) in threads.into_iter().zip(&self.sources) {
            let ended = thread.join().map_err(|_| RigError(format!("{}: its decoder panicked", source.name)))?;
            sets.counts.push(ended.map_err(|error| RigError(error.to_string()))?);
        }
        drop(lanes);
        let verdicts = alignment::judge(&sets.activity.shares(), &AlignmentOptions::default());
        recorder.note("alignment", serde_json::json!(verdicts));
        let sealed = recorder.seal().map_err(|error| RigError(error.to_string()))?;
        Ok(self.report(sealed.folder, &sets, &verdicts))
    }

    fn open(&self) -> Result<Vec<VideoFile>, RigError> {
        if self.sources.len() < 3 {
            let given = self.sources.len();
            return Err(RigError(format!("{given} videos: expected at least 3, or none can be proved out of step")));
        }
        if let Some(calibration) = &self.calibration {
            let has = |name: &str| calibration.cameras.iter().any(|camera| camera.name == name);
            if let Some(source) = self.sources.iter().find(|source| !has(&source.name)) {
                let names: Vec<_> = calibration.cameras.iter().map(|camera| camera.name.as_str()).collect();
                let text = format!("camera {:?}: the calibration has {}", source.name, names.join(", "));
                return Err(RigError(text));
            }
        }
        let open = |source: &VideoSource| VideoFile::open(&source.file, &self.record.ffmpeg, &self.record.ffprobe);
        self.sources.iter().map(open).collect::<Result<_, _>>().map_err(|error| RigError(error.to_string()))
    }

    fn recorder(&self, files: &[VideoFile]) -> Result<(Recorder, Vec<RecordLane>), RigError> {
        let failed = |error: crate::record::RecordError| RigError(error.to_string());
        let names: Vec<_> = self.sources.iter().map(|source| source.file.display().to_string()).collect();
        let settings = serde_json::json!({ "replay": names, "rate_hz": self.rate_hz });
        let mut info = RecordingInfo::new("replay", "video", SystemTime::now(), settings);
        info.files = self.sources.iter().map(|source| SourceFile::hashed(&source.name, &source.file)).collect();
        let cameras = self.sources.iter().zip(files).map(|(source, file)| CameraInfo {
            name: source.name.clone(),
            width_px: file.geometry().width_px,
            height_px: file.geometry().height_px,
            format: file.geometry().format,
            rate_hz: self.rate_hz,
        });
        let tables = standard_tables(&LADDER);
        let mut recorder =
            Recorder::start(&self.record, info, tables, cameras.collect(), Vec::new()).map_err(failed)?;
        let lanes = self.sources.iter().map(|source| recorder.lane(&source.name)).collect();
        Ok((recorder, lanes))
    }

    fn report(&self, folder: PathBuf, sets: &Sets, verdicts: &[WindowVerdict]) -> VideoReport {
        let residuals = self.residuals(&sets.activity);
        let repeated = alignment::duplicates(&sets.activity.shares(), &sets.activity.identical());
        let cameras = self.sources.iter().enumerate().map(|(camera, source)| {
            let own = || verdicts.iter().filter(move |verdict| verdict.camera == camera);
            CameraStanding {
                name: source.name.clone(),
                frames: sets.counts[camera],
                aligned: own().filter(|verdict| verdict.standing == Standing::Aligned).count(),
                unproved: own().filter(|verdict| verdict.standing == Standing::Unproved).count(),
                shifted: own()
                    .filter_map(|verdict| match verdict.standing {
                        Standing::Shifted(lag) => Some((verdict.first, lag)),
                        _ => None,
                    })
                    .collect(),
                residual_px: residuals.get(camera).copied().flatten(),
            }
        });
        VideoReport {
            folder,
            sets: sets.complete,
            partial: sets.partial,
            cameras: cameras.collect(),
            repeated: repeated.iter().map(|(camera, frame)| (self.sources[*camera].name.clone(), *frame)).collect(),
        }
    }

    /// Median over the frames of each camera's distance from the triangulated middle of movement.
    fn residuals(&self, activity: &Activity) -> Vec<Option<f64>> {
        let Some(calibration) = &self.calibration else { return Vec::new() };
        let place =
            |source: &VideoSource| calibration.cameras.iter().find(|camera| camera.name == source.name).cloned();
        let cameras: Vec<_> = self.sources.iter().filter_map(place).collect();
        let options = TriangulationOptions { outlier_px: OUTLIER_PX, ..Default::default() };
        let mut distances = vec![Vec::new(); cameras.len()];
        for frame in 0..activity.frames() {
            let views: Vec<Observation> = activity.of(frame).iter().map(observation).collect();
            let Some(found) = triangulate_robust(&cameras, &views, &options).filter(|f| f.views.count_ones() >= 3)
            else {
                continue;
            };
            for (camera, view) in views.iter().enumerate().filter(|(_, view)| view.confidence > 0.0) {
                let Some(pixel) = cameras[camera].project(&found.xyz_m) else { continue };
                distances[camera].push((pixel - view.pixel).norm());
            }
        }
        distances
            .into_iter()
            .map(|mut list| {
                list.sort_by(f64::total_cmp);
                list.get(list.len() / 2).copied()
            })
            .collect()
    }
}

fn observation(seen: &Seen) -> Observation {
    match seen.middle_px {
        Some([x, y]) => Observation { pixel: Vector2::new(x, y), confidence: 1.0 },
        None => Observation::NONE,
    }
}

/// What gathering gave.
struct Sets {
    counts: Vec<u64>,
    activity: Activity,
    complete: u64,
    partial: u64,
}

impl Sets {
    /// Takes frames from all cameras in turn until every decoder is done.
    fn gather(
        &mut self,
        rings: &mut [Consumer<MatchedFrame>],
        lanes: &mut [RecordLane],
        period: Span,
        mut progress: impl FnMut(u64),
    ) {
        let mut gatherer = Gatherer::new(rings.len(), Span::from_millis(2_000));
        let mut set = FrameSet::empty(rings.len());
        loop {
            // One frame of each camera a round keeps files that decode at different speeds together.
            let round: Vec<Option<MatchedFrame>> = rings.iter_mut().map(next_frame).collect();
            let is_over = round.iter().all(Option::is_none);
            for (matched, lane) in round.into_iter().zip(lanes.iter_mut()) {
                let Some(matched) = matched else { continue };
                record(lane, &matched, period);
                gatherer.push(matched, host_now());
            }
            let now = if is_over { host_now() + Span::from_millis(10_000) } else { host_now() };
            while gatherer.pop(now, &mut set) {
                self.take(&set);
                progress(self.complete + self.partial);
            }
            if is_over {
                return;
            }
        }
    }

    fn take(&mut self, set: &FrameSet) {
        if set.frames.iter().any(Option::is_none) {
            self.partial += 1;
            return;
        }
        self.complete += 1;
        self.activity.see(set);
    }
}

/// The next frame, however long it takes to decode; `None` at the end of the file.
fn next_frame(ring: &mut Consumer<MatchedFrame>) -> Option<MatchedFrame> {
    loop {
        if let Some(matched) = ring.pop() {
            return Some(matched);
        }
        if ring.is_finished() {
            return ring.pop();
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

fn record(lane: &mut RecordLane, matched: &MatchedFrame, period: Span) {
    let stamp = FrameStamp {
        trigger_index: Some(matched.trigger),
        at: RigTime::from_nanos(period.nanos() * matched.trigger as i64),
        uncertainty: Span::ZERO,
        integrity: Integrity::empty(),
    };
    while !lane.has_room_for_frame() {
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    lane.frame(Arc::clone(&matched.frame), stamp);
}

/// The thread of one file.
struct Decoder {
    camera: CameraIndex,
    file: VideoFile,
    fault: Option<VideoFault>,
    frames_max: u64,
    out: Producer<MatchedFrame>,
    pool: Pool<Frame>,
}

impl Decoder {
    fn new(
        index: usize,
        file: VideoFile,
        fault: Option<VideoFault>,
        frames_max: u64,
        out: Producer<MatchedFrame>,
    ) -> Self {
        let (camera, geometry) = (CameraIndex(index as u8), file.geometry());
        // The ring, the gatherer, the activity's last frame, and what the recorder may hold.
        let slots = QUEUED + 8 + crate::record::LANE_FRAMES + 64;
        Self { camera, file, fault, frames_max, out, pool: Pool::new(slots, || Frame::blank(camera, geometry)) }
    }

    /// Frames handed on.
    fn run(mut self) -> Result<u64, DeviceError> {
        let mut index = 0;
        while index < self.frames_max {
            if let Some(VideoFault::Skip { at, count }) = self.fault
                && at == index
            {
                self.fault = None;
                let mut spare = Frame::blank(self.camera, self.file.geometry());
                for _ in 0..count {
                    self.file.read(&mut spare)?;
                }
            }
            let Some(frame) = self.decode()? else { break };
            let again = self.fault == Some(VideoFault::Repeat { at: index });
            for _ in 0..=usize::from(again) {
                self.give(Arc::clone(&frame), index);
                index += 1;
            }
        }
        Ok(index)
    }

    fn decode(&mut self) -> Result<Option<Arc<Frame>>, DeviceError> {
        loop {
            let file = &mut self.file;
            let leased = self.pool.lease(|frame| {
                frame.integrity = Integrity::empty();
                frame.arrival = host_now();
                file.read(frame)
            });
            match leased {
                Ok(frame) => return Ok(frame),
                Err(PoolError::Fill(error)) => return Err(error),
                Err(PoolError::Exhausted) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    }

    fn give(&mut self, frame: Arc<Frame>, trigger: u64) {
        let mut matched = MatchedFrame { frame, trigger, integrity: Integrity::empty() };
        while let Err(back) = self.out.push(matched) {
            matched = back;
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
    }
}
