//! `cargo xtask cross-kit [TARGET…]`: a rust-std for musl targets where rustup has none to give.
//!
//! Made by `cross/setup-cross.sh` from Debian's source of this very rustc, into the user's cache folder, once for
//! each rustc and target. Where Debian no longer has that source it fails and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo;

/// Which targets to make the kit for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// x86_64-unknown-linux-musl, aarch64-unknown-linux-musl, armv7-unknown-linux-musleabihf; the first by default
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let default = [String::from("x86_64-unknown-linux-musl")];
    let targets = if args.targets.is_empty() {
        &default[..]
    } else {
        &args.targets[..]
    };
    for target in targets {
        println!("{target}: --sysroot {}", sysroot(target)?.display());
    }
    Ok(())
}

/// The sysroot with a std for this target; made if it is not there.
pub(crate) fn sysroot(target: &str) -> Result<PathBuf> {
    let kit = folder()?;
    let sysroot = kit.join("sysroot");
    if has_std(&sysroot, target) {
        return Ok(sysroot);
    }
    eprintln!("making a rust-std for {target}: one to three minutes, once");
    let status = Command::new(cargo::root().join("cross/setup-cross.sh"))
        .arg(&kit)
        .arg(target)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .status()
        .context("cannot run cross/setup-cross.sh")?;
    if !status.success() || !has_std(&sysroot, target) {
        bail!(
            "cross/setup-cross.sh made no std for {target} ({status}); its log is {}/fetch.log",
            kit.display()
        );
    }
    Ok(sysroot)
}

/// Whether a sysroot, the kit's or rustc's own, has all a musl program links.
pub(crate) fn has_std(sysroot: &Path, target: &str) -> bool {
    // Made last, so that a kit cut off half way is made again.
    sysroot
        .join("lib/rustlib")
        .join(target)
        .join("lib/self-contained/libunwind.a")
        .exists()
}

/// One folder for each rustc: a std fits the compiler that made it and no other.
fn folder() -> Result<PathBuf> {
    let version = cargo::rustc(&["-V"])?;
    let version = version
        .split_whitespace()
        .nth(1)
        .context("rustc -V names no version")?;
    Ok(cargo::cache_folder().join(format!("cross-kit-{version}")))
}
