//! Embedded Kafka-protocol broker and test-kit.
//!
//! It speaks the Kafka protocol to any client, keeps partitions in Kafka's own file formats (or in
//! memory), and runs several logical nodes in one process. It is for development, tests, courses and
//! small single-node use. **It is not a production cluster**: replicas exist in metadata only, one
//! process holds every log, and nothing is copied to another machine.
//!
//! What it does not do yet is simply not advertised: clients read the ApiVersions answer, which is
//! made from the handlers themselves. Transactions, SASL, TLS, ACLs, quotas, fetch sessions and the
//! KIP-848 group protocol are absent.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ferrokafka_broker::Error> {
//! use ferrokafka_broker::TestBroker;
//!
//! let broker = TestBroker::builder().nodes(1).topic("orders", 6).start().await?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! broker.stop().await;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "apache-kafka")]
pub mod apache;
mod broker;
mod clock;
mod codec;
pub mod config;
mod dispatch;
mod error;
mod group;
mod handlers;
mod journal;
mod maintenance;
mod partition;
mod placement;
mod server;
mod state;
mod storage;
mod testkit;
mod topic;

pub use broker::NodeId;
pub use clock::Clock;
pub use config::{BrokerConfig, ConfigError, TopicConfig};
pub use error::{Error, ErrorKind};
pub use ferrokafka_wire::ErrorCode;
pub use ferrokafka_wire::messages::ApiKey;
pub use ferrokafka_wire::record::Record;
pub use testkit::{Hold, Observed, On, TestBroker, TestBrokerBuilder};
