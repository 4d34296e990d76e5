//! Writes a recording in the published layout from the simulated rat: keypoints with noise, spike counts of units that
//! follow its movement by the twin's own documented rates or nothing at all, and what it was doing.
//!
//! `cargo run --example published_twin -- OUT.h5 [SECONDS] [SEED]`. Prints what each unit follows: the truth that
//! `mimicd published analyse OUT.h5` does not see.

use std::path::Path;

use mimicd::encoding::testing::Dice;
use mimicd::export::Published;
use mimicd_device::Span;
use mimicd_sim::rat::{Behaviour, World};
use mimicd_sim::{MovementFeatures, Tuning};

const FRAME_MILLIS: i64 = 20;
/// What the twin's pose networks leave.
const NOISE_M: f64 = 0.0015;
const UNITS: usize = 24;
const RIGHT_FOREPAW: usize = 14;

fn tuning(unit: usize) -> Tuning {
    match unit % 6 {
        0 => Tuning::Undriven,
        1 => Tuning::Speed,
        2 => Tuning::HeadHeight,
        3 => Tuning::Turn { left: true },
        4 => Tuning::Turn { left: false },
        _ => Tuning::Paw,
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or_else(|| anyhow::anyhow!("usage: published_twin OUT.h5 [SECONDS] [SEED]"))?;
    let seconds: f64 = arguments.next().map_or(Ok(300.0), |text| text.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let frames = (seconds * 1e3 / FRAME_MILLIS as f64) as usize;
    let world = World::new(seed, Path::new(".deps/rat/rodent.xml"))?;
    let mut dice = Dice::new(seed);
    let rates: Vec<(f64, f64)> = (0..UNITS).map(|_| (4.0 + 8.0 * dice.uniform(), 0.8 + 1.2 * dice.uniform())).collect();
    let mut published = Published { frames, units: UNITS, ..Published::default() };
    for frame in 0..frames {
        let truth = world.truth_at(Span::from_millis(FRAME_MILLIS * frame as i64));
        for axis in 0..3 {
            let noisy = truth.keypoints_m.iter().map(|place| (place[axis] + NOISE_M * dice.normal()) * 1e3);
            published.keypoints_mm.extend(noisy);
        }
        published.qpos.extend(truth.qpos());
        let movement = MovementFeatures {
            speed_m_per_s: truth.movement.speed_m_per_s,
            head_height_m: truth.snout_height_m(),
            heading_rate_rad_per_s: truth.movement.heading_rate_rad_per_s,
            paw_height_m: truth.keypoints_m[RIGHT_FOREPAW][2],
        };
        for (unit, (rate_hz, gain)) in rates.iter().enumerate() {
            let rate_hz = tuning(unit).rate_hz(*rate_hz, *gain, &movement);
            published.spike_counts.push(dice.poisson(rate_hz * FRAME_MILLIS as f64 * 1e-3) as u8);
        }
        let behaviour = Behaviour::ALL.iter().position(|known| *known == truth.movement.behaviour).unwrap_or(0);
        published.motion_mapper.push(behaviour as i64 + 1);
    }
    published.write(Path::new(&out))?;
    println!("{frames} frames, {UNITS} units to {out}; behaviours from 1: {:?}", Behaviour::ALL.map(Behaviour::name));
    (0..UNITS).for_each(|unit| println!("unit {unit} (tetrode {unit}) follows {:?}", tuning(unit)));
    Ok(())
}
