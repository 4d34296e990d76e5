//! `cargo xtask dist`: a Debian package with everything the daemon needs at run time, under target/dist.
//!
//! Staged by hand and packed by dpkg-deb, which every Debian and Ubuntu has: the package is a folder tree, three short scripts and a
//! control file, and no further tool has to be fetched and built for that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{setup, shell};

/// Options of the packaging.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Package a debug build: for trying the package itself.
    #[arg(long)]
    debug: bool,
    /// Another version than the workspace's: for trying an upgrade.
    #[arg(long)]
    version: Option<String>,
}

/// Where each file of the tree goes: from (in the repository), to (in the package).
const FILES: [(&str, &str); 10] = [
    ("systemd/mimicd.service", "usr/lib/systemd/system/mimicd.service"),
    ("systemd/mimicd.sysusers", "usr/lib/sysusers.d/mimicd.conf"),
    ("systemd/mimicd.tmpfiles", "usr/lib/tmpfiles.d/mimicd.conf"),
    ("systemd/80-mimicd.rules", "usr/lib/udev/rules.d/80-mimicd.rules"),
    (".deps/onnxruntime/libonnxruntime.so", "usr/lib/mimicd/libonnxruntime.so"),
    ("README.md", "usr/share/doc/mimicd/README.md"),
    ("CHANGELOG.md", "usr/share/doc/mimicd/changelog"),
    ("docs/dataset.md", "usr/share/doc/mimicd/dataset.md"),
    ("xtask/debian/copyright", "usr/share/doc/mimicd/copyright"),
    ("configs/sync-board-pins.md", "usr/share/doc/mimicd/sync-board-pins.md"),
];

/// Folders that go in whole.
const FOLDERS: [(&str, &str); 3] = [
    (".deps/rat", "usr/share/mimicd/rat"),
    ("configs", "usr/share/mimicd/configs"),
    ("models", "usr/share/mimicd/models"),
];

/// Paths of the twin preset, relative to its folder, and where they are in the package.
const PATHS: [(&str, &str); 5] = [
    ("\"../.deps/rat/", "\"/usr/share/mimicd/rat/"),
    ("\"../models/", "\"/usr/share/mimicd/models/"),
    ("\"twin-calibration", "\"/usr/share/mimicd/configs/twin-calibration"),
    ("\"subjects/", "\"/usr/share/mimicd/configs/subjects/"),
    ("\"../recordings\"", "\"/var/lib/mimicd/recordings\""),
];

/// Builds and packs.
pub(crate) fn run(options: &Options) -> Result<()> {
    package(options.debug, options.version.as_deref()).map(drop)
}

/// Builds, packs and says where the package is.
pub(crate) fn package(debug: bool, version: Option<&str>) -> Result<String> {
    if !shell::exists("dpkg-deb") {
        bail!("dpkg-deb is not here: packages are made on Debian or Ubuntu");
    }
    setup::run(false)?;
    let binary = build(debug)?;
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("no Debian architecture is known for {other}"),
    };
    let name = format!("mimicd_{version}_{architecture}");
    let tree = Path::new("target/dist").join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    stage(&tree, &binary)?;
    control(&tree, version, architecture)?;
    let package = format!("target/dist/{name}.deb");
    let (from, compression) = (tree.display().to_string(), if debug { "-Znone" } else { "-Zxz" });
    shell::run_quiet("dpkg-deb", &["--root-owner-group", compression, "--build", &from, &package])?;
    fs::remove_dir_all(&tree)?;
    println!("dist: {package} ({:.1} MB)", fs::metadata(&package)?.len() as f64 * 1e-6);
    Ok(package)
}

fn build(debug: bool) -> Result<PathBuf> {
    let mut cargo = shell::command("cargo");
    cargo.env("MIMICD_PACKAGE", "1").args(["build", "--package", "mimicd", "--bin", "mimicd"]);
    let profile: &[&str] = if debug { &[] } else { &["--release"] };
    shell::run_in(&mut cargo, profile)?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    Ok(Path::new(&target).join(if debug { "debug/mimicd" } else { "release/mimicd" }))
}

fn stage(tree: &Path, binary: &Path) -> Result<()> {
    let program = tree.join("usr/bin/mimicd");
    put(binary, &program, 0o755)?;
    shell::run_quiet("strip", &["--strip-debug", &program.display().to_string()])?;
    for (from, to) in FILES {
        put(Path::new(from), &tree.join(to), 0o644)?;
    }
    for entry in fs::read_dir(".deps/mujoco/lib")?.flatten().filter(|entry| !entry.path().is_symlink()) {
        put(&entry.path(), &tree.join("usr/lib/mimicd").join(entry.file_name()), 0o644)?;
    }
    for (from, to) in FOLDERS {
        put_folder(Path::new(from), &tree.join(to))?;
    }
    let rig = tree.join("etc/mimicd/rig.toml");
    fs::create_dir_all(rig.parent().context("a file has a folder")?)?;
    fs::write(&rig, rig_toml(&fs::read_to_string("configs/twin.toml")?)?)?;
    mode(&rig, 0o644)
}

/// The twin preset with the package's paths: the rig that is there until someone describes a real one.
fn rig_toml(preset: &str) -> Result<String> {
    let mut text = preset.to_owned();
    for (from, to) in PATHS {
        if !text.contains(from) {
            bail!("configs/twin.toml names nothing under {from}: correct dist.rs");
        }
        text = text.replace(from, to);
    }
    let body = text.lines().skip_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let head = "# The simulated rig, complete and runnable. Describe your own in its place, then `mimicd check /etc/mimicd/rig.toml`.";
    Ok(format!(
        "{head}\n{body}\n\n[panel]\n# The note by which a restarted daemon goes on with its recording.\nstate_folder = \"/var/lib/mimicd/state\"\n"
    ))
}

fn put_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?.flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { put_folder(&path, &target)? } else { put(&path, &target, 0o644)? }
    }
    Ok(())
}

fn put(from: &Path, to: &Path, bits: u32) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    mode(to, bits)
}

fn mode(path: &Path, bits: u32) -> Result<()> {
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(bits))?)
}

fn control(tree: &Path, version: &str, architecture: &str) -> Result<()> {
    let folder = tree.join("DEBIAN");
    fs::create_dir_all(&folder)?;
    let kilobytes = bytes_in(tree)? / 1024;
    let libc = libc_version(tree)?;
    let text = format!(
        "Package: mimicd\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: mimicd <mimicd@localhost>\n\
        Installed-Size: {kilobytes}\nSection: science\nPriority: optional\n\
        Depends: libc6 (>= {libc}), libgcc-s1, libstdc++6, passwd, systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles\n\
        Recommends: ffmpeg, udev\n\
        Description: real-time closed-loop lab acquisition daemon\n \
        Six hardware-triggered cameras and two tetrode arrays on one clock, 3D pose, body model, virtual rat, closed-loop rules,\n \
        recording to Parquet; a panel for the browser. Installs the simulated rig; starts nothing by itself.\n"
    );
    fs::write(folder.join("control"), text)?;
    fs::write(folder.join("conffiles"), "/etc/mimicd/rig.toml\n")?;
    for (name, script) in [
        ("postinst", include_str!("../debian/postinst")),
        ("prerm", include_str!("../debian/prerm")),
        ("postrm", include_str!("../debian/postrm")),
    ] {
        fs::write(folder.join(name), script)?;
        mode(&folder.join(name), 0o755)?;
    }
    let sums = "cd \"$0\" && find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums";
    shell::run_quiet("sh", &["-c", sums, &tree.display().to_string()])
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        sum += if entry.path().is_dir() { bytes_in(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

/// The newest C library that the program and its libraries name: what the package needs at least.
fn libc_version(tree: &Path) -> Result<String> {
    let mut newest = (0, 0);
    for file in ["usr/bin/mimicd", "usr/lib/mimicd/libonnxruntime.so"] {
        newest = newest.max(newest_glibc(&fs::read(tree.join(file))?));
    }
    if newest == (0, 0) {
        bail!("the program names no version of the C library");
    }
    Ok(format!("{}.{}", newest.0, newest.1))
}

/// The greatest `GLIBC_a.b` in `bytes`; zeros for none.
fn newest_glibc(bytes: &[u8]) -> (u32, u32) {
    const WORD: &[u8] = b"GLIBC_";
    let starts = bytes.windows(WORD.len()).enumerate().filter(|(_, window)| *window == WORD).map(|(at, _)| at);
    let version = |at: usize| {
        let text: String = bytes[at + WORD.len()..]
            .iter()
            .map(|&b| char::from(b))
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let mut parts = text.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    starts.filter_map(version).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_c_library_counts_by_number() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.2.5\0"), (2, 34));
        assert_eq!(newest_glibc(b"nothing"), (0, 0));
    }

    #[test]
    fn the_packages_rig_names_no_place_outside_the_package() {
        let preset = include_str!("../../configs/twin.toml");
        let rig = rig_toml(preset).expect("every path is known");
        assert!(!rig.contains("\"../") && rig.contains("/var/lib/mimicd/recordings"), "{rig}");
        assert!(rig_toml("[rig]\n").is_err());
    }
}
