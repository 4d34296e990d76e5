//! `cargo xtask firmware`: the sync board's firmware as ELF and UF2, with whatever cross compiler there is.
//!
//! Three ways to one, tried in this order:
//!
//! 1. the target is installed (`rustup target add thumbv7m-none-eabi …`): plain `cargo build --target`;
//! 2. rustup can install it: done;
//! 3. on Debian 12 without rustup's servers: Debian's own newer compiler (`rustc-web`) with its sources, unpacked into
//!    `.deps/firmware-rust` so that the machine's toolchain stays as it is, builds `core` itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{shell, uf2};

const CRATE: &str = "firmware/sync-board";
const OUT: &str = "target/firmware";
const DEBIAN_RUST: &str = ".deps/firmware-rust";
const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "rust-web-src", "libstd-rust-web-dev", "libstd-rust-web-1.96", "libllvm22"];

/// Options of the firmware build.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Boards to build for: rp2040 (Pico), rp2350 (Pico 2), mps2 (emulated); all by default.
    #[arg(long = "board", value_name = "BOARD")]
    boards: Vec<String>,
    /// Then run the emulated board against the host's driver (installs qemu-system-arm where apt can).
    #[arg(long)]
    emulate: bool,
}

/// A board that firmware is built for.
struct Board {
    name: &'static str,
    target: &'static str,
    /// Family number of UF2 files, where the board takes them.
    family: Option<u32>,
}

const BOARDS: [Board; 3] = [
    Board { name: "rp2040", target: "thumbv6m-none-eabi", family: Some(uf2::RP2040) },
    Board { name: "rp2350", target: "thumbv8m.main-none-eabihf", family: Some(uf2::RP2350_ARM_S) },
    Board { name: "mps2", target: "thumbv7m-none-eabi", family: None },
];

/// How a target can be compiled for.
enum Compiler {
    Installed,
    Debian { rustc: PathBuf, libraries: PathBuf, linker: PathBuf },
}

/// Builds what is asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let known = |name: &String| BOARDS.iter().any(|board| board.name == name);
    if let Some(unknown) = options.boards.iter().find(|name| !known(name)) {
        bail!("no board is called {unknown}: there are {}", BOARDS.map(|board| board.name).join(", "));
    }
    for board in &BOARDS {
        if options.boards.is_empty() || options.boards.iter().any(|name| name == board.name) {
            build(board)?;
        }
    }
    if options.emulate {
        emulate()?;
    }
    Ok(())
}

/// Builds the emulated board and runs it against the driver; `Ok(false)` with a printed reason where that cannot be done here.
pub(crate) fn try_emulation() -> Result<bool> {
    let possible = build(&BOARDS[2]).and_then(|()| emulator());
    if let Err(error) = possible {
        println!("firmware: not built or not run here, so its tests are skipped: {error:#}");
        return Ok(false);
    }
    Ok(true)
}

fn emulate() -> Result<()> {
    build(&BOARDS[2])?;
    emulator()?;
    let mut cargo = shell::command("cargo");
    cargo.env("MIMICD_FIRMWARE_MESSAGES", "100000");
    let line = ["test", "--package", "mimicd-hw", "--test", "firmware", "--", "--nocapture", "--test-threads", "1"];
    shell::run_in(&mut cargo, &line)
}

fn build(board: &Board) -> Result<()> {
    println!("firmware: {} ({})", board.name, board.target);
    let compiler = compiler_for(board.target)?;
    let mut cargo = shell::command("cargo");
    // The firmware is built where this looks for it, whatever the caller keeps elsewhere.
    cargo.env_remove("CARGO_TARGET_DIR");
    cargo.current_dir(CRATE);
    let mut line =
        vec!["build", "--quiet", "--release", "--locked", "--target", board.target, "--features", board.name];
    if let Compiler::Debian { rustc, libraries, linker } = &compiler {
        let target = board.target.to_uppercase().replace(['-', '.'], "_");
        cargo.env("RUSTC", rustc).env("LD_LIBRARY_PATH", libraries).env("RUSTC_BOOTSTRAP", "1");
        cargo.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
        line.push("-Zbuild-std=core");
    }
    // The outer cargo's choice of toolchain is not the inner one's.
    for inherited in ["CARGO", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"] {
        cargo.env_remove(inherited);
    }
    shell::run_in(&mut cargo, &line)?;
    place(board)
}

fn place(board: &Board) -> Result<()> {
    fs::create_dir_all(OUT)?;
    let built = Path::new(CRATE).join("target").join(board.target).join("release/sync-board");
    let elf = Path::new(OUT).join(format!("sync-board-{}.elf", board.name));
    fs::copy(&built, &elf).with_context(|| format!("cannot copy {}", built.display()))?;
    println!("firmware: {}", elf.display());
    if let Some(family) = board.family {
        let image = uf2::from_elf(&fs::read(&elf)?, family)?;
        let file = elf.with_extension("uf2");
        fs::write(&file, &image)?;
        println!("firmware: {} ({} KiB of flash)", file.display(), image.len() / 2 / 1024);
    }
    Ok(())
}

fn compiler_for(target: &str) -> Result<Compiler> {
    let sysroot = output("rustc", &["--print", "sysroot"])?;
    let installed = |sysroot: &str| Path::new(sysroot).join("lib/rustlib").join(target).is_dir();
    if installed(&sysroot) {
        return Ok(Compiler::Installed);
    }
    if let Some(debian) = debian_rust(&sysroot)? {
        return Ok(debian);
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).stdout(Stdio::null()).stderr(Stdio::null());
    if rustup.status().is_ok_and(|status| status.success()) && installed(&sysroot) {
        return Ok(Compiler::Installed);
    }
    fetch_debian_rust().with_context(|| {
        format!("no compiler for {target}: `rustup target add {target}` did not work, and Debian's compiler neither")
    })?;
    debian_rust(&sysroot)?.context("Debian's compiler was unpacked but does not start")
}

fn debian_rust(sysroot: &str) -> Result<Option<Compiler>> {
    let root = fs::canonicalize(".deps").unwrap_or_else(|_| PathBuf::from(".deps")).join("firmware-rust");
    let (rustc, libraries) = (root.join("usr/bin/rustc"), root.join("usr/lib/x86_64-linux-gnu"));
    if !rustc.is_file() {
        return Ok(None);
    }
    let host = output("rustc", &["--print", "host-tuple"])?;
    let linker = Path::new(sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    if !linker.is_file() {
        bail!("{} is not there: the linker that comes with rustup's toolchain is needed", linker.display());
    }
    Ok(Some(Compiler::Debian { rustc, libraries, linker }))
}

fn fetch_debian_rust() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" || !shell::exists("apt-get") || !shell::exists("dpkg-deb") {
        bail!("only an x86-64 Debian or Ubuntu machine has the packages {}", DEBIAN_PACKAGES.join(" "));
    }
    println!("firmware: fetching Debian's compiler (145 MB), unpacked into {DEBIAN_RUST}");
    let folder = Path::new(DEBIAN_RUST).join("packages");
    fs::create_dir_all(&folder)?;
    let mut apt = Command::new("apt-get");
    apt.current_dir(&folder).args(["-qq", "-o", "APT::Sandbox::User=root", "download"]).args(DEBIAN_PACKAGES);
    let fetched = apt.stdin(Stdio::null()).output().context("cannot start apt-get")?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
        bail!(
            "apt-get download failed (is `apt-get update` recent? Debian 12 with security updates has them):\n{said}"
        );
    }
    for package in fs::read_dir(&folder)? {
        let package = package?.path().display().to_string();
        shell::run_quiet("dpkg-deb", &["-x", &package, DEBIAN_RUST])?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Sees to it that the emulator is there.
fn emulator() -> Result<()> {
    if shell::exists("qemu-system-arm") {
        return Ok(());
    }
    println!("firmware: installing qemu-system-arm");
    let base = ["-qq", "-y", "--no-install-recommends", "--no-remove", "install", "qemu-system-arm"];
    // --no-remove: where other parts of qemu come from backports, it has to come from there too.
    if apt(&base).is_ok() {
        return Ok(());
    }
    let mut backports = vec!["-t".to_owned(), format!("{}-backports", codename()?)];
    backports.extend(base.map(str::to_owned));
    apt(&backports.iter().map(String::as_str).collect::<Vec<_>>())
        .context("by hand: apt-get install qemu-system-arm (from backports where other qemu packages are)")
}

fn apt(words: &[&str]) -> Result<()> {
    let as_root = output("id", &["-u"])? == "0";
    let line: Vec<&str> = if as_root { vec!["apt-get"] } else { vec!["sudo", "-n", "apt-get"] };
    let line: Vec<&str> = line.into_iter().chain(words.iter().copied()).collect();
    shell::run_quiet(line[0], &line[1..])
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("no /etc/os-release")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.map(str::to_owned).context("/etc/os-release names no codename")
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
