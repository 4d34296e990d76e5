//! The header of Intan's `.rhd` files (RHD2000 data file formats).

use std::path::Path;

use mimicd_device::DeviceError;

use super::bytes::{self, Fields};

const MAGIC: u32 = 0xC691_2702;
/// Microvolts of one bit of an amplifier channel.
pub(super) const GAIN_UV_PER_BIT: f64 = 0.195;

/// What the header says, as far as samples need it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RhdHeader {
    pub(super) version: (i16, i16),
    pub(super) rate_hz: f64,
    /// Native names of the enabled amplifier channels, in file order.
    pub(super) amplifiers: Vec<String>,
    pub(super) auxiliaries: usize,
    pub(super) supplies: usize,
    pub(super) temperatures: usize,
    pub(super) converters: usize,
    pub(super) digital_inputs: usize,
    pub(super) digital_outputs: usize,
    /// Bytes of the header.
    pub(super) length: u64,
}

impl RhdHeader {
    /// Reads the header of the file at `path`.
    pub(super) fn load(path: &Path) -> Result<Self, DeviceError> {
        use std::io::Read as _;
        let (file, _) = bytes::open(path)?;
        let mut head = Vec::new();
        // 1,024 channels with long names take 200 kB.
        file.take(4 << 20).read_to_end(&mut head).map_err(|error| bytes::io(path, "reading its header", &error))?;
        Self::parse(&head, path)
    }

    fn parse(head: &[u8], path: &Path) -> Result<Self, DeviceError> {
        let mut fields = Fields::new(head, path);
        let magic = fields.u32()?;
        if magic != MAGIC {
            return Err(bytes::wrong(path, format_args!("begins with {magic:#010x}, expected {MAGIC:#010x} (.rhd)")));
        }
        let version = (fields.i16()?, fields.i16()?);
        if !(1..=3).contains(&version.0) {
            return Err(bytes::unsupported(path, format_args!("version {}.{}, expected 1 to 3", version.0, version.1)));
        }
        let rate_hz = f64::from(fields.f32()?);
        if !(1_000.0..=100_000.0).contains(&rate_hz) {
            return Err(bytes::wrong(path, format_args!("a sample rate of {rate_hz} Hz")));
        }
        // Filter settings: DSP on, six frequencies, notch mode, two impedance test frequencies.
        fields.skip(2 + 6 * 4 + 2 + 2 * 4);
        for _ in 0..3 {
            fields.text()?;
        }
        let temperatures = if version >= (1, 1) { fields.i16()? } else { 0 };
        if version >= (1, 3) {
            fields.i16()?;
        }
        if version >= (2, 0) {
            fields.text()?;
        }
        let mut header = Self {
            version,
            rate_hz,
            amplifiers: Vec::new(),
            auxiliaries: 0,
            supplies: 0,
            temperatures: temperatures.max(0) as usize,
            converters: 0,
            digital_inputs: 0,
            digital_outputs: 0,
            length: 0,
        };
        for _ in 0..fields.i16()? {
            header.group(&mut fields, path)?;
        }
        header.length = fields.at() as u64;
        Ok(header)
    }

    fn group(&mut self, fields: &mut Fields<'_>, path: &Path) -> Result<(), DeviceError> {
        fields.text()?;
        fields.text()?;
        let (enabled, channels, _) = (fields.i16()?, fields.i16()?, fields.i16()?);
        if enabled <= 0 || channels <= 0 {
            return Ok(());
        }
        for _ in 0..channels {
            let native = fields.text()?;
            fields.text()?;
            fields.skip(4);
            let (kind, enabled) = (fields.i16()?, fields.i16()?);
            // Chip channel, stream, four of the spike trigger, impedance magnitude and phase.
            fields.skip(6 * 2 + 2 * 4);
            if enabled == 0 {
                continue;
            }
            match kind {
                0 => self.amplifiers.push(native),
                1 => self.auxiliaries += 1,
                2 => self.supplies += 1,
                3 => self.converters += 1,
                4 => self.digital_inputs += 1,
                5 => self.digital_outputs += 1,
                other => return Err(bytes::wrong(path, format_args!("channel {native} is of unknown kind {other}"))),
            }
        }
        Ok(())
    }

    /// Samples of a data block.
    pub(super) fn block_samples(&self) -> usize {
        if self.version.0 == 1 { 60 } else { 128 }
    }

    /// Bytes of a data block before the digital inputs.
    pub(super) fn digital_offset(&self) -> usize {
        let n = self.block_samples();
        let full = self.amplifiers.len() + self.converters;
        4 * n + 2 * (full * n + self.auxiliaries * n / 4 + self.supplies + self.temperatures)
    }

    /// Bytes of a data block.
    pub(super) fn block_bytes(&self) -> usize {
        let words = usize::from(self.digital_inputs > 0) + usize::from(self.digital_outputs > 0);
        self.digital_offset() + 2 * words * self.block_samples()
    }
}
