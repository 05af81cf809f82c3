//! The `eventmart` command: data on stdout, the rest on stderr, and an exit code that says what happened.

// Where the target's std comes without a libunwind, this is what unwinds the stack.
#[cfg(all(
    target_env = "musl",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
extern crate unwinding as _;

mod args;
mod command;
mod failure;
mod interrupt;
mod output;
mod render;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::Exit;

// musl's allocator is several times slower than this one for small objects; the tree holds no C, so it is a Rust one.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging(cli.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime does not start\n  why  {error}");
            return ExitCode::from(Exit::Error as u8);
        }
    };
    let no_color = cli.global.no_color;
    let exit = match runtime.block_on(run(cli.command, no_color)) {
        Ok(exit) => exit,
        Err(error) => {
            anstream::eprint!("{}", failure::text(&error));
            Exit::from(error.kind())
        }
    };
    // What a task still holds is not waited for: commands close what they opened before they return.
    runtime.shutdown_background();
    ExitCode::from(exit as u8)
}

async fn run(command: Command, no_color: bool) -> eventmart_core::error::Result<Exit> {
    match command {
        Command::Demo(args) => command::demo::run(args, no_color).await,
        Command::Service(args) => command::service::run(args).await,
        Command::Dev(args) => command::dev::run(args).await,
        Command::Topic(command) => command::topic::run(command).await,
        Command::Group(command) => command::group::run(command).await,
        Command::Doctor(args) => command::doctor::run(args).await,
    }
}

/// Logs go to stderr. EVENTMART_LOG takes a filter as RUST_LOG does.
fn logging(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("EVENTMART_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(verbose > 1)
        .init();
}
