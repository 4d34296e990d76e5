//! Open Ephys binary format: one folder for each array, each run of consecutive samples one recording.
//!
//! ```text
//! <out>/<array>/Record Node 101/experiment1/recording<n>/structure.oebin
//!                                                       continuous/mimicd-100.<array>/continuous.dat  sample_numbers.npy  timestamps.npy
//!                                                       events/mimicd-100.<array>/TTL/states.npy  sample_numbers.npy  …
//! ```
//! Readers take a recording's samples for consecutive, so a gap ends a recording. `sample_numbers` are the array's own
//! counter; `timestamps` are seconds of rig time, so the arrays share one clock.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use super::npy::NpyWriter;
use super::samples::{Samples, bytes_of, each_run};
use super::{ExportReport, make_folder, write_file};
use crate::record::ArrayInfo;

/// Digital lines of an array's word.
const LINES: u16 = 16;

pub(super) fn write(
    dataset: &Dataset,
    out: &Path,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    for array in dataset.arrays() {
        progress.expect(dataset.bytes(&array.table()));
    }
    for array in dataset.arrays() {
        let experiment = out.join(&array.name).join("Record Node 101").join("experiment1");
        let mut recording: Option<OpenRecording> = None;
        let mut count = 0;
        each_run(dataset, array, progress, |samples| {
            if samples.missing != 0 {
                recording.take().map_or(Ok(()), |done| done.finish(array, report))?;
            }
            if recording.is_none() {
                count += 1;
                let folder = experiment.join(format!("recording{count}"));
                recording = Some(OpenRecording::begin(&folder, array)?);
            }
            recording.as_mut().map_or(Ok(()), |open| open.take(samples))
        })?;
        recording.map_or(Ok(()), |done| done.finish(array, report))?;
    }
    Ok(())
}

/// A recording being written.
struct OpenRecording {
    folder: PathBuf,
    path: PathBuf,
    data: BufWriter<File>,
    numbers: NpyWriter,
    times: NpyWriter,
    events: Events,
    bytes: Vec<u8>,
}

impl OpenRecording {
    fn begin(folder: &Path, array: &ArrayInfo) -> Result<Self, ExportError> {
        let stream = folder.join("continuous").join(stream_folder(array));
        make_folder(&stream)?;
        let path = stream.join("continuous.dat");
        let data = File::create(&path).map_err(|error| ExportError::file(&path, "create", error))?;
        Ok(Self {
            folder: folder.to_owned(),
            path,
            data: BufWriter::with_capacity(1 << 20, data),
            numbers: NpyWriter::create(&stream.join("sample_numbers.npy"), "<i8")?,
            times: NpyWriter::create(&stream.join("timestamps.npy"), "<f8")?,
            events: Events::begin(&folder.join("events").join(stream_folder(array)).join("TTL"))?,
            bytes: Vec::new(),
        })
    }

    fn take(&mut self, samples: &Samples<'_>) -> Result<(), ExportError> {
        bytes_of(samples.values, &mut self.bytes);
        self.data.write_all(&self.bytes).map_err(|error| ExportError::file(&self.path, "write", error))?;
        for (number, t_ns) in (samples.first..).zip(samples.t_ns) {
            self.numbers.i64(number)?;
            self.times.f64(*t_ns as f64 * 1e-9)?;
        }
        self.events.take(samples)
    }

    fn finish(mut self, array: &ArrayInfo, report: &mut ExportReport) -> Result<(), ExportError> {
        self.data.flush().map_err(|error| ExportError::file(&self.path, "write", error))?;
        self.numbers.finish()?;
        self.times.finish()?;
        let first_word = self.events.first_word.unwrap_or(0);
        self.events.finish()?;
        report.files += 7;
        let text = serde_json::to_vec_pretty(&structure(array, first_word)).expect("plain data with string keys");
        write_file(&self.folder.join("structure.oebin"), text, report)
    }
}

/// Edges of the digital lines.
struct Events {
    states: NpyWriter,
    numbers: NpyWriter,
    times: NpyWriter,
    words: NpyWriter,
    first_word: Option<u16>,
    word: u16,
}

impl Events {
    fn begin(folder: &Path) -> Result<Self, ExportError> {
        make_folder(folder)?;
        Ok(Self {
            states: NpyWriter::create(&folder.join("states.npy"), "<i2")?,
            numbers: NpyWriter::create(&folder.join("sample_numbers.npy"), "<i8")?,
            times: NpyWriter::create(&folder.join("timestamps.npy"), "<f8")?,
            words: NpyWriter::create(&folder.join("full_words.npy"), "<i8")?,
            first_word: None,
            word: 0,
        })
    }

    fn take(&mut self, samples: &Samples<'_>) -> Result<(), ExportError> {
        for ((number, t_ns), word) in (samples.first..).zip(samples.t_ns).zip(samples.digital) {
            if self.first_word.is_none() {
                (self.first_word, self.word) = (Some(*word), *word);
            }
            let changed = self.word ^ word;
            for line in (0..LINES).filter(|line| changed >> line & 1 == 1) {
                let name = line as i16 + 1;
                self.states.i16(if word >> line & 1 == 1 { name } else { -name })?;
                self.numbers.i64(number)?;
                self.times.f64(*t_ns as f64 * 1e-9)?;
                self.words.i64(i64::from(*word))?;
            }
            self.word = *word;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), ExportError> {
        self.states.finish()?;
        self.numbers.finish()?;
        self.times.finish()?;
        self.words.finish()
    }
}

fn stream_folder(array: &ArrayInfo) -> String {
    format!("mimicd-100.{}", array.name)
}

fn structure(array: &ArrayInfo, first_word: u16) -> serde_json::Value {
    let channels: Vec<_> = (0..array.channels)
        .map(|channel| {
            json!({
                "channel_name": format!("CH{}", channel + 1),
                "description": format!("tetrode {}, channel {channel}", channel / 4),
                "identifier": "genericdata.continuous",
                "history": "mimicd",
                "bit_volts": array.gain_uv_per_bit,
                "units": "uV",
            })
        })
        .collect();
    json!({
        "GUI version": "0.6.7",
        "continuous": [{
            "folder_name": format!("{}/", stream_folder(array)),
            "sample_rate": array.rate_hz,
            "source_processor_name": "mimicd",
            "source_processor_id": 100,
            "stream_name": array.name,
            "recorded_processor": "Record Node",
            "recorded_processor_id": 101,
            "num_channels": array.channels,
            "channels": channels,
        }],
        "events": [{
            "folder_name": format!("{}/TTL/", stream_folder(array)),
            "channel_name": "TTL Input",
            "description": "digital lines of the array",
            "identifier": "ttl",
            "sample_rate": array.rate_hz,
            "type": "int16",
            "source_processor": "mimicd",
            "stream_name": array.name,
            "initial_state": first_word,
        }],
        "spikes": [],
    })
}
