//! How producing threads hand data to the recorder: one lane a thread, bounded, never waiting, never allocating.
//!
//! | queue of a lane | holds | when full |
//! |---|---|---|
//! | rows | `record.lane_kib` of encoded rows | the row is lost; the loss becomes a gap row as soon as there is room |
//! | frames | [`LANE_FRAMES`] | the frame (image and row) is lost and declared |
//! | blocks | [`LANE_BLOCKS`] | the block is lost and declared |
//!
//! A lane that is dropped hands losses it could not declare to the recorder; so drop lanes before sealing.

mod words;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mimicd_device::{Frame, Integrity, RigTime, SampleBlock, Span};

use self::words::{WordReader, WordWriter};
use super::catalog::{Catalog, TableId};
use super::gap::{Gap, GapCause, GapUnit};
use super::origin::Origin;
use super::schema::RowWriter;
use crate::stream;

/// Frames that a lane holds at most.
pub const LANE_FRAMES: usize = 32;
/// Blocks that a lane holds at most.
pub const LANE_BLOCKS: usize = 64;

/// What the clock layer knows of a frame when it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameStamp {
    /// The trigger that took it, if proved.
    pub trigger_index: Option<u64>,
    /// Mid-exposure.
    pub at: RigTime,
    /// Uncertainty of `at`.
    pub uncertainty: Span,
    /// Flags that later stages found; added to the frame's own.
    pub integrity: Integrity,
}

/// What the clock layer knows of a block when it is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockStamp {
    /// The block's first sample.
    pub at: RigTime,
    /// Rig time from one sample to the next.
    pub nanos_per_sample: f64,
    /// Flags that later stages found; added to the block's own.
    pub integrity: Integrity,
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct FrameItem {
    pub(super) frame: Arc<Frame>,
    pub(super) stamp: FrameStamp,
}

/// A block on its way.
#[derive(Debug)]
pub(super) struct BlockItem {
    pub(super) block: Arc<SampleBlock>,
    /// Index of the first sample in the recording.
    pub(super) first: u64,
    pub(super) stamp: BlockStamp,
}

/// A loss that has not been declared yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) stream: LossStream,
    first: Option<i64>,
    end: Option<i64>,
    count: i64,
    at: RigTime,
    until: RigTime,
    cause: GapCause,
}

/// What was lost: a place in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LossStream {
    Table(u16),
    Camera(u8),
    Array(u8),
}

impl Loss {
    /// The loss as a row of the gaps table; `streams` are the names by [`StreamNames`].
    pub(super) fn gap<'a>(&self, streams: &'a StreamNames) -> Gap<'a> {
        let (stream, unit) = match self.stream {
            LossStream::Table(table) => (&streams.tables[usize::from(table)], GapUnit::Rows),
            LossStream::Camera(camera) => (&streams.cameras[usize::from(camera)], GapUnit::Triggers),
            LossStream::Array(array) => (&streams.arrays[usize::from(array)], GapUnit::Samples),
        };
        Gap {
            stream,
            unit,
            first: self.first,
            end: self.end,
            count: Some(self.count),
            at: self.at,
            until: Some(self.until),
            cause: self.cause,
        }
    }
}

/// Names of the streams in the gaps table.
#[derive(Debug)]
pub(super) struct StreamNames {
    pub(super) tables: Vec<String>,
    pub(super) cameras: Vec<String>,
    pub(super) videos: Vec<String>,
    pub(super) arrays: Vec<String>,
}

impl StreamNames {
    pub(super) fn new(catalog: &Catalog) -> Self {
        Self {
            tables: catalog.tables.iter().map(|t| t.name.clone()).collect(),
            cameras: catalog.cameras.iter().map(|c| format!("frames/{}", c.name)).collect(),
            videos: catalog.cameras.iter().map(|c| format!("video/{}", c.name)).collect(),
            arrays: catalog.arrays.iter().map(super::catalog::ArrayInfo::table).collect(),
        }
    }
}

/// What a lane and the recorder share besides the queues.
#[derive(Debug, Default)]
pub(super) struct LaneShared {
    /// Name of the producing thread.
    pub(super) name: String,
    /// Items accepted.
    pub(super) taken: AtomicU64,
    /// Items lost because a queue was full.
    pub(super) lost: AtomicU64,
    /// Losses of a lane that has been dropped.
    pub(super) left_over: Mutex<Vec<Loss>>,
}

/// The recorder's end of a lane.
pub(super) struct LaneReader {
    pub(super) shared: Arc<LaneShared>,
    rows: WordReader,
    pub(super) frames: stream::Consumer<FrameItem>,
    pub(super) blocks: stream::Consumer<BlockItem>,
}

impl LaneReader {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.frames.is_empty() && self.blocks.is_empty()
    }

    /// Takes the oldest row out into `bytes`.
    pub(super) fn row(&mut self, bytes: &mut Vec<u8>) -> Option<TableId> {
        self.rows.pop(bytes).map(|tag| TableId(tag as u16))
    }
}

/// A producing thread's way into the recording.
pub struct RecordLane {
    catalog: Arc<Catalog>,
    names: Arc<StreamNames>,
    origin: Arc<Origin>,
    shared: Arc<LaneShared>,
    disk_stalled: Arc<AtomicBool>,
    rows: WordWriter,
    frames: stream::Producer<FrameItem>,
    blocks: stream::Producer<BlockItem>,
    scratch: Vec<u8>,
    gap_scratch: Vec<u8>,
    pending: Vec<Loss>,
}

/// Makes both ends of a lane.
pub(super) fn lane(
    name: &str,
    catalog: &Arc<Catalog>,
    names: &Arc<StreamNames>,
    origin: &Arc<Origin>,
    disk_stalled: &Arc<AtomicBool>,
    row_bytes: usize,
) -> (RecordLane, LaneReader) {
    let (row_writer, row_reader) = words::words(row_bytes.max(4 * catalog.row_bytes_max()));
    let (frame_writer, frame_reader) = stream::ring(LANE_FRAMES);
    let (block_writer, block_reader) = stream::ring(LANE_BLOCKS);
    let shared = Arc::new(LaneShared { name: name.to_owned(), ..LaneShared::default() });
    let streams = catalog.tables.len() + catalog.cameras.len() + catalog.arrays.len();
    let lane = RecordLane {
        catalog: Arc::clone(catalog),
        names: Arc::clone(names),
        origin: Arc::clone(origin),
        shared: Arc::clone(&shared),
        disk_stalled: Arc::clone(disk_stalled),
        rows: row_writer,
        frames: frame_writer,
        blocks: block_writer,
        scratch: Vec::with_capacity(catalog.row_bytes_max()),
        gap_scratch: Vec::with_capacity(catalog.row_bytes_max()),
        pending: Vec::with_capacity(streams),
    };
    (lane, LaneReader { shared, rows: row_reader, frames: frame_reader, blocks: block_reader })
}

impl RecordLane {
    /// Records one row of `table` at `at`; `fill` writes the columns in order. `false` when the lane is full: the row is
    /// lost, counted and declared.
    pub fn row(&mut self, table: TableId, at: RigTime, fill: impl FnOnce(&mut RowWriter<'_>)) -> bool {
        let at = self.origin.time(at);
        let mut row = RowWriter::begin(&mut self.scratch, &self.catalog.tables[table.as_usize()], at.nanos());
        if self.origin.moves() {
            row = row.counted_from(&self.origin);
        }
        fill(&mut row);
        row.end();
        self.declare_pending();
        let taken = self.rows.push(u32::from(table.0), &self.scratch);
        self.count(taken, LossStream::Table(table.0), at, at, None)
    }

    /// Declares a gap that the caller knows of.
    pub fn gap(&mut self, gap: &Gap<'_>) -> bool {
        let table = self.catalog.gaps_table();
        let array = self.names.arrays.iter().position(|name| name == gap.stream);
        let counted = |index: i64| match (gap.unit, array) {
            (GapUnit::Triggers, _) => self.origin.trigger(index),
            (GapUnit::Samples, Some(array)) => self.origin.sample(array, index),
            _ => index,
        };
        let until = gap.until.map(|until| self.origin.time(until));
        let gap = Gap { first: gap.first.map(counted), end: gap.end.map(counted), until, ..*gap };
        self.row(table, gap.at, |row| gap.write(row))
    }

    /// Records a frame: its row and, if the camera has a video, its image.
    pub fn frame(&mut self, frame: Arc<Frame>, stamp: FrameStamp) -> bool {
        let camera = frame.camera;
        let trigger_index = stamp.trigger_index.map(|index| self.origin.trigger(index as i64) as u64);
        let stamp = FrameStamp { trigger_index, at: self.origin.time(stamp.at), ..stamp };
        self.declare_pending();
        let taken = self.frames.push(FrameItem { frame, stamp }).is_ok();
        let index = stamp.trigger_index.map(|index| (index as i64, index as i64 + 1));
        self.count(taken, LossStream::Camera(camera.0), stamp.at, stamp.at, index)
    }

    /// Records a block of samples.
    pub fn block(&mut self, block: Arc<SampleBlock>, stamp: BlockStamp) -> bool {
        let stamp = BlockStamp { at: self.origin.time(stamp.at), ..stamp };
        let array = block.array;
        self.origin.see_block(array.as_usize(), block.first.0 as i64, stamp.at, stamp.nanos_per_sample);
        let first = self.origin.sample(array.as_usize(), block.first.0 as i64);
        let end = first + block.len() as i64;
        let until = stamp.at + Span::from_nanos(((end - first) as f64 * stamp.nanos_per_sample) as i64);
        self.declare_pending();
        let taken = self.blocks.push(BlockItem { block, first: first as u64, stamp }).is_ok();
        self.count(taken, LossStream::Array(array.0), stamp.at, until, Some((first, end)))
    }

    /// Whether the largest row would be taken now, for a producer that may wait.
    pub fn has_room(&self) -> bool {
        self.rows.has_room(self.catalog.row_bytes_max())
    }

    /// Whether a frame would be taken now, for a producer that may wait.
    pub fn has_room_for_frame(&self) -> bool {
        self.frames.vacant() > 0
    }

    /// Blocks that would be taken now.
    pub fn blocks_vacant(&self) -> usize {
        self.blocks.vacant()
    }

    /// Items lost on this lane so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn count(
        &mut self,
        taken: bool,
        stream: LossStream,
        at: RigTime,
        until: RigTime,
        index: Option<(i64, i64)>,
    ) -> bool {
        if taken {
            self.shared.taken.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        let count = index.map_or(1, |(first, end)| end - first);
        if let Some(loss) = self.pending.iter_mut().find(|loss| loss.stream == stream) {
            loss.count += count;
            loss.until = until.max(loss.until);
            loss.end = loss.end.max(index.map(|(_, end)| end));
            return false;
        }
        let stalled = self.disk_stalled.load(Ordering::Relaxed);
        let cause = if stalled { GapCause::DiskFailing } else { GapCause::LaneFull };
        let (first, end) = (index.map(|(first, _)| first), index.map(|(_, end)| end));
        self.pending.push(Loss { stream, first, end, count, at, until, cause });
        false
    }

    /// Puts pending losses into the gaps table, as far as there is room.
    fn declare_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let table = self.catalog.gaps_table();
        while let Some(loss) = self.pending.last() {
            let schema = &self.catalog.tables[table.as_usize()];
            let mut row = RowWriter::begin(&mut self.gap_scratch, schema, loss.at.nanos());
            loss.gap(&self.names).write(&mut row);
            row.end();
            if !self.rows.push(u32::from(table.0), &self.gap_scratch) {
                return;
            }
            self.pending.pop();
        }
    }
}

impl Drop for RecordLane {
    fn drop(&mut self) {
        self.declare_pending();
        if let (false, Ok(mut left_over)) = (self.pending.is_empty(), self.shared.left_over.lock()) {
            left_over.append(&mut self.pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Column, ScalarKind, TableSchema};
    use super::*;

    #[test]
    fn a_full_lane_refuses_counts_and_declares_when_there_is_room_again() {
        let table = TableSchema::new("t", "", vec![Column::list("x", ScalarKind::F64, 16, "", "")]);
        let catalog = Arc::new(Catalog::new(vec![table], vec![], vec![]).unwrap());
        let names = Arc::new(StreamNames::new(&catalog));
        let id = catalog.table("t").unwrap();
        let (mut lane, mut reader) =
            lane("test", &catalog, &names, &Arc::default(), &Arc::new(AtomicBool::new(false)), 1);
        let put = |lane: &mut RecordLane, t| lane.row(id, RigTime::from_nanos(t), |row| row.f64s([0.5; 16]));
        let mut taken = 0;
        while put(&mut lane, taken) {
            taken += 1;
        }
        assert!(!put(&mut lane, taken + 1));
        let mut bytes = Vec::new();
        for _ in 0..taken {
            assert_eq!(reader.row(&mut bytes), Some(id));
        }
        // A gap row is smaller than the table's rows, so one may have found room already.
        let mut lost = 0;
        let mut first = None;
        let mut take_gaps = |reader: &mut LaneReader, bytes: &mut Vec<u8>| loop {
            let Some(table) = reader.row(bytes) else { return false };
            if table == id {
                return true;
            }
            assert_eq!(table, catalog.gaps_table());
            let mut gap = super::super::schema::RowReader::new(bytes);
            let at = gap.i64().unwrap();
            first.get_or_insert(at);
            assert_eq!((gap.text(), gap.text()), (Some("t"), Some("rows")));
            let (_, _, count) = (gap.i64(), gap.i64(), gap.i64());
            lost += count.unwrap();
        };
        assert!(!take_gaps(&mut reader, &mut bytes));
        assert!(put(&mut lane, taken + 2));
        assert!(take_gaps(&mut reader, &mut bytes), "the row follows the gaps");
        assert_eq!((first, lost, lane.lost()), (Some(taken), 2, 2));
    }
}
