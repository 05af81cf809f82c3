//! Kafka producer: partitioners, record buffers, a sink per broker, idempotence.
