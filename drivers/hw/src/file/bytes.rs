//! Reading binary files: bounds always checked, errors that name file and place.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use mimicd_device::{DeviceError, DeviceErrorKind};

/// A failure of the operating system on `path`.
pub(super) fn io(path: &Path, what: &str, error: &std::io::Error) -> DeviceError {
    let kind = match error.kind() {
        ErrorKind::NotFound => DeviceErrorKind::NotFound,
        ErrorKind::PermissionDenied => DeviceErrorKind::PermissionDenied,
        _ => DeviceErrorKind::Io,
    };
    DeviceError::new(kind, format!("{}, {what}: {error}", path.display()))
}

/// A file that is not what its form demands.
pub(super) fn wrong(path: &Path, what: impl std::fmt::Display) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Protocol, format!("{}: {what}", path.display()))
}

/// A file that is well formed but not usable here.
pub(super) fn unsupported(path: &Path, what: impl std::fmt::Display) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Unsupported, format!("{}: {what}", path.display()))
}

/// Opens `path` and tells its length.
pub(super) fn open(path: &Path) -> Result<(File, u64), DeviceError> {
    let file = File::open(path).map_err(|error| io(path, "opening", &error))?;
    let length = file.metadata().map_err(|error| io(path, "reading its size", &error))?.len();
    Ok((file, length))
}

/// Little-endian fields in order.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

macro_rules! field {
    ($($name:ident: $type:ty),+) => {$(
        pub(super) fn $name(&mut self) -> Result<$type, DeviceError> {
            Ok(<$type>::from_le_bytes(self.take()?))
        }
    )+};
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path) -> Self {
        Self { bytes, at: 0, path }
    }

    field!(u32: u32, i16: i16, f32: f32);

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DeviceError> {
        let field = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let field =
            field.ok_or_else(|| wrong(self.path, format_args!("its header ends at byte {}", self.bytes.len())))?;
        self.at += N;
        Ok(*field)
    }

    /// A Qt string: byte count, then UTF-16; 0xFFFFFFFF = none.
    pub(super) fn text(&mut self) -> Result<String, DeviceError> {
        let length = self.u32()?;
        if length == u32::MAX {
            return Ok(String::new());
        }
        let begin = self.at;
        let text = self.bytes.get(begin..begin + length as usize);
        let text = text
            .ok_or_else(|| wrong(self.path, format_args!("a text of {length} bytes at byte {begin} of its header")))?;
        self.at += length as usize;
        let units: Vec<u16> = text.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        Ok(String::from_utf16_lossy(&units))
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}
