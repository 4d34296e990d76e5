//! The daemon itself killed while it records: started again it goes on in the same recording, by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mimicd::record::{Manifest, Stage, verify};

use super::twin::own;

/// A running daemon and where its panel is.
struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    fn start(config: &Path, life: u32) -> Self {
        let log = config.with_extension(format!("{life}.log"));
        let out = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(out.try_clone().unwrap());
        let child = command.stdout(out).spawn().unwrap();
        let address = wait(60, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().find_map(|line| Some(line.split_once("panel at http://")?.1.trim_matches('/').to_owned()))
        });
        let address = address.split(['/', '?']).next().unwrap().to_owned();
        Self { child, address }
    }

    fn ctl(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
        let output = command.args(["ctl", "--address", &self.address]).args(arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn state(&self) -> String {
        let status = self.ctl(&["status"]);
        status.pointer("/standing/state").and_then(|state| state.as_str()).unwrap_or_default().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok(); // It may have been killed already.
        self.child.wait().ok();
    }
}

fn wait<T>(seconds: u64, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(seconds), "waited {seconds} s in vain");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn recordings(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("recordings")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// The twin preset with folders under `home`, any free port, no video.
fn config(home: &Path) -> PathBuf {
    let preset_path = own("configs/twin.toml").expect("the preset is there");
    let preset = fs::read_to_string(&preset_path).unwrap();
    let above = preset_path.parent().unwrap().parent().unwrap().display().to_string();
    let mut text = preset
        .replace("\"../.deps", &format!("\"{above}/.deps"))
        .replace("\"../models", &format!("\"{above}/models"))
        .replace("\"twin-calibration", &format!("\"{above}/configs/twin-calibration"))
        .replace("\"subjects/", &format!("\"{above}/configs/subjects/"))
        .replace(
            "folder = \"../recordings\"",
            &format!("folder = \"{}\"\nvideo = \"none\"\nlane_kib = 8192", home.join("recordings").display()),
        );
    let panel = format!("ip_port = \"127.0.0.1:0\"\nstate_folder = \"{}\"", home.join("state").display());
    let lines: Vec<_> =
        text.lines().filter(|line| !line.starts_with("ip_port") && !line.starts_with("state_folder")).collect();
    text = lines.join("\n");
    text = if text.contains("[panel]") {
        text.replace("[panel]", &format!("[panel]\n{panel}"))
    } else {
        format!("{text}\n[panel]\n{panel}\n")
    };
    let path = home.join("twin.toml");
    fs::create_dir_all(home.join("recordings")).unwrap();
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_killed_daemon_goes_on_in_the_same_recording() {
    if own(".deps/rat/rodent.xml").is_none() {
        println!("skipped: no body model; run `cargo xtask setup`");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let config = config(home.path());
    let mut first = Daemon::start(&config, 1);
    let started = first.ctl(&["start", "--subject", "rat"]);
    assert_eq!(started["accepted"], true, "{started:#}");
    std::thread::sleep(Duration::from_secs(3));
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let second = Daemon::start(&config, 2);
    wait(60, || (second.state() == "recording").then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    let stopped = second.ctl(&["stop"]);
    assert_eq!(stopped["accepted"], true, "{stopped:#}");
    drop(second);

    let found = recordings(home.path());
    assert_eq!(found.len(), 1, "one recording, not two: {found:?}");
    let manifest = Manifest::open(&found[0]).unwrap();
    assert_eq!(manifest.stage, Stage::Sealed);
    let ended: Vec<_> = manifest.runs.iter().map(|run| run.ended.as_str()).collect();
    assert_eq!(ended, ["killed", "stopped"]);
    let verdict = verify(&found[0]).unwrap();
    println!("{verdict}");
    assert!(verdict.ok(), "{verdict}");
    for array in ["ephys_A", "ephys_B"] {
        let of_kill = manifest.gaps.iter().filter(|gap| gap.stream == array && gap.cause == "killed");
        let counted: i64 = of_kill.filter_map(|gap| gap.count).sum();
        assert!(counted > 30_000, "{array}: the time between is a gap of {counted} samples");
        assert_eq!(manifest.arrays[array].repeated, 0, "{array}: the sample index goes on");
    }
}
