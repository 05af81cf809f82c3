//! Kafka consumer: background fetch, group membership, assignors, offsets.
