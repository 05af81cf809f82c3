//! Kafka admin client: topics, configs, groups, offsets, cluster.
//!
//! What it does: sends each request to the broker that can serve it (controller, coordinator, partition
//! leader, or all of them), retries what can be retried until a deadline, and gives one result per item.
//!
//! What it does not do yet: ACLs, quotas, SCRAM users, reassignments, transactions.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let broker = ferrokafka_broker::TestBroker::builder().nodes(1).start().await?;
//! # let servers = broker.bootstrap();
//! use ferrokafka_admin::{Admin, CreateOptions, NewTopic};
//! use ferrokafka_client::ClientConfig;
//!
//! let admin = Admin::connect(ClientConfig::new(servers)).await?;
//! let orders = NewTopic::new("orders", 6, 1).config("retention.ms", "604800000");
//! for (name, created) in admin.create_topics(&[orders], CreateOptions::default()).await? {
//!     println!("{name}: {} partitions", created?.partitions);
//! }
//! # broker.stop().await;
//! # Ok(())
//! # }
//! ```

mod admin;

mod cluster;
mod configs;
mod groups;
mod offsets;
mod topics;

mod assignment;

pub use admin::{Admin, PerItem};
pub use cluster::ClusterDescription;
pub use configs::{
    AlterConfigs, AlterOp, ConfigEntry, ConfigResource, ConfigResourceKind, ConfigSource,
    ConfigSynonym,
};
pub use groups::{CommittedOffset, GroupDescription, GroupListing, GroupMember};
pub use offsets::{IsolationLevel, ListedOffset, OffsetSpec};
pub use topics::{
    CreateOptions, CreatedTopic, NewPartitions, NewTopic, TopicDescription, TopicListing,
};
