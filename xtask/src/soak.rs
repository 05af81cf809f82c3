//! `cargo xtask soak [NAME…]`: what is too long for every run.

mod crash;
mod fuzz;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::ValueEnum;

/// What to run and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All when none is given
    names: Vec<Name>,
    /// Crash rounds
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Seed of the first crash round; made up, and printed, when none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Minutes of fuzzing, split between the targets
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// kill -9 of the broker while an idempotent producer writes
    Crash,
    /// every fuzz target
    Fuzz,
}

/// What passed and what failed.
#[derive(Debug, Default)]
struct Count {
    passed: u64,
    failed: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let names = if args.names.is_empty() {
        Name::value_variants()
    } else {
        &args.names
    };
    let mut total = Count::default();
    for name in names {
        let count = match name {
            Name::Crash => crash::run(args.rounds, args.seed.unwrap_or_else(made_up_seed))?,
            Name::Fuzz => fuzz::run(args.minutes * 60)?,
        };
        total.passed += count.passed;
        total.failed += count.failed;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("the lines above say how to replay a failure");
    }
    Ok(())
}

/// Small enough to be typed again.
fn made_up_seed() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_secs() % 1_000_000 * 1_000
}
