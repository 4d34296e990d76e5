//! Writes what the behaviour classifier is trained and tested on: its inputs and the true behaviour, frame by frame.
//!
//! `cargo run --release --example behaviour_data -- OUT`: registered twin movement (keypoints with noise through the live
//! registration) for several seeds, and the real clips where `../shared/data` holds them (a rule over the root names what is
//! plain: upright, walking, neither). One `<name>.f32` file of rows × inputs and one `<name>.txt` of labels a motion.

use std::fs;
use std::path::Path;

use mimicd::body::{BodyFlags, BodyStage};
use mimicd::config::Config;
use mimicd::encoding::behaviour::{HISTORY_BINS, INPUTS, Window};
use mimicd::encoding::store::{BODY_WIDTH, BodyInput, body_row};
use mimicd::encoding::testing::Dice;
use mimicd::imitation::eval::Motion;
use mimicd::pose::Keypoint;
use mimicd_device::Span;
use mimicd_sim::rat::{Behaviour, World};

const RATE_HZ: f64 = 50.0;
const SECONDS: f64 = 240.0;
const SEEDS: std::ops::Range<u64> = 100..110;
/// Noise of a keypoint, metres: what the twin's pose networks leave.
const NOISE_M: f64 = 0.0015;
/// Walking faster than this is `WalkFast`.
const FAST_M_PER_S: f64 = 0.18;

fn label(behaviour: Behaviour, speed_m_per_s: f64) -> &'static str {
    match behaviour {
        Behaviour::Still => "Still",
        Behaviour::Sniff => "Sniff",
        Behaviour::Walk if speed_m_per_s > FAST_M_PER_S => "WalkFast",
        Behaviour::Walk => "Walk",
        Behaviour::Turn => "Turn",
        Behaviour::Rear => "Rear",
        Behaviour::GroomFace => "FaceGroom",
        Behaviour::GroomFlank => "FlankGroom",
    }
}

#[derive(Default)]
struct Out {
    rows: Vec<u8>,
    labels: Vec<&'static str>,
}

impl Out {
    fn put(&mut self, window: &Window, label: &'static str) {
        let mut row = [0.0; INPUTS];
        if window.write(&mut row) {
            self.rows.extend(row.iter().flat_map(|value| value.to_le_bytes()));
            self.labels.push(label);
        }
    }

    fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        fs::write(folder.join(format!("{name}.f32")), &self.rows)?;
        fs::write(folder.join(format!("{name}.txt")), self.labels.join("\n"))?;
        println!("{name}: {} rows of {INPUTS}", self.labels.len());
        Ok(())
    }
}

fn twin(config: &Config, seed: u64) -> anyhow::Result<Out> {
    let world = World::new(seed, &config.body.mjcf)?;
    let names: Vec<String> = mimicd_rat::RAT23.iter().map(|name| (*name).to_owned()).collect();
    let mut stage = BodyStage::load(&config.body, &names, RATE_HZ)?;
    let (mut state, mut window, mut out) = (stage.state(), Window::default(), Out::default());
    let mut dice = Dice::new(seed);
    let mut body = vec![0.0; BODY_WIDTH];
    for frame in 0..(SECONDS * RATE_HZ) as usize {
        let truth = world.truth_at(Span::from_secs_f64(frame as f64 / RATE_HZ));
        let noisy = truth.keypoints_m.map(|place| place.map(|value| value + NOISE_M * dice.normal()));
        let keypoints: Vec<Keypoint> = noisy.iter().map(|place| Keypoint::recorded(*place, 1.0)).collect();
        stage.register(&keypoints, &mut state);
        if state.flags.intersects(BodyFlags::NO_DATA | BodyFlags::TOO_FEW) {
            window.push(None);
            continue;
        }
        let keypoints_m: Vec<f32> = noisy.iter().flatten().map(|value| *value as f32).collect();
        body_row(BodyInput { qpos: &state.qpos, qvel: &state.qvel, keypoints_m: &keypoints_m }, &mut body);
        window.push(Some(&body));
        out.put(&window, label(truth.movement.behaviour, truth.movement.speed_m_per_s));
    }
    Ok(out)
}

/// What a rule over the root says of the last half second: plain names only.
fn rule(motion: &Motion, frame: usize) -> &'static str {
    match motion.behaviour_of((frame + 1).saturating_sub(HISTORY_BINS)..frame + 1) {
        "rear" => "Rear",
        "walk" => "Walk",
        _ => "still",
    }
}

/// Real postures with velocities by differences, as registration gives them.
fn real(motion: &Motion) -> Out {
    let (mut window, mut out) = (Window::default(), Out::default());
    let mut body = vec![0.0; BODY_WIDTH];
    for (frame, pair) in motion.qpos.windows(2).enumerate() {
        let mut qvel = [0.0; 73];
        let rate = |a: f64, b: f64| (b - a) * motion.rate_hz;
        (0..3).for_each(|i| qvel[i] = rate(pair[0][i], pair[1][i]));
        (6..73).for_each(|i| qvel[i] = rate(pair[0][i + 1], pair[1][i + 1]));
        body_row(BodyInput { qpos: &pair[1], qvel: &qvel, keypoints_m: &[] }, &mut body);
        window.push(Some(&body));
        out.put(&window, rule(motion, frame + 1));
    }
    out
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: behaviour_data OUT"))?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let config = Config::load(Path::new("configs/twin.toml")).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    for seed in SEEDS {
        twin(&config, seed)?.write(folder, &format!("twin_{seed}"))?;
    }
    let clips = Path::new("../shared/data/rat_reference_clips/clips.json.gz");
    if clips.is_file() {
        for motion in Motion::read_clips(clips)? {
            real(&motion).write(folder, &format!("real_{}", motion.name))?;
        }
    } else {
        println!("no real clips: {} is not there", clips.display());
    }
    Ok(())
}
