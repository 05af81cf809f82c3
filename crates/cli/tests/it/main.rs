//! The command as a shell sees it: help texts, wrong words, exit codes.

#![expect(
    clippy::unwrap_used,
    reason = "in helpers too, a step that fails fails the test"
)]

mod cmd;
mod run;
