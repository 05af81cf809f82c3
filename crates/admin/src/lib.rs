//! Kafka admin client: topics, configs, groups, offsets, cluster.
