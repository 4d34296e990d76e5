//! What one frame of the virtual rat costs: the whole stage, the policy network, the physics, and resampled latents.
//!
//! `cargo bench --bench imitation`; skips what is not there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mimicd::clock::host_now;
use mimicd::config::{ImitationConfig, LookAhead};
use mimicd::imitation::{ImitationStage, ImitationStep};
use mimicd_device::{BoardTime, Span};

/// A stage fed with a standing rat that sways a little.
struct Feed {
    stage: ImitationStage,
    step: ImitationStep,
    posture: [f64; 74],
    frame: i64,
}

impl Feed {
    fn new(policy: &Path, look_ahead: LookAhead, resample: bool) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mjcf = root.join(".deps/rat/rodent.xml");
        if !policy.is_file() || !mjcf.is_file() {
            println!("skipped: {} or {} is not there", policy.display(), mjcf.display());
            return None;
        }
        let config = ImitationConfig { look_ahead, resample, ..ImitationConfig::for_policy(policy) };
        let stage = ImitationStage::load_policy(&config, &mjcf, 50.0).expect("the policy loads").with_clock(host_now);
        let (step, posture) = (stage.make_step(), stage.rat().reference_qpos());
        Some(Self { stage, step, posture, frame: 0 })
    }

    fn next(&mut self) -> &ImitationStep {
        self.frame += 1;
        self.posture[0] = 0.01 * (self.frame as f64 * 0.05).sin();
        let at = BoardTime::ZERO + Span::from_millis(20 * self.frame);
        self.stage.follow(at, Some(&self.posture), &mut self.step).expect("the graph runs");
        &self.step
    }

    /// Sum over `frames` of a part of the step.
    fn sum(&mut self, frames: u64, part: impl Fn(&ImitationStep) -> Span) -> Duration {
        (0..frames).map(|_| part(self.next()).to_duration()).sum()
    }
}

fn policies() -> Vec<(String, PathBuf)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    ["policy-servo", "policy-balance", "policy-shooting"]
        .into_iter()
        .map(|name| (name.to_owned(), models.join(name).join("policy.toml")))
        .filter(|(_, path)| path.is_file())
        .collect()
}

fn frames(c: &mut Criterion) {
    for (name, path) in policies() {
        for (mode, mode_name) in [(LookAhead::Delayed, "delayed"), (LookAhead::Forecast, "forecast")] {
            let Some(mut feed) = Feed::new(&path, mode, false) else { continue };
            c.bench_function(&format!("{name}/{mode_name}/frame of 20 ms"), |b| b.iter(|| feed.next().error.root_m));
        }
        let Some(mut feed) = Feed::new(&path, LookAhead::Delayed, false) else { continue };
        c.bench_function(&format!("{name}/network, 2 runs a frame"), |b| {
            b.iter_custom(|frames| feed.sum(frames, |step| step.inference));
        });
        c.bench_function(&format!("{name}/physics of 20 ms"), |b| {
            b.iter_custom(|frames| feed.sum(frames, |step| step.physics));
        });
        if let Some(mut feed) =
            Feed::new(&path, LookAhead::Delayed, true).filter(|feed| feed.stage.manifest().resample.is_some())
        {
            c.bench_function(&format!("{name}/frame with 50 resampled latents"), |b| {
                b.iter(|| feed.next().error.root_m)
            });
        }
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
