//! What a millisecond of electrode samples costs: detection, detection with sorting, by channels.
//!
//! `cargo bench --bench spikes`. One iteration is one block of 1 ms at 30 kHz, so 250 µs are 25 % of one core.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mimicd::config::{ArrayBackend, ArrayConfig, SpikesConfig};
use mimicd::spikes::{SpikeOutput, SpikeStage};
use mimicd_device::{ArrayIndex, SampleBlock, SampleIndex};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const ROWS: usize = 30;
const SECONDS: f64 = 8.0;
/// Cells of a tetrode and their rate: the paper's busiest arrays.
const CELLS: usize = 3;
const CELL_HZ: f64 = 7.0;

/// Blocks of noise with cells in it, played round and round with the index going on.
struct Tape {
    blocks: Vec<SampleBlock>,
    next: usize,
    first: u64,
}

impl Tape {
    fn new(channels: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let rows = (SECONDS * 30_000.0) as usize / ROWS * ROWS;
        let mut uv: Vec<f32> = (0..rows * channels)
            .map(|_| 9.0 * ((0..4).map(|_| rng.random::<f32>()).sum::<f32>() - 2.0) * 1.73)
            .collect();
        for tetrode in 0..channels / 4 {
            for _ in 0..CELLS {
                let gains: [f32; 4] = std::array::from_fn(|_| 30.0 + 120.0 * rng.random::<f32>());
                let mut at = 0.0;
                loop {
                    at += -(1.0 - rng.random::<f64>()).ln() / CELL_HZ * 30_000.0 + 60.0;
                    let start = at as usize;
                    if start + 40 >= rows {
                        break;
                    }
                    for sample in 0..40 {
                        let t = sample as f32 - 10.0;
                        let wave = -(-t * t / 12.0).exp() + 0.35 * (-(t - 11.0) * (t - 11.0) / 50.0).exp();
                        for wire in 0..4 {
                            uv[(start + sample) * channels + tetrode * 4 + wire] += gains[wire] * wave;
                        }
                    }
                }
            }
        }
        let block = |part: &[f32]| {
            let mut block = SampleBlock::with_capacity(ArrayIndex(0), channels, ROWS);
            block.samples.extend(part.iter().map(|x| (x / 0.195) as i16));
            block.digital.resize(ROWS, 0);
            block
        };
        Self { blocks: uv.chunks(ROWS * channels).map(block).collect(), next: 0, first: 0 }
    }

    fn play(&mut self, stage: &mut SpikeStage, out: &mut SpikeOutput) {
        let block = &mut self.blocks[self.next];
        block.first = SampleIndex(self.first);
        self.first += ROWS as u64;
        self.next = (self.next + 1) % self.blocks.len();
        stage.process(&self.blocks[(self.next + self.blocks.len() - 1) % self.blocks.len()], out);
    }
}

fn stage(channels: usize, sort: bool) -> SpikeStage {
    let config = SpikesConfig { sort, learn_secs: 10.0, ..SpikesConfig::default() };
    SpikeStage::new(&config, &ArrayConfig::new("A", ArrayBackend::Twin, channels))
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spikes_1ms");
    for channels in [64, 256, 1_024] {
        let mut tape = Tape::new(channels);
        let mut detect = stage(channels, false);
        let mut out = detect.output();
        (0..2_000).for_each(|_| tape.play(&mut detect, &mut out));
        group.bench_with_input(BenchmarkId::new("detect", channels), &channels, |bencher, _| {
            bencher.iter(|| tape.play(&mut detect, &mut out));
        });
        let mut sort = stage(channels, true);
        let mut out = sort.output();
        // Until the units have been learned.
        let blocks = 16_000 + 60 * channels;
        (0..blocks).for_each(|_| tape.play(&mut sort, &mut out));
        println!("{channels} channels: {} units", sort.units().len());
        group.bench_with_input(BenchmarkId::new("detect_and_sort", channels), &channels, |bencher, _| {
            bencher.iter(|| tape.play(&mut sort, &mut out));
        });
    }
    group.finish();
}

criterion_group!(spikes, benches);
criterion_main!(spikes);
