//! Style as a test: the layer order, the confinements, the absence of cycles, sizes, and what must not be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `src`, ground first. A layer may name only layers before it.
const LAYERS: [&str; 18] = [
    "config",
    "clock",
    "stream",
    "telemetry",
    "geometry",
    "calibrate",
    "pose",
    "body",
    "imitation",
    "spikes",
    "rules",
    "record",
    "export",
    "encoding",
    "pipeline",
    "panel",
    "supervisor",
    "cli",
];

/// Driver crates that each driver crate may name.
const DRIVERS: [(&str, &[&str]); 6] = [
    ("wire", &[]),
    ("device", &["wire"]),
    ("rat", &[]),
    ("board", &["wire"]),
    ("hw", &["wire", "device", "board"]),
    ("sim", &["wire", "device", "rat", "board"]),
];

/// Crates that only some places may name.
const CONFINED: [(&str, &[&str]); 12] = [
    ("tokio", &["src/panel", "src/supervisor"]),
    ("axum", &["src/panel"]),
    ("ort", &["src/pose", "src/imitation", "src/encoding"]),
    ("mujoco_rs", &["drivers/rat", "drivers/sim", "src/body", "src/imitation"]),
    ("arrow", &["src/record", "src/export", "src/encoding"]),
    ("parquet", &["src/record", "src/export", "src/encoding"]),
    ("ringbuf", &["src/stream", "drivers/hw/src/handoff.rs"]),
    ("rust_hdf5", &["src/export", "src/body", "src/encoding"]),
    ("calib_targets_charuco", &["src/calibrate"]),
    ("v4l", &["drivers/hw/src/v4l2", "drivers/hw/examples"]),
    ("aravis", &["drivers/hw/src/genicam"]),
    ("nokhwa", &["drivers/hw/src/webcam"]),
];

/// The only files that may lift the ban on `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "src/telemetry/memory.rs",
    "drivers/rat/src/raw.rs",
    "drivers/hw/src/serial/descriptor.rs",
    "drivers/hw/src/genicam/image.rs",
    "drivers/hw/src/v4l2/buffers.rs",
    "drivers/hw/src/v4l2/requests.rs",
];

/// Functions over the limit that exist and may not grow: (file, function, lines).
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Places that may read a clock: drivers, the clock layer, and the tops of passes.
const CLOCK_READERS: [&str; 8] = [
    "src/clock/",
    "src/pipeline/",
    "src/record/",
    "src/supervisor/",
    "src/panel/",
    "src/cli/",
    "drivers/hw/",
    "drivers/sim/",
];

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text before the file's unit tests, without comments.
    fn production(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        let code = |line: &'_ str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
        self.text[..end].lines().map(code).collect::<Vec<_>>().join("\n")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            if !path.file_name().is_some_and(|name| name == "target" || name == "fuzz") {
                open.extend(fs::read_dir(&path).expect("a folder can be read").map(|e| e.expect("an entry").path()));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("inside the root").display().to_string();
            found.push(Source { path: name, text: fs::read_to_string(&path).expect("sources are UTF-8") });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Names that follow `prefix` in `text`, where `prefix` is not the tail of a longer path.
fn names_after<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let before = text[..at].chars().next_back().unwrap_or(' ');
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (!before.is_alphanumeric() && before != '_' && before != ':').then_some(&rest[..end])
    })
}

/// Names directly inside `prefix{…}` groups.
fn grouped_after(text: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices(&format!("{prefix}{{")) {
        let mut depth = 1;
        let mut word = String::new();
        for c in text[at + prefix.len() + 1..].chars() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 1 && (c.is_alphanumeric() || c == '_') {
                word.push(c);
            } else if !word.is_empty() {
                names.push(std::mem::take(&mut word));
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn layer_of(path: &str) -> Option<usize> {
    let name = path.strip_prefix("src/")?.split('/').next()?.trim_end_matches(".rs");
    LAYERS.iter().position(|layer| *layer == name)
}

fn assert_none(what: &str, failures: &[String]) {
    assert!(failures.is_empty(), "{what}:\n  {}", failures.join("\n  "));
}

#[test]
fn layers_point_down_only() {
    let mut failures = Vec::new();
    for source in sources(&["src"]) {
        let Some(own) = layer_of(&source.path) else { continue };
        let text = source.production();
        let direct = names_after(&text, "crate::").map(str::to_owned);
        let named: BTreeSet<String> = direct.chain(grouped_after(&text, "crate::")).collect();
        for name in named {
            if LAYERS.iter().position(|layer| *layer == name).is_some_and(|other| other > own) {
                failures.push(format!("{} names the higher layer {name}", source.path));
            }
        }
    }
    assert_none("imports that point up", &failures);
}

#[test]
fn drivers_depend_down_only() {
    let mut failures = Vec::new();
    for (name, allowed) in DRIVERS {
        let manifest = root().join("drivers").join(name).join("Cargo.toml");
        let Ok(text) = fs::read_to_string(manifest) else { continue };
        let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines().filter_map(|line| line.strip_prefix("mimicd-")) {
            let other = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !allowed.contains(&other) {
                failures.push(format!("drivers/{name} depends on {other}"));
            }
        }
    }
    assert_none("driver crates that point up", &failures);
}

#[test]
fn crates_stay_where_they_belong() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers"]) {
        let text = source.production();
        for (name, places) in CONFINED {
            let path = format!("{name}::");
            let used = names_after(&text, &path).next().is_some() || text.contains(&format!("use {name};"));
            if used && !places.iter().any(|place| source.path.starts_with(place)) {
                failures.push(format!("{} names {name}, which belongs to {}", source.path, places.join(", ")));
            }
        }
    }
    assert_none("crates out of their place", &failures);
}

#[test]
fn clocks_are_read_where_the_design_allows() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers"]) {
        let text = source.production();
        let reads = ["Instant::now", "clock_gettime", "host_now()"].iter().any(|call| text.contains(call));
        let is_command = source.path.contains("/cli") || source.path.contains("/examples/");
        if reads && !is_command && !CLOCK_READERS.iter().any(|place| source.path.starts_with(place)) {
            failures.push(format!("{} reads a clock; take `now` as an argument", source.path));
        }
    }
    assert_none("clock reads", &failures);
}

#[test]
fn unsafe_is_confined() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers", "xtask"]) {
        if source.production().contains("(unsafe_code") && !UNSAFE_FILES.contains(&source.path.as_str()) {
            failures.push(format!("{} lifts the ban on unsafe code and is not on the list", source.path));
        }
    }
    assert_none("unsafe code", &failures);
}

#[test]
fn files_fit_in_the_head() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers", "xtask", "tests", "benches"]) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            failures.push(format!("{} has {lines} lines; a second room is hiding in it", source.path));
        }
    }
    assert_none("files over 600 lines", &failures);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers", "xtask"]) {
        for (name, lines) in functions(&source.text) {
            let known = LONG_FUNCTIONS.iter().find(|(file, function, _)| *file == source.path && *function == name);
            let limit = known.map_or(FUNCTION_LINES_MAX, |(_, _, lines)| *lines);
            if lines > limit {
                failures.push(format!("{}: {name} has {lines} lines (limit {limit})", source.path));
            }
        }
    }
    assert_none("long functions", &failures);
}

/// Functions of a rustfmt-formatted file with their length in lines: a body ends at its own indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent_of = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let head = line.trim_start();
        let Some(at) = head.find("fn ") else { continue };
        let qualifiers = ["const", "async", "unsafe", "extern", "\"C\""];
        let is_function = head[..at].split_whitespace().all(|w| w.starts_with("pub") || qualifiers.contains(&w));
        if !is_function {
            continue;
        }
        let indent = indent_of(line);
        let ends = |line: &&str| line.ends_with('}') && indent_of(line) == indent;
        let length = lines[start..].iter().position(ends).map_or(1, |end| end + 1);
        found.push((head[at + 3..].split(['(', '<']).next().unwrap_or_default().to_owned(), length));
    }
    found
}

#[test]
fn modules_have_no_cycles() {
    let sources = sources(&["src"]);
    let modules: BTreeSet<String> = sources.iter().map(|source| module_of(&source.path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        let own = module_of(&source.path);
        let text = source.production();
        let parent = own.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
        let siblings = names_after(&text, "super::").map(|name| format!("{parent}{name}"));
        let absolute = text.match_indices("crate::").map(|(at, _)| {
            let in_path = |c: &char| c.is_alphanumeric() || *c == '_' || *c == ':';
            let path: String = text[at + 7..].chars().take_while(in_path).collect();
            path.split("::").take(2).collect::<Vec<_>>().join("::")
        });
        let is_edge = |target: &String| modules.contains(target) && *target != own;
        let targets = siblings.chain(absolute).filter(is_edge).collect();
        edges.insert(own, targets);
    }
    let cyclic: Vec<String> = edges.keys().filter(|start| reaches(&edges, start)).cloned().collect();
    assert_none("modules that import each other in a circle", &cyclic);
}

fn module_of(path: &str) -> String {
    path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// Whether `start` reaches itself.
fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, start: &str) -> bool {
    let next = |at: &str| edges.get(at).into_iter().flatten().map(String::as_str).collect::<Vec<_>>();
    let mut seen = BTreeSet::new();
    let mut open = next(start);
    while let Some(at) = open.pop() {
        if at == start {
            return true;
        }
        if seen.insert(at.to_owned()) {
            open.extend(next(at));
        }
    }
    false
}

#[test]
fn nothing_unfinished_is_written() {
    let mut failures = Vec::new();
    for source in sources(&["src", "drivers", "xtask"]) {
        let text = source.production();
        for word in ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "#[ignore]", "thread::spawn("] {
            if text.contains(word) {
                failures.push(format!("{} contains {word}", source.path));
            }
        }
    }
    assert_none("things that are not finished, or threads without a name", &failures);
}

#[test]
fn every_folder_has_its_paragraph() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let mut folders: Vec<String> = LAYERS.iter().map(|layer| format!("src/{layer}")).collect();
    for driver in fs::read_dir(root().join("drivers")).expect("drivers is there") {
        folders.push(format!("drivers/{}", driver.expect("an entry").file_name().to_string_lossy()));
    }
    folders.retain(|folder| !text.contains(&format!("`{folder}`")));
    assert_none("folders that ARCHITECTURE.md does not explain", &folders);
}

#[test]
fn every_file_is_reached() {
    let sources = sources(&["src", "drivers"]);
    let mut failures = Vec::new();
    for source in &sources {
        let path = Path::new(&source.path);
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_root = ["lib", "main", "mod", "build"].contains(&stem.as_str());
        let is_own_target = ["/tests/", "/examples/", "/benches/", "/bin/"].iter().any(|f| source.path.contains(f));
        if is_root || is_own_target {
            continue;
        }
        let folder = path.parent().expect("inside a folder").display().to_string();
        let declares = |other: &Source| {
            let near = other.path.starts_with(&folder) || other.path == format!("{folder}.rs");
            near && other.text.contains(&format!("mod {stem}"))
        };
        if !sources.iter().any(declares) {
            failures.push(source.path.clone());
        }
    }
    assert_none("files that no module names", &failures);
}
