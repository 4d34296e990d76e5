//! `docs/dataset.md` is made from the schemas; this holds it current. `MIMICD_WRITE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use mimicd::pipeline::{TableShapes, schemas, truth_schemas};
use mimicd::record::schema;

const PAGE: &str = "docs/dataset.md";

const HEAD: &str = "# The dataset

One recording is one folder. This page is made from the code (`MIMICD_WRITE_DOCS=1 cargo test --test record docs`).

    <recordings>/<utc>_<subject>/manifest.json
                                 video/<camera>.mkv              (<camera>-part<n>.mkv after an encoder died; .raw in raw mode)
                                 tables/<table>/part-<epoch>.parquet

- **`manifest.json`** names the layout's version, the checked config, devices, models and calibration with their hashes,
  clock maps, every gap, every file with its row count and SHA-256. It is replaced as a whole, never half-written.
- **Tables** are Parquet. Every table's first column is `t_ns`: nanoseconds of rig time (the sync board's clock), 0 at
  `started_utc` of the manifest. Tables join on it. Within a table rows stand in the order in which they came; sort by `t_ns`
  where order matters. Fields carry `unit`, `doc` and (for `t_ns`) `clock` in their metadata.
- **Samples** are one `int16` column for each channel, delta-packed, one row group for each second; the microvolts of one bit
  are in each field's `unit`. `sample_index` is the array's own counter: a jump is a gap.
- **Videos**: a row of `frames` names its file (`video_part`) and its place in it (`video_frame`). Rows of a part = frames
  counted in the file + frames that `gaps` declares.
- **Absent** values are null in `int64` columns and NaN in float columns.
- **`gaps`** declares everything that is missing. At stop: triggers = span of the train − declared gaps, where the board's messages
  were lost; triggers = frames + declared gaps for every camera; samples = span − declared gaps for every array; video frames =
  rows. `mimicd verify` checks it again at any time.

```python
import duckdb                      # pyarrow.dataset and polars read the same paths
duckdb.sql(\"\"\"select p.t_ns, p.keypoints_m, b.qpos from 'tables/pose/*.parquet' p
              join 'tables/body/*.parquet' b using (t_ns)\"\"\")
```

Layout version: VERSION. Every version that was ever written still opens.

";

/// Flags or variants of a source file: what stands in the comment above, and the name.
fn described(source: &str, from: &str, is_name: impl Fn(&str) -> Option<String>) -> String {
    let mut table = String::from("| value | meaning |\n|---|---|\n");
    let mut text = String::new();
    let body = source.split(from).nth(1).expect("the type is in its file");
    for line in body.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            text = format!("{text}{comment}").trim().to_owned();
        } else if let Some(name) = is_name(line) {
            writeln!(table, "| {name} | {text} |").unwrap();
            text.clear();
        } else if line == "}" {
            break;
        }
    }
    table
}

fn flag(line: &str) -> Option<String> {
    let (name, bit) = line.strip_prefix("const ")?.split_once(" = 1 << ")?;
    Some(format!("bit {} `{name}`", bit.trim_end_matches(';')))
}

fn variant(line: &str) -> Option<String> {
    let name = line.strip_suffix(',').filter(|name| name.chars().all(char::is_alphanumeric))?;
    let mut snake = String::new();
    for (place, c) in name.char_indices() {
        if c.is_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    Some(format!("`{snake}`"))
}

fn page() -> String {
    let shapes = TableShapes { keypoints: 23, cameras: 6, signals: Vec::new(), action_sd: false, encoding: false };
    let mut tables = schemas(&shapes);
    tables.push(schema::ephys("<array>", 2, 0.195));
    tables.extend(truth_schemas());
    let mut page = HEAD.replace("VERSION", &schema::SCHEMA_VERSION.to_string());
    page += "# Tables\n\nSizes are those of a rig of six cameras and 23 keypoints; the array has as many channels as its config says. The\npolicy network's own signals stand at the end of `virtual`, named as its manifest names them. `truth_*` tables are written by\nthe simulated rig only.\n\n";
    page += &schema::markdown(&tables);
    let gap = include_str!("../../src/record/gap.rs");
    page += &format!("# Causes of gaps\n\n{}\n", described(gap, "pub enum GapCause {", variant));
    let integrity = include_str!("../../drivers/device/src/integrity.rs");
    page += &format!("# Integrity flags\n\n{}\n", described(integrity, "pub struct Integrity: u32 {", flag));
    let body = include_str!("../../src/body/state.rs");
    page += &format!("# Keypoint flags of `body`\n\n{}\n", described(body, "pub struct KeypointFlags: u8 {", flag));
    page + &format!("# Flags of `body`\n\n{}", described(body, "pub struct BodyFlags: u16 {", flag))
}

#[test]
fn the_format_page_is_that_of_the_schemas() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("MIMICD_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "{PAGE} is not current: run `MIMICD_WRITE_DOCS=1 cargo test --test record docs`");
}
