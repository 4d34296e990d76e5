//! The byte level of [`super::mat`]: data elements, tags, decompression. Pure: bytes in, values out.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::mat_value::{MatArray, MatValue};

/// Where and why the bytes make no sense.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) at: usize,
    pub(super) reason: String,
}

type Read5<T> = Result<T, Damage>;

const HEADER_BYTES: usize = 128;
/// No lab's calibration or keypoint file has a larger element; guards against a forged length.
const ELEMENT_BYTES_MAX: u64 = 2 << 30;
/// Deepest nesting of cells and structs that is followed.
const DEPTH_MAX: usize = 32;

// Element types of the format.
const MI_INT8: u32 = 1;
const MI_UINT8: u32 = 2;
const MI_INT16: u32 = 3;
const MI_UINT16: u32 = 4;
const MI_INT32: u32 = 5;
const MI_UINT32: u32 = 6;
const MI_SINGLE: u32 = 7;
const MI_DOUBLE: u32 = 9;
const MI_INT64: u32 = 12;
const MI_UINT64: u32 = 13;
const MI_MATRIX: u32 = 14;
const MI_COMPRESSED: u32 = 15;
const MI_UTF8: u32 = 16;
const MI_UTF16: u32 = 17;

// Array classes.
const MX_CELL: u8 = 1;
const MX_STRUCT: u8 = 2;
const MX_OBJECT: u8 = 3;
const MX_CHAR: u8 = 4;
const MX_SPARSE: u8 = 5;
const MX_DOUBLE: u8 = 6;
const MX_UINT64: u8 = 15;

/// All variables of a file's bytes.
pub(super) fn read(bytes: &[u8]) -> Read5<Vec<(String, MatValue)>> {
    if bytes.len() < HEADER_BYTES {
        return damage(0, format!("{} bytes: expected a MATLAB level 5 header of {HEADER_BYTES} bytes", bytes.len()));
    }
    if bytes.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        return damage(0, "a level 7.3 (HDF5) file: save it in MATLAB with -v7");
    }
    if &bytes[126..128] != b"IM" {
        return damage(126, format!("endian mark {:?}: expected \"IM\" (little-endian level 5)", &bytes[126..128]));
    }
    let mut cursor = Cursor { bytes, at: HEADER_BYTES };
    let mut variables = Vec::new();
    while cursor.at + 8 <= bytes.len() {
        let element = cursor.element()?;
        match element.kind {
            MI_COMPRESSED => {
                let inflated = inflate(&element)?;
                let inner = Cursor { bytes: &inflated, at: 0 }.element()?;
                variables.extend(matrix(&inner, 0)?);
            }
            MI_MATRIX => variables.extend(matrix(&element, 0)?),
            _ => {}
        }
    }
    // MATLAB's own subsystem data have no name.
    variables.retain(|(name, _)| !name.is_empty());
    Ok(variables)
}

fn damage<T>(at: usize, reason: impl Into<String>) -> Read5<T> {
    Err(Damage { at, reason: reason.into() })
}

fn inflate(element: &Element<'_>) -> Read5<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(element.data)
        .take(ELEMENT_BYTES_MAX)
        .read_to_end(&mut out)
        .map_err(|error| Damage { at: element.at, reason: format!("compressed element: {error}") })?;
    Ok(out)
}

struct Element<'a> {
    kind: u32,
    data: &'a [u8],
    at: usize,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn word(&self, at: usize) -> Read5<u32> {
        match self.bytes.get(at..at + 4) {
            Some(word) => Ok(u32::from_le_bytes([word[0], word[1], word[2], word[3]])),
            None => damage(at, format!("the data end at byte {}, within an element's tag", self.bytes.len())),
        }
    }

    /// The next element; steps over its padding.
    fn element(&mut self) -> Read5<Element<'a>> {
        let start = self.at;
        let first = self.word(start)?;
        // A tag whose upper half is not zero holds type, length and up to four bytes of data in eight bytes.
        let small = first >> 16;
        let (kind, length, data_at) = if small == 0 {
            (first, self.word(start + 4)? as usize, start + 8)
        } else {
            (first & 0xFFFF, small as usize, start + 4)
        };
        let Some(data) = data_at.checked_add(length).and_then(|end| self.bytes.get(data_at..end)) else {
            return damage(start, format!("an element of {length} bytes passes the end at byte {}", self.bytes.len()));
        };
        let padded = if kind == MI_COMPRESSED { length } else { length.next_multiple_of(8) };
        self.at = if small == 0 { data_at + padded } else { start + 8 };
        Ok(Element { kind, data, at: start })
    }

    /// The next element's numbers.
    fn numbers(&mut self) -> Read5<Vec<f64>> {
        let element = self.element()?;
        numbers(&element)
    }
}

fn numbers(element: &Element<'_>) -> Read5<Vec<f64>> {
    macro_rules! all {
        ($kind:ty, $bytes:literal) => {
            element
                .data
                .chunks_exact($bytes)
                .map(|c| <$kind>::from_le_bytes(c.try_into().expect("chunks are exact")) as f64)
                .collect()
        };
    }
    Ok(match element.kind {
        MI_INT8 => all!(i8, 1),
        MI_UINT8 => all!(u8, 1),
        MI_INT16 => all!(i16, 2),
        MI_UINT16 => all!(u16, 2),
        MI_INT32 => all!(i32, 4),
        MI_UINT32 => all!(u32, 4),
        MI_SINGLE => all!(f32, 4),
        MI_DOUBLE => all!(f64, 8),
        MI_INT64 => all!(i64, 8),
        MI_UINT64 => all!(u64, 8),
        other => return damage(element.at, format!("element type {other}: expected numbers")),
    })
}

/// A variable: name and value.
fn matrix(element: &Element<'_>, depth: usize) -> Read5<Option<(String, MatValue)>> {
    if element.kind != MI_MATRIX {
        return damage(element.at, format!("element type {}: expected an array ({MI_MATRIX})", element.kind));
    }
    if depth > DEPTH_MAX {
        return damage(element.at, format!("cells and structs nested deeper than {DEPTH_MAX}"));
    }
    let mut cursor = Cursor { bytes: element.data, at: 0 };
    if element.data.is_empty() {
        return Ok(Some((String::new(), MatValue::Numbers(MatArray { dims: vec![0, 0], data: Vec::new() }))));
    }
    let class = cursor.element()?.data.first().copied().unwrap_or(0);
    if !(MX_CELL..=MX_UINT64).contains(&class) {
        return Ok(Some((String::new(), MatValue::Other("an object or function handle"))));
    }
    let dims: Vec<usize> = cursor.numbers()?.iter().map(|&n| n.max(0.0) as usize).collect();
    let name = String::from_utf8_lossy(cursor.element()?.data).into_owned();
    let value = match class {
        MX_CELL => {
            let items = children(&mut cursor, count(&dims), depth)?;
            MatValue::Cell { dims, items }
        }
        MX_STRUCT => structure(&mut cursor, dims, depth)?,
        MX_CHAR => MatValue::Text(text(&cursor.element()?)?),
        MX_SPARSE => MatValue::Other("a sparse matrix"),
        MX_OBJECT => MatValue::Other("an object"),
        MX_DOUBLE..=MX_UINT64 => {
            let data = cursor.numbers()?;
            if data.len() != count(&dims) {
                return damage(element.at, format!("{name:?} has {} numbers, its size is {dims:?}", data.len()));
            }
            MatValue::Numbers(MatArray { dims, data })
        }
        _ => MatValue::Other("an unknown class"),
    };
    Ok(Some((name, value)))
}

fn count(dims: &[usize]) -> usize {
    dims.iter().fold(1, |product, &n| product.saturating_mul(n))
}

fn children(cursor: &mut Cursor<'_>, count: usize, depth: usize) -> Read5<Vec<MatValue>> {
    let mut items = Vec::new();
    for _ in 0..count {
        let element = cursor.element()?;
        items.extend(matrix(&element, depth + 1)?.map(|(_, value)| value));
    }
    Ok(items)
}

fn structure(cursor: &mut Cursor<'_>, dims: Vec<usize>, depth: usize) -> Read5<MatValue> {
    let at = cursor.at;
    let name_bytes = cursor.numbers()?.first().copied().unwrap_or(0.0) as usize;
    if name_bytes == 0 {
        return damage(at, "a struct with field names of length 0");
    }
    let names = cursor.element()?;
    let mut fields: Vec<(String, Vec<MatValue>)> = names
        .data
        .chunks_exact(name_bytes)
        .map(|name| {
            let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            (String::from_utf8_lossy(&name[..end]).into_owned(), Vec::new())
        })
        .collect();
    for _ in 0..count(&dims) {
        let values = children(cursor, fields.len(), depth)?;
        for (field, value) in fields.iter_mut().zip(values) {
            field.1.push(value);
        }
    }
    Ok(MatValue::Struct { dims, fields })
}

fn text(element: &Element<'_>) -> Read5<String> {
    match element.kind {
        MI_UTF8 | MI_INT8 | MI_UINT8 => Ok(String::from_utf8_lossy(element.data).into_owned()),
        MI_UTF16 | MI_UINT16 => {
            let units: Vec<u16> = element.data.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            Ok(String::from_utf16_lossy(&units))
        }
        other => damage(element.at, format!("element type {other}: expected text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_refused_not_followed() {
        assert!(read(b"short").unwrap_err().reason.contains("header"));
        let mut bytes = vec![b' '; 128];
        bytes[..10].copy_from_slice(b"MATLAB 7.3");
        assert!(read(&bytes).unwrap_err().reason.contains("-v7"));
        bytes[..10].copy_from_slice(b"MATLAB 5.0");
        bytes[126..128].copy_from_slice(b"IM");
        bytes.extend_from_slice(&[14, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x7F]);
        assert!(read(&bytes).unwrap_err().reason.contains("passes the end"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end_in_a_value_or_an_error(tail in proptest::collection::vec(0u8..20, 0..300)) {
            let mut bytes = vec![b' '; 126];
            bytes.extend_from_slice(b"IM");
            bytes.extend_from_slice(&tail);
            let _ = read(&bytes);
        }
    }
}
