//! Connections to Kafka brokers: the lower half of the client stack.
//!
//! What it does: dials brokers, agrees on versions, sends requests over rskafka's `Messenger` on our
//! own transport, keeps metadata and coordinators, routes and retries, and gives every failure one
//! [`Error`] that says what can be done about it. Every wait has a deadline.
//!
//! What it does not: batch records, join groups, or know what a response means beyond its error code.
//! That is the producer's, the consumer's and the admin client's.
//!
//! ```no_run
//! # async fn example() -> Result<(), ferrokafka_client::Error> {
//! use ferrokafka_client::{Client, ClientConfig};
//!
//! let client = Client::connect(ClientConfig::new("127.0.0.1:9092")).await?;
//! println!("{} brokers", client.cluster().brokers.len());
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
