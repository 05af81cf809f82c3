//! `cargo xtask no-c [TARGET…]`: the dependency graph of a target can pull in no C.
//!
//! What is reachable is asked of `cargo tree -e normal,build`, which runs the real feature resolver;
//! `Cargo.lock` and `cargo metadata` also list what is never built (weak features, other platforms).
//! Three findings fail the gate: a crate known to compile or link C, a `links` key or a `*-sys` name without a
//! written reason, and C or archive files beside a build script. What a build really compiled and what a binary
//! really holds is checked by `cross/noc-artifacts.sh` over the musl build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// Crates that compile or link C, or exist to find a C library.
const BANNED: &[&str] = &[
    "autotools",
    "aws-lc-fips-sys",
    "aws-lc-rs",
    "aws-lc-sys",
    "bindgen",
    "blake3",
    "boring",
    "boring-sys",
    "bzip2-sys",
    "cc",
    "cmake",
    "cxx-build",
    "gcc",
    "libdeflate-sys",
    "liblzma-sys",
    "libmimalloc-sys",
    "librdkafka-sys",
    "libsqlite3-sys",
    "libz-ng-sys",
    "libz-sys",
    "lz4-sys",
    "lzma-sys",
    "metadeps",
    "nasm-rs",
    "native-tls",
    "openssl-src",
    "openssl-sys",
    "pkg-config",
    "psm",
    "rdkafka-sys",
    "ring",
    "rusqlite",
    "stacker",
    "system-deps",
    "tikv-jemalloc-sys",
    "vcpkg",
    "zstd-safe",
    "zstd-sys",
];

/// `*-sys` crates that link nothing, and why they may stay.
const SYS_ALLOWED: &[(&str, &str)] = &[(
    "linux-raw-sys",
    "constants and types of the Linux kernel, generated Rust",
)];

/// `links` keys that stand for no native library, and why they may stay.
const LINKS_ALLOWED: &[(&str, &str)] = &[];

/// Ends of files that a build script could hand to a compiler or a linker.
const C_FILES: &[&str] = &["a", "asm", "c", "cc", "cpp", "cxx", "lib", "o", "s", "S"];

/// Which targets to look at.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Target triples; the host's when none is given
    targets: Vec<String>,
}

impl Args {
    /// One target.
    pub(crate) fn of(target: &str) -> Self {
        Self {
            targets: vec![target.to_owned()],
        }
    }
}

type Package = (String, String);

pub(crate) fn run(args: &Args) -> Result<()> {
    let targets = if args.targets.is_empty() {
        vec![cargo::host()?]
    } else {
        args.targets.clone()
    };
    let mut findings = Vec::new();
    for target in &targets {
        let (crates, found) = examine(target)?;
        println!(
            "{target}: {crates} crates by normal and build edges, {} findings",
            found.len()
        );
        findings.extend(found);
    }
    if !findings.is_empty() {
        bail!("C in the dependency graph:\n  {}", findings.join("\n  "));
    }
    Ok(())
}

fn examine(target: &str) -> Result<(usize, Vec<String>)> {
    let tree = cargo::output(&tree_args(target, &[]))?;
    let reachable = packages(&tree);
    let metadata = cargo::metadata(&["--locked", "--all-features", "--filter-platform", target])?;
    let known = by_package(&metadata)?;
    let mut findings = Vec::new();
    for package in &reachable {
        let facts = known
            .get(package)
            .with_context(|| format!("cargo metadata lacks {} {}", package.0, package.1))?;
        for reason in reasons(facts) {
            findings.push(format!(
                "{} {}: {reason}; {}",
                package.0,
                package.1,
                path_to(target, package)
            ));
        }
    }
    Ok((reachable.len(), findings))
}

fn tree_args<'a>(target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "tree",
        "--locked",
        "--workspace",
        "--all-features",
        "-e",
        "normal,build",
    ];
    args.extend(["--target", target, "--prefix", "none", "-f", "{p}"]);
    args.extend(more);
    args
}

/// Name and version of every line of `cargo tree`.
fn packages(tree: &str) -> BTreeSet<Package> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let version = words.next()?.strip_prefix('v')?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

fn by_package(metadata: &Value) -> Result<BTreeMap<Package, &Value>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    packages
        .iter()
        .map(|package| {
            let text = |field: &str| {
                package[field]
                    .as_str()
                    .map(str::to_owned)
                    .with_context(|| format!("a package without {field}"))
            };
            Ok(((text("name")?, text("version")?), package))
        })
        .collect()
}

/// Why a package may not be in the graph: nothing, or one sentence a reason.
fn reasons(package: &Value) -> Vec<String> {
    let mut reasons = Vec::new();
    let name = package["name"].as_str().unwrap_or_default();
    if BANNED.contains(&name) {
        reasons.push("known to compile or link C".to_owned());
    } else if name.ends_with("-sys") && !SYS_ALLOWED.iter().any(|(allowed, _)| *allowed == name) {
        reasons.push("a *-sys crate without a written reason in xtask/src/no_c.rs".to_owned());
    }
    if let Some(links) = package["links"].as_str()
        && !LINKS_ALLOWED.iter().any(|(allowed, _)| *allowed == links)
    {
        reasons.push(format!(
            "links = {links:?} without a written reason in xtask/src/no_c.rs"
        ));
    }
    if has_build_script(package)
        && let Some(root) = package["manifest_path"]
            .as_str()
            .and_then(|path| Path::new(path).parent())
        && let Some(file) = c_file_below(root)
    {
        reasons.push(format!("a build script beside {file}"));
    }
    reasons
}

fn has_build_script(package: &Value) -> bool {
    let targets = package["targets"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    targets.iter().any(|target| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "custom-build"))
    })
}

/// The first file below `root` that a build script could compile or link, tests and examples aside.
fn c_file_below(root: &Path) -> Option<String> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                if ![
                    "tests", "test", "benches", "examples", "fuzz", "target", ".git",
                ]
                .iter()
                .any(|skip| name == *skip)
                {
                    folders.push(path);
                }
            } else if path
                .extension()
                .and_then(|end| end.to_str())
                .is_some_and(|end| C_FILES.contains(&end))
            {
                return Some(
                    path.strip_prefix(root)
                        .unwrap_or(&path)
                        .display()
                        .to_string(),
                );
            }
        }
    }
    None
}

/// Who asks for a package, for the message only.
fn path_to(target: &str, package: &Package) -> String {
    let spec = format!("{}@{}", package.0, package.1);
    match cargo::output(&tree_args(target, &["-i", &spec])) {
        Ok(tree) => {
            let names: Vec<_> = tree
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .take(5)
                .collect();
            names.join(" <- ")
        }
        Err(error) => format!("(path unknown: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, links: Option<&str>) -> Value {
        json!({ "name": name, "links": links, "targets": [], "manifest_path": "/nowhere/Cargo.toml" })
    }

    #[test]
    fn tree_lines_give_name_and_version() {
        let tree = "xtask v0.1.0 (/src/xtask)\nbytes v1.12.0\nserde_derive v1.0.0 (proc-macro) (*)\n\n[build-dependencies]\n";
        let names: Vec<_> = packages(tree).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["bytes", "serde_derive", "xtask"]);
    }

    #[test]
    fn known_c_crates_sys_names_and_links_are_refused() {
        assert_eq!(reasons(&package("bytes", None)), Vec::<String>::new());
        assert_eq!(
            reasons(&package("linux-raw-sys", None)),
            Vec::<String>::new()
        );
        assert_eq!(reasons(&package("ring", None)).len(), 1);
        assert_eq!(reasons(&package("something-sys", None)).len(), 1);
        assert_eq!(reasons(&package("harmless", Some("z"))).len(), 1);
    }

    #[test]
    fn c_beside_a_build_script_is_found_and_without_one_ignored() {
        let folder = std::env::temp_dir().join(format!("xtask-no-c-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("src/native")).expect("a temporary folder");
        std::fs::write(folder.join("src/native/x.c"), "").expect("a file in it");
        let manifest = folder.join("Cargo.toml");
        let with = |kind: &str| json!({ "name": "x", "targets": [{ "kind": [kind] }], "manifest_path": manifest });
        let (script, library) = (reasons(&with("custom-build")), reasons(&with("lib")));
        std::fs::remove_dir_all(&folder).expect("the folder can be removed");
        assert_eq!(script, ["a build script beside src/native/x.c"]);
        assert_eq!(library, Vec::<String>::new());
    }
}
