//! `cargo xtask tidy`: ARCHITECTURE.md and the workspace say the same, and files follow the layout rules.
//!
//! Checked: the table between `<!-- tidy:begin -->` and `<!-- tidy:end -->` names every workspace crate and no other;
//! each normal or build edge between workspace crates stands in it; a foreign crate that one crate alone may name is
//! named by no other; each source file opens with `//!`, and none is called `mod.rs` or `util.rs`.
//! Dev-dependencies are free: tests may depend on anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo;

/// Foreign crates that one workspace crate alone may depend on, so that they can be replaced there.
const SOLE_OWNERS: &[(&str, &str)] = &[
    ("kafka-protocol", "crates/wire"),
    ("rskafka", "crates/client"),
];

/// Edges between workspace directories.
type Edges = BTreeMap<String, BTreeSet<String>>;

pub(crate) fn run() -> Result<()> {
    let findings = examine()?;
    if !findings.is_empty() {
        bail!(
            "the tree and its rules differ:\n  {}",
            findings.join("\n  ")
        );
    }
    println!("tidy: the workspace matches ARCHITECTURE.md");
    Ok(())
}

fn examine() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(cargo::root().join("ARCHITECTURE.md"))
        .context("ARCHITECTURE.md")?;
    let metadata = cargo::metadata(&["--locked", "--no-deps"])?;
    let packages = Packages::new(&metadata)?;
    let mut findings = compare(&allowed_edges(&text)?, &packages.edges);
    findings.extend(packages.foreign_findings);
    files_below(cargo::root(), cargo::root(), &mut findings)?;
    Ok(findings)
}

/// What `cargo metadata` says about the crates of the workspace.
struct Packages {
    edges: Edges,
    foreign_findings: Vec<String>,
}

impl Packages {
    fn new(metadata: &Value) -> Result<Self> {
        let packages = metadata["packages"]
            .as_array()
            .context("cargo metadata lists no packages")?;
        let mut directories = BTreeMap::new();
        for package in packages {
            let name = package["name"]
                .as_str()
                .context("a package without a name")?;
            directories.insert(name, directory(package)?);
        }
        let mut edges = Edges::new();
        let mut foreign_findings = Vec::new();
        for package in packages {
            let from = directory(package)?;
            let uses = edges.entry(from.clone()).or_default();
            for dependency in package["dependencies"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default()
            {
                if dependency["kind"] == "dev" {
                    continue;
                }
                let name = dependency["name"].as_str().unwrap_or_default();
                uses.extend(directories.get(name).cloned());
                if let Some((_, owner)) = SOLE_OWNERS
                    .iter()
                    .find(|(foreign, owner)| *foreign == name && *owner != from)
                {
                    foreign_findings.push(format!(
                        "{from} depends on {name}, which only {owner} may name"
                    ));
                }
            }
        }
        Ok(Self {
            edges,
            foreign_findings,
        })
    }
}

/// The directory of a workspace package, relative to the root, with forward slashes.
fn directory(package: &Value) -> Result<String> {
    let manifest = Path::new(
        package["manifest_path"]
            .as_str()
            .context("a package without a manifest")?,
    );
    let folder = manifest.parent().context("a manifest without a folder")?;
    let relative = folder.strip_prefix(cargo::root()).unwrap_or(folder);
    Ok(relative
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/"))
}

/// The table of ARCHITECTURE.md: `| directory | what it does | crates it may use |`, names in back quotes.
fn allowed_edges(text: &str) -> Result<Edges> {
    let begin = text
        .find("<!-- tidy:begin -->")
        .context("ARCHITECTURE.md has no <!-- tidy:begin -->")?;
    let end = text
        .find("<!-- tidy:end -->")
        .context("ARCHITECTURE.md has no <!-- tidy:end -->")?;
    let mut edges = Edges::new();
    for line in text
        .get(begin..end)
        .context("tidy:end stands before tidy:begin")?
        .lines()
    {
        let cells: Vec<_> = line
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let [directory, _, uses] = cells[..] else {
            continue;
        };
        let Some(directory) = quoted(directory).into_iter().next() else {
            continue;
        };
        edges.insert(directory, quoted(uses));
    }
    if edges.is_empty() {
        bail!("the table of ARCHITECTURE.md is empty");
    }
    Ok(edges)
}

/// What stands in back quotes.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn compare(allowed: &Edges, actual: &Edges) -> Vec<String> {
    let mut findings = Vec::new();
    for (from, uses) in actual {
        match allowed.get(from) {
            None => findings.push(format!("{from} is not in the table of ARCHITECTURE.md")),
            Some(may_use) => {
                for to in uses.difference(may_use) {
                    findings.push(format!(
                        "{from} uses {to}, which the table of ARCHITECTURE.md does not allow"
                    ));
                }
            }
        }
    }
    for (row, may_use) in allowed {
        if !actual.contains_key(row) {
            findings.push(format!(
                "ARCHITECTURE.md has a row for {row}, which is no crate of the workspace"
            ));
        }
        for to in may_use.iter().filter(|to| !actual.contains_key(*to)) {
            findings.push(format!(
                "ARCHITECTURE.md lets {row} use {to}, which is no crate of the workspace"
            ));
        }
    }
    findings
}

fn files_below(root: &Path, folder: &Path, findings: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&&*name) {
                files_below(root, &path, findings)?;
            }
        } else if name.ends_with(".rs") {
            let shown = path.strip_prefix(root).unwrap_or(&path).display();
            if name == "mod.rs" || name == "util.rs" {
                findings.push(format!("{shown}: name the file after its noun"));
            }
            let text = std::fs::read_to_string(&path).with_context(|| shown.to_string())?;
            if !opens_with_docs(&text) {
                findings.push(format!("{shown}: does not open with `//!`"));
            }
        }
    }
    Ok(())
}

/// `//!` comes first; a script's `#![…]` line may stand before it.
fn opens_with_docs(text: &str) -> bool {
    text.lines()
        .find(|line| !line.is_empty() && !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(rows: &[(&str, &[&str])]) -> Edges {
        rows.iter()
            .map(|(from, to)| {
                (
                    (*from).to_owned(),
                    to.iter().map(|to| (*to).to_owned()).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn the_workspace_matches_architecture_md() {
        assert_eq!(
            examine().expect("the workspace can be read"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_table_is_read_between_its_marks() {
        let text = "| `crates/no` | x | |\n<!-- tidy:begin -->\n| dir | what | uses |\n|---|---|---|\n| `crates/a` | one | – |\n\
                    | `crates/b` | two | `crates/a` |\n<!-- tidy:end -->\n";
        let table = allowed_edges(text).expect("a table");
        assert_eq!(
            table,
            edges(&[("crates/a", &[]), ("crates/b", &["crates/a"])])
        );
    }

    #[test]
    fn a_new_edge_a_new_crate_and_a_stale_row_are_findings() {
        let allowed = edges(&[("a", &[]), ("b", &["a"]), ("gone", &["a"])]);
        assert_eq!(
            compare(
                &allowed,
                &edges(&[("a", &[]), ("b", &["a"]), ("gone", &[])])
            ),
            Vec::<String>::new()
        );
        let findings = compare(&allowed, &edges(&[("a", &["b"]), ("b", &[]), ("new", &[])]));
        assert_eq!(findings.len(), 3, "{findings:?}");
    }

    #[test]
    fn a_file_opens_with_its_docs() {
        assert!(opens_with_docs("//! What it does.\n"));
        assert!(opens_with_docs("#![no_main]\n//! A fuzz target.\n"));
        assert!(!opens_with_docs("use std::io;\n//! Late.\n"));
    }
}
