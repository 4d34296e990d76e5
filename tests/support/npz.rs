//! Reads NumPy `.npz` archives for tests: enough of zip and npy for what `numpy.savez` writes.

#![allow(dead_code, unreachable_pub, reason = "shared by several test crates")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A numeric array in C order.
pub struct Array {
    /// Size.
    pub shape: Vec<usize>,
    /// Numbers of any width, as f64.
    pub data: Vec<f64>,
}

/// All numeric arrays of the archive, by name.
pub fn read(path: &Path) -> BTreeMap<String, Array> {
    let bytes = std::fs::read(path).unwrap();
    let mut arrays = BTreeMap::new();
    // Sizes stand in the central directory; the local headers may leave them out.
    let end = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").expect("a zip archive");
    let mut at = u32_at(&bytes, end + 16) as usize;
    while bytes[at..].starts_with(b"PK\x01\x02") {
        let (method, packed) = (u16_at(&bytes, at + 10), u32_at(&bytes, at + 20) as usize);
        let (name_len, extra, comment) = (u16_at(&bytes, at + 28), u16_at(&bytes, at + 30), u16_at(&bytes, at + 32));
        let local = u32_at(&bytes, at + 42) as usize;
        let name = String::from_utf8_lossy(&bytes[at + 46..at + 46 + name_len as usize]).into_owned();
        let data = local + 30 + u16_at(&bytes, local + 26) as usize + u16_at(&bytes, local + 28) as usize;
        let raw = &bytes[data..data + packed];
        let mut file = Vec::new();
        if method == 8 {
            flate2::read::DeflateDecoder::new(raw).read_to_end(&mut file).unwrap();
        } else {
            file.extend_from_slice(raw);
        }
        if let Some(array) = npy(&file) {
            arrays.insert(name.trim_end_matches(".npy").to_owned(), array);
        }
        at += 46 + (name_len + extra + comment) as usize;
    }
    arrays
}

fn npy(file: &[u8]) -> Option<Array> {
    let header_len = u16_at(file, 8) as usize;
    let header = String::from_utf8_lossy(&file[10..10 + header_len]).into_owned();
    let between = |a: &str, b: &str| {
        let start = header.find(a)? + a.len();
        Some(header[start..start + header[start..].find(b)?].to_owned())
    };
    let kind = between("'descr': '", "'")?;
    let shape = between("'shape': (", ")")?;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let body = &file[10 + header_len..];
    let data: Vec<f64> = match kind.as_str() {
        "<f8" => body.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect(),
        "<f4" => body.chunks_exact(4).map(|c| f64::from(f32::from_le_bytes(c.try_into().unwrap()))).collect(),
        "<i8" => body.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap()) as f64).collect(),
        _ => return None,
    };
    if header.contains("'fortran_order': True") {
        let &[rows, columns] = shape.as_slice() else { panic!("Fortran order only of matrices: {shape:?}") };
        let data = (0..rows * columns).map(|i| data[i % columns * rows + i / columns]).collect();
        return Some(Array { shape, data });
    }
    Some(Array { shape, data })
}

fn u16_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u16_at(bytes, at) | u16_at(bytes, at + 2) << 16
}
