//! Kafka protocol without I/O: record batches, compression, partitioner hashes, error codes, messages.
