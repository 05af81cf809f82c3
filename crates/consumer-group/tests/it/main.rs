//! The consumer against the embedded broker.

mod assigned;
mod groups;
mod offsets;
mod rebalance;
mod recovery;
mod support;
