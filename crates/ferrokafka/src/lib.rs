//! A complete Kafka client stack in pure Rust: one dependency, features per part.
