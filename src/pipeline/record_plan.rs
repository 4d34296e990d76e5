//! What a recording of a rig holds, where it goes, and how it is begun or gone on with.

use std::time::SystemTime;

use mimicd_device::{HostTime, Span};
use mimicd_sim::TruthLog;

use super::shared::Shared;
use super::tables::{TableShapes, schemas};
use super::{Level, Notice, PreflightCheck, RigError, StartRequest, Verdict, host_faults};
use crate::config::{Config, VideoCodec};
use crate::record::{ArrayInfo, CameraInfo, Catalog, RecordDisk, Recorder, RecordingInfo, TableSchema, try_encoder};

/// How far ahead of the newest trigger a recording starts or ends, so that every thread hears of it in time.
pub(super) const LEAD_TRIGGERS: u64 = 15;

/// A recording that could begin now.
pub(super) struct RecordPlan<'a> {
    config: &'a Config,
    tables: Vec<TableSchema>,
    disk: RecordDisk,
}

impl<'a> RecordPlan<'a> {
    /// `truth`: a twin's. It is recorded beside the data where `truth_wanted`. `clock` gives host time.
    pub(super) fn new(
        config: &'a Config,
        shapes: &TableShapes,
        truth: Option<&TruthLog>,
        truth_wanted: bool,
        clock: impl Fn() -> HostTime + Send + Sync + 'static,
    ) -> Self {
        let mut tables = schemas(shapes);
        if truth.is_some() && truth_wanted {
            tables.extend(super::truth::schemas());
        }
        Self { config, tables, disk: host_faults::disk(truth, clock) }
    }

    /// Begins a new recording.
    ///
    /// # Errors
    /// When the recorder cannot start.
    pub(super) fn start(&self, request: &StartRequest) -> Result<Recorder, RigError> {
        let checked = serde_json::to_value(self.config).map_err(RigError::of)?;
        let mut info = RecordingInfo::new(&request.subject, &self.config.rig.name, SystemTime::now(), checked);
        info.files = super::provenance::files(self.config);
        self.start_as(info)
    }

    /// Begins a new recording that is described by `info`.
    ///
    /// # Errors
    /// When the recorder cannot start.
    pub(super) fn start_as(&self, info: RecordingInfo) -> Result<Recorder, RigError> {
        let (tables, cameras, arrays) = self.contents();
        let record = &self.config.record;
        Recorder::start_on(self.disk.clone(), record, info, tables, cameras, arrays).map_err(RigError::of)
    }

    /// Goes on in the interrupted recording that the request names, from trigger `from`. `None`: none is named, or it
    /// cannot be continued, which the operator is told; a new recording begins then, and the old one stays to be recovered.
    pub(super) fn resume(&self, request: &StartRequest, shared: &Shared, from: u64) -> Option<Recorder> {
        let name = request.continues.as_deref()?;
        let folder = self.config.record.folder.join(name);
        let (tables, cameras, arrays) = self.contents();
        let period = Span::from_secs_f64(1.0 / self.config.rig.frame_rate_hz);
        let lead = Span::from_nanos(period.nanos() * LEAD_TRIGGERS as i64).to_duration();
        let resumed = Catalog::new(tables, cameras, arrays)
            .and_then(|catalog| Recorder::resume(self.disk.clone(), &self.config.record, &folder, &catalog))
            .and_then(|mut recorder| recorder.go_on(SystemTime::now() + lead, from, period).map(|()| recorder));
        match resumed {
            Ok(recorder) => {
                let text = format!("{name} is recovered and goes on; what lies between is declared as gaps");
                shared.notice(Notice::new(Level::Warning, "recorder", text));
                Some(recorder)
            }
            Err(error) => {
                let text = format!("{name} cannot be continued ({error}); a new recording begins");
                shared.notice(Notice::new(Level::Error, "recorder", text));
                None
            }
        }
    }

    /// Whether the disk will last. Too little of it is a warning here: it is the start of a recording that is refused.
    pub(super) fn disk_check(&self) -> PreflightCheck {
        let (tables, cameras, arrays) = self.contents();
        let (verdict, detail) = match Recorder::forecast(&self.config.record, tables, cameras, arrays) {
            Ok(forecast) => {
                let lasts = forecast.seconds() >= 60.0 * f64::from(self.config.record.warn_below_minutes);
                (if lasts { Verdict::Pass } else { Verdict::Warn }, forecast.to_string())
            }
            Err(error) => (Verdict::Warn, error.to_string()),
        };
        PreflightCheck { name: "disk".to_owned(), verdict, detail }
    }

    fn contents(&self) -> (Vec<TableSchema>, Vec<CameraInfo>, Vec<ArrayInfo>) {
        let (cameras, arrays) = streams(self.config);
        (self.tables.clone(), cameras, arrays)
    }
}

/// Whether the encoder takes the cameras' frames.
pub(super) fn video_check(config: &Config) -> PreflightCheck {
    let (verdict, detail) = match try_encoder(&config.record, &streams(config).0) {
        Ok(()) if config.record.video == VideoCodec::None => (Verdict::Pass, "none is recorded".to_owned()),
        Ok(()) if config.record.video == VideoCodec::Raw => {
            (Verdict::Pass, "frames are recorded as they are".to_owned())
        }
        Ok(()) => (Verdict::Pass, "the encoder takes the cameras' frames".to_owned()),
        Err(error) => (Verdict::Fail, error.to_string()),
    };
    PreflightCheck { name: "video".to_owned(), verdict, detail }
}

/// Cameras and arrays of a rig, as a recording knows them.
pub fn streams(config: &Config) -> (Vec<CameraInfo>, Vec<ArrayInfo>) {
    let rate_hz = config.rig.frame_rate_hz;
    let cameras = config.cameras.iter().map(|c| CameraInfo {
        name: c.name.clone(),
        width_px: c.width_px,
        height_px: c.height_px,
        format: c.format,
        rate_hz,
    });
    let arrays = config.arrays.iter().map(|a| ArrayInfo {
        name: a.name.clone(),
        channels: a.channels,
        rate_hz: a.rate_hz,
        gain_uv_per_bit: a.gain_uv_per_bit,
    });
    (cameras.collect(), arrays.collect())
}
