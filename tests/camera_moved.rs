//! A camera that is bumped while the rig runs is named, and no other; put back, it is quiet again. In the stages, stepped,
//! and in the daemon as its panel and its commands show it.

#[path = "support/daemon.rs"]
mod running;
#[path = "support/set_up.rs"]
mod set_up;

use std::sync::atomic::Ordering;

use mimicd::config::Config;
use mimicd::geometry::Calibration;
use mimicd::pipeline::{Stepped, load_stages};
use mimicd_device::{HostTime, Span};
use running::{Daemon, config, wait};
use set_up::is_set_up;

fn bumped(camera: usize, at_s: f64, for_s: f64, turn_deg: f64) -> String {
    format!(
        "[[twin.fault]]\nkind = \"camera_moved\"\ncamera = {camera}\nat_s = {at_s}\nfor_s = {for_s}\nturn_deg = {turn_deg}"
    )
}

/// Names of the cameras that are said to have moved.
fn moved(rig: &Stepped) -> Vec<usize> {
    let cameras = rig.shared().cameras.iter().enumerate();
    cameras.filter(|(_, camera)| camera.moved.load(Ordering::Relaxed)).map(|(index, _)| index).collect()
}

/// Bumps one camera of the stepped twin from 7 s to 11 s of its time.
fn check(camera: usize, turn_deg: f64) {
    let home = tempfile::tempdir().expect("a folder");
    let path = config(home.path(), &bumped(camera, 7.0, 4.0, turn_deg), "");
    let config = Config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    let calibration = Calibration::load(&config.rig.calibration).expect("the preset's calibration loads");
    let stages = load_stages(&config, &calibration).expect("the preset's models load");
    let mut rig = Stepped::new(&config, &calibration, stages).expect("the twin opens");
    rig.arm().expect("the twin's cameras answer the burst");
    let until = |rig: &mut Stepped, seconds: f64| rig.run(HostTime::ZERO + Span::from_secs_f64(seconds) - rig.now());
    until(&mut rig, 6.9);
    assert_eq!(moved(&rig), Vec::<usize>::new(), "camera {camera}, {turn_deg} deg: nothing has moved yet");
    until(&mut rig, 10.9);
    assert_eq!(moved(&rig), vec![camera], "camera {camera}, {turn_deg} deg: 3.9 s after the bump");
    until(&mut rig, 20.0);
    assert_eq!(moved(&rig), Vec::<usize>::new(), "camera {camera}, {turn_deg} deg: put back");
}

#[test]
fn a_camera_that_is_bumped_far_is_named_and_no_other() {
    if is_set_up() {
        check(4, 3.0);
    }
}

/// Half a degree is 7 px here, under the limit for outlier views: it pulls the pose of all.
#[test]
fn a_camera_that_is_bumped_a_little_is_named_and_no_other() {
    if is_set_up() {
        check(1, -0.5);
    }
}

/// Codes of the conditions that the daemon's status names.
fn conditions(daemon: &Daemon) -> Vec<String> {
    let status = daemon.ctl(&["status"]);
    let list = status.pointer("/status/degraded").and_then(|list| list.as_array()).cloned();
    let list = list.unwrap_or_else(|| panic!("no list of conditions in {status}"));
    list.iter().map(|condition| condition["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_running_daemon_names_a_bumped_camera_until_it_is_put_back() {
    if !is_set_up() {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    let path = config(home.path(), &bumped(4, 15.0, 40.0, 3.0), "");
    let daemon = Daemon::start(&path, 0);
    daemon.ctl(&["arm"]);
    wait(60, || (daemon.state() == "armed").then_some(()));
    let of_moved =
        || conditions(&daemon).into_iter().filter(|code| code.starts_with("camera_moved")).collect::<Vec<_>>();
    assert_eq!(of_moved(), Vec::<String>::new(), "nothing has moved yet");
    let name = &Calibration::load(&Config::load(&path).unwrap().rig.calibration).unwrap().cameras[4].name;
    wait(60, || (!of_moved().is_empty()).then_some(()));
    assert_eq!(of_moved(), vec![format!("camera_moved.{name}")]);
    wait(90, || of_moved().is_empty().then_some(()));
}
