//! Times registration on a recording, frame by frame, and prints one line of JSON; `tests/peers` runs it beside its peers.
//!
//! `cargo run --release --example registration_speed -- FILE --subject configs/subjects/grooming.toml`

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use mimicd::body::convention::{Known, detect};
use mimicd::body::import::Recording;
use mimicd::body::{BodyState, Registrar, Subject, Tuning};

/// Passes over the recording that are timed.
const PASSES: usize = 5;

#[derive(Parser)]
struct Arguments {
    /// The recording of keypoints.
    file: PathBuf,
    /// Subject file.
    #[arg(long)]
    subject: PathBuf,
    /// Frames used, from the start.
    #[arg(long, default_value_t = usize::MAX)]
    frames: usize,
    /// Frames a second.
    #[arg(long, default_value_t = 50.0)]
    rate_hz: f64,
    /// The rat's MJCF.
    #[arg(long, default_value = ".deps/rat/rodent.xml")]
    mjcf: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let subject = Subject::load(&arguments.subject)?;
    let mut recording = Recording::open(&arguments.file)?;
    if recording.names.is_empty() {
        let names: Vec<String> = subject.keypoint.iter().map(|keypoint| keypoint.name.clone()).collect();
        recording.name(&names)?;
    }
    recording.frames.truncate(arguments.frames);
    let load = Instant::now();
    let rat = mimicd_rat::load(&arguments.mjcf, &subject.rat_options())?;
    let detected = detect(&rat, &subject, &recording.names, &recording.frames, Known::default())?;
    detected.convention.apply(&mut recording.frames);
    let mut registrar = Registrar::new(&rat, &subject, &recording.names, arguments.rate_hz, Tuning::default())?;
    let mut state = BodyState::new(recording.names.len());
    registrar.register(&recording.frames[0], &mut state);
    let cold_ms = 1e3 * load.elapsed().as_secs_f64();
    let (mut micros, mut sum_mm, mut step, mut steps) = (Vec::new(), 0.0, 0.0, 0.0);
    for _ in 0..PASSES {
        registrar.reset();
        let mut before = None;
        for frame in &recording.frames {
            let start = Instant::now();
            registrar.register(frame, &mut state);
            if let Some(before) = before.replace(state.qpos) {
                micros.push(1e6 * start.elapsed().as_secs_f64());
                let squared = |(now, before): (&f64, &f64)| (now - before).to_degrees().powi(2);
                step += state.qpos[7..].iter().zip(&before[7..]).map(squared).sum::<f64>();
                steps += 67.0;
            }
            sum_mm += 1e3 * f64::from(state.residual_mean_m);
        }
    }
    micros.sort_by(f64::total_cmp);
    let at = |part: f64| micros[((micros.len() - 1) as f64 * part) as usize];
    println!(
        "{}",
        serde_json::json!({
            "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1.0), "cold_start_ms": cold_ms,
            "mean_mm": sum_mm / (PASSES * recording.frames.len()) as f64, "step_deg": (step / f64::max(steps, 1.0)).sqrt(),
        })
    );
    Ok(())
}
