//! Builds valid recordings of other programs, byte by byte. Every value follows from its sample index and channel.

use std::fs;
use std::path::{Path, PathBuf};

/// The sample of a channel at an index.
pub(crate) fn value(index: u64, channel: usize) -> i16 {
    (((index ^ (channel as u64 * 0x9E37)).wrapping_mul(0x85EB_CA6B) >> 9) as i16) / 3
}

/// The digital word at an index: line 0 and line 3.
pub(crate) fn word(index: u64) -> u16 {
    ((index / 90) & 1) as u16 | (((index / 250) & 1) << 3) as u16
}

/// Sample indices of runs of (first, count).
fn indices(runs: &[(u64, u64)]) -> impl Iterator<Item = u64> + '_ {
    runs.iter().flat_map(|(first, count)| *first..first + count)
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32 * 2).to_le_bytes());
    text.encode_utf16().for_each(|unit| bytes.extend(unit.to_le_bytes()));
}

/// A header as RHX writes it: `channels` amplifiers, two auxiliaries, one supply, one converter, two digital inputs.
fn rhd_header(version: (i16, i16), channels: usize) -> Vec<u8> {
    let mut bytes = 0xC691_2702_u32.to_le_bytes().to_vec();
    bytes.extend(version.0.to_le_bytes());
    bytes.extend(version.1.to_le_bytes());
    bytes.extend(30_000.0_f32.to_le_bytes());
    bytes.extend(1_i16.to_le_bytes());
    (0..6).for_each(|_| bytes.extend(1.0_f32.to_le_bytes()));
    bytes.extend(0_i16.to_le_bytes());
    (0..2).for_each(|_| bytes.extend(1_000.0_f32.to_le_bytes()));
    text(&mut bytes, "rat 7");
    bytes.extend(u32::MAX.to_le_bytes());
    text(&mut bytes, "");
    if version >= (1, 1) {
        bytes.extend(1_i16.to_le_bytes());
    }
    if version >= (1, 3) {
        bytes.extend(13_i16.to_le_bytes());
    }
    if version >= (2, 0) {
        text(&mut bytes, "n/a");
    }
    bytes.extend(2_i16.to_le_bytes());
    text(&mut bytes, "Port A");
    text(&mut bytes, "A");
    let all: Vec<(String, i16)> = (0..channels)
        .map(|c| (format!("A-{c:03}"), 0))
        .chain([("A-AUX1".to_owned(), 1), ("A-AUX2".to_owned(), 1), ("A-VDD1".to_owned(), 2)])
        .collect();
    // One more channel that is switched off.
    for value in [1, all.len() as i16 + 1, channels as i16 + 1] {
        bytes.extend(value.to_le_bytes());
    }
    all.iter().for_each(|(name, kind)| channel(&mut bytes, name, *kind, 1));
    channel(&mut bytes, "A-099", 0, 0);
    text(&mut bytes, "Board");
    text(&mut bytes, "B");
    for value in [1_i16, 3, 0] {
        bytes.extend(value.to_le_bytes());
    }
    channel(&mut bytes, "ANALOG-IN-1", 3, 1);
    channel(&mut bytes, "DIGITAL-IN-01", 4, 1);
    channel(&mut bytes, "DIGITAL-IN-04", 4, 1);
    bytes
}

fn channel(bytes: &mut Vec<u8>, name: &str, kind: i16, enabled: i16) {
    text(bytes, name);
    text(bytes, name);
    for value in [0, 0, kind, enabled, 0, 0, 0, 0, 0, 0] {
        bytes.extend(i16::to_le_bytes(value));
    }
    bytes.extend([0; 8]);
}

/// A traditional file; runs must be whole blocks.
pub(crate) fn rhd(path: &Path, version: (i16, i16), channels: usize, runs: &[(u64, u64)]) {
    let block = if version.0 == 1 { 60 } else { 128 };
    let mut bytes = rhd_header(version, channels);
    let temperatures = usize::from(version >= (1, 1));
    let all: Vec<u64> = indices(runs).collect();
    for rows in all.chunks(block) {
        assert_eq!(rows.len(), block, "runs must be whole blocks");
        rows.iter().for_each(|index| bytes.extend((*index as i32).to_le_bytes()));
        for channel in 0..channels {
            rows.iter().for_each(|index| bytes.extend((value(*index, channel) as u16 ^ 0x8000).to_le_bytes()));
        }
        bytes.extend(vec![0xAA; 2 * (2 * block / 4 + 1 + temperatures + block)]);
        rows.iter().for_each(|index| bytes.extend(word(*index).to_le_bytes()));
    }
    fs::write(path, bytes).unwrap();
}

/// `info.rhd`, `time.dat`, `amplifier.dat`, `digitalin.dat`.
pub(crate) fn signal_files(folder: &Path, channels: usize, runs: &[(u64, u64)]) {
    let put = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    put("info.rhd", rhd_header((3, 1), channels));
    put("time.dat", indices(runs).flat_map(|i| (i as i32).to_le_bytes()).collect());
    put("amplifier.dat", rows(runs, channels));
    put("digitalin.dat", indices(runs).flat_map(|i| word(i).to_le_bytes()).collect());
}

fn rows(runs: &[(u64, u64)], channels: usize) -> Vec<u8> {
    indices(runs).flat_map(|i| (0..channels).flat_map(move |c| value(i, c).to_le_bytes())).collect()
}

fn npy(path: &Path, descr: &str, count: usize, data: Vec<u8>) {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({count},), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

/// An Open Ephys recording of one stream, with two converter channels after the electrodes and TTL events.
pub(crate) fn open_ephys(folder: &Path, channels: usize, runs: &[(u64, u64)]) {
    let stream = folder.join("continuous/Rhythm-100.0");
    let events = folder.join("events/Rhythm-100.0/TTL");
    fs::create_dir_all(&stream).unwrap();
    fs::create_dir_all(&events).unwrap();
    let electrode = |c: usize| format!(r#"{{"channel_name": "CH{}", "bit_volts": 0.195, "units": "uV"}}"#, c + 1);
    let names: Vec<String> = (0..channels).map(electrode).collect();
    let structure = format!(
        r#"{{"GUI version": "0.6.7", "continuous": [{{"folder_name": "Rhythm-100.0/", "sample_rate": 30000, "num_channels": {},
        "channels": [{}, {{"channel_name": "ADC1", "bit_volts": 0.00015258789, "units": "V"}}, {{"channel_name": "ADC2", "bit_volts": 0.00015258789, "units": "V"}}]}}],
        "events": [{{"folder_name": "MessageCenter/"}}, {{"folder_name": "Rhythm-100.0/TTL/"}}]}}"#,
        channels + 2,
        names.join(", ")
    );
    fs::write(folder.join("structure.oebin"), structure).unwrap();
    let with_converters = |i: u64| (0..channels).map(move |c| value(i, c)).chain([-1, -2]).flat_map(i16::to_le_bytes);
    fs::write(stream.join("continuous.dat"), indices(runs).flat_map(with_converters).collect::<Vec<u8>>()).unwrap();
    let all: Vec<u64> = indices(runs).collect();
    npy(&stream.join("sample_numbers.npy"), "<i8", all.len(), all.iter().flat_map(|i| i.to_le_bytes()).collect());
    let mut before = 0;
    let mut changes: Vec<(u64, i16)> = Vec::new();
    for index in &all {
        let changed = before ^ word(*index);
        before = word(*index);
        for line in 0..16_i16 {
            if changed >> line & 1 == 1 {
                changes.push((*index, if before >> line & 1 == 1 { line + 1 } else { -line - 1 }));
            }
        }
    }
    npy(
        &events.join("sample_numbers.npy"),
        "<i8",
        changes.len(),
        changes.iter().flat_map(|c| c.0.to_le_bytes()).collect(),
    );
    npy(&events.join("states.npy"), "<i2", changes.len(), changes.iter().flat_map(|c| c.1.to_le_bytes()).collect());
}

/// A SpikeGLX recording of a probe (`imec`) or of the converter card.
pub(crate) fn spike_glx(bin: &Path, imec: bool, channels: usize, first: u64, count: u64) {
    let columns = channels + 1;
    let row = |i: u64| (0..channels).map(move |c| value(i, c)).chain([word(i) as i16]).flat_map(i16::to_le_bytes);
    fs::write(bin, (first..first + count).flat_map(row).collect::<Vec<u8>>()).unwrap();
    let common = format!("nSavedChans={columns}\nfirstSample={first}\nfileSizeBytes={}\n", count * columns as u64 * 2);
    let own = if imec {
        let table: String = (0..channels).map(|c| format!("({c} 0 0 500 250 1)")).collect();
        format!(
            "typeThis=imec\nimSampRate=30000\nimAiRangeMax=0.6\nimAiRangeMin=-0.6\nsnsApLfSy={channels},0,1\n~imroTbl=(0,{channels}){table}\n"
        )
    } else {
        format!("typeThis=nidq\nniSampRate=25000\nniAiRangeMax=5\nniMNGain=200\nsnsMnMaXaDw={channels},0,0,1\n")
    };
    fs::write(bin.with_extension("meta"), own + &common).unwrap();
}

/// Raw int16 with its TOML; gives the TOML's path.
pub(crate) fn raw(folder: &Path, channels: usize, count: u64) -> PathBuf {
    let row = |i: u64| (0..channels).map(move |c| value(i, c)).chain([word(i) as i16]).flat_map(i16::to_le_bytes);
    let bytes: Vec<u8> = b"HEAD".iter().copied().chain((0..count).flat_map(row)).collect();
    fs::write(folder.join("x.raw"), bytes).unwrap();
    let text = format!(
        "file = \"x.raw\"\ncolumns = {}\nchannels = {channels}\nrate_hz = 30000.0\ngain_uv_per_bit = 0.195\ndigital_column = {channels}\nheader_bytes = 4\n",
        channels + 1
    );
    let path = folder.join("x.toml");
    fs::write(&path, text).unwrap();
    path
}
