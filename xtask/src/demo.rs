//! `cargo xtask demo NAME [flags]`: builds the `eventmart` binary and becomes `eventmart demo NAME [flags]`.
//!
//! Names and flags belong to `eventmart`; they are handed on as they are, `--help` included. The process is
//! replaced, not wrapped, so the exit code and Ctrl-C are the demo's own.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo;

/// What is handed on to `eventmart demo`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// day1, day3, day4 … and flags: [--broker embedded|apache|HOST:PORT] [--fast] [--json] [--seed N] [--keep]
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "NAME [FLAGS]"
    )]
    rest: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // The first build takes minutes; cargo itself is told to be quiet, because stdout and stderr are the demo's.
    eprintln!("building eventmart … (the first time takes a few minutes)");
    replace(command_line(args))
}

fn command_line(args: &Args) -> Command {
    let mut command = cargo::command([
        "run",
        "-q",
        "-p",
        "eventmart-cli",
        "--bin",
        "eventmart",
        "--",
        "demo",
    ]);
    command.args(&args.rest);
    command
}

#[cfg(unix)]
fn replace(mut command: Command) -> Result<()> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()).context("cannot start cargo")
}

#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<()> {
    let status = command.status().context("cannot start cargo")?;
    std::process::exit(status.code().unwrap_or(1));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        demo: Args,
    }

    #[test]
    fn names_and_flags_are_handed_on_unchanged() {
        let cli = Cli::parse_from([
            "demo",
            "day4",
            "--broker",
            "127.0.0.1:9092",
            "--fast",
            "--seed",
            "7",
            "--help",
        ]);
        let command = command_line(&cli.demo);
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned())
            .collect();
        let split = args
            .iter()
            .position(|arg| arg == "--")
            .expect("cargo's arguments end");
        assert_eq!(
            args[split + 1..],
            [
                "demo",
                "day4",
                "--broker",
                "127.0.0.1:9092",
                "--fast",
                "--seed",
                "7",
                "--help"
            ]
        );
    }
}
