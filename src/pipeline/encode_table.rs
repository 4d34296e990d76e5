//! The `encoding` table: scores of the live encoding models as they stood.

use mimicd_device::RigTime;

use crate::encoding::score::Score;
use crate::encoding::units::UnitKey;
use crate::record::{Column, RecordLane, ScalarKind, TableId, TableSchema};

/// The table.
pub(super) fn encoding() -> TableSchema {
    let bits = |name: &str, doc: &str| Column::scalar(name, ScalarKind::F64, "bit/spike", doc);
    let columns = vec![
        Column::scalar("array", ScalarKind::I16, "", "Index of the array in the config."),
        Column::scalar("tetrode", ScalarKind::I16, "", "Tetrode of the array."),
        Column::scalar("unit", ScalarKind::I32, "", "Unit on its tetrode; 0 = all its spikes."),
        Column::scalar("set", ScalarKind::Text, "", "Feature set."),
        bits("cv_llr", "Cross-validated log-likelihood ratio over the held-out blocks so far."),
        bits("cv_llr_error", "Its standard error over blocks."),
        bits("cv_llr_low", "Lower end of the 95 % interval."),
        bits("cv_llr_high", "Upper end of the 95 % interval."),
        Column::scalar("pseudo_r2", ScalarKind::F64, "", "1 - deviance / deviance of the training mean."),
        Column::scalar("spikes", ScalarKind::I64, "", "Spikes in held-out bins so far."),
        Column::scalar("bins", ScalarKind::I64, "", "Held-out bins so far."),
        Column::scalar("final", ScalarKind::Bool, "", "Whether the fit is at its minimum over the whole recording."),
    ];
    TableSchema::new(
        "encoding",
        "Live encoding models, every 10 s and at the end; t_ns is how far they have looked.",
        columns,
    )
}

/// One unit on one set.
pub(super) struct EncodingRow<'a> {
    pub(super) unit: UnitKey,
    pub(super) set: &'a str,
    pub(super) score: Score,
    pub(super) last: bool,
}

/// A row of the encoding table.
pub(super) fn write_encoding(lane: &mut RecordLane, table: TableId, at: RigTime, live: &EncodingRow<'_>) -> bool {
    let (score, bits) = (&live.score, &live.score.bits_per_spike);
    lane.row(table, at, |row| {
        row.i16(live.unit.array as i16);
        row.i16(live.unit.tetrode as i16);
        row.i32(i32::from(live.unit.unit));
        row.text(live.set);
        row.f64(bits.value);
        row.f64(bits.error);
        row.f64(bits.low);
        row.f64(bits.high);
        row.f64(score.pseudo_r2);
        row.i64(score.spikes as i64);
        row.i64(score.bins as i64);
        row.bool(live.last);
    })
}
