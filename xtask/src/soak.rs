//! `cargo xtask soak`: the daemon on the twin for hours, with faults from a seed; memory, handles, threads and latency over time.
//!
//! The twin's faults begin to count when the rig is armed, so the schedule is known before. Recordings are ended, verified by the
//! seal itself (it reconciles triggers, frames and samples with what is declared) and deleted one after the other, so that a long
//! soak needs little disk. Everything goes into target/soak: `soak.csv`, `soak.svg`, the config with the schedule, the daemon's log.
//!
//! Memory is judged by what only this process has (anonymous pages): pages of files that it reads or has mapped are the system's
//! to take back. How it is judged stands in `soak_judge`.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::soak_judge::{self, Verdict};
use crate::soak_plot::{self, Sample};
use crate::{setup, shell};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A recording that takes longer to seal has failed.
const SEAL_MAX: Duration = Duration::from_secs(900);
/// A fault about every so many seconds.
const FAULT_EVERY_S: f64 = 20.0;
/// The first faults wait for the clock maps.
const FAULTS_FROM_S: f64 = 40.0;

/// Options of the soak.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// The schedule of faults follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Length of one recording.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Another program than the release build of this tree, for instance an installed one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Record without video: for a machine whose processors are busy otherwise.
    #[arg(long)]
    no_video: bool,
    /// Frames a second instead of the preset's, for the same machine.
    #[arg(long)]
    frame_rate_hz: Option<f64>,
    /// Without real-time priority, so that what else runs on the machine gets its share.
    #[arg(long)]
    no_real_time: bool,
}

/// Runs it and says what was seen; an error when something leaked or was lost undeclared.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(false)?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            shell::run("cargo", &["build", "--release", "--package", "mimicd", "--bin", "mimicd"])?;
            PathBuf::from("target/release/mimicd")
        }
    };
    let home = PathBuf::from("target/soak");
    fs::remove_dir_all(&home).ok(); // Absent the first time.
    fs::create_dir_all(home.join("recordings"))?;
    let config = home.join("rig.toml");
    let faults = schedule(options.seed, options.hours * 3_600.0);
    let mut text = rig(&home, !options.no_video, &faults)?;
    if let Some(rate_hz) = options.frame_rate_hz {
        text = text.replacen("frame_rate_hz = 50.0", &format!("frame_rate_hz = {rate_hz:.1}"), 1);
    }
    if options.no_real_time {
        text = text.replacen("[rig]", "[rig]\nreal_time = false", 1);
    }
    fs::write(&config, text)?;
    let daemon = Daemon::start(&binary, &config, &home)?;
    let end = Instant::now() + Duration::from_secs_f64(options.hours * 3_600.0);
    let (mut samples, mut ends) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    daemon.ctl(&["arm"])?;
    while Instant::now() < end {
        daemon.ctl(&["start", "--subject", "soak"])?;
        let until = (Instant::now() + Duration::from_secs_f64(options.minutes * 60.0)).min(end);
        while Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
            samples.push(daemon.look(ends.len(), begun.elapsed().as_secs_f64())?);
            fs::write(home.join("soak.csv"), soak_plot::csv(&samples))?;
        }
        let sealed = daemon.stop()?;
        let whole = sealed.contains("\"reconciled\": true");
        println!("soak: {:6.0} s  {}", begun.elapsed().as_secs_f64(), line_of(&sealed, "\"message\""));
        ends.push(whole);
        if whole {
            empty(&home.join("recordings"))?;
        }
    }
    fs::write(home.join("soak.svg"), soak_plot::svg(&samples, &faults))?;
    verdict(&samples, &ends, faults.len())
}

fn verdict(samples: &[Sample], ends: &[bool], faults: usize) -> Result<()> {
    println!("soak: {} recordings, {} faults scheduled", ends.len(), faults);
    let mut grown = Vec::new();
    type Read = fn(&Sample) -> f64;
    let counted: [(&str, &str, Read); 3] = [
        ("memory of its own", "MB", |s| s.own_mb),
        ("file handles", "", |s| s.handles as f64),
        ("threads", "", |s| s.threads as f64),
    ];
    for (name, unit, value) in counted {
        let looks: Vec<_> = samples.iter().map(|s| (s.recording, s.at_s, value(s))).collect();
        let trend = soak_judge::trend(&soak_judge::levels(&looks));
        let verdict = match trend.verdict {
            Verdict::Flat => "flat",
            Verdict::Grows => "GROWS",
            Verdict::TooShort => "too short or too restless to tell",
        };
        let most = samples.iter().map(value).fold(0.0, f64::max);
        println!(
            "soak: {name}: {:.1} {unit} after warm-up, {:+.2} +- {:.2} {unit}/h (95 %, {} recordings), {most:.0} at most: {verdict}",
            trend.mean, trend.per_hour, trend.margin, trend.levels
        );
        if trend.verdict == Verdict::Grows {
            grown.push(name);
        }
    }
    let of_time = |value: fn(&Sample) -> f64| soak_plot::median(samples.iter().map(value));
    println!(
        "soak: camera to action, median over time of the last seconds' p50 {:.1} ms and p99 {:.1} ms; machine at load {:.1}",
        of_time(|s| s.p50_ms),
        of_time(|s| s.p99_ms),
        of_time(|s| s.load)
    );
    let lost = ends.iter().filter(|whole| !**whole).count();
    if lost > 0 {
        bail!("{lost} recordings do not add up; they are kept in target/soak/recordings");
    }
    if !grown.is_empty() {
        bail!("{} grew beyond the scatter: a leak", grown.join(", "));
    }
    println!("soak: every recording adds up; target/soak/soak.svg");
    Ok(())
}

struct Daemon {
    binary: PathBuf,
    child: Child,
    address: String,
}

impl Daemon {
    fn start(binary: &Path, config: &Path, home: &Path) -> Result<Self> {
        let log = fs::File::create(home.join("daemon.log"))?;
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(home.join("daemon.log"))?;
            if let Some(at) = text.split("panel at http://").nth(1) {
                let address = at.split(['/', '\n']).next().unwrap_or_default().to_owned();
                return Ok(Self { binary: binary.to_owned(), child, address });
            }
            if begun.elapsed() > Duration::from_secs(60) {
                bail!("the daemon does not come up; see target/soak/daemon.log");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn ctl(&self, words: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary).args(["ctl", "--address", &self.address]).args(words).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("`mimicd ctl {}`: {text}{}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Ends the recording and tells what became of it. On a busy machine sealing may take longer than a command waits.
    fn stop(&self) -> Result<String> {
        let refused = match self.ctl(&["stop"]) {
            Ok(sealed) => return Ok(sealed),
            Err(error) => error,
        };
        let begun = Instant::now();
        while begun.elapsed() < SEAL_MAX {
            let status = self.ctl(&["status"])?;
            if status.contains("\"state\": \"armed\"") && status.contains("\"reconciled\"") {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(refused)
    }

    fn look(&self, recording: usize, at_s: f64) -> Result<Sample> {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status =
            fs::read_to_string(process.join("status")).context("the daemon has ended; see target/soak/daemon.log")?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        let metrics = self.metrics()?;
        let quantile = |q: &str| {
            let mut values =
                metrics.lines().filter(|line| line.starts_with("mimicd_stage_latency_seconds") && line.contains(q));
            values
                .next_back()
                .and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .map_or(f64::NAN, |s| s * 1e3)
        };
        Ok(Sample {
            recording,
            at_s,
            own_mb: number("RssAnon:") / 1024.0,
            file_mb: (number("RssFile:") + number("RssShmem:")) / 1024.0,
            handles: fs::read_dir(process.join("fd"))?.count(),
            threads: number("Threads:") as usize,
            load: load()?,
            p50_ms: quantile("quantile=\"0.5\""),
            p99_ms: quantile("quantile=\"0.99\""),
        })
    }

    fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.address)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // SIGTERM: the daemon seals what it records.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}

/// Faults as TOML with their times, from a seed.
fn schedule(seed: u64, seconds: f64) -> Vec<(f64, String)> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = |below: u64| {
        // Steele's SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    };
    let mut faults = Vec::new();
    let mut at = FAULTS_FROM_S;
    while at < seconds {
        let (camera, array, long) = (draw(6), draw(2), 1 + draw(6));
        let fault = match draw(12) {
            0 => format!("kind = \"frame_dropped\"\ncamera = {camera}"),
            1 => format!("kind = \"trigger_missed\"\ncamera = {camera}"),
            2 => format!("kind = \"arrival_swapped\"\ncamera = {camera}"),
            3 => format!("kind = \"camera_frozen\"\ncamera = {camera}\nfor_s = {long}"),
            4 | 5 => format!("kind = \"camera_vanished\"\ncamera = {camera}\nfor_s = {long}"),
            6 => format!("kind = \"camera_stalled\"\ncamera = {camera}\nfor_s = 0.3"),
            7 => format!("kind = \"messages_lost\"\ncount = {}", 1 + draw(20)),
            8 => format!("kind = \"ephys_gap\"\narray = {array}\nfor_s = 0.{long}"),
            9 => format!("kind = \"ephys_stalled\"\narray = {array}\nfor_s = {long}"),
            10 => format!("kind = \"ephys_vanished\"\narray = {array}\nfor_s = {long}"),
            _ => format!("kind = \"network_nan\"\nfor_s = 0.{long}"),
        };
        faults.push((at, format!("[[twin.fault]]\n{fault}\nat_s = {at:.1}\n")));
        at += FAULT_EVERY_S * (0.5 + draw(1_000) as f64 / 1_000.0);
    }
    faults
}

/// The twin preset with its folders under `home`, any free port, and `faults`.
pub(crate) fn rig(home: &Path, with_video: bool, faults: &[(f64, String)]) -> Result<String> {
    let root = std::env::current_dir()?.display().to_string();
    let mut text = fs::read_to_string("configs/twin.toml")?;
    for (from, to) in
        [("\"../", "/"), ("\"twin-calibration", "/configs/twin-calibration"), ("\"subjects/", "/configs/subjects/")]
    {
        text = text.replace(from, &format!("\"{root}{to}"));
    }
    let video = if with_video { "" } else { "\nvideo = \"none\"" };
    let folder = format!("folder = \"{root}/{}/recordings\"{video}", home.display());
    text = text.replace(&format!("folder = \"{root}/recordings\""), &folder);
    for (_, fault) in faults {
        write!(text, "\n{fault}")?;
    }
    writeln!(text, "\n[panel]\nip_port = \"127.0.0.1:0\"\nstate_folder = \"{root}/{}/state\"", home.display())?;
    Ok(text)
}

/// The machine's load over the last minute.
fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN))
}

fn empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        fs::remove_dir_all(entry.path())?;
    }
    Ok(())
}

fn line_of<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default().trim_matches([':', ' ', ',', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_and_another_another() {
        let first = schedule(1, 3_600.0);
        assert_eq!(first, schedule(1, 3_600.0));
        assert_ne!(first, schedule(2, 3_600.0));
        assert!((120..260).contains(&first.len()), "{}", first.len());
        assert!(first.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
