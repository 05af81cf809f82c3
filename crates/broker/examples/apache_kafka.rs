//! Apache Kafka as a process: `apache_kafka [--nodes N] [--config KEY=VALUE]…`, with the manners of `ferrokafka-broker`.
//!
//! Prints `ready HOST:PORT[,HOST:PORT…]` once it serves, and stops on Ctrl-C or SIGTERM.
//! `apache_kafka --jars` prints the folder with the jars, which is fetched first if need be.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use ferrokafka_broker::apache::{ApacheKafka, jars};
use tokio::signal::unix::{SignalKind, signal};

/// Apache Kafka from its jars, for tests and comparisons.
#[derive(Debug, Parser)]
struct Args {
    /// KRaft nodes, broker and controller in one process each
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// A broker property by Kafka's name
    #[arg(long = "config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Print the folder with the jars and start nothing
    #[arg(long)]
    jars: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    if args.jars {
        println!("{}", jars().await?.display());
        return Ok(());
    }
    let mut builder = ApacheKafka::builder().nodes(args.nodes);
    for pair in &args.config {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("{pair} is not KEY=VALUE"))?;
        builder = builder.property(key, value);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let kafka = builder.start().await?;
    println!("ready {}", kafka.bootstrap());
    tokio::select! {
        _ = terminate.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome?,
    }
    kafka.stop().await;
    Ok(())
}
