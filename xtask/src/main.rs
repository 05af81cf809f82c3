//! `cargo xtask`: developer commands, one file each.
//!
//! Light on purpose: it runs cargo, and through cargo the programs of the workspace; it links none of them.
//! A command exists once it does its work.

mod cargo;
mod cross_kit;
mod demo;
mod dist;
mod interop;
mod no_c;
mod real;
mod server;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of ferrokafka and EventMart.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a rust-std for musl targets where rustup has none to give
    CrossKit(cross_kit::Args),
    /// Run a demo of EventMart: builds the `eventmart` binary, then runs `eventmart demo …`
    Demo(demo::Args),
    /// Static binaries, proved to hold no C: tar.gz and sha256
    Dist(dist::Args),
    /// Third-party clients against a broker
    Interop(interop::Args),
    /// The tests that need Apache Kafka, one and three nodes (Java, Maven)
    Real(real::Args),
    /// What is too long for every run: crash rounds, fuzzing
    Soak(soak::Args),
    /// Everything that must hold before a change lands: format, tidy, no C, clippy, all tests and doctests
    Test,
    /// Compare ARCHITECTURE.md with the workspace, and check the layout rules
    Tidy,
    /// Check that the dependency graph of a target can pull in no C (the host's by default)
    NoC(no_c::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::CrossKit(args) => cross_kit::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Interop(args) => interop::run(&args),
        Command::Real(args) => real::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Test => test::run(),
        Command::Tidy => tidy::run(),
        Command::NoC(args) => no_c::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
