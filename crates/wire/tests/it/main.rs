//! What this crate promises, seen from outside.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may unwrap as tests do"
)]

mod compression;
mod frame;
mod golden;
mod oracle;
mod record;
