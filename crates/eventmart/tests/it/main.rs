//! The platform seen from outside: the story a seed tells, and its encoding.
#![expect(
    clippy::unwrap_used,
    reason = "in helpers too, a step that fails fails the test"
)]

mod determinism;
mod story;
