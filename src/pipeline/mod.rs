//! The threads and the closed loop.

mod control;
mod snapshot;

pub use control::{
    Command, Counter, Degradation, Level, Notice, PreflightCheck, PreflightReport, RecordingProgress, RecordingStarted,
    Rig, RigError, RigState, RigStatus, RigView, SealSummary, StartRequest, StreamProgress, Verdict, is_slug,
};
pub use snapshot::{
    ArrayInfo, ArrayLive, BodyGeom, CameraInfo, CameraLive, ClockLive, GeomKind, ImitationLive, LATENCY_EDGES_MICROS,
    LatencyLive, PoseLive, Preview, RECENT_SPIKES_MAX, Rat, RigInfo, Snapshot, SpikeRing, SpikeTick, WAVEFORM_SAMPLES,
    Waveform,
};
