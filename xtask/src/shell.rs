//! Running other programs, with errors that say which one and what to do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Makes the workspace root the current folder, wherever cargo was called from.
pub(crate) fn enter_workspace() -> Result<()> {
    let root = workspace_root()?;
    std::env::set_current_dir(&root).with_context(|| format!("cannot enter {}", root.display()))
}

fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask has no parent folder")?.to_owned())
}

/// A command for `program` without what `cargo run` tells of xtask itself (`CARGO_PKG_*`, `CARGO_MANIFEST_*`, ...): build
/// scripts that watch those (ring's does) would be run anew, and all that depends on them built anew, on every change between
/// `cargo xtask ...` and plain `cargo`.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let of_package = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `program` with its output shown; fails when it does.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<()> {
    run_in(&mut command(program), arguments)
}

/// Runs a prepared command with its output shown; fails when it does.
pub(crate) fn run_in<S: AsRef<OsStr>>(command: &mut Command, arguments: &[S]) -> Result<()> {
    command.args(arguments);
    let shown = show(command);
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs `program`; what it says on either channel is shown and kept in `log`.
pub(crate) fn run_logged(program: &str, arguments: &[&str], log: &Path) -> Result<()> {
    let mut file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::null());
    let shown = show(&command);
    command.stdout(writer.try_clone().context("cannot duplicate a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
    // The command holds its ends of the pipe, which ends only when all of them are gone.
    drop(command);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read what `{shown}` says"))?;
        println!("{}", String::from_utf8_lossy(&line));
        file.write_all(&[&line[..], b"\n"].concat()).with_context(|| format!("cannot write {}", log.display()))?;
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs `program` silently; its whole output is shown only when it fails.
pub(crate) fn run_quiet<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<()> {
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::null());
    let shown = show(&command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("`{shown}` failed ({}):\n{}", output.status, String::from_utf8_lossy(&text));
    }
    Ok(())
}

/// Whether `program` can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
