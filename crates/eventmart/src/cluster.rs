//! The brokers a demo plays on: embedded, Apache Kafka started for it, or some that are already there.

use std::net::IpAddr;

use ferrokafka::ClientConfig;
use ferrokafka::broker::TestBroker;
use ferrokafka::broker::apache::ApacheKafka;

use crate::error::{Error, ErrorKind, Result};
use crate::topic::Names;

/// Which brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterChoice {
    /// A broker inside this process.
    Embedded,
    /// Apache Kafka, started for this run.
    Apache,
    /// Brokers that are already there, by their addresses.
    At {
        /// `host:port[,host:port…]`.
        bootstrap: String,
        /// Whether brokers on other machines may be touched.
        elsewhere: bool,
    },
}

/// Brokers that serve.
#[derive(Debug)]
pub struct Cluster {
    bootstrap: String,
    names: Names,
    running: Running,
}

enum Running {
    Embedded(TestBroker),
    Apache(ApacheKafka),
    External,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Embedded(_) => "embedded",
            Self::Apache(_) => "apache",
            Self::External => "external",
        })
    }
}

/// What a broker of our own is told: timers that suit a demo. Kafka's defaults suit a data centre.
pub const BROKER_CONFIGS: [(&str, &str); 6] = [
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "100"),
    ("log.retention.check.interval.ms", "1000"),
    ("log.cleaner.backoff.ms", "1000"),
    ("log.initial.task.delay.ms", "1000"),
    ("auto.create.topics.enable", "false"),
];

impl Cluster {
    /// Starts the brokers, or checks that those named may be used. `run` tells this run from others on a cluster
    /// that is shared.
    ///
    /// # Errors
    /// When they do not start, or are on another machine and `elsewhere` does not allow that.
    pub async fn start(choice: &ClusterChoice, seed: u64, run: &str) -> Result<Self> {
        match choice {
            ClusterChoice::Embedded => {
                let mut builder = TestBroker::builder().seed(seed);
                for (key, value) in BROKER_CONFIGS {
                    builder = builder.config(key, value);
                }
                let broker = builder.start().await.map_err(|error| {
                    Error::new(ErrorKind::Broker, "the embedded broker does not start")
                        .because(error)
                })?;
                let (bootstrap, names) = (broker.bootstrap(), Names::plain());
                Ok(Self {
                    bootstrap,
                    names,
                    running: Running::Embedded(broker),
                })
            }
            ClusterChoice::Apache => {
                let mut builder = ApacheKafka::builder();
                for (key, value) in BROKER_CONFIGS {
                    builder = builder.property(key, value);
                }
                let kafka = builder.start().await.map_err(|error| {
                    let fix = error.hint().unwrap_or("run: eventmart doctor").to_owned();
                    Error::new(ErrorKind::Machine, "Apache Kafka does not start")
                        .because(error)
                        .fix(fix)
                })?;
                let (bootstrap, names) = (kafka.bootstrap(), Names::plain());
                Ok(Self {
                    bootstrap,
                    names,
                    running: Running::Apache(kafka),
                })
            }
            ClusterChoice::At {
                bootstrap,
                elsewhere,
            } => {
                if !elsewhere && !bootstrap.split(',').all(is_loopback) {
                    let what = format!("{bootstrap} is not on this machine");
                    return Err(Error::new(ErrorKind::Usage, what)
                        .because("a demo creates topics and groups there")
                        .fix("if that is meant, add --yes; names begin with em-<seed>- and are removed at the end"));
                }
                let names = Names::prefixed(seed, run);
                Ok(Self {
                    bootstrap: bootstrap.clone(),
                    names,
                    running: Running::External,
                })
            }
        }
    }

    /// `embedded`, `apache` or `external`.
    pub fn kind(&self) -> &'static str {
        match self.running {
            Running::Embedded(_) => "embedded",
            Running::Apache(_) => "apache",
            Running::External => "external",
        }
    }

    /// Whether the brokers belong to this run alone, so that their timers are those of [`BROKER_CONFIGS`].
    pub fn is_own(&self) -> bool {
        !matches!(self.running, Running::External)
    }

    /// Addresses to find the cluster by.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How topics and groups are called on it.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// A client configuration for it.
    pub fn client_config(&self, client_id: &str) -> ClientConfig {
        ClientConfig::new(&self.bootstrap).client_id(client_id)
    }

    /// Stops brokers of our own. Their data goes with them.
    pub async fn stop(self) {
        match self.running {
            Running::Embedded(broker) => broker.stop().await,
            Running::Apache(kafka) => kafka.stop().await,
            Running::External => {}
        }
    }
}

/// Whether `host:port` names this machine without asking anybody.
fn is_loopback(address: &str) -> bool {
    let Some((host, _port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for here in ["localhost:9092", "127.0.0.1:1", "127.3.2.1:1", "[::1]:9092"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "kafka:9092",
            "10.0.0.1:9092",
            "localhost.example.com:9092",
            "localhost",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn brokers_elsewhere_need_a_yes() {
        let choice = |elsewhere| ClusterChoice::At {
            bootstrap: "kafka:9092".to_owned(),
            elsewhere,
        };
        let refused = Cluster::start(&choice(false), 42, "x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Usage);
        let cluster = Cluster::start(&choice(true), 42, "x").await.unwrap();
        assert_eq!(cluster.names().prefix(), "em-42-x-");
    }
}
