//! `cargo xtask test`: what must hold before a change lands, cheapest first, the test runner's lines last.
//!
//! Needs a Rust toolchain (with rustfmt and clippy) and a linker, nothing else.

use anyhow::Result;

use crate::cargo::step;
use crate::{no_c, tidy};

pub(crate) fn run() -> Result<()> {
    step("format", &["fmt", "--all", "--", "--check"])?;
    eprintln!("\n== tidy");
    tidy::run()?;
    eprintln!("\n== no C in what the host builds");
    no_c::run(&no_c::Args::default())?;
    // All features: the tests that need Apache Kafka are linted here although `cargo xtask real` runs them.
    step(
        "clippy",
        &[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    step(
        "tests and doctests",
        &["test", "--locked", "--workspace", "--no-fail-fast"],
    )
}
