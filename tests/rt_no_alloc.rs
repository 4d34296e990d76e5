//! Edge and loop paths in a steady state: no allocation but those of ONNX Runtime's binding.

use std::path::Path;

use mimicd::config::Config;
use mimicd::geometry::Calibration;
use mimicd::pipeline::{Part, Stepped, load_stages};
use mimicd::record::RecordingInfo;
use mimicd_device::Span;

/// Rust allocations of a bound session for each output of a run (measured; ONNX Runtime's own are not Rust's).
const PER_OUTPUT: u64 = 2;
/// Outputs of the networks run in one loop tick: keypoint maps and the refiner's offsets once, the policy's signals in each
/// of two control steps.
fn outputs(rig: &Stepped) -> u64 {
    2 + 2 * rig.policy_signals() as u64
}

#[test]
fn a_steady_state_allocates_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join(".deps/rat/rodent.xml").is_file() {
        println!("skipped: run `cargo xtask setup` first");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let path = root.join("configs/twin.toml");
    let record = format!(
        "folder = \"{}\"\nvideo = \"none\"\ndisk_margin_bytes = 0\nrefuse_below_minutes = 0",
        folder.path().display()
    );
    let text = std::fs::read_to_string(&path).expect("the preset is there");
    let text = text.replace("folder = \"../recordings\"", &record);
    let config = Config::parse(&text, &path).unwrap_or_else(|errors| panic!("{errors}"));
    let calibration = Calibration::load(&config.rig.calibration).expect("the calibration loads");
    let stages = load_stages(&config, &calibration).expect("the models load");
    let mut rig = Stepped::new(&config, &calibration, stages).expect("the twin opens");
    rig.arm().expect("the cameras answer the burst");
    let info = RecordingInfo::new("rt", "twin", std::time::UNIX_EPOCH, serde_json::Value::Null);
    let (recorder, _) = rig.record(info).expect("the recorder starts");
    rig.run(Span::from_millis(1_500));
    let mut counts = Vec::new();
    for _ in 0..4_000 {
        rig.step_within(&mut |part, pass| {
            let count = allocation_counter::measure(pass).count_total;
            counts.push((part, count));
        });
    }
    rig.end_recording();
    recorder.seal().expect("seals");
    let limits = [
        (Part::Board, 0, 0.0),
        (Part::Spikes, 0, 0.0),
        (Part::Loop, PER_OUTPUT * outputs(&rig), 0.0),
        // The simulated devices themselves draw the rat's next movement now and then; an allocation of the edge would
        // come with every frame (2.5 % of the passes) or block (half of them).
        (Part::Camera, 0, 0.002),
        (Part::Array, 0, 0.005),
    ];
    for (part, most, share_max) in limits {
        let of: Vec<u64> = counts.iter().filter(|(p, _)| *p == part).map(|(_, count)| *count).collect();
        let over = of.iter().filter(|count| **count > most).count();
        let largest = of.iter().max().expect("there were passes");
        println!("{part:?}: {} passes, {over} with more than {most} allocations, at most {largest}", of.len());
        assert!(over as f64 <= share_max * of.len() as f64, "{part:?}: {over} passes allocated, at most {largest}");
    }
}
