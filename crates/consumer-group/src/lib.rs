//! Kafka consumer: background fetch per broker, membership in classic groups, assignors, offsets.
//!
//! What it does not: KIP-848 and share groups, fetch sessions, rack-aware assignment, decoding of
//! keys and values. A transactional producer commits offsets itself, by [`Consumer::group_metadata`].
//!
//! ```no_run
//! # async fn example() -> Result<(), ferrokafka_client::Error> {
//! use std::time::Duration;
//!
//! use ferrokafka_client::ClientConfig;
//! use ferrokafka_consumer_group::{CommitOffsets, Consumer, ConsumerConfig, NoListener, OffsetReset};
//!
//! let config = ConsumerConfig::new("billing")
//!     .auto_offset_reset(OffsetReset::Earliest)
//!     .enable_auto_commit(false);
//! let mut consumer = Consumer::connect(ClientConfig::new("127.0.0.1:9092"), config).await?;
//! consumer.subscribe(["orders"], NoListener)?;
//! for record in &consumer.poll(Duration::from_secs(1)).await? {
//!     println!("{}-{}@{}", record.topic, record.partition, record.offset);
//! }
//! consumer.commit(CommitOffsets::Consumed).await?;
//! consumer.close(Duration::from_secs(5)).await
//! # }
//! ```

mod assignor;
mod chunk;
mod committer;
mod config;
mod consumer;
mod events;
mod fetcher;
mod listener;
mod member;
mod membership;
mod offsets;
mod partitions;
mod positions;
mod record;
mod shared;

pub use assignor::{Assignment, Assignor, GroupMember, PartitionAssignor, RebalanceProtocol};
pub use config::{CONSUMER_KEYS, ConsumerConfig, IsolationLevel, OffsetReset};
pub use consumer::{Commit, Consumer};
pub use events::{GroupEvent, GroupEventKind, GroupEvents};
pub use ferrokafka_client::{
    Client, ClientConfig, Error, ErrorKind, GroupMetadata, TopicPartition,
};
pub use ferrokafka_wire::record::{Header, Headers, TimestampType};
pub use futures_util::future::BoxFuture;
pub use listener::{NoListener, RebalanceContext, RebalanceListener};
pub use offsets::{CommitOffsets, OffsetAndMetadata, SeekTo};
pub use record::{ConsumerRecord, Records};
