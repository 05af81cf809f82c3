//! Crash rounds: kill −9 of a broker with a file store while an idempotent producer writes, restart, and look.
//!
//! Each round starts a `ferrokafka-broker` process on a fresh folder, writes numbered records to three partitions,
//! kills the process at seeded moments, starts it again on the same port and folder, and at the end kills it once more.
//! Then every acknowledged record must be there, once, at the offset that was acknowledged, whole, and each partition
//! in the order of the writes; and a group's last acknowledged commit must be there.
//! A round is made from its seed alone: sizes, codec, batching and moments. The operating system's scheduling is not,
//! so a replay meets the same plan, not the same interleaving.
//!
//! `cargo xtask soak crash --rounds N --seed S` builds the broker and runs this; the last line is `N passed, N failed`.

mod broker;
mod check;
mod plan;
mod proxy;
mod round;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Kill −9 while records are written, and look what is left.
#[derive(Debug, Parser)]
struct Args {
    /// How many rounds
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Seed of the first round; the next ones count up
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program to kill
    #[arg(long, env = "FERROKAFKA_BROKER", value_name = "PATH")]
    broker: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let (mut passed, mut failed) = (0, 0);
    for seed in args.seed..args.seed.saturating_add(args.rounds) {
        let plan = plan::Plan::new(seed);
        match round::run(&args.broker, &plan).await {
            Ok(report) => {
                passed += 1;
                println!("ok     seed {seed}: {plan}; {report}");
            }
            Err(error) => {
                failed += 1;
                println!("not ok seed {seed}: {plan}\n       {error:#}");
                println!("       replay: cargo xtask soak crash --rounds 1 --seed {seed}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
