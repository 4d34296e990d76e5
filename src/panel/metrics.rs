//! Metrics in the Prometheus text format.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::pipeline::{RigInfo, RigState, RigStatus, Snapshot};

const STATES: [RigState; 6] =
    [RigState::Idle, RigState::Arming, RigState::Armed, RigState::Recording, RigState::Sealing, RigState::Faulted];

/// Everything countable about the rig, for a monitoring system.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = super::Problem)))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut snapshot = Snapshot::default();
    shared.view.snapshot(&mut snapshot);
    let mut text = Text::default();
    text.family("state", "gauge", "1 for the state the rig is in");
    let state = shared.desk.standing().state;
    for other in STATES {
        text.value("state", &[("state", other.word())], f64::from(u8::from(other == state)));
    }
    text.family("panel_clients", "gauge", "pages connected");
    text.value("panel_clients", &[], shared.live.clients() as f64);
    text.family("panel_refused_total", "counter", "requests turned away at the gate");
    text.value("panel_refused_total", &[], shared.gate.refused() as f64);
    rig_status(&mut text, &shared.view.status());
    streams(&mut text, shared.view.info(), &snapshot);
    latency(&mut text, shared.view.info(), &snapshot);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

fn rig_status(text: &mut Text, status: &RigStatus) {
    text.family("degraded", "gauge", "1 for each condition under which the rig is degraded");
    for condition in &status.degraded {
        text.value("degraded", &[("code", &condition.code)], 1.0);
    }
    text.family("disk_free_bytes", "gauge", "free space where recordings go");
    text.value("disk_free_bytes", &[], status.disk_free_bytes as f64);
    if let Some(recording) = &status.recording {
        for (name, help, value) in [
            ("recording_elapsed_seconds", "length of the recording in progress", recording.elapsed_secs),
            ("recording_rows", "rows written so far", recording.rows as f64),
            ("recording_bytes", "bytes written so far", recording.bytes as f64),
        ] {
            text.family(name, "gauge", help);
            text.value(name, &[], value);
        }
    }
    let mut counters: Vec<_> = status.counters.iter().collect();
    counters.sort_by(|a, b| a.name.cmp(&b.name));
    let mut family = "";
    for counter in counters {
        let name = format!("{}_total", counter.name);
        if family != counter.name {
            text.family(
                &name,
                "counter",
                "counted since the daemon or, for what is the recorder's, the recording began; by place and cause",
            );
            family = &counter.name;
        }
        text.value(&name, &[("place", &counter.place), ("cause", &counter.cause)], counter.value as f64);
    }
}

fn streams(text: &mut Text, info: &RigInfo, snapshot: &Snapshot) {
    text.family("camera_frames_total", "counter", "frames received");
    for (camera, live) in info.cameras.iter().zip(&snapshot.cameras) {
        text.value("camera_frames_total", &[("camera", &camera.name)], live.frames as f64);
    }
    text.family("camera_rate_hz", "gauge", "frames in the last second");
    for (camera, live) in info.cameras.iter().zip(&snapshot.cameras) {
        text.value("camera_rate_hz", &[("camera", &camera.name)], f64::from(live.rate_hz));
    }
    text.family("array_samples_total", "counter", "samples per channel received");
    for (array, live) in info.arrays.iter().zip(&snapshot.arrays) {
        text.value("array_samples_total", &[("array", &array.name)], live.samples as f64);
    }
    text.family("frame_sets_total", "counter", "frame sets through the loop");
    text.value("frame_sets_total", &[], snapshot.frame_sets as f64);
    text.family("clock_residual_p99_seconds", "gauge", "99th percentile of the clock map's absolute residual");
    for (clock, live) in info.clocks.iter().zip(&snapshot.clocks) {
        let seconds = f64::from(live.residual_p99_micros) * 1e-6;
        text.value("clock_residual_p99_seconds", &[("clock", clock)], seconds);
    }
    text.family("policy_resets_total", "counter", "resets of the virtual rat");
    text.value("policy_resets_total", &[], snapshot.imitation.resets as f64);
}

fn latency(text: &mut Text, info: &RigInfo, snapshot: &Snapshot) {
    text.family("stage_latency_seconds", "gauge", "latency of a stage over the last seconds");
    for (stage, live) in info.stages.iter().zip(&snapshot.stages) {
        for (quantile, micros) in [("0.5", live.p50_micros), ("0.99", live.p99_micros), ("1", live.max_micros)] {
            let labels = [("stage", stage.as_str()), ("quantile", quantile)];
            text.value("stage_latency_seconds", &labels, f64::from(micros) * 1e-6);
        }
    }
}

/// A text under construction; names get the prefix here.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP mimicd_{name} {help}\n# TYPE mimicd_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "mimicd_{name}");
        for (index, (key, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{key}=\"{text}\"");
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.value("x", &[("a", "q\"\\\n"), ("b", "c")], 1.5);
        text.value("y", &[], 2.0);
        assert_eq!(text.0, "mimicd_x{a=\"q\\\"\\\\\\n\",b=\"c\"} 1.5\nmimicd_y 2\n");
    }
}
