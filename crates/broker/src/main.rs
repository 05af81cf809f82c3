//! The embedded broker as a process.

// Where the target's std comes without a libunwind, this is what unwinds the stack.
#[cfg(all(
    target_env = "musl",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
extern crate unwinding as _;

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use ferrokafka_broker::{ErrorKind, TestBroker, TestBrokerBuilder};
use tokio::signal::unix::{SignalKind, signal};

/// musl's own allocator is three to four times slower for small objects.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Kafka-protocol broker for development, tests and courses; not a production cluster.
///
/// Prints `ready HOST:PORT[,HOST:PORT…]` on stdout once it serves. SIGTERM and Ctrl-C stop it cleanly.
#[derive(Debug, Parser)]
#[command(name = "ferrokafka-broker", version)]
struct Args {
    /// Address of the first node; further nodes take the following ports. Port 0 picks free ones.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Number of logical nodes in this process.
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: i32,
    /// Where logs and state are kept; without it they live in memory and end with the process.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A broker setting by Kafka's name; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// A topic to create if it does not exist; may be repeated.
    #[arg(long, value_name = "NAME:PARTITIONS")]
    topic: Vec<String>,
}

/// A wrong flag or setting, as clap answers it.
const USAGE: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let args = Args::parse();
    let builder = match builder(&args) {
        Ok(builder) => builder,
        Err(error) => return fail(&error, USAGE),
    };
    match run(builder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let wrong_setting = error
                .downcast_ref::<ferrokafka_broker::Error>()
                .is_some_and(|error| matches!(error.kind(), ErrorKind::Config | ErrorKind::Topic));
            fail(&error, if wrong_setting { USAGE } else { 1 })
        }
    }
}

/// One line with its causes; a stack would tell the user nothing.
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}

fn builder(args: &Args) -> anyhow::Result<TestBrokerBuilder> {
    let mut builder = TestBroker::builder()
        .without_script()
        .nodes(args.nodes)
        .listen(resolve(&args.listen)?);
    if let Some(directory) = &args.data_dir {
        builder = builder.data_dir(directory);
    }
    for pair in &args.config {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--config takes KEY=VALUE, not {pair:?}");
        };
        builder = builder.config(key, value);
    }
    for topic in &args.topic {
        let parsed = topic
            .rsplit_once(':')
            .and_then(|(name, n)| Some((name, n.parse().ok()?)));
        let Some((name, partitions)) = parsed else {
            bail!("--topic takes NAME:PARTITIONS, not {topic:?}");
        };
        builder = builder.topic(name, partitions);
    }
    Ok(builder)
}

async fn run(builder: TestBrokerBuilder) -> anyhow::Result<()> {
    // Before anything is started, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let broker = builder.start().await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready {}", broker.bootstrap())?;
    stdout.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await;
    Ok(())
}

fn resolve(listen: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = listen
        .to_socket_addrs()
        .with_context(|| format!("--listen takes HOST:PORT, not {listen:?}"))?;
    addresses
        .next()
        .with_context(|| format!("{listen} has no address"))
}
