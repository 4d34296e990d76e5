//! `cargo xtask vm-test`: real drivers against devices of a virtual machine.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{dist, setup, shell};

const HOME: &str = ".deps/vm";

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// Six V4L2 cameras: undisturbed, every format, faults, known pictures.
    Cameras,
    /// The sync board on a USB bus, pulled out twice.
    UsbBoard,
    /// The same under the daemon while it records, with cameras on the board's trigger line.
    UsbDaemon,
    /// The power is cut while the recorder writes.
    PowerCut,
    /// The package and the service, systemd as PID 1 (release build; half an hour on an emulated processor).
    Service,
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

/// Makes the machine when it is not there, builds what runs in it, boots it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.no_setup {
        setup::run(false)?;
    }
    let all = [Bench::Cameras, Bench::UsbBoard, Bench::UsbDaemon, Bench::PowerCut, Bench::Service];
    let benches = if options.bench.is_empty() { &all[..] } else { &options.bench };
    shell::run("tests/vm/make_vm.sh", &[HOME, "--loopback"])?;
    let build = Build { release: options.release };
    build.cargo(&["build", "--package", "mimicd", "--bin", "mimicd"])?;
    build.cargo(&["build", "--package", "mimicd-hw", "--examples"])?;
    let mut failed = Vec::new();
    for &bench in benches {
        println!("vm-test: {bench:?}");
        if let Err(error) = boot(bench, build) {
            println!("vm-test: {error:#}");
            failed.push(format!("{bench:?}"));
        }
    }
    if !failed.is_empty() {
        bail!("{} did not hold", failed.join(", "));
    }
    Ok(())
}

/// Which builds run.
#[derive(Clone, Copy)]
struct Build {
    release: bool,
}

impl Build {
    fn cargo(self, words: &[&str]) -> Result<()> {
        let line: Vec<&str> =
            words.iter().copied().chain(["--quiet"]).chain(self.release.then_some("--release")).collect();
        shell::run("cargo", &line)
    }

    fn path(self, file: &str) -> String {
        format!("target/{}/{file}", if self.release { "release" } else { "debug" })
    }
}

fn boot(bench: Bench, build: Build) -> Result<()> {
    let home = Path::new(HOME);
    let machine = ["vmlinux", "root.img", "root.img.initrd"].map(|file| home.join(file).display().to_string());
    let [kernel, image, initrd] = machine.each_ref().map(String::as_str);
    let (module, mimicd) = (home.join("v4l2loopback.ko").display().to_string(), build.path("mimicd"));
    let board = build.path("examples/board_on_tty");
    match bench {
        Bench::Cameras => {
            let feeder = build.path("examples/feed_loopback");
            shell::run("tests/vm/cameras.sh", &[kernel, image, initrd, &mimicd, &feeder, &module])
        }
        Bench::UsbBoard => shell::run("tests/vm/usb_board.sh", &[kernel, image, initrd, &mimicd, &board]),
        Bench::UsbDaemon => shell::run("tests/vm/usb_daemon.sh", &[kernel, image, initrd, &module, &mimicd, &board]),
        Bench::PowerCut => {
            build.cargo(&["test", "--package", "mimicd", "--test", "record", "--no-run"])?;
            shell::run("tests/vm/power_cut.sh", &[kernel, image, initrd, "25", &mimicd])
        }
        Bench::Service => {
            let package = dist::package(false, None)?;
            let newer = dist::package(false, Some("0.1.1"))?;
            shell::run("tests/vm/service.sh", &["--vm", kernel, initrd, &package, &newer])
        }
    }
}
