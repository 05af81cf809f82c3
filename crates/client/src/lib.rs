//! Connections to Kafka brokers over rskafka's Messenger: metadata, routing, retries, errors.
