//! The consumer against the embedded broker.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod assigned;
mod churn;
mod groups;
mod offsets;
mod rebalance;
mod recovery;
mod support;
