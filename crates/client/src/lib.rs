//! Connections to Kafka brokers: the lower half of the client stack.
//!
//! What it does: dials brokers, agrees on versions, sends requests over rskafka's `Messenger` on our
//! own transport, keeps metadata and coordinators, routes and retries, and gives every failure one
//! [`Error`] that says what can be done about it. Every wait has a deadline.
//!
//! What it does not: batch records, join groups, or know what a response means beyond its error code.
//! That is the producer's, the consumer's and the admin client's.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let broker = ferrokafka_broker::TestBroker::builder().nodes(3).start().await?;
//! # let servers = broker.bootstrap();
//! use std::time::Duration;
//! use ferrokafka_client::{Client, ClientConfig, CoordinatorKind};
//!
//! let client = Client::connect(ClientConfig::new(servers).client_id("docs")).await?;
//! assert_eq!(client.cluster().brokers.len(), 3);
//! let deadline = client.api_deadline();
//! let node = client.coordinator(CoordinatorKind::Group, "audit", deadline).await?;
//! println!("broker {node} coordinates the group");
//! client.close(Duration::from_secs(5)).await;
//! # broker.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod config;
mod error;

mod client;

mod call;
mod coordinators;
mod metadata;

mod connections;
mod link;

mod adapter;
mod connection;
mod connector;
mod decode;
mod throttle;
mod transport;
mod versions;

mod backoff;
mod cluster;
mod group_metadata;
mod metrics;
mod route;
mod simple;
mod task;
mod topic_partition;

pub use backoff::Backoff;
pub use call::CallTrace;
pub use client::Client;
pub use cluster::{Broker, Cluster, Partition, Topic};
pub use config::{AddressMap, ClientConfig};
pub use connector::{Connector, Stream, TcpConnector};
pub use error::{Delivery, Disposition, Error, ErrorKind};
pub use group_metadata::GroupMetadata;
pub use metrics::{Metrics, NoMetrics};
pub use route::{CoordinatorKind, Lane, NodeId, Route};
pub use simple::{rskafka, rskafka_client};
pub use topic_partition::TopicPartition;
