//! The spikes and units tables, and how rows of them are written.

use mimicd_device::{ArrayIndex, RigTime};

use crate::record::{Column, RecordLane, ScalarKind, TableId, TableSchema};
use crate::spikes::{SNIPPET_SAMPLES, SpikeEvent, SpikeStage, TETRODE_CHANNELS, UnitQuality};

/// The spikes table.
pub(super) fn spikes() -> TableSchema {
    let columns = vec![
        Column::scalar("array", ScalarKind::I16, "", "Index of the array in the config."),
        Column::scalar("tetrode", ScalarKind::I16, "", "Tetrode of the array."),
        Column::scalar("channel", ScalarKind::I16, "", "Channel with the largest peak."),
        Column::scalar("unit", ScalarKind::I32, "", "Unit; 0 = unsorted."),
        Column::scalar("sample_index", ScalarKind::I64, "", "Sample of the peak, on the array's own counter."),
        Column::scalar("peak_uv", ScalarKind::F32, "uV", "Signed peak."),
        Column::scalar("confidence", ScalarKind::F32, "", "Confidence of the unit, 0..1; 0 = unsorted."),
        Column::list(
            "snippet",
            ScalarKind::I16,
            TETRODE_CHANNELS * SNIPPET_SAMPLES,
            "0.1 uV",
            "Filtered waveform, channel-major.",
        ),
    ];
    TableSchema::new("spikes", "Detected spikes; t_ns is the peak.", columns)
}

/// The units table.
pub(super) fn units() -> TableSchema {
    let columns = vec![
        Column::scalar("array", ScalarKind::I16, "", "Index of the array in the config."),
        Column::scalar("unit", ScalarKind::I32, "", "Unit, as in the spikes table."),
        Column::scalar("tetrode", ScalarKind::I16, "", "Tetrode of the array."),
        Column::list("channels", ScalarKind::I16, TETRODE_CHANNELS, "", "Channels of its wires."),
        Column::scalar("spikes", ScalarKind::I64, "", "Spikes since it was found, before the recording included."),
        Column::scalar("rate_hz", ScalarKind::F32, "Hz", "Their rate from first to last."),
        Column::scalar("snr", ScalarKind::F32, "", "Peak of the mean waveform over the noise of that channel."),
        Column::scalar("violations", ScalarKind::F32, "", "Part of the intervals shorter than 1.5 ms."),
        Column::scalar("drift_sigma", ScalarKind::F32, "", "How far it wandered since it was found, in noise sigmas."),
        Column::list(
            "waveform_uv",
            ScalarKind::F32,
            TETRODE_CHANNELS * SNIPPET_SAMPLES,
            "uV",
            "Mean filtered waveform of its latest spikes, channel-major.",
        ),
    ];
    TableSchema::new("units", "Units as they stood when the recording stopped; t_ns is then.", columns)
}

/// A row of the units table `table`.
fn write_unit(
    lane: &mut RecordLane,
    table: TableId,
    at: RigTime,
    array: ArrayIndex,
    channels: &[u16],
    unit: &UnitQuality,
) -> bool {
    lane.row(table, at, |row| {
        row.i16(i16::from(array.0));
        row.i32(i32::from(unit.id));
        row.i16(unit.tetrode as i16);
        row.i16s(channels.iter().map(|channel| *channel as i16));
        row.i64(unit.count as i64);
        row.f32(unit.rate_hz);
        row.f32(unit.snr);
        row.f32(unit.violations);
        row.f32(unit.drift_sigma);
        row.f32s(unit.wave_uv.iter().flatten().copied());
    })
}

/// A row for every unit of `stage`; waits for room in the lane, so only for the end of a recording.
pub(super) fn write_units(
    lane: &mut RecordLane,
    table: TableId,
    at: RigTime,
    array: ArrayIndex,
    stage: &SpikeStage,
) -> bool {
    let Some(sorter) = stage.sorter() else { return true };
    let mut all = true;
    sorter.visit(|unit| {
        for _ in 0..1_000 {
            if lane.has_room() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let first = usize::from(unit.tetrode) * TETRODE_CHANNELS;
        let channels = &stage.layout().device_channel[first..first + TETRODE_CHANNELS];
        all &= write_unit(lane, table, at, array, channels, &unit);
    });
    all
}

/// A row of the spikes table `table`.
pub(super) fn write_spike(
    lane: &mut RecordLane,
    table: TableId,
    at: RigTime,
    array: ArrayIndex,
    spike: &SpikeEvent,
) -> bool {
    lane.row(table, at, |row| {
        row.i16(i16::from(array.0));
        row.i16(spike.tetrode as i16);
        row.i16(spike.channel as i16);
        row.i32(i32::from(spike.unit));
        row.i64(spike.sample.0 as i64);
        row.f32(spike.peak_uv);
        row.f32(spike.confidence);
        row.i16s(spike.snippet.iter().flatten().map(|uv| (uv * 10.0).round() as i16));
    })
}
