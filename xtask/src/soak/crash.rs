//! Crash rounds: builds the broker and the harness (`crates/ferrokafka/tests/crash`), and passes its lines on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Count;
use crate::{cargo, server};

pub(super) fn run(rounds: u64, seed: u64) -> Result<Count> {
    let broker = server::build("ferrokafka-broker", &["--bin", "ferrokafka-broker"])?;
    println!("== crash: {rounds} rounds from seed {seed}");
    let mut child = cargo::command([
        "test",
        "-q",
        "--locked",
        "-p",
        "ferrokafka",
        "--features",
        "soak",
    ])
    .args([
        "--test",
        "crash",
        "--",
        "--rounds",
        &rounds.to_string(),
        "--seed",
        &seed.to_string(),
    ])
    .env("FERROKAFKA_BROKER", broker)
    .stdout(Stdio::piped())
    .spawn()
    .context("cannot start cargo")?;
    let mut count = None;
    for line in BufReader::new(child.stdout.take().context("stdout is piped")?).lines() {
        let line = line?;
        match closing_line(&line) {
            Some(closing) => count = Some(closing),
            None => println!("{line}"),
        }
    }
    let status = child.wait()?;
    match count {
        Some(count)
            if count.passed + count.failed == rounds && status.success() == (count.failed == 0) =>
        {
            Ok(count)
        }
        _ => bail!("the crash rounds did not come to their end ({status})"),
    }
}

/// `N passed, N failed`
fn closing_line(line: &str) -> Option<Count> {
    let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Count {
        passed: passed.parse().ok()?,
        failed: failed.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_told_from_the_others() {
        let count = closing_line("19 passed, 1 failed").expect("a closing line");
        assert_eq!((count.passed, count.failed), (19, 1));
        assert!(closing_line("ok     seed 1: 3 records").is_none());
    }
}
