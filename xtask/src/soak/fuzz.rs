//! Fuzzing: every target of `fuzz/`, the time split between them. Needs cargo-fuzz; stable, without a sanitizer.
//!
//! A finding is kept by cargo-fuzz below `fuzz/artifacts/`, and its lines name the command that replays it.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Count;
use crate::cargo;

/// Bytes that a decoder may be given: a few records, or a whole small message.
const LEN_MAX: u32 = 16_384;
/// A decoder that needs more memory than this for so few bytes trusts a count.
const RSS_MIB_MAX: u32 = 1_024;
/// An input that takes longer than this hangs.
const INPUT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(seconds: u64) -> Result<Count> {
    let targets = cargo::output(&["fuzz", "list"])
        .context("cargo-fuzz is missing? `cargo install cargo-fuzz --locked`")?;
    let targets: Vec<_> = targets.split_whitespace().collect();
    if targets.is_empty() {
        bail!("fuzz/ has no targets");
    }
    build(&targets)?;
    let each = (seconds / targets.len() as u64).max(1);
    let mut count = Count::default();
    for target in targets {
        println!("== fuzz {target}: {each} s");
        let limits = [
            format!("-max_total_time={each}"),
            format!("-max_len={LEN_MAX}"),
            format!("-rss_limit_mb={RSS_MIB_MAX}"),
            format!("-timeout={}", INPUT_TIMEOUT.as_secs()),
            "-print_final_stats=1".to_owned(),
        ];
        let output = cargo::command(["fuzz", "run", "--sanitizer", "none", target, "--"])
            .args(&limits)
            .output()
            .context("cannot start cargo")?;
        let held = output.status.success();
        let log = String::from_utf8_lossy(&output.stderr);
        if held {
            println!(
                "ok {target}: {} inputs",
                inputs(&log).context("libFuzzer printed no statistics")?
            );
        } else {
            // libFuzzer's last lines name the panic, the input, and how to replay it.
            let last: Vec<_> = log.lines().rev().take(60).collect();
            println!(
                "{}\nnot ok {target}",
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        if held {
            count.passed += 1
        } else {
            count.failed += 1
        }
    }
    Ok(count)
}

/// How many inputs were tried.
fn inputs(log: &str) -> Option<u64> {
    log.lines().find_map(|line| {
        line.strip_prefix("stat::number_of_executed_units:")?
            .trim()
            .parse()
            .ok()
    })
}

/// Built first, so that the time of a target is spent on fuzzing.
fn build(targets: &[&str]) -> Result<()> {
    eprintln!("building {} fuzz targets …", targets.len());
    let status = cargo::command(["fuzz", "build", "--sanitizer", "none"])
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the fuzz targets do not build ({status})");
    }
    Ok(())
}
