//! `cargo xtask dist [TARGET…]`: static binaries, proved to hold no C, as tar.gz with their sha256.
//!
//! Three layers of proof: the dependency graph (`no_c`); a build from an empty folder with no compiler to be had, `cc`
//! links the host's build scripts and refuses everything else; and what rlibs and binaries really hold
//! (`cross/noc-artifacts.sh`). The std is rustup's where that is installed, else the one of `cross-kit`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, cross_kit, no_c};

/// What is shipped: package and binary.
const BINARIES: &[(&str, &str)] = &[
    ("eventmart-cli", "eventmart"),
    ("ferrokafka-broker", "ferrokafka-broker"),
];

/// What rustup's musl libc was built with, as `.comment` has it.
const RUSTUP_LIBC_CC: &str = "GCC: (GNU) ";
/// What Debian's musl libc was built with.
const DEBIAN_LIBC_CC: &str = "GCC: (Debian 14.2.0";

/// What to build.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// musl target triples; the host's architecture when none is given
    targets: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let host = cargo::host()?;
    let own = format!(
        "{}-unknown-linux-musl",
        host.split('-').next().unwrap_or("x86_64")
    );
    let targets = if args.targets.is_empty() {
        vec![own.clone()]
    } else {
        args.targets.clone()
    };
    for target in &targets {
        let binaries = build(target)?;
        if *target == own {
            for binary in &binaries {
                check_run(binary)?;
            }
        }
        pack(target, &binaries)?;
    }
    Ok(())
}

/// Where rustc finds the target's std, and which compiler made the libc in it.
struct Std {
    sysroot: Option<PathBuf>,
    libc_cc: &'static str,
}

impl Std {
    fn find(target: &str) -> Result<Self> {
        let own = PathBuf::from(cargo::rustc(&["--print", "sysroot"])?.trim());
        if cross_kit::has_std(&own, target) {
            return Ok(Self {
                sysroot: None,
                libc_cc: RUSTUP_LIBC_CC,
            });
        }
        Ok(Self {
            sysroot: Some(cross_kit::sysroot(target)?),
            libc_cc: DEBIAN_LIBC_CC,
        })
    }

    fn rustflags(&self) -> OsString {
        let mut flags = OsString::from("-Clinker=rust-lld");
        if let Some(sysroot) = &self.sysroot {
            flags.push(" --sysroot ");
            flags.push(sysroot);
        }
        flags
    }
}

fn build(target: &str) -> Result<Vec<PathBuf>> {
    no_c::run(&no_c::Args::of(target))?;
    let std = Std::find(target)?;
    let status = cargo::command(["fetch", "--locked", "--target", target])
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo fetch failed ({status})");
    }
    // An empty folder: nothing that an earlier build compiled can hide.
    let folder = cargo::target_folder()?.join("dist").join("build");
    let _ = std::fs::remove_dir_all(&folder);
    let tools = folder.join("tools");
    std::fs::create_dir_all(&tools).with_context(|| tools.display().to_string())?;
    eprintln!("\n== building for {target} with no C compiler to be had");
    let status = without_compiler(&tools, &folder, target, &std)?
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the build for {target} failed ({status})");
    }
    let release = folder.join(target).join("release");
    let binaries: Vec<_> = BINARIES
        .iter()
        .map(|(_, binary)| release.join(binary))
        .collect();
    let status = Command::new(cargo::root().join("cross/noc-artifacts.sh"))
        .arg(release.join("deps"))
        .args(&binaries)
        .env("LIBC_CC", std.libc_cc)
        .status()
        .context("cannot run cross/noc-artifacts.sh")?;
    if !status.success() {
        bail!("the artifacts for {target} hold C");
    }
    Ok(binaries)
}

/// cargo with an environment in which the only tool like a compiler is `cross/cc-link-only`.
fn without_compiler(tools: &Path, folder: &Path, target: &str, std: &Std) -> Result<Command> {
    let own = PathBuf::from(cargo::rustc(&["--print", "sysroot"])?.trim());
    link(&own.join("bin/cargo"), &tools.join("cargo"))?;
    link(&own.join("bin/rustc"), &tools.join("rustc"))?;
    link(&cargo::root().join("cross/cc-link-only"), &tools.join("cc"))?;
    let mut command = Command::new(tools.join("cargo"));
    command
        .current_dir(cargo::root())
        .env_clear()
        .env("PATH", tools);
    for name in ["HOME", "CARGO_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for name in ["CC", "CXX", "AR", "CMAKE"] {
        command.env(name, "/bin/false");
    }
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        target.to_uppercase().replace('-', "_")
    );
    command
        .env(variable, std.rustflags())
        .env("CARGO_TARGET_DIR", folder);
    command.env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    command.args(["build", "--release", "--frozen", "--target", target]);
    for (package, binary) in BINARIES {
        command.args(["-p", package, "--bin", binary]);
    }
    Ok(command)
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::os::unix::fs::symlink(from, to).with_context(|| format!("cannot link {}", to.display()))
}

#[cfg(not(unix))]
fn link(_: &Path, to: &Path) -> Result<()> {
    bail!(
        "cannot link {}: static musl binaries are built on Linux",
        to.display()
    )
}

/// A static binary that does not start is worth nothing.
fn check_run(binary: &Path) -> Result<()> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| binary.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.trim().is_empty() {
        bail!("{} --version: {}", binary.display(), output.status);
    }
    println!("runs: {}", text.trim());
    Ok(())
}

fn pack(target: &str, binaries: &[PathBuf]) -> Result<()> {
    let folder = cargo::target_folder()?.join("dist");
    let name = format!("eventmart-{}-{target}", env!("CARGO_PKG_VERSION"));
    let staged = folder.join(&name);
    let _ = std::fs::remove_dir_all(&staged);
    std::fs::create_dir_all(&staged)?;
    let texts = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"].map(|text| cargo::root().join(text));
    for file in binaries.iter().chain(&texts) {
        let to = staged.join(file.file_name().context("a file has a name")?);
        std::fs::copy(file, &to).with_context(|| file.display().to_string())?;
    }
    let archive = format!("{name}.tar.gz");
    checked(
        Command::new("tar")
            .current_dir(&folder)
            .args(["-czf", &archive, &name]),
    )?;
    let sum = checked(Command::new("sha256sum").current_dir(&folder).arg(&archive))?;
    std::fs::write(folder.join(format!("{archive}.sha256")), &sum)?;
    for file in binaries.iter().chain([&folder.join(&archive)]) {
        println!(
            "{:>11} bytes  {}",
            std::fs::metadata(file)?.len(),
            file.display()
        );
    }
    print!("{}", String::from_utf8_lossy(&sum));
    Ok(())
}

fn checked(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}
