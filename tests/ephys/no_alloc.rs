//! The spike path allocates nothing in a steady state: filter to sorter, learning included.

use mimicd::config::{ArrayBackend, ArrayConfig, SpikesConfig};
use mimicd::spikes::SpikeStage;
use mimicd_device::{ArrayIndex, SampleBlock, SampleIndex};

/// A block of noise with a spike on each tetrode now and then, as a function of its index.
fn fill(block: &mut SampleBlock, first: u64, rows: usize) {
    let channels = block.channels;
    block.clear();
    block.first = SampleIndex(first);
    for at in first..first + rows as u64 {
        for channel in 0..channels as u64 {
            let mixed = (at * 0x9E37_79B9 + channel * 0x85EB_CA6B).wrapping_mul(0xC2B2_AE35) >> 16;
            let noise = (mixed & 0xFF) as i16 + (mixed >> 8 & 0xFF) as i16 - 255;
            let tetrode = channel / 4;
            let cell = at / 500 % 2;
            let since = (at + tetrode * 37) % 500;
            let gain = if (channel + cell).is_multiple_of(2) { 900 } else { 250 };
            let spike = if since < 12 { -gain * (6 - (since as i16 - 6).abs()) / 6 } else { 0 };
            block.samples.push(noise / 3 + spike);
        }
    }
    block.digital.resize(rows, ((first / 600) & 1) as u16);
}

#[test]
fn ten_thousand_blocks_without_an_allocation() {
    let array = ArrayConfig::new("A", ArrayBackend::Twin, 32);
    // Learning happens within the counted part.
    let config = SpikesConfig { learn_secs: 2.0, learn_spikes: 150, ..SpikesConfig::default() };
    let mut stage = SpikeStage::new(&config, &array);
    let mut out = stage.output();
    let mut block = SampleBlock::with_capacity(ArrayIndex(0), 32, 30);
    let mut first = 0;
    let mut events = 0;
    let mut allocations = 0;
    for index in 0..10_000 {
        // A gap now and then.
        first += if index % 3_000 == 2_999 { 640 } else { 0 };
        fill(&mut block, first, 30);
        first += 30;
        allocations += allocation_counter::measure(|| stage.process(&block, &mut out)).count_total;
        events += out.events.len();
    }
    assert!(events > 2_000, "{events} spikes");
    assert!(!stage.units().is_empty(), "nothing was learned");
    assert_eq!(allocations, 0, "allocations in process()");
}
