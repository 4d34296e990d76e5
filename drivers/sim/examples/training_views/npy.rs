//! The part of NumPy's `.npy` format this tool needs: little-endian C-order arrays, written row by row, read whole.

use std::fs::File;
use std::io::{BufWriter, Error, Read as _, Result, Write as _};
use std::path::Path;

/// An array being written; its first axis has the length given at the start.
pub(crate) struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Starts an array of `shape` with elements of NumPy type `kind` (`<f4`, `|u1`, `<i4`).
    pub(crate) fn create(path: &Path, kind: &str, shape: &[usize]) -> Result<Self> {
        let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({},), }}", axes.join(", "));
        let padded = (10 + header.len() + 1).next_multiple_of(64);
        header.extend(std::iter::repeat_n(' ', padded - 10 - header.len() - 1));
        header.push('\n');
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(header.len() as u16).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        Ok(Self { file })
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes)
    }

    /// Appends floats.
    pub(crate) fn floats(&mut self, values: impl IntoIterator<Item = f64>) -> Result<()> {
        values.into_iter().try_for_each(|value| self.file.write_all(&(value as f32).to_le_bytes()))
    }

    /// Appends whole numbers.
    pub(crate) fn ints(&mut self, values: impl IntoIterator<Item = i32>) -> Result<()> {
        values.into_iter().try_for_each(|value| self.file.write_all(&value.to_le_bytes()))
    }

    /// Ends the array.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.file.flush()
    }
}

/// Reads an array of `<f4` or `<f8` whose rows are `width` long.
pub(crate) fn read_rows(path: &Path, width: usize) -> Result<Vec<Vec<f64>>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let wrong = |what: &str| Error::other(format!("{}: {what}", path.display()));
    if bytes.len() < 12 || &bytes[..6] != b"\x93NUMPY" {
        return Err(wrong("not an .npy file"));
    }
    let (length, start) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        _ => (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12),
    };
    let header = String::from_utf8_lossy(bytes.get(start..start + length).ok_or_else(|| wrong("header cut short"))?);
    if header.contains("'fortran_order': True") {
        return Err(wrong("Fortran order: expected C order"));
    }
    let data = &bytes[start + length..];
    let values: Vec<f64> = if header.contains("<f4") {
        data.as_chunks::<4>().0.iter().map(|chunk| f64::from(f32::from_le_bytes(*chunk))).collect()
    } else if header.contains("<f8") {
        data.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
    } else {
        return Err(wrong("element type: expected <f4 or <f8"));
    };
    if values.is_empty() || !values.len().is_multiple_of(width) {
        return Err(wrong(&format!("{} numbers: expected rows of {width}", values.len())));
    }
    Ok(values.chunks_exact(width).map(<[f64]>::to_vec).collect())
}
