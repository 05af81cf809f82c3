//! `cargo xtask interop [SUITE…] [--broker …]`: third-party clients against a broker.
//!
//! The suites are programs in `interop/`, which says how they report. A suite whose client is not there fails.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::server::{Server, kafka_jars};

const SUITES: &[&str] = &["kcat", "console"];

/// Which clients, and against what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// kcat, console; all when none is given
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(SUITES))]
    suites: Vec<String>,
    /// embedded (a ferrokafka-broker process), apache (one node of Apache Kafka), or HOST:PORT
    #[arg(
        short,
        long,
        default_value = "embedded",
        value_name = "embedded|apache|HOST:PORT"
    )]
    #[arg(aliases = ["brokers", "bootstrap-server", "bootstrap"])]
    broker: String,
}

#[derive(Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = cargo::target_folder()?.join("interop");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let server = match args.broker.as_str() {
        "embedded" => Some(Server::embedded(&folder)?),
        "apache" => Some(Server::apache(&folder)?),
        _ => None,
    };
    let bootstrap = server
        .as_ref()
        .map_or(args.broker.as_str(), Server::bootstrap)
        .to_owned();
    let all: Vec<_> = SUITES.iter().map(|suite| (*suite).to_owned()).collect();
    let suites = if args.suites.is_empty() {
        &all
    } else {
        &args.suites
    };
    let mut count = Count::default();
    for suite in suites {
        println!("\n== {suite} against {} ({bootstrap})", args.broker);
        run_suite(suite, &bootstrap, &mut count)?;
    }
    if let Some(server) = server {
        count.line(server.stop(), "the broker stops on SIGTERM");
    }
    println!("\n{} passed, {} failed", count.passed, count.failed);
    if count.failed > 0 {
        bail!("the broker's log is in {}", folder.display());
    }
    Ok(())
}

impl Count {
    fn line(&mut self, held: bool, name: &str) {
        println!("{} {name}", if held { "ok" } else { "not ok" });
        if held {
            self.passed += 1
        } else {
            self.failed += 1
        }
    }
}

fn run_suite(suite: &str, bootstrap: &str, count: &mut Count) -> Result<()> {
    let script: PathBuf = cargo::root().join("interop").join(format!("{suite}.sh"));
    let mut command = Command::new(&script);
    command.arg(bootstrap).stdout(Stdio::piped());
    if suite == "console" {
        command.env("KAFKA_JARS", kafka_jars()?);
    }
    let mut child = command
        .spawn()
        .with_context(|| script.display().to_string())?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let before = count.failed;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(name) = line.strip_prefix("ok ") {
            count.line(true, name);
        } else if let Some(name) = line.strip_prefix("not ok ") {
            count.line(false, name);
        } else {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    if !status.success() && count.failed == before {
        count.line(false, &format!("{suite} runs to its end ({status})"));
    }
    Ok(())
}
