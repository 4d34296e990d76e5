//! The threads and the closed loop.
//!
//! [`assemble`] is the data path, written once; [`Threads`] runs it on real threads, [`Stepped`] steps it by hand.

mod act;
mod array_edge;
#[cfg(test)]
mod array_edge_tests;
mod assembly;
mod board_edge;
mod board_words;
mod bones;
mod camera_edge;
mod closed_loop;
mod comeback;
mod control;
mod echo;
mod encode_feed;
mod encode_live;
mod encode_setup;
mod encode_table;
mod encode_worker;
mod geoms;
mod host_faults;
mod ladder;
mod lamps;
mod lights;
mod missing;
mod open;
mod open_array;
mod open_camera;
mod open_error;
mod preflight;
mod preview;
mod priority;
mod provenance;
mod record_plan;
mod register;
mod replay;
mod replay_ephys;
mod rig;
mod rig_status;
mod rule_test;
mod shared;
mod show;
mod signals;
mod snapshot;
mod spike_tables;
mod spike_worker;
mod stages;
mod stepped;
mod tables;
mod threads;
mod truth;
mod video_replay;
mod view;

pub use assembly::{Assembly, Controls, assemble, rig_info, trigger_plan};
pub use camera_edge::frame_pool_slots;
pub use closed_loop::{ClosedLoop, LoopControl};
pub use echo::{Echoes, LoopEchoes, board_echo, loop_echoes};
pub use encode_live::{EncodingLive, LayerLive, SetLive, UnitLive};
pub use encode_worker::{EncodeControl, EncodeWorker};
pub use open::{Devices, open, open_any_board, open_board};
pub use open_camera::open as open_camera;
pub use open_error::OpenError;
pub use preview::shrink as shrink_to_preview;
pub use priority::real_time_is_allowed;
pub use record_plan::streams as recorded_streams;
pub use register::{Registered, Registration};
pub use replay::{KeypointReplay, ReplayReport};
pub use replay_ephys::{EphysReplay, EphysReplayReport};
pub use rig::{RigHost, load_stages};
pub use rule_test::{Decided, RuleTest, RuleTestError, RuleTestReport};
pub use shared::{RigClock, Shared};
pub use signals::SignalShape;
pub use stages::{SpikeNote, Stages};
pub use stepped::{Part, STEP, Stepped};
pub use tables::{LADDER, TableShapes, schemas};
pub use threads::{StartError, Threads};
pub use truth::schemas as truth_schemas;
pub use video_replay::{CameraStanding, VideoFault, VideoReplay, VideoReport, VideoSource};
pub use view::View;

pub use control::{
    Command, Counter, Degradation, Level, Notice, PreflightCheck, PreflightReport, RecordingProgress, RecordingStarted,
    Rig, RigError, RigState, RigStatus, RigView, SealSummary, StartRequest, StreamProgress, Verdict, is_slug,
};
pub use snapshot::{
    ArrayInfo, ArrayLive, BodyGeom, CameraInfo, CameraLive, ClockLive, GeomKind, ImitationLive, LATENCY_EDGES_MICROS,
    LatencyLive, PoseLive, Preview, RECENT_SPIKES_MAX, Rat, RigInfo, Snapshot, SortedUnit, SpikeRing, SpikeTick,
    ViewMarks, WAVEFORM_SAMPLES, Waveform,
};
