//! A complete Kafka client stack in pure Rust: one dependency, features per part.
//!
//! Every byte to and from a broker passes through rskafka's `Messenger`; records, routing, groups and admin are ours,
//! and nothing links C. The parts are crates of their own and stand here as modules: [`client`], [`producer`],
//! [`consumer_group`], [`admin`], [`wire`], and with the feature `broker` an embedded broker for tests and
//! development. What one uses daily is re-exported flat.
//!
//! What it does not do yet: transactions, TLS and SASL, the KIP-848 group protocol.
//!
//! # Start
//! ```
//! # #[cfg(feature = "broker")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ferrokafka::{ClientConfig, Consumer, ConsumerConfig, NoListener, OffsetReset, Producer, ProducerConfig, ProducerRecord};
//!
//! let broker = ferrokafka::broker::TestBroker::builder().topic("orders", 3).start().await?;
//! let client = ClientConfig::new(broker.bootstrap());
//! let producer = Producer::connect(client.clone(), ProducerConfig::new()).await?;
//! let written = producer.send(ProducerRecord::new("orders").key("order-1").value("laptop")).await?.await?;
//! let config = ConsumerConfig::new("billing").auto_offset_reset(OffsetReset::Earliest);
//! let mut consumer = Consumer::connect(client, config).await?;
//! consumer.subscribe(["orders"], NoListener)?;
//! let record = loop {
//!     if let Some(record) = consumer.poll(std::time::Duration::from_secs(1)).await?.into_iter().next() {
//!         break record;
//!     }
//! };
//! assert_eq!((record.partition, record.offset), (written.topic_partition.partition, written.offset));
//! # consumer.close(std::time::Duration::from_secs(5)).await?;
//! # producer.close(std::time::Duration::from_secs(5)).await?;
//! # broker.stop().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "broker"))]
//! # fn main() {}
//! ```

pub use ferrokafka_admin as admin;
#[cfg(feature = "broker")]
pub use ferrokafka_broker as broker;
pub use ferrokafka_client as client;
pub use ferrokafka_consumer_group as consumer_group;
pub use ferrokafka_producer as producer;
pub use ferrokafka_wire as wire;

pub use ferrokafka_admin::Admin;
pub use ferrokafka_client::{Client, ClientConfig, Error, ErrorKind, TopicPartition};
pub use ferrokafka_consumer_group::{
    Assignor, BoxFuture, CommitOffsets, Consumer, ConsumerConfig, ConsumerRecord, NoListener,
    OffsetAndMetadata, OffsetReset, RebalanceContext, RebalanceListener, Records,
};
pub use ferrokafka_producer::{Delivery, Producer, ProducerConfig, ProducerRecord, RecordMetadata};
pub use ferrokafka_wire::ErrorCode;
