//! A daemon of its own for a test: the program itself, on the twin, in a temporary folder.

#![allow(dead_code, unreachable_pub, reason = "shared by several test crates")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running daemon and where its panel is.
pub struct Daemon {
    pub child: Child,
    pub address: String,
}

impl Daemon {
    pub fn start(config: &Path, life: u32) -> Self {
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

    pub fn ctl(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mimicd"));
        let output = command.args(["ctl", "--address", &self.address]).args(arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    pub fn state(&self) -> String {
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

/// Asks every 100 ms.
pub fn wait<T>(seconds: u64, mut find: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(seconds), "waited {seconds} s in vain");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The twin preset with folders under `home` and any free port; `more` is added at the end, `record` to the record section.
pub fn config(home: &Path, more: &str, record: &str) -> PathBuf {
    let above = env!("CARGO_MANIFEST_DIR");
    let preset = fs::read_to_string(format!("{above}/configs/twin.toml")).unwrap();
    // These recordings last seconds: a disk that an hour would fill is large enough.
    let margin = if record.contains("disk_margin_bytes") { "" } else { "disk_margin_bytes = 100_000_000\n" };
    let record = format!("refuse_below_minutes = 0\n{margin}{record}");
    let mut text = preset
        .replace("\"../.deps", &format!("\"{above}/.deps"))
        .replace("\"../models", &format!("\"{above}/models"))
        .replace("\"twin-calibration", &format!("\"{above}/configs/twin-calibration"))
        .replace("\"subjects/", &format!("\"{above}/configs/subjects/"))
        .replace(
            "folder = \"../recordings\"",
            &format!("folder = \"{}\"\n{record}", home.join("recordings").display()),
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
    // The machine that runs tests has other things to do at the same time.
    text = text.replacen("[rig]", "[rig]\nreal_time = false", 1);
    let path = home.join("twin.toml");
    fs::create_dir_all(home.join("recordings")).unwrap();
    fs::write(&path, format!("{text}\n{more}\n")).unwrap();
    path
}
