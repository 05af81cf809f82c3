//! `cargo xtask real [FILTER]`: the tests that need Apache Kafka, which they start themselves.
//!
//! They are test targets with `required-features = ["real"]`. They fail where Kafka cannot be had: a skip is never
//! a pass. One test at a time: each brings its own cluster.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::cargo;

/// Which tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let targets = targets(&cargo::metadata(&["--locked", "--no-deps"])?);
    if targets.is_empty() {
        bail!("no test target requires the feature `real`");
    }
    let mut failed = Vec::new();
    for (package, target) in &targets {
        let mut line = vec![
            "test",
            "--locked",
            "-p",
            package,
            "--features",
            "real",
            "--test",
            target,
            "--",
            "--test-threads=1",
        ];
        line.extend(args.filter.as_deref());
        // The others still run, so that one run shows all there is to see.
        if let Err(error) = cargo::step(&format!("{package}, {target}"), &line) {
            eprintln!("{error}");
            failed.push(package.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("tests against Apache Kafka failed in {}", failed.join(", "));
    }
    Ok(())
}

/// Package and name of each test target that requires the feature.
fn targets(metadata: &Value) -> Vec<(String, String)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            let is_test = list(&target["kind"]).iter().any(|kind| kind == "test");
            if is_test
                && list(&target["required-features"])
                    .iter()
                    .any(|feature| feature == "real")
            {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                found.push((text(&package["name"]), text(&target["name"])));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_test_targets_that_require_the_feature_are_run() {
        let metadata = json!({ "packages": [{ "name": "a", "targets": [
            { "name": "real", "kind": ["test"], "required-features": ["real"] },
            { "name": "it", "kind": ["test"] },
            { "name": "tool", "kind": ["example"], "required-features": ["real"] },
        ]}]});
        assert_eq!(targets(&metadata), [("a".to_owned(), "real".to_owned())]);
    }
}
