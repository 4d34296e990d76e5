//! What one recording holds: its tables, cameras and arrays, known to every recorder thread and written into every
//! journal segment.

use serde::{Deserialize, Serialize};

use super::error::RecordError;
use super::schema::{self, TableSchema};

/// A table of a running recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableId(pub(super) u16);

impl TableId {
    pub(super) const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// What the recorder must know of a camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CameraInfo {
    /// Name; its video is `video/<name>.mkv`.
    pub name: String,
    /// Pixels across.
    pub width_px: u32,
    /// Pixels down.
    pub height_px: u32,
    /// Pixel layout.
    pub format: mimicd_device::PixelFormat,
    /// Nominal frame rate; only the video's own time base depends on it.
    pub rate_hz: f64,
}

/// What the recorder must know of an array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrayInfo {
    /// Name; its table is `ephys_<name>`.
    pub name: String,
    /// Channels per sample.
    pub channels: usize,
    /// Nominal sample rate.
    pub rate_hz: f64,
    /// Microvolts of one bit.
    pub gain_uv_per_bit: f64,
}

impl ArrayInfo {
    /// Name of the array's table and of its stream in the gaps table.
    pub fn table(&self) -> String {
        format!("{}{}", schema::EPHYS_PREFIX, self.name)
    }

    /// Schema of the array's table.
    pub fn schema(&self) -> TableSchema {
        schema::ephys(&self.name, self.channels, self.gain_uv_per_bit)
    }
}

/// Everything a recording holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// Row tables; [`TableId`] is the place in this list.
    pub tables: Vec<TableSchema>,
    /// Cameras, in config order.
    pub cameras: Vec<CameraInfo>,
    /// Arrays, in config order.
    pub arrays: Vec<ArrayInfo>,
}

impl Catalog {
    /// Checks names; adds the frames and gaps tables when they are not in `tables`.
    ///
    /// # Errors
    /// A name used twice, or more tables than fit.
    pub fn new(
        mut tables: Vec<TableSchema>,
        cameras: Vec<CameraInfo>,
        arrays: Vec<ArrayInfo>,
    ) -> Result<Self, RecordError> {
        for own in [schema::frames(), schema::gaps()] {
            match tables.iter().find(|t| t.name == own.name) {
                None => tables.push(own),
                Some(given) if *given == own => {}
                Some(_) => {
                    let reason = format!("table {:?} is the recorder's own; expected its standard schema", own.name);
                    return Err(RecordError::Tables { reason });
                }
            }
        }
        let mut names: Vec<String> = tables.iter().map(|t| t.name.clone()).collect();
        names.extend(arrays.iter().map(ArrayInfo::table));
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RecordError::Tables {
                reason: format!("{:?} is used twice, expected distinct names", pair[0]),
            });
        }
        for table in &tables {
            let mut names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            names.push("t_ns");
            names.sort_unstable();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                let reason = format!("table {:?} has two columns {:?}, expected distinct names", table.name, pair[0]);
                return Err(RecordError::Tables { reason });
            }
        }
        if tables.len() > usize::from(u16::MAX) {
            return Err(RecordError::Tables { reason: format!("{} tables, expected at most 65535", tables.len()) });
        }
        Ok(Self { tables, cameras, arrays })
    }

    /// The table called `name`.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub fn table(&self, name: &str) -> Result<TableId, RecordError> {
        let place = self.tables.iter().position(|t| t.name == name);
        place.map(|place| TableId(place as u16)).ok_or_else(|| {
            let known: Vec<_> = self.tables.iter().map(|t| t.name.as_str()).collect();
            RecordError::Tables { reason: format!("no table {name:?}, expected one of {}", known.join(", ")) }
        })
    }

    pub(super) fn gaps_table(&self) -> TableId {
        self.table(schema::GAPS).expect("Catalog::new adds it")
    }

    pub(super) fn frames_table(&self) -> TableId {
        self.table(schema::FRAMES).expect("Catalog::new adds it")
    }

    pub(super) fn row_bytes_max(&self) -> usize {
        self.tables.iter().map(TableSchema::row_bytes_max).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::schema::{Column, ScalarKind};
    use super::*;

    #[test]
    fn names_must_be_distinct() {
        let column = |name: &str| Column::scalar(name, ScalarKind::I16, "", "");
        let table = |columns| Catalog::new(vec![TableSchema::new("t", "", columns)], vec![], vec![]);
        assert!(table(vec![column("a"), column("b")]).is_ok());
        for twice in ["a", "t_ns"] {
            let error = table(vec![column("a"), column(twice)]).unwrap_err().to_string();
            assert!(error.contains(&format!("two columns {twice:?}")), "{error}");
        }
        let double = || TableSchema::new("t", "", vec![]);
        assert!(Catalog::new(vec![double(), double()], vec![], vec![]).is_err());
    }
}
