//! Running cargo, and reading what it says about the workspace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The root of the workspace, from where every command runs.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// `cargo`, the one that started us where there is one, at the root of the workspace.
pub(crate) fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Shows a heading and a command line on stderr, runs it, and fails when it fails.
pub(crate) fn step(title: &str, args: &[&str]) -> Result<()> {
    eprintln!("\n== {title}: cargo {}", args.join(" "));
    let status = command(args).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("{title} failed ({status})");
    }
    Ok(())
}

/// What cargo prints on stdout; its stderr is passed on.
pub(crate) fn output(args: &[&str]) -> Result<String> {
    let output = command(args)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo {} failed ({})", args.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("cargo printed something that is not UTF-8")
}

/// `cargo metadata` with these arguments.
pub(crate) fn metadata(args: &[&str]) -> Result<Value> {
    let mut all = vec!["metadata", "--format-version", "1"];
    all.extend(args);
    serde_json::from_str(&output(&all)?).context("cargo metadata printed no JSON")
}

/// The target triple that rustc compiles for by default.
pub(crate) fn host() -> Result<String> {
    let text = rustc(&["-vV"])?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: ").map(str::to_owned))
        .context("rustc -vV names no host")
}

/// What rustc prints.
pub(crate) fn rustc(args: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(args)
        .output()
        .context("cannot start rustc")?;
    if !output.status.success() {
        bail!("rustc {} failed ({})", args.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("rustc printed something that is not UTF-8")
}

/// Where cargo builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// Where this user keeps what is fetched or made once.
pub(crate) fn cache_folder() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("ferrokafka")
}
