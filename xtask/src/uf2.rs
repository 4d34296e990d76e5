//! UF2 files from ELF files: what a board takes as a USB drive. Format: github.com/microsoft/uf2, fields little-endian.

use anyhow::{Context as _, Result, bail};

/// Family of the RP2040.
pub(crate) const RP2040: u32 = 0xE48B_FF56;
/// Family of the RP2350's Arm cores, secure.
pub(crate) const RP2350_ARM_S: u32 = 0xE48B_FF59;

const FLASH: std::ops::Range<u32> = 0x1000_0000..0x1200_0000;
const PAGE: usize = 256;
const BLOCK: usize = 512;
const LOAD: u32 = 1;

/// The UF2 image of what `elf` loads into flash.
///
/// # Errors
/// When it is no 32-bit little-endian ELF file, or loads nothing into flash.
pub(crate) fn from_elf(elf: &[u8], family: u32) -> Result<Vec<u8>> {
    let pages = pages(&segments(elf)?);
    if pages.is_empty() {
        bail!("the ELF file loads nothing into flash");
    }
    let count = pages.len() as u32;
    Ok(pages
        .iter()
        .enumerate()
        .flat_map(|(number, (at, page))| block(*at, page, number as u32, count, family))
        .collect())
}

/// Address and bytes of everything that is loaded into flash.
fn segments(elf: &[u8]) -> Result<Vec<(u32, &[u8])>> {
    if elf.get(..6) != Some(&[0x7F, b'E', b'L', b'F', 1, 1]) {
        bail!("not a 32-bit little-endian ELF file");
    }
    let (table, size, count) = (u32_at(elf, 28)? as usize, u16_at(elf, 42)? as usize, u16_at(elf, 44)? as usize);
    let mut found = Vec::new();
    for header in (0..count).map(|index| table + index * size) {
        let [kind, offset, _, address, len] = [0, 4, 8, 12, 16].map(|field| u32_at(elf, header + field));
        let (offset, address, len) = (offset? as usize, address?, len? as usize);
        if kind? == LOAD && len > 0 && FLASH.contains(&address) {
            found.push((address, elf.get(offset..offset + len).context("the ELF file is cut short")?));
        }
    }
    Ok(found)
}

/// Whole pages, in order of address, gaps filled with zeros.
fn pages(segments: &[(u32, &[u8])]) -> Vec<(u32, [u8; PAGE])> {
    let mut pages: Vec<(u32, [u8; PAGE])> = Vec::new();
    for (start, bytes) in segments {
        for (offset, &byte) in bytes.iter().enumerate() {
            let at = start + offset as u32;
            let page = at / PAGE as u32 * PAGE as u32;
            let place = match pages.binary_search_by_key(&page, |page| page.0) {
                Ok(place) => place,
                Err(place) => {
                    pages.insert(place, (page, [0; PAGE]));
                    place
                }
            };
            pages[place].1[(at - page) as usize] = byte;
        }
    }
    pages
}

fn block(address: u32, page: &[u8; PAGE], number: u32, count: u32, family: u32) -> [u8; BLOCK] {
    const HAS_FAMILY: u32 = 0x2000;
    let mut block = [0; BLOCK];
    let head = [0x0A32_4655, 0x9E5D_5157, HAS_FAMILY, address, PAGE as u32, number, count, family];
    for (place, word) in block.chunks_exact_mut(4).zip(head) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    block[32..32 + PAGE].copy_from_slice(page);
    block[BLOCK - 4..].copy_from_slice(&0x0AB1_6F30_u32.to_le_bytes());
    block
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..at + 4).context("the ELF file is cut short")?;
    Ok(u32::from_le_bytes([field[0], field[1], field[2], field[3]]))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let field = bytes.get(at..at + 2).context("the ELF file is cut short")?;
    Ok(u16::from_le_bytes([field[0], field[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file that loads `parts`.
    fn elf(parts: &[(u32, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; 52 + 32 * parts.len()];
        file[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 1, 1]);
        file[28..32].copy_from_slice(&52_u32.to_le_bytes());
        file[42..44].copy_from_slice(&32_u16.to_le_bytes());
        file[44..46].copy_from_slice(&(parts.len() as u16).to_le_bytes());
        for (index, (address, bytes)) in parts.iter().enumerate() {
            let (header, offset, len) = (52 + 32 * index, file.len() as u32, bytes.len() as u32);
            for (field, value) in [(0, LOAD), (4, offset), (8, 0), (12, *address), (16, len)] {
                file[header + field..header + field + 4].copy_from_slice(&value.to_le_bytes());
            }
            file.extend_from_slice(bytes);
        }
        file
    }

    #[test]
    fn flash_becomes_numbered_pages_and_memory_is_left_out() {
        let code = [7; 300];
        let image = from_elf(&elf(&[(0x1000_0100, &code), (0x2000_0000, &[9; 16])]), RP2040).expect("an image");
        assert_eq!(image.len(), 2 * BLOCK);
        let word = |block: usize, field: usize| u32_at(&image, block * BLOCK + field).expect("inside");
        assert_eq!((word(0, 12), word(1, 12)), (0x1000_0100, 0x1000_0200));
        assert_eq!((word(0, 20), word(1, 20), word(0, 24)), (0, 1, 2));
        assert_eq!(word(0, 28), RP2040);
        assert_eq!(word(1, BLOCK - 4), 0x0AB1_6F30);
        assert_eq!(image[BLOCK + 32..BLOCK + 32 + 45], [[7; 44].as_slice(), &[0]].concat());
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        assert!(from_elf(b"hello", RP2040).is_err());
        assert!(from_elf(&elf(&[(0x2000_0000, &[1])]), RP2040).is_err(), "nothing in flash");
        let mut cut = elf(&[(0x1000_0000, &[1; 64])]);
        cut.truncate(100);
        assert!(from_elf(&cut, RP2040).is_err());
    }
}
