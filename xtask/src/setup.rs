//! Set-up of a plain Debian or Ubuntu machine: idempotent, pinned, quick the second time.
//!
//! Native libraries come out of wheels (a wheel is a zip) at pinned versions; pip checks each against its SHA-256 in
//! `xtask/pins-<arch>.txt`. Everything lands under `.deps/`, with a stamp that names the pins, so that a second run does nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell;

const DEPS: &str = ".deps";

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";

/// The accessibility checker of the page's tests: name with version, SHA-512 of the package.
const AXE_CORE: (&str, &str) = (
    "axe-core-4.14.1",
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5",
);

/// Packages of Debian and Ubuntu, each with a file that proves it is there.
const SYSTEM_PACKAGES: [(&str, &str); 6] = [
    ("ffmpeg", "/usr/bin/ffmpeg"),
    ("python3", "/usr/bin/python3"),
    ("python3-pip", "/usr/lib/python3/dist-packages/pip"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("libclang-dev", "/usr/share/doc/libclang-dev"),
];

/// Does all that is missing.
pub(crate) fn run(peers: bool) -> Result<()> {
    system_packages()?;
    native_libraries()?;
    if peers {
        peers_environment()?;
        browser_tools();
    }
    println!("set-up: complete");
    Ok(())
}

fn system_packages() -> Result<()> {
    let missing: Vec<&str> =
        SYSTEM_PACKAGES.iter().filter(|(_, proof)| !Path::new(proof).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        println!("set-up: system packages are there");
        return Ok(());
    }
    install(&missing)
}

/// Installs system packages, as root or with sudo.
fn install(missing: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install -y {}", missing.join(" "));
    if !shell::exists("apt-get") {
        bail!("this machine has no apt-get; install by hand what Debian calls: {}", missing.join(" "));
    }
    let is_root = command_prints("id", &["-u"], "0");
    if !is_root && !shell::exists("sudo") {
        bail!("system packages are missing, and this is neither root nor a machine with sudo; as root run: {by_hand}");
    }
    println!("set-up: installing system packages: {}", missing.join(" "));
    let prefix: &[&str] = if is_root { &[] } else { &["sudo"] };
    let apt = |words: &[&str]| {
        let line = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"], words].concat();
        shell::run_quiet(line[0], &line[1..])
    };
    apt(&["update"]).context("the package lists could not be fetched")?;
    apt(&[&["install", "--no-install-recommends"], missing].concat()).with_context(|| format!("by hand: {by_hand}"))
}

fn command_prints(program: &str, arguments: &[&str], expected: &str) -> bool {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == expected)
}

fn native_libraries() -> Result<()> {
    let pins = format!("xtask/pins-{}.txt", std::env::consts::ARCH);
    let pinned = fs::read_to_string(&pins)
        .with_context(|| format!("no pins for this processor ({pins}): x86_64 and aarch64 are supported"))?;
    let stamp = Path::new(DEPS).join("native.stamp");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == pinned) && native_files_are_there() {
        println!("set-up: ONNX Runtime, MuJoCo and the body model are there");
        return Ok(());
    }
    println!("set-up: fetching ONNX Runtime, MuJoCo and the body model (about 100 MB)");
    let wheels = Path::new(DEPS).join("wheels");
    fs::create_dir_all(&wheels)?;
    download(&pins, &wheels)?;
    onnxruntime(&unpack(&wheels, "onnxruntime")?)?;
    mujoco(&unpack(&wheels, "mujoco")?)?;
    body(&unpack(&wheels, "dm_control")?)?;
    fs::remove_dir_all(&wheels)?;
    fs::write(&stamp, pinned)?;
    Ok(())
}

fn native_files_are_there() -> bool {
    ["onnxruntime/libonnxruntime.so", "mujoco/lib/libmujoco.so", "rat/rodent.xml"]
        .iter()
        .all(|file| Path::new(DEPS).join(file).exists())
}

fn download(pins: &str, wheels: &Path) -> Result<()> {
    let platforms = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"];
    let mut line: Vec<String> = "-m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi none"
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    for platform in platforms {
        line.extend(["--platform".to_owned(), format!("{platform}_{}", std::env::consts::ARCH)]);
    }
    line.extend(["--platform", "any", "--requirement", pins, "--dest"].map(str::to_owned));
    line.push(wheels.display().to_string());
    shell::run_quiet(python(), &line)
        .context("the pinned wheels could not be fetched; is the Python package registry reachable?")
}

/// Debian's own interpreter: another one first on the path may lack pip or venv.
fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

fn unpack(wheels: &Path, name: &str) -> Result<PathBuf> {
    let wheel = fs::read_dir(wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}-"))))
        .with_context(|| format!("no wheel of {name} was fetched"))?;
    let folder = wheels.join(name);
    let (wheel, target) = (wheel.display().to_string(), folder.display().to_string());
    shell::run_quiet(python(), &["-m", "zipfile", "-e", &wheel, &target])?;
    Ok(folder)
}

fn onnxruntime(wheel: &Path) -> Result<()> {
    let library = find(&wheel.join("onnxruntime/capi"), "libonnxruntime.so.")?;
    place(&library, &Path::new(DEPS).join("onnxruntime/libonnxruntime.so"))
}

fn mujoco(wheel: &Path) -> Result<()> {
    let library = find(&wheel.join("mujoco"), "libmujoco.so.")?;
    let folder = Path::new(DEPS).join("mujoco/lib");
    let name = library.file_name().context("a library has a name")?.to_owned();
    place(&library, &folder.join(&name))?;
    let link = folder.join("libmujoco.so");
    fs::remove_file(&link).ok(); // Absent on the first run; a stale link must go on later ones.
    symlink(name, link)?;
    Ok(())
}

fn body(wheel: &Path) -> Result<()> {
    let assets = wheel.join("dm_control/locomotion/walkers/assets");
    for file in ["rodent.xml", "rodent_walker_skin.skn"] {
        place(&assets.join(file), &Path::new(DEPS).join("rat").join(file))?;
    }
    Ok(())
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf> {
    fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .with_context(|| format!("no {prefix}* in {}", folder.display()))
}

fn place(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// What the page's tests need besides Playwright: Chromium and axe-core. Without them those tests say so and are skipped.
fn browser_tools() {
    if let Err(error) = axe_core() {
        println!("set-up: no axe-core, so the page is not tested in a browser: {error:#}");
    }
    let is_debian =
        fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=debian"));
    // Ubuntu's package of that name only fetches another kind of package.
    if !Path::new(CHROMIUM).exists() && is_debian && install(&["chromium"]).is_err() {
        println!("set-up: chromium could not be installed, so the page is not tested in a browser");
    }
}

/// The npm package, checked against its SHA-512, unpacked without any other.
fn axe_core() -> Result<()> {
    let folder = Path::new(DEPS).join("axe-core");
    if folder.join("axe.min.js").exists() && fs::read_to_string(folder.join("pin")).is_ok_and(|pin| pin == AXE_CORE.1) {
        return Ok(());
    }
    if !shell::exists("npm") {
        bail!("npm is not installed");
    }
    fs::create_dir_all(&folder)?;
    let (name, place) = (AXE_CORE.0, folder.display().to_string());
    shell::run_quiet("npm", &["pack", "--silent", "--pack-destination", &place, &name.replacen("core-", "core@", 1)])?;
    let check = "cd \"$0\" && echo \"$2  $1.tgz\" | sha512sum --check --quiet && tar xzf \"$1.tgz\" --strip-components 1 package/axe.min.js && rm \"$1.tgz\"";
    shell::run_quiet("sh", &["-c", check, &place, name, AXE_CORE.1])?;
    Ok(fs::write(folder.join("pin"), AXE_CORE.1)?)
}

/// The pinned Python environment in which other people's readers open what we write.
fn peers_environment() -> Result<()> {
    let specifications = Path::new(DEPS).join("nwb/specifications.json");
    let python = environment("peers", "tests/peers/requirements.txt", specifications.is_file())?;
    let Some(python) = python else { return Ok(()) };
    // What `mimicd export --to nwb` embeds comes from the packages just installed.
    let out = specifications.display().to_string();
    shell::run_quiet(&python, &["tests/peers/nwb_specifications.py", &out])
}

/// The pinned Python environment with aniposelib, for one bench; its interpreter.
pub(crate) fn triangulation_environment() -> Result<String> {
    environment("triangulation", "tests/peers/triangulation_requirements.txt", true)?;
    Ok(format!("{DEPS}/triangulation-venv/bin/python"))
}

/// Makes `.deps/<name>-venv` with these requirements; its interpreter, or nothing where it is there already and `is_whole`.
fn environment(name: &str, requirements: &str, is_whole: bool) -> Result<Option<String>> {
    let pinned = fs::read_to_string(requirements).with_context(|| format!("cannot read {requirements}"))?;
    let folder = Path::new(DEPS).join(format!("{name}-venv"));
    let stamp = folder.join("pins.stamp");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == pinned) && is_whole {
        println!("set-up: the {name} environment is there");
        return Ok(None);
    }
    println!("set-up: making the {name} environment (pinned Python packages)");
    shell::run_quiet(python(), &["-m", "venv", "--clear", &folder.display().to_string()])?;
    let program = |name: &str| folder.join("bin").join(name).display().to_string();
    let quiet = ["install", "--quiet", "--disable-pip-version-check", "--requirement", requirements];
    shell::run_quiet(&program("pip"), &quiet)?;
    fs::write(&stamp, pinned)?;
    Ok(Some(program("python")))
}
