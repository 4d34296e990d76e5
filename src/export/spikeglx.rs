//! SpikeGLX: one OneBox stream for each array (analogue channels, one digital word, the SY word).
//!
//! A OneBox stream, not a probe: no Neuropixels geometry is claimed that the electrodes do not have. Missing samples are
//! zeros whose SY word has the MISS bit; `<run>.missed_samples.obx<n>.txt` lists each insert as `<sample,nzeros>`.
//! Bit 6 of SY carries digital line 0 (the camera trigger), as SpikeGLX's own sync waveform does.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::dataset::{Dataset, Progress};
use super::error::ExportError;
use super::samples::{Samples, each_run};
use super::{ExportReport, make_folder, write_file};
use crate::record::ArrayInfo;

/// Bit of the SY word that marks a sample that was not recorded (SpikeGLX user manual, "Metrics").
const MISS: u16 = 1 << 11;
/// Bit of the SY word that carries the synchronisation waveform.
const SYNC_BIT: u16 = 6;
/// Full scale of the 16-bit words.
const INT_MAX: f64 = 32_768.0;

pub(super) fn write(
    dataset: &Dataset,
    out: &Path,
    progress: &mut Progress<'_>,
    report: &mut ExportReport,
) -> Result<(), ExportError> {
    for array in dataset.arrays() {
        progress.expect(dataset.bytes(&array.table()));
    }
    let run = dataset.name();
    let folder = out.join(format!("{run}_g0"));
    make_folder(&folder)?;
    for (place, array) in dataset.arrays().iter().enumerate() {
        let path = folder.join(format!("{run}_g0_t0.obx{place}.obx.bin"));
        let mut stream = Stream::begin(&path, array)?;
        each_run(dataset, array, progress, |samples| stream.take(samples))?;
        stream.finish(dataset, out, place, array, report)?;
    }
    Ok(())
}

struct Stream {
    path: PathBuf,
    file: BufWriter<File>,
    channels: usize,
    first: Option<i64>,
    written: i64,
    repeated: usize,
    inserts: String,
    bytes: Vec<u8>,
}

impl Stream {
    fn begin(path: &Path, array: &ArrayInfo) -> Result<Self, ExportError> {
        let file = File::create(path).map_err(|error| ExportError::file(path, "create", error))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            channels: array.channels,
            first: None,
            written: 0,
            repeated: 0,
            inserts: String::new(),
            bytes: Vec::new(),
        })
    }

    fn take(&mut self, samples: &Samples<'_>) -> Result<(), ExportError> {
        let place = samples.first - *self.first.get_or_insert(samples.first);
        if place > self.written {
            self.insert_zeros(place - self.written)?;
        }
        // Samples that came twice are written once: the place of a sample in the file is its index.
        let known = (self.written - place).clamp(0, samples.t_ns.len() as i64) as usize;
        self.repeated += known;
        self.bytes.clear();
        let rows = samples.values.chunks_exact(self.channels).zip(samples.digital).skip(known);
        for (values, word) in rows {
            self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            self.bytes.extend(word.to_le_bytes());
            self.bytes.extend(((word & 1) << SYNC_BIT).to_le_bytes());
        }
        self.written += (samples.t_ns.len() - known) as i64;
        self.put()
    }

    fn insert_zeros(&mut self, count: i64) -> Result<(), ExportError> {
        writeln!(self.inserts, "{},{count}", self.written).expect("writing to a string");
        let mut row = vec![0; 2 * self.channels + 2];
        row.extend(MISS.to_le_bytes());
        for _ in 0..count {
            self.file.write_all(&row).map_err(|error| ExportError::file(&self.path, "write", error))?;
        }
        self.written += count;
        Ok(())
    }

    fn put(&mut self) -> Result<(), ExportError> {
        self.file.write_all(&self.bytes).map_err(|error| ExportError::file(&self.path, "write", error))
    }

    fn finish(
        mut self,
        dataset: &Dataset,
        out: &Path,
        place: usize,
        array: &ArrayInfo,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        self.file.flush().map_err(|error| ExportError::file(&self.path, "write", error))?;
        report.files += 1;
        if self.repeated > 0 {
            report.remarks.push(format!("{}: {} samples came twice and are there once", array.name, self.repeated));
        }
        let text = self.meta(dataset, place, array);
        write_file(&self.path.with_extension("meta"), text, report)?;
        let inserts = out.join(format!("{}.missed_samples.obx{place}.txt", dataset.name()));
        write_file(&inserts, &self.inserts, report)
    }

    fn meta(&self, dataset: &Dataset, place: usize, array: &ArrayInfo) -> String {
        let saved = self.channels + 2;
        let bytes = self.written * 2 * saved as i64;
        let volts = array.gain_uv_per_bit * 1e-6 * INT_MAX;
        let mut map = format!("({},1,1)", self.channels);
        for channel in 0..self.channels {
            write!(map, "(XA{channel};{channel}:{channel})").expect("writing to a string");
        }
        let (digital, sync) = (self.channels, self.channels + 1);
        write!(map, "(XD0;{digital}:{digital})(SY0;{sync}:{sync})").expect("writing to a string");
        let info = &dataset.manifest.info;
        let lines = [
            ("acqXaDwSy", format!("{},1,1", self.channels)),
            ("appVersion", info.software.clone()),
            ("fileCreateTime", info.started_utc.chars().take(19).collect()),
            ("fileName", self.path.display().to_string()),
            ("fileSizeBytes", bytes.to_string()),
            ("fileTimeSecs", format!("{:.6}", self.written as f64 / array.rate_hz)),
            ("firstSample", self.first.unwrap_or(0).to_string()),
            ("gateMode", "Immediate".to_owned()),
            ("imDatObx_slot", place.to_string()),
            ("nSavedChans", saved.to_string()),
            ("obAiRangeMax", volts.to_string()),
            ("obAiRangeMin", (-volts).to_string()),
            ("obMaxInt", INT_MAX.to_string()),
            ("obSampRate", array.rate_hz.to_string()),
            ("snsSaveChanSubset", format!("0:{sync}")),
            ("snsXaDwSy", format!("{},1,1", self.channels)),
            ("typeThis", "obx".to_owned()),
            ("userNotes", format!("array {} of {}", array.name, info.recording)),
            ("~snsChanMap", map),
        ];
        lines.iter().fold(String::new(), |text, (key, value)| text + key + "=" + &value.replace('=', ":") + "\n")
    }
}
