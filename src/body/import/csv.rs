//! Tables of numbers: anipose's one-row header, and DeepLabCut's three rows (scorer, bodyparts, coords).

use std::path::Path;

use super::{Recording, keypoint, unusable};
use crate::body::BodyError;

/// Where one keypoint is in a row.
#[derive(Clone, Debug, Default)]
struct Columns {
    name: String,
    xyz: [Option<usize>; 3],
    score: Option<usize>,
}

pub(super) fn read(path: &Path) -> Result<Recording, BodyError> {
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, format!("cannot be read: {error}")))?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate().peekable();
    let (_, first) = lines.next().ok_or_else(|| unusable(path, "is empty: expected a header and rows of numbers"))?;
    let labels = if first.split(',').next().is_some_and(|cell| cell.trim() == "scorer") {
        let mut next = || lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
        let (parts, coordinates) = (next(), next());
        parts.iter().zip(&coordinates).map(|(part, coordinate)| format!("{part}_{coordinate}")).collect()
    } else {
        cells(first)
    };
    let columns = columns(&labels);
    if columns.is_empty() {
        return Err(unusable(path, "no columns NAME_x, NAME_y, NAME_z in the header"));
    }
    let mut frames = Vec::new();
    for (line, row) in lines {
        frames.push(
            frame(&cells(row), &columns).map_err(|reason| unusable(path, format!("row {}: {reason}", line + 1)))?,
        );
    }
    Ok(Recording { path: path.to_owned(), names: columns.into_iter().map(|column| column.name).collect(), frames })
}

fn cells(line: &str) -> Vec<String> {
    line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
}

/// Keypoints that have all three coordinates, in the order of their first column.
fn columns(labels: &[String]) -> Vec<Columns> {
    let mut found: Vec<Columns> = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let Some((name, what)) = label.rsplit_once(['_', '.']) else { continue };
        let slot = match found.iter().position(|columns| columns.name == name) {
            Some(slot) => slot,
            None => {
                found.push(Columns { name: name.to_owned(), ..Columns::default() });
                found.len() - 1
            }
        };
        match what {
            "x" => found[slot].xyz[0] = Some(index),
            "y" => found[slot].xyz[1] = Some(index),
            "z" => found[slot].xyz[2] = Some(index),
            "score" | "likelihood" | "confidence" => found[slot].score = Some(index),
            _ => {}
        }
    }
    found.retain(|columns| columns.xyz.iter().all(Option::is_some));
    found
}

fn frame(cells: &[String], columns: &[Columns]) -> Result<Vec<crate::pose::Keypoint>, String> {
    let number = |index: Option<usize>, absent: f64| -> Result<f64, String> {
        let Some(index) = index else { return Ok(absent) };
        let cell = cells.get(index).ok_or_else(|| format!("{} cells: expected {}", cells.len(), index + 1))?;
        match cell.as_str() {
            "" | "nan" | "NaN" | "NA" => Ok(f64::NAN),
            text => text.parse().map_err(|_| format!("{text:?} is not a number")),
        }
    };
    columns
        .iter()
        .map(|column| {
            let [x, y, z] = column.xyz;
            let xyz = [number(x, f64::NAN)?, number(y, f64::NAN)?, number(z, f64::NAN)?];
            Ok(keypoint(xyz, number(column.score, 1.0)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Recording;

    fn written(text: &str) -> Result<Recording, crate::body::BodyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("points.csv");
        std::fs::write(&path, text).unwrap();
        Recording::open(&path)
    }

    #[test]
    fn anipose_columns_are_found() {
        let read = written(
            "Snout_x,Snout_y,Snout_z,Snout_score,EarL_x,EarL_y,EarL_z,fnum\n1,2,3,0.5,4,5,6,0\n1,2,nan,0.5,,5,6,1\n",
        )
        .unwrap();
        assert_eq!(read.names, ["Snout", "EarL"]);
        assert_eq!(read.frames[0][0].xyz_m, [1.0, 2.0, 3.0]);
        assert_eq!(read.frames[0][0].confidence, 0.5);
        assert_eq!(read.frames[1][0].confidence, 0.0);
        assert_eq!(read.frames[1][1].confidence, 0.0);
    }

    #[test]
    fn three_header_rows_are_found() {
        let read = written("scorer,a,a,a,a\nbodyparts,Snout,Snout,Snout,Snout\ncoords,x,y,z,likelihood\n0,1,2,3,0.9\n")
            .unwrap();
        assert_eq!(read.names, ["Snout"]);
        assert_eq!(read.frames[0][0].xyz_m, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(written("").unwrap_err().to_string().contains("is empty"));
        assert!(written("a,b\n1,2\n").unwrap_err().to_string().contains("no columns"));
        assert!(written("A_x,A_y,A_z\n1,2\n").unwrap_err().to_string().contains("row 2: 2 cells: expected 3"));
        assert!(written("A_x,A_y,A_z\n1,2,x\n").unwrap_err().to_string().contains("\"x\" is not a number"));
    }
}
