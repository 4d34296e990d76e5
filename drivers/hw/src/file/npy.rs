//! NumPy's `.npy`: little-endian numbers in C order.

use std::path::Path;

use mimicd_device::DeviceError;

use super::bytes;

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// Lengths, outermost first; empty for a single number.
    pub shape: Vec<usize>,
    /// Values in C order. Whole numbers are exact up to 2⁵³.
    pub values: Vec<f64>,
}

/// Reads the file at `path`.
///
/// # Errors
/// A file that cannot be read, is no `.npy`, or holds something else than little-endian numbers in C order.
pub fn load(path: &Path) -> Result<Npy, DeviceError> {
    let content = std::fs::read(path).map_err(|error| bytes::io(path, "reading", &error))?;
    let (header, data) = split(&content).ok_or_else(|| bytes::wrong(path, "is no .npy file, or is cut short"))?;
    let field = |name: &str| header.split(&format!("'{name}':")).nth(1).map(str::trim_start);
    if field("fortran_order").is_none_or(|rest| rest.starts_with("True")) {
        return Err(bytes::unsupported(path, "is in Fortran order, expected C order"));
    }
    let shape = field("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
    let shape: Vec<usize> = shape.unwrap_or_default().split(',').filter_map(|text| text.trim().parse().ok()).collect();
    let descr = field("descr").and_then(|rest| rest.split('\'').nth(1)).unwrap_or_default();
    let values = numbers(descr, data)
        .ok_or_else(|| bytes::unsupported(path, format_args!("holds {descr:?}, expected little-endian numbers")))?;
    if values.len() != shape.iter().product::<usize>() {
        return Err(bytes::wrong(path, format_args!("{} values for a shape of {shape:?}", values.len())));
    }
    Ok(Npy { shape, values })
}

fn split(content: &[u8]) -> Option<(String, &[u8])> {
    let (length, begin) = match (content.get(..6)? == b"\x93NUMPY", content.get(6)?) {
        (true, 1) => (usize::from(u16::from_le_bytes(*content.get(8..)?.first_chunk()?)), 10),
        (true, 2 | 3) => (u32::from_le_bytes(*content.get(8..)?.first_chunk()?) as usize, 12),
        _ => return None,
    };
    Some((String::from_utf8_lossy(content.get(begin..begin + length)?).into_owned(), content.get(begin + length..)?))
}

fn numbers(descr: &str, data: &[u8]) -> Option<Vec<f64>> {
    macro_rules! of {
        ($kind:ty, $size:literal) => {
            data.as_chunks::<$size>().0.iter().map(|b| <$kind>::from_le_bytes(*b) as f64).collect()
        };
    }
    Some(match descr {
        "<f8" => of!(f64, 8),
        "<f4" => of!(f32, 4),
        "<i8" => of!(i64, 8),
        "<u8" => of!(u64, 8),
        "<i4" => of!(i32, 4),
        "<u4" => of!(u32, 4),
        "<i2" => of!(i16, 2),
        "<u2" => of!(u16, 2),
        "|i1" => of!(i8, 1),
        "|u1" | "|b1" => of!(u8, 1),
        _ => return None,
    })
}

/// Whole numbers of the file at `path`.
pub(super) fn integers(path: &Path) -> Result<Vec<i64>, DeviceError> {
    Ok(load(path)?.values.into_iter().map(|value| value as i64).collect())
}

/// Whether the file holds whole numbers (older Open Ephys versions keep sample numbers where newer ones keep seconds).
pub(super) fn is_integers(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|content| {
        split(&content).is_some_and(|(header, _)| header.contains("'<i8'") || header.contains("'<u8'"))
    })
}
