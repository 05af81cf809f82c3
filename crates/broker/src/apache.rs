//! Apache Kafka itself, started from its jars: the reference that this broker and the client stack are compared with.
//!
//! One or three KRaft nodes, broker and controller in one process each, on free loopback ports, in a temporary
//! folder that goes away with them. The jars come from `KAFKA_HOME` if that is set (an unpacked release), else from
//! Maven Central, once, into the user's cache folder. Needs Java 17 or newer, and Maven for the first run.
//! It is for tests and demos: no security, one data folder a node, and nothing is kept.
//!
//! ```no_run
//! # async fn example() -> Result<(), ferrokafka_broker::apache::Error> {
//! use ferrokafka_broker::apache::ApacheKafka;
//!
//! let kafka = ApacheKafka::builder().nodes(3).property("group.min.session.timeout.ms", "100").start().await?;
//! println!("bootstrap.servers={}", kafka.bootstrap());
//! kafka.stop().await;
//! # Ok(())
//! # }
//! ```

mod error;
mod jars;
mod node;
mod probe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

pub use error::{Error, ErrorKind};
pub use jars::{VERSION, jars};
use node::{Layout, Node};

/// How often a start is repeated with other ports when one that was free a moment ago no longer is.
const PORT_ATTEMPTS: u32 = 3;
/// Nodes get this long to stop by themselves; Kafka's own controlled shutdown takes one to three seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What to start; see [`ApacheKafka::builder`].
#[derive(Debug, Clone)]
pub struct ApacheKafkaBuilder {
    nodes: usize,
    properties: Vec<(String, String)>,
    start_timeout: Duration,
}

impl ApacheKafkaBuilder {
    /// How many nodes; 1 by default. Internal topics are replicated to `min(3, nodes)`.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// A line of every node's `server.properties`, by Kafka's name; replaces what this type would write.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// How long the nodes may take to be ready, once the jars are there; one minute by default.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Starts the nodes, and returns when each of them names every broker and a controller.
    ///
    /// # Errors
    /// [`ErrorKind::JavaMissing`] and [`ErrorKind::MavenMissing`] say what to install; [`ErrorKind::Start`] and
    /// [`ErrorKind::NotReady`] carry the end of the node's log.
    ///
    /// # Cancellation
    /// Dropping the future kills what was started and removes its folder.
    pub async fn start(self) -> Result<ApacheKafka, Error> {
        if self.nodes == 0 {
            return Err(Error::new(
                ErrorKind::Start,
                "a cluster needs at least one node",
            ));
        }
        let libs = jars().await?;
        let mut attempt = 1;
        loop {
            match self.start_on_free_ports(&libs).await {
                Err(error) if error.kind() == ErrorKind::PortTaken && attempt < PORT_ATTEMPTS => {
                    attempt += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn start_on_free_ports(&self, libs: &Path) -> Result<ApacheKafka, Error> {
        let folder = tempfile::Builder::new()
            .prefix("apache-kafka-")
            .tempdir()
            .map_err(|source| Error::io("cannot make a temporary folder", source))?;
        let layouts = Layout::plan(folder.path(), self.nodes, &self.properties)?;
        let cluster_id = cluster_id();
        try_join_all(
            layouts
                .iter()
                .map(|layout| layout.format(libs, &cluster_id)),
        )
        .await?;
        let mut nodes = Vec::with_capacity(layouts.len());
        for layout in layouts {
            nodes.push(Node::spawn(layout, libs)?);
        }
        let deadline = Instant::now() + self.start_timeout;
        for node in &mut nodes {
            node.wait_until_ready(self.nodes, deadline).await?;
        }
        Ok(ApacheKafka {
            nodes,
            folder,
            libs: libs.to_owned(),
        })
    }
}

/// A running Apache Kafka cluster. [`stop`](Self::stop) ends it in order; dropping it kills it.
#[derive(Debug)]
pub struct ApacheKafka {
    // Dropped first: the folder goes after the processes that write into it.
    nodes: Vec<Node>,
    folder: TempDir,
    libs: PathBuf,
}

impl ApacheKafka {
    /// One node, Kafka's defaults but for what makes a small node start and react quickly.
    pub fn builder() -> ApacheKafkaBuilder {
        ApacheKafkaBuilder {
            nodes: 1,
            properties: Vec::new(),
            start_timeout: Duration::from_secs(60),
        }
    }

    /// `bootstrap.servers`: every node's address, in the order of their ids.
    pub fn bootstrap(&self) -> String {
        self.nodes
            .iter()
            .map(Node::address)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The folder with the jars of this release, for [`tool`](Self::tool)s of one's own.
    pub fn home(&self) -> &Path {
        &self.libs
    }

    /// The temporary folder of the cluster: `node-1`, `node-2` … with configuration, log and data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command line tool of this release by its main class, say `org.apache.kafka.tools.TopicCommand`.
    pub fn tool(&self, main_class: &str) -> Command {
        tool(&self.libs, main_class)
    }

    /// Kills a node as kill −9 does; ids start at 1. A node that is down stays down.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if there is no such node or it cannot be killed.
    pub async fn kill(&mut self, id: i32) -> Result<(), Error> {
        self.node(id)?.kill().await
    }

    /// Starts a killed node again, on its port and with its data, and waits until it serves.
    ///
    /// # Errors
    /// As [`ApacheKafkaBuilder::start`].
    pub async fn restart(&mut self, id: i32) -> Result<(), Error> {
        let (libs, nodes) = (self.libs.clone(), self.nodes.len());
        let node = self.node(id)?;
        node.respawn(&libs)?;
        node.wait_until_ready(nodes, Instant::now() + Duration::from_secs(60))
            .await
    }

    fn node(&mut self, id: i32) -> Result<&mut Node, Error> {
        self.nodes
            .iter_mut()
            .find(|node| node.id() == id)
            .ok_or_else(|| Error::new(ErrorKind::Io, format!("there is no node {id}")))
    }

    /// Stops every node with SIGTERM, those that need more than ten seconds with SIGKILL, and removes the folder.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        join_all(self.nodes.iter_mut().map(|node| node.stop(deadline))).await;
    }
}

/// A Java program of the release whose jars lie in `libs`.
pub fn tool(libs: &Path, main_class: &str) -> Command {
    let mut command = Command::new(node::java());
    command
        .arg("-cp")
        .arg(libs.join("*"))
        .arg(main_class)
        .kill_on_drop(true);
    command
}

/// A new cluster id: 16 bytes as Kafka writes them, URL-safe base64 without padding.
///
/// A version 7 UUID starts with the time, so the id never starts with `-`, which a command line takes for a flag.
fn cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = uuid::Uuid::now_v7().as_u128();
    // 128 bits are 21 groups of six and one of two, which stand at the top of the last character.
    let head = (0..21).map(|group| (bits >> (122 - 6 * group)) & 0x3f);
    let last = (bits & 0b11) << 4;
    head.chain([last])
        .map(|index| char::from(ALPHABET[index as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_sixteen_bytes_of_url_safe_base64() {
        let id = cluster_id();
        assert_eq!(id.len(), 22);
        assert!(id.starts_with('A'), "the time comes first: {id}");
        assert!(
            matches!(id.as_bytes()[21], b'A' | b'Q' | b'g' | b'w'),
            "the last character carries two bits: {id}"
        );
    }
}
