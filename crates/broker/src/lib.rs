//! Embedded Kafka-protocol broker and test-kit.

#[cfg(feature = "apache-kafka")]
pub mod apache;
