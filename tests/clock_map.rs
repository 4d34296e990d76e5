//! The map from the host's clock to the board's, in the stepped rig against the twin's truth: a crystal 50 ppm off, a link
//! that takes up to 2 ms each way, a step of the board's clock and a reset of the board.

#[path = "support/set_up.rs"]
mod set_up;

use std::path::Path;

use mimicd::config::Config;
use mimicd::geometry::Calibration;
use mimicd::pipeline::{Stepped, load_stages};
use mimicd_device::{HostTime, Span};
use mimicd_sim::{Twin, TwinOptions};
use set_up::is_set_up;

/// The crystal's error, and the part of it that every twin draws at the least.
const DRIFT_PPM: f64 = 50.0;
const DRAWN_PPM: f64 = 10.0;
const ERROR_MAX: Span = Span::from_micros(10);

/// What has to be added to the crystal that `seed` draws so that it is off by [`DRIFT_PPM`].
fn missing_ppm(seed: u64) -> f64 {
    let options = TwinOptions { seed, drift_ppm_max: DRAWN_PPM, ..TwinOptions::default() };
    let truth = Twin::new(options, HostTime::ZERO).expect("a twin without devices").truth();
    let second = HostTime::from_nanos(1_000_000_000);
    let is_fast = (truth.board_at(second) - truth.board_at(HostTime::ZERO)).nanos() > 1_000_000_000;
    let missing = DRIFT_PPM - DRAWN_PPM;
    if is_fast { missing } else { -missing }
}

/// The twin preset at ten frames a second, without arrays: the board's link carries the same words.
fn rig(seed: u64, faults: &str) -> Stepped {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/twin.toml");
    let preset = std::fs::read_to_string(&path).expect("the preset is there");
    let twin = format!(
        "seed = {seed}\nscene = \"pattern\"\ndrift_ppm_max = {DRAWN_PPM:.1}\nlink_latency_micros_max = 2000\n\
         [[twin.fault]]\nkind = \"drift_change\"\ndevice = \"board\"\nat_s = 0.0\nppm = {:.1}\n{faults}",
        missing_ppm(seed)
    );
    let text = preset.replace("frame_rate_hz = 50.0", "frame_rate_hz = 10.0").replace("seed = 1", &twin);
    let mut config = Config::parse(&text, &path).unwrap_or_else(|errors| panic!("{errors}"));
    config.arrays.clear();
    let calibration = Calibration::load(&config.rig.calibration).expect("the preset's calibration loads");
    let stages = load_stages(&config, &calibration).expect("the preset's models load");
    let mut rig = Stepped::new(&config, &calibration, stages).expect("the twin opens");
    rig.arm().expect("the twin's cameras answer the burst");
    rig
}

/// How far the map is off at this instant.
fn error(rig: &Stepped) -> Span {
    let map = rig.shared().host_map.read(|map| *map).expect("pings were answered");
    (map.map(rig.now()).at - rig.truth().expect("a twin has a truth").board_at(rig.now())).abs()
}

/// Errors at every step until `until`, sorted.
fn errors(rig: &mut Stepped, until: f64) -> Vec<Span> {
    let until = HostTime::ZERO + Span::from_secs_f64(until);
    let mut found = Vec::new();
    while rig.now() < until {
        rig.step();
        found.push(error(rig));
    }
    found.sort_unstable();
    found
}

fn p99(errors: &[Span]) -> Span {
    errors[errors.len() * 99 / 100]
}

#[test]
fn fifty_ppm_and_two_millis_of_jitter_leave_ten_micros_at_the_99th_percentile() {
    if !is_set_up() {
        return;
    }
    for seed in [1, 2] {
        let mut rig = rig(seed, "");
        errors(&mut rig, 4.0);
        let found = errors(&mut rig, 19.0);
        let map = rig.shared().host_map.read(|map| *map).expect("pings were answered");
        let (half, most) = (found[found.len() / 2], p99(&found));
        println!(
            "seed {seed}: {:+.2} ppm, off by p50 {:.1} us, p99 {:.1} us, max {:.1} us",
            map.drift_ppm(),
            half.nanos() as f64 * 1e-3,
            most.nanos() as f64 * 1e-3,
            found[found.len() - 1].nanos() as f64 * 1e-3
        );
        assert!((map.drift_ppm().abs() - DRIFT_PPM).abs() < 1.0, "seed {seed}: {} ppm", map.drift_ppm());
        assert!(most <= ERROR_MAX, "seed {seed}: p99 {most:?}");
    }
}

#[test]
fn a_step_and_a_reset_are_over_within_two_seconds() {
    if !is_set_up() {
        return;
    }
    for seed in [4, 5] {
        let faults = "[[twin.fault]]\nkind = \"board_step\"\nat_s = 6.0\nstep_micros = 4000\n\
                      [[twin.fault]]\nkind = \"board_reset\"\nat_s = 10.0\n";
        let mut rig = rig(seed, faults);
        let before = p99(&errors(&mut rig, 5.99));
        let during = errors(&mut rig, 8.0);
        let step = p99(&errors(&mut rig, 9.99));
        // The board is away for 0.2 s after its reset.
        errors(&mut rig, 12.2);
        let reset = p99(&errors(&mut rig, 14.2));
        println!("seed {seed}: p99 before {before:?}, two seconds after a step {step:?}, after a reset {reset:?}");
        assert!(during[during.len() - 1] > Span::from_millis(3), "seed {seed}: the clock did step");
        assert!(step <= ERROR_MAX, "seed {seed}: {step:?} two seconds after the step");
        assert!(reset <= ERROR_MAX, "seed {seed}: {reset:?} two seconds after the reset");
    }
}
