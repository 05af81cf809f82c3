//! Settings of a [`Client`](crate::Client): Kafka's names, types, defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind};
use crate::metrics::{Metrics, NoMetrics};

mod table;

pub use table::{
    ConfigRow, ConfigTable, nearest, parse_bool, parse_duration_ms, parse_int, reject_unknown,
    unknown_key,
};

/// Maps an advertised address to the one that is dialled.
pub type AddressMap = Arc<dyn Fn(&str, u16) -> (String, u16) + Send + Sync>;

/// Settings of a [`Client`](crate::Client). Every setting but the bootstrap servers has a default.
///
/// ```
/// use std::time::Duration;
/// use ferrokafka_client::ClientConfig;
///
/// let config = ClientConfig::new("127.0.0.1:9092")
///     .client_id("checkout")
///     .request_timeout(Duration::from_secs(10));
/// assert_eq!(config.bootstrap_servers(), ["127.0.0.1:9092"]);
///
/// let error = ClientConfig::from_properties([("bootstrap.server", "b:9092")]).unwrap_err();
/// assert_eq!(error.hint(), Some("did you mean \"bootstrap.servers\"?"));
/// ```
#[derive(Clone)]
pub struct ClientConfig {
    pub(crate) bootstrap_servers: Vec<String>,
    pub(crate) client_id: Arc<str>,
    pub(crate) request_timeout: Duration,
    pub(crate) connection_setup_timeout: Duration,
    pub(crate) api_timeout: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) retry_backoff_max: Duration,
    pub(crate) reconnect_backoff: Duration,
    pub(crate) reconnect_backoff_max: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) allow_auto_create_topics: bool,
    pub(crate) in_flight_max: usize,
    pub(crate) receive_bytes_max: usize,
    pub(crate) address_map: Option<AddressMap>,
    pub(crate) metrics: Arc<dyn Metrics>,
}

impl ClientConfig {
    /// Connects through these servers: one or more `host:port`, separated by commas.
    ///
    /// They are used to find the cluster and are asked again, names resolved anew, when no broker of
    /// it answers any more.
    pub fn new(bootstrap_servers: impl AsRef<str>) -> Self {
        Self {
            bootstrap_servers: split_servers(bootstrap_servers.as_ref()),
            client_id: Arc::from("ferrokafka"),
            request_timeout: Duration::from_secs(30),
            connection_setup_timeout: Duration::from_secs(10),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            allow_auto_create_topics: false,
            in_flight_max: 100,
            receive_bytes_max: 100 * 1024 * 1024,
            address_map: None,
            metrics: Arc::new(NoMetrics),
        }
    }

    /// Reads settings by Kafka's property names, see [`CLIENT_KEYS`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an unknown key (with the nearest one), a malformed value, or missing
    /// `bootstrap.servers`.
    pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        let mut config = Self::new("");
        CLIENT_KEYS.set_all(&mut config, properties)?;
        config.validate()?;
        Ok(config)
    }

    /// Name under which brokers log and limit this client. `client.id`; default `ferrokafka`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<Arc<str>>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Longest wait for the answer to one request. `request.timeout.ms`; default 30 s.
    ///
    /// A connection that leaves a request unanswered for so long is replaced. Does not apply to
    /// [`Lane::Join`](crate::Lane::Join).
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Longest wait for a connection to be set up, tried address by address.
    /// `socket.connection.setup.timeout.ms`; default 10 s.
    #[must_use]
    pub fn connection_setup_timeout(mut self, timeout: Duration) -> Self {
        self.connection_setup_timeout = timeout;
        self
    }

    /// Longest time for an operation with all its retries, where the call takes no deadline of its
    /// own. `default.api.timeout.ms`; default 60 s.
    #[must_use]
    pub fn api_timeout(mut self, timeout: Duration) -> Self {
        self.api_timeout = timeout;
        self
    }

    /// Wait before a retry: the first one, and the longest that doubling leads to.
    /// `retry.backoff.ms`, `retry.backoff.max.ms`; default 100 ms and 1 s.
    #[must_use]
    pub fn retry_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.retry_backoff = initial;
        self.retry_backoff_max = max;
        self
    }

    /// Wait before a broker that could not be reached is dialled again: the first one, and the longest.
    /// `reconnect.backoff.ms`, `reconnect.backoff.max.ms`; default 50 ms and 1 s.
    #[must_use]
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.reconnect_backoff = initial;
        self.reconnect_backoff_max = max;
        self
    }

    /// Age at which metadata is fetched anew although nothing seems wrong. `metadata.max.age.ms`;
    /// default 5 min.
    #[must_use]
    pub fn metadata_max_age(mut self, age: Duration) -> Self {
        self.metadata_max_age = age;
        self
    }

    /// Whether asking for an unknown topic lets a broker create it, if the broker is set so as well.
    /// `allow.auto.create.topics`; default false. Differs from Java (true): a mistyped name is an
    /// error, not a new topic.
    #[must_use]
    pub fn allow_auto_create_topics(mut self, allow: bool) -> Self {
        self.allow_auto_create_topics = allow;
        self
    }

    /// Most requests unanswered at a time on one connection; further ones wait in order. Default 100.
    #[must_use]
    pub fn in_flight_max(mut self, requests: usize) -> Self {
        self.in_flight_max = requests.max(1);
        self
    }

    /// Largest response accepted; a longer one is an error and closes the connection. Default 100 MiB.
    #[must_use]
    pub fn receive_bytes_max(mut self, bytes: usize) -> Self {
        self.receive_bytes_max = bytes;
        self
    }

    /// Dials another address than the advertised one: for proxies, tunnels and tests. Not applied to
    /// the bootstrap servers, which are given as they are to be dialled.
    #[must_use]
    pub fn address_map(
        mut self,
        map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static,
    ) -> Self {
        self.address_map = Some(Arc::new(map));
        self
    }

    /// Where measurements go. Default: nowhere.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// The bootstrap servers.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &[String] {
        &self.bootstrap_servers
    }

    /// See [`ClientConfig::client_id`].
    #[must_use]
    pub fn get_client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// See [`ClientConfig::request_timeout`].
    #[must_use]
    pub fn get_request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// See [`ClientConfig::api_timeout`].
    #[must_use]
    pub fn get_api_timeout(&self) -> Duration {
        self.api_timeout
    }

    /// See [`ClientConfig::metrics`].
    #[must_use]
    pub fn get_metrics(&self) -> &Arc<dyn Metrics> {
        &self.metrics
    }

    /// The waits between attempts, from `retry.backoff.ms` and `retry.backoff.max.ms`.
    #[must_use]
    pub fn get_retry_backoff(&self) -> Backoff {
        Backoff::new(self.retry_backoff, self.retry_backoff_max)
    }

    /// Checks what no single setting can: that servers are given and well-formed, and pairs that
    /// contradict each other.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let fail = |message: String| Err(Error::new(ErrorKind::Config, message));
        if self.bootstrap_servers.is_empty() {
            return fail("bootstrap.servers is empty".to_owned());
        }
        for server in &self.bootstrap_servers {
            if split_host_port(server).is_none() {
                return fail(format!("bootstrap.servers: {server:?} is not host:port"));
            }
        }
        for (low_key, low, high_key, high) in [
            (
                "retry.backoff.ms",
                self.retry_backoff,
                "retry.backoff.max.ms",
                self.retry_backoff_max,
            ),
            (
                "reconnect.backoff.ms",
                self.reconnect_backoff,
                "reconnect.backoff.max.ms",
                self.reconnect_backoff_max,
            ),
            (
                "request.timeout.ms",
                self.request_timeout,
                "default.api.timeout.ms",
                self.api_timeout,
            ),
        ] {
            if low > high {
                return fail(format!(
                    "{low_key} ({} ms) is larger than {high_key} ({} ms)",
                    low.as_millis(),
                    high.as_millis()
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("request_timeout", &self.request_timeout)
            .field("api_timeout", &self.api_timeout)
            .finish_non_exhaustive()
    }
}

/// Splits `a:1, b:2` into its servers.
fn split_servers(servers: &str) -> Vec<String> {
    servers
        .split(',')
        .map(str::trim)
        .filter(|server| !server.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Splits `host:port`; an IPv6 address stands in brackets, which the host comes without.
pub(crate) fn split_host_port(server: &str) -> Option<(&str, u16)> {
    let (host, port) = server.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port.parse().ok()?))
}

macro_rules! duration_key {
    ($name:literal, $field:ident, $default:literal, $min:literal, $doc:literal) => {
        ConfigRow {
            name: $name,
            kind: "duration in ms",
            default: $default,
            range: concat!($min, " or more"),
            doc: $doc,
            set: |config: &mut ClientConfig, value| {
                config.$field = parse_duration_ms(value, $min)?;
                Ok(())
            },
        }
    };
}

/// The keys of [`ClientConfig`].
pub const CLIENT_KEYS: ConfigTable<ClientConfig> = ConfigTable {
    title: "client",
    rows: &[
        ConfigRow {
            name: "bootstrap.servers",
            kind: "list of host:port",
            default: "",
            range: "at least one",
            doc: "Servers through which the cluster is found.",
            set: |config, value| {
                config.bootstrap_servers = split_servers(value);
                match config
                    .bootstrap_servers
                    .iter()
                    .find(|s| split_host_port(s).is_none())
                {
                    Some(server) => Err(format!("{server:?} is not host:port")),
                    None => Ok(()),
                }
            },
        },
        ConfigRow {
            name: "client.id",
            kind: "string",
            default: "ferrokafka",
            range: "any",
            doc: "Name under which brokers log and limit this client.",
            set: |config, value| {
                config.client_id = Arc::from(value);
                Ok(())
            },
        },
        duration_key!(
            "request.timeout.ms",
            request_timeout,
            "30000",
            1,
            "Longest wait for the answer to one request."
        ),
        duration_key!(
            "socket.connection.setup.timeout.ms",
            connection_setup_timeout,
            "10000",
            1,
            "Longest wait for a connection to be set up."
        ),
        duration_key!(
            "default.api.timeout.ms",
            api_timeout,
            "60000",
            1,
            "Longest time for an operation with all its retries."
        ),
        duration_key!(
            "retry.backoff.ms",
            retry_backoff,
            "100",
            1,
            "Wait before the first retry; doubles with each further one."
        ),
        duration_key!(
            "retry.backoff.max.ms",
            retry_backoff_max,
            "1000",
            1,
            "Longest wait before a retry."
        ),
        duration_key!(
            "reconnect.backoff.ms",
            reconnect_backoff,
            "50",
            1,
            "Wait before a broker that could not be reached is dialled again; doubles each time."
        ),
        duration_key!(
            "reconnect.backoff.max.ms",
            reconnect_backoff_max,
            "1000",
            1,
            "Longest wait before a broker is dialled again."
        ),
        duration_key!(
            "metadata.max.age.ms",
            metadata_max_age,
            "300000",
            1,
            "Age at which metadata is fetched anew although nothing seems wrong."
        ),
        ConfigRow {
            name: "allow.auto.create.topics",
            kind: "boolean",
            default: "false",
            range: "true, false",
            doc: "Whether asking for an unknown topic lets the broker create it.",
            set: |config, value| {
                config.allow_auto_create_topics = parse_bool(value)?;
                Ok(())
            },
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_split_and_checked() {
        let config =
            ClientConfig::from_properties([("bootstrap.servers", "a:1, [::1]:2,c:65535")]).unwrap();
        assert_eq!(config.bootstrap_servers, ["a:1", "[::1]:2", "c:65535"]);
        assert_eq!(split_host_port("[::1]:2"), Some(("::1", 2)));
        for bad in ["a", "a:", ":1", "a:70000", "::1:9092", "[::1:9092"] {
            assert_eq!(split_host_port(bad), None, "{bad}");
            assert!(ClientConfig::from_properties([("bootstrap.servers", bad)]).is_err());
        }
    }

    #[test]
    fn missing_servers_and_contradicting_pairs_are_errors() {
        let none: [(&str, &str); 0] = [];
        let error = ClientConfig::from_properties(none).unwrap_err();
        assert!(error.to_string().contains("bootstrap.servers"), "{error}");
        let error = ClientConfig::from_properties([
            ("bootstrap.servers", "a:1"),
            ("retry.backoff.ms", "500"),
            ("retry.backoff.max.ms", "100"),
        ])
        .unwrap_err();
        assert!(
            error.to_string().contains("retry.backoff.max.ms"),
            "{error}"
        );
    }

    #[test]
    fn documented_defaults_are_the_defaults() {
        // Setting every key to its documented default changes nothing.
        let plain = ClientConfig::new("a:1");
        let mut set = plain.clone();
        for row in CLIENT_KEYS
            .rows
            .iter()
            .filter(|row| !row.default.is_empty())
        {
            (row.set)(&mut set, row.default).unwrap();
        }
        assert_eq!(set.client_id, plain.client_id);
        assert_eq!(set.request_timeout, plain.request_timeout);
        assert_eq!(set.connection_setup_timeout, plain.connection_setup_timeout);
        assert_eq!(set.api_timeout, plain.api_timeout);
        assert_eq!(set.retry_backoff, plain.retry_backoff);
        assert_eq!(set.retry_backoff_max, plain.retry_backoff_max);
        assert_eq!(set.reconnect_backoff, plain.reconnect_backoff);
        assert_eq!(set.reconnect_backoff_max, plain.reconnect_backoff_max);
        assert_eq!(set.metadata_max_age, plain.metadata_max_age);
        assert_eq!(set.allow_auto_create_topics, plain.allow_auto_create_topics);
    }
}
