//! `cargo xtask vm-test`: real drivers against devices of a virtual machine, or of namespaces of this one.
//!
//! Every bench runs, one after the other, whatever became of the one before; one that cannot run here is skipped with the
//! reason. Each keeps what it said in a log of its own, and at the end a table says what held.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{dist, setup, shell};

/// Where the machine is.
const HOME: &str = ".deps/vm";
/// Where each bench's log goes.
const LOGS: &str = "target/vm-test";

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// The sync board on a USB bus, pulled out twice.
    UsbBoard,
    /// The power is cut while the recorder writes.
    PowerCut,
    /// The daemon while it records, with a USB board that is pulled out and cameras on the board's trigger line.
    UsbDaemon,
    /// Six V4L2 cameras: undisturbed, every format, faults, known pictures.
    Cameras,
    /// The package and the service, systemd as PID 1 (release build), under a kernel of its own (User-Mode Linux) or in a machine.
    Service,
    /// Six fake GigE Vision cameras in network namespaces of this machine (a build with the feature `aravis`).
    Gige,
}

impl Bench {
    /// All, the quickest first. Cameras and the last build the daemon with a feature more each (`webcam`, `aravis`).
    const ALL: [Self; 6] = [Self::UsbBoard, Self::PowerCut, Self::UsbDaemon, Self::Cameras, Self::Service, Self::Gige];

    const fn name(self) -> &'static str {
        match self {
            Self::UsbBoard => "usb-board",
            Self::PowerCut => "power-cut",
            Self::UsbDaemon => "usb-daemon",
            Self::Cameras => "cameras",
            Self::Service => "service",
            Self::Gige => "gige",
        }
    }

    /// Whether it boots the machine that `make_vm.sh` makes.
    fn needs_machine(self) -> bool {
        match self {
            Self::Gige => false,
            Self::Service => !has_user_mode_linux(),
            _ => true,
        }
    }
}

/// Options of the benches.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which; all by default.
    bench: Vec<Bench>,
    /// Run release builds: under emulation they are several times quicker.
    #[arg(long)]
    release: bool,
    /// Skip set-up (for a machine that is already set up and has no network).
    #[arg(long)]
    no_setup: bool,
}

/// What became of a bench.
enum Outcome {
    Held(Duration),
    Failed(Duration, String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |took: &Duration| took.as_secs_f64() / 60.0;
        match self {
            Self::Held(took) => write!(f, "held     {:6.1} min", minutes(took)),
            Self::Failed(took, why) => write!(f, "FAILED   {:6.1} min  {why}", minutes(took)),
            Self::Skipped(why) => write!(f, "skipped              {why}"),
        }
    }
}

/// Runs the benches and says what held.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.no_setup {
        setup::run(false)?;
    }
    let benches = if options.bench.is_empty() { &Bench::ALL[..] } else { &options.bench };
    fs::create_dir_all(LOGS).with_context(|| format!("cannot make {LOGS}"))?;
    let build = Build { release: options.release };
    let mut machine = None;
    let mut outcomes = Vec::new();
    for &bench in benches {
        println!("vm-test: {}", bench.name());
        let outcome = attempt(bench, build, &mut machine);
        println!("vm-test: {} {outcome}", bench.name());
        outcomes.push((bench, outcome));
    }
    println!("vm-test:");
    for (bench, outcome) in &outcomes {
        println!("  {:<10} {outcome}", bench.name());
    }
    println!("vm-test: what each said is in {LOGS}/<bench>.log");
    let names = |which: fn(&Outcome) -> bool| -> Vec<&str> {
        outcomes.iter().filter(|(_, outcome)| which(outcome)).map(|(bench, _)| bench.name()).collect()
    };
    let failed = names(|outcome| matches!(outcome, Outcome::Failed(..)));
    if !failed.is_empty() {
        bail!("{} did not hold", failed.join(", "));
    }
    if names(|outcome| matches!(outcome, Outcome::Held(_))).is_empty() {
        bail!("no bench could run here");
    }
    Ok(())
}

/// Runs one bench, unless something that it needs is not here. `machine` keeps whether the virtual machine could be made.
fn attempt(bench: Bench, build: Build, machine: &mut Option<Result<(), String>>) -> Outcome {
    if let Some(reason) = missing(bench) {
        return Outcome::Skipped(reason);
    }
    if bench.needs_machine() {
        let made = machine.get_or_insert_with(|| {
            shell::run("tests/vm/make_vm.sh", &[HOME, "--loopback"]).map_err(|error| format!("{error:#}"))
        });
        if let Err(error) = made {
            return Outcome::Skipped(format!("there is no machine: {error}"));
        }
    }
    let begun = Instant::now();
    match boot(bench, build) {
        Ok(()) => Outcome::Held(begun.elapsed()),
        Err(error) => Outcome::Failed(begun.elapsed(), format!("{error:#}")),
    }
}

/// What keeps `bench` from running here.
fn missing(bench: Bench) -> Option<String> {
    let own = fs::metadata("/proc/self").ok();
    let is_root = own.is_some_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Some("it needs root".to_owned());
    }
    let programs: &[(&str, &str)] = match bench {
        Bench::Gige => &[
            ("arv-fake-gv-camera-0.8", "aravis-tools"),
            ("arv-tool-0.8", "aravis-tools-cli"),
            ("faketime", "faketime"),
            ("ip", "iproute2"),
        ],
        Bench::Service => &[("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")],
        _ => &[],
    };
    if let Some((program, package)) = programs.iter().find(|(program, _)| !is_installed(program)) {
        return Some(format!("there is no {program} (apt-get install {package})"));
    }
    if bench == Bench::Gige && shell::run_quiet("pkg-config", &["--exists", "aravis-0.8"]).is_err() {
        return Some("there is no libaravis to build with (apt-get install libaravis-dev libusb-1.0-0-dev)".to_owned());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_bookworm = release.lines().any(|line| line == "VERSION_CODENAME=bookworm");
    (bench.needs_machine() && !is_bookworm).then(|| "the machine is made from packages of Debian 12".to_owned())
}

/// Whether `program` is on the path.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_user_mode_linux() -> bool {
    is_installed("linux.uml")
}

/// Which builds run.
#[derive(Clone, Copy)]
struct Build {
    release: bool,
}

impl Build {
    /// The workspace as a whole, as `cargo test` builds it: with other features everything would be built once more.
    fn cargo(self, words: &[&str]) -> Result<()> {
        let whole = ["--workspace", "--quiet"];
        let line: Vec<&str> = words.iter().copied().chain(whole).chain(self.release.then_some("--release")).collect();
        shell::run("cargo", &line)
    }

    fn path(self, file: &str) -> String {
        format!("target/{}/{file}", if self.release { "release" } else { "debug" })
    }

    /// The daemon, and the programs that stand in for devices.
    fn programs(self, more: &[&str]) -> Result<()> {
        let programs = ["build", "--bin", "mimicd", "--example", "board_on_tty", "--example", "feed_loopback"];
        self.cargo(&[&programs[..], more].concat())
    }
}

fn boot(bench: Bench, build: Build) -> Result<()> {
    let home = Path::new(HOME);
    let machine = ["vmlinux", "root.img", "root.img.initrd"].map(|file| home.join(file).display().to_string());
    let [kernel, image, initrd] = machine.each_ref().map(String::as_str);
    let (module, mimicd) = (home.join("v4l2loopback.ko").display().to_string(), build.path("mimicd"));
    let board = build.path("examples/board_on_tty");
    let log = PathBuf::from(LOGS).join(format!("{}.log", bench.name()));
    let script = |name: &str, words: &[&str]| shell::run_logged(&format!("tests/vm/{name}"), words, &log);
    match bench {
        Bench::Service | Bench::Gige => {}
        Bench::Cameras => build.programs(&["--features", "mimicd/webcam"])?,
        _ => build.programs(&[])?,
    }
    match bench {
        Bench::Cameras => {
            let feeder = build.path("examples/feed_loopback");
            script("cameras.sh", &[kernel, image, initrd, &mimicd, &feeder, &module])
        }
        Bench::UsbBoard => script("usb_board.sh", &[kernel, image, initrd, &mimicd, &board]),
        Bench::UsbDaemon => script("usb_daemon.sh", &[kernel, image, initrd, &module, &mimicd, &board]),
        Bench::PowerCut => {
            build.cargo(&["test", "--test", "record", "--no-run"])?;
            script("power_cut.sh", &[kernel, image, initrd, "25", &mimicd])
        }
        Bench::Service => {
            let package = dist::package(false, None)?;
            let newer = dist::package(false, Some("0.1.1"))?;
            let place: &[&str] = if has_user_mode_linux() { &["--uml"] } else { &["--vm", kernel, initrd] };
            script("service.sh", &[place, &[package.as_str(), newer.as_str()]].concat())
        }
        Bench::Gige => {
            build.cargo(&["build", "--bin", "mimicd", "--features", "mimicd/aravis"])?;
            script("gige.sh", &[&mimicd])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_line_up_in_the_table() {
        let minute = Duration::from_secs(72);
        let lines = [
            Outcome::Held(minute),
            Outcome::Failed(minute, "`x` failed".to_owned()),
            Outcome::Skipped("it needs root".to_owned()),
        ];
        let lines = lines.map(|outcome| outcome.to_string());
        assert_eq!(
            lines,
            ["held        1.2 min", "FAILED      1.2 min  `x` failed", "skipped              it needs root"]
        );
        assert_eq!(lines[1].find("`x`"), lines[2].find("it"));
    }

    #[test]
    fn what_a_program_says_is_shown_and_kept_and_its_failure_is_one() {
        let home = tempfile::tempdir().expect("a folder");
        let log = home.path().join("x.log");
        let both = "echo out; echo err >&2";
        shell::run_logged("sh", &["-c", both], &log).expect("it runs");
        assert_eq!(fs::read_to_string(&log).expect("a log"), "out\nerr\n");
        let failed = shell::run_logged("sh", &["-c", "echo no; exit 3"], &log).expect_err("it fails");
        assert!(failed.to_string().contains("exit status: 3"), "{failed}");
        assert_eq!(fs::read_to_string(&log).expect("a log"), "no\n");
    }
}
