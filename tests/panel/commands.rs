//! Commands and their acknowledgements: the ordinary course, refusals, keys, buttons, faults, shutdown, continuation.

use std::sync::atomic::Ordering;

use mimicd::panel::Client;
use mimicd::pipeline::{Command, RigState, StartRequest};
use mimicd::supervisor::Marker;
use serde_json::json;

use crate::desk::Bench;
use mimicd::config::PanelConfig;

const START: &str = r#"{"command":"start","subject":"rat-07","experiment":"open field","operator":"mk"}"#;

#[test]
fn arm_record_mark_stop_are_acknowledged_with_the_state() {
    let bench = Bench::open();
    for (body, state) in [
        (r#"{"command":"arm"}"#, "armed"),
        (START, "recording"),
        (r#"{"command":"mark","text":"cue on"}"#, "recording"),
        (r#"{"command":"stop"}"#, "armed"),
        (r#"{"command":"disarm"}"#, "idle"),
    ] {
        let answer = bench.command(body);
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        assert_eq!(answer.json()["state"], state, "{body}");
    }
    assert_eq!(bench.calls(), ["arm", "start rat-07", "mark cue on", "stop", "disarm"]);
    let standing = bench.get("/api/v1/state").json()["standing"].clone();
    assert_eq!(standing["sealed"]["reconciled"], true);
    assert!(bench.audit().contains("\"mark\""), "the recording's audit log names commands: {}", bench.audit());
}

#[test]
fn commands_out_of_order_are_refused_with_advice_and_change_nothing() {
    let bench = Bench::open();
    for body in [r#"{"command":"stop"}"#, r#"{"command":"mark","text":"x"}"#, r#"{"command":"disarm"}"#] {
        let answer = bench.command(body);
        assert_eq!((answer.status, answer.json()["accepted"].as_bool()), (409, Some(false)), "{answer:?}");
    }
    bench.levers.fail_arm.store(true, Ordering::Relaxed);
    let answer = bench.command(r#"{"command":"arm"}"#).json();
    assert_eq!(answer["state"], "idle");
    assert!(answer["message"].as_str().expect("text").contains("camera.Camera3"), "{answer}");
    bench.levers.fail_arm.store(false, Ordering::Relaxed);
    for subject in ["", "../../etc", "a/b", "a b"] {
        let answer = bench.command(&json!({"command": "start", "subject": subject}).to_string());
        assert_eq!(answer.status, 409, "{subject:?}: {answer:?}");
    }
    assert_eq!(bench.calls(), ["arm"], "nothing was started");
}

#[test]
fn one_key_is_done_once() {
    let bench = Bench::open();
    let send = |body: &str| bench.send("POST", "/api/v1/commands", &[("idempotency-key", "k1")], body);
    let first = send(START);
    let again = send(START);
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(bench.calls().iter().filter(|call| call.starts_with("start")).count(), 1);
    bench.wait("the replay is in the audit log", |bench| bench.audit().contains("\"replayed\":\"start\""));
    assert_eq!(send(r#"{"command":"stop"}"#).status, 422, "the key belongs to another command");
    bench.wait("the reuse is in the audit log", |bench| bench.audit().contains("key_reused"));
    let bad = bench.send("POST", "/api/v1/commands", &[("idempotency-key", "a b")], START);
    assert_eq!(bad.status, 400);
}

#[test]
fn buttons_give_the_same_commands() {
    let bench = Bench::open();
    let start = StartRequest { subject: "button".into(), ..Default::default() };
    bench.levers.buttons.lock().expect("lock").extend([Command::Arm, Command::Start(start)]);
    bench.wait("recording", |bench| bench.desk.standing().state == RigState::Recording);
    bench.levers.buttons.lock().expect("lock").push_back(Command::Stop);
    bench.wait("sealed", |bench| bench.desk.standing().sealed.is_some());
}

#[test]
fn a_fault_seals_first_and_disarm_leads_back() {
    let bench = Bench::open();
    bench.command(START);
    *bench.levers.fault.lock().expect("lock") = Some("the loop thread ended".into());
    bench.wait("faulted", |bench| bench.desk.standing().state == RigState::Faulted);
    assert_eq!(bench.calls().last().map(String::as_str), Some("stop"));
    assert_eq!(bench.desk.standing().fault.as_deref(), Some("the loop thread ended"));
    *bench.levers.fault.lock().expect("lock") = None;
    assert_eq!(bench.command(r#"{"command":"disarm"}"#).json()["state"], "idle");
}

#[test]
fn the_disk_margin_stops_and_seals_with_its_cause() {
    let bench = Bench::open();
    bench.command(START);
    *bench.levers.must_stop.lock().expect("lock") = Some("2.0 GB free, the margin".into());
    bench.wait("sealed", |bench| bench.desk.standing().sealed.is_some());
    assert_eq!(bench.desk.standing().state, RigState::Armed);
    assert!(bench.get("/api/v1/events").body.contains("the margin"));
}

#[test]
fn a_recording_that_cannot_be_sealed_is_a_fault_with_the_way_out() {
    let bench = Bench::open();
    bench.command(START);
    bench.levers.fail_seal.store(true, Ordering::Relaxed);
    let answer = bench.command(r#"{"command":"stop"}"#);
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("mimicd recover"), "{}", answer.body);
    assert_eq!(answer.json()["state"], "faulted");
}

#[test]
fn outputs_need_the_rigs_name() {
    let bench = Bench::open();
    bench.command(r#"{"command":"arm"}"#);
    assert_eq!(bench.command(r#"{"command":"arm_outputs","confirm":"yes"}"#).status, 409);
    assert!(!bench.levers.outputs_armed.load(Ordering::Relaxed));
    assert_eq!(bench.command(r#"{"command":"arm_outputs","confirm":"demo-rig"}"#).status, 200);
    assert!(bench.levers.outputs_armed.load(Ordering::Relaxed));
    assert_eq!(bench.command(r#"{"command":"safe_outputs"}"#).status, 200);
    assert!(!bench.levers.outputs_armed.load(Ordering::Relaxed));
}

#[test]
fn shutdown_seals_and_disarms() {
    let mut bench = Bench::open();
    bench.command(START);
    bench.end();
    assert_eq!(bench.calls(), ["arm", "start rat-07", "stop", "disarm"]);
    assert_eq!(bench.desk.standing().state, RigState::Idle);
}

#[test]
fn after_a_crash_the_recording_goes_on_as_a_new_segment() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let request = StartRequest { subject: "rat-07".into(), ..Default::default() };
    Marker { name: "20261124T000000Z_rat-07".into(), request }.write(folder.path()).expect("writes");
    let mut bench = Bench::with(PanelConfig::default(), Some(folder.path()));
    bench.wait("recording", |bench| bench.desk.standing().state == RigState::Recording);
    assert_eq!(bench.calls(), ["arm", "start rat-07 continues 20261124T000000Z_rat-07"]);
    let marker = Marker::read(folder.path()).expect("still there");
    assert_eq!(marker.name, "20261124T000000Z_rat-07", "a second crash continues the same recording");
    bench.end();
    assert_eq!(Marker::read(folder.path()), None, "sealed: nothing to continue");
}

#[test]
fn a_recording_goes_on_as_soon_as_the_devices_are_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let request = StartRequest { subject: "rat-07".into(), ..Default::default() };
    Marker { name: "20261124T000000Z_rat-07".into(), request }.write(folder.path()).expect("writes");
    let bench = Bench::with_levers(PanelConfig::default(), Some(folder.path()), |levers| {
        levers.fail_arm.store(true, Ordering::Relaxed)
    });
    bench.wait("a first try", |bench| bench.calls() == ["arm"]);
    bench.levers.fail_arm.store(false, Ordering::Relaxed);
    bench.wait_long("recording", |bench| bench.desk.standing().state == RigState::Recording);
    assert_eq!(bench.calls(), ["arm", "arm", "start rat-07 continues 20261124T000000Z_rat-07"]);
}

#[test]
fn the_command_line_says_the_same() {
    let bench = Bench::open();
    let client = Client::new(bench.address(), None);
    let (status, answer) = client.command(&Command::Arm).expect("answers");
    assert_eq!((status, &answer["state"]), (200, &json!("armed")));
    let (status, state) = client.state().expect("answers");
    assert_eq!((status, &state["standing"]["state"]), (200, &json!("armed")));
    let nobody = Client::new(([127, 0, 0, 1], 9).into(), None);
    assert!(nobody.state().expect_err("refused").to_string().contains("is it running"));
}
