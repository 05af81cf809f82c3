//! The stack against Apache Kafka, and Kafka's own tools on what the stack wrote. `cargo xtask real` runs this.
//!
//! Each test starts the cluster it needs from Kafka's jars and fails where that cannot be had: a skip is never a pass.

mod dump;
mod failover;
mod java;
mod kafka;
mod records;
mod round_trip;
