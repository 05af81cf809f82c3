//! Kafka producer: partitioners, record buffers, a sink per broker, idempotence.
//!
//! What it does: encodes records as they come into one open batch for each partition, bounds the memory
//! they take, and sends the batches of all partitions of a broker together, several requests at a time.
//! By default it is idempotent: whatever happens to requests and connections, records of a partition
//! keep their order and none is written twice. Acknowledgements come for a batch; a [`Delivery`] for
//! each record, a [`BatchDelivery`] for many, and a callback
//! ([`ProducerConfig::on_ack`]) are three ways to read them.
//!
//! What it does not: transactions, `acks=0`, and splitting of batches that a broker finds too large.
//! Connections, metadata and errors are the client's.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let broker = ferrokafka_broker::TestBroker::builder().topic("orders", 3).start().await?;
//! # let bootstrap = broker.bootstrap();
//! use std::time::Duration;
//! use ferrokafka_client::ClientConfig;
//! use ferrokafka_producer::{Producer, ProducerConfig, ProducerRecord};
//!
//! let config = ProducerConfig::new().linger(Duration::from_millis(10));
//! let producer = Producer::connect(ClientConfig::new(bootstrap), config).await?;
//! for n in 0..1_000 {
//!     let record = ProducerRecord::new("orders").key(format!("customer-{}", n % 10)).value("…");
//!     // Not interested in this one's offset: `flush` and `close` tell of failures as well.
//!     drop(producer.send(record).await?);
//! }
//! producer.close(Duration::from_secs(10)).await?;
//! # assert_eq!(producer.metrics().records_acked, 1_000);
//! # broker.stop().await;
//! # Ok(())
//! # }
//! ```

mod config;
mod producer;
mod record;

mod accumulator;
mod acknowledgement;
mod batch;
mod buffer_memory;
mod metrics;
mod partition_queue;
mod partitioner;
mod sender;
mod shared;
mod sink;

pub use acknowledgement::{BatchAck, BatchDelivery, Delivery};
pub use config::{Acks, PRODUCER_KEYS, ProducerConfig};
pub use ferrokafka_wire::compression::Compression;
pub use ferrokafka_wire::record::Header;
pub use metrics::ProducerMetrics;
pub use partitioner::{Partition, Partitioner, Partitions};
pub use producer::{Producer, SendBatchError};
pub use record::{ProducerRecord, RecordMetadata};
