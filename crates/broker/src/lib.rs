//! Embedded Kafka-protocol broker and test-kit.
