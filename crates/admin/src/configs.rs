//! Configs: DescribeConfigs v1 to v4, IncrementalAlterConfigs v0 to v1.
//!
//! DescribeConfigs v3 adds types and documentation. What concerns one broker goes to that broker; the
//! rest to any (description) or to the controller (change).

use std::collections::BTreeMap;
use std::fmt;

use ferrokafka_client::{Error, ErrorKind, Lane, NodeId, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::create_topics_response::CreatableTopicConfigs;
use ferrokafka_wire::messages::describe_configs_request::DescribeConfigsResource;
use ferrokafka_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ferrokafka_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ferrokafka_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::admin::{Admin, PerItem, controller_moved, in_order, item, text};

/// What a config belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// The kind of thing.
    pub kind: ConfigResourceKind,
    /// Its name: a topic's, a group's, or a broker's id. An empty broker id means all brokers.
    pub name: String,
}

/// The kind of thing a config belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConfigResourceKind {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
    /// A broker's log levels.
    BrokerLogger,
    /// A subscription to client metrics (KIP-714).
    ClientMetrics,
    /// A group (KIP-848).
    Group,
    /// A kind this client does not know.
    Unknown(i8),
}

impl ConfigResourceKind {
    fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Unknown(code) => code,
        }
    }

    fn from_code(code: i8) -> Self {
        match code {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            code => Self::Unknown(code),
        }
    }
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: impl Into<String>) -> Self {
        Self {
            kind: ConfigResourceKind::Topic,
            name: name.into(),
        }
    }

    /// One broker.
    #[must_use]
    pub fn broker(node: NodeId) -> Self {
        Self {
            kind: ConfigResourceKind::Broker,
            name: node.to_string(),
        }
    }

    /// The defaults of all brokers.
    #[must_use]
    pub fn all_brokers() -> Self {
        Self {
            kind: ConfigResourceKind::Broker,
            name: String::new(),
        }
    }

    /// A group.
    pub fn group(name: impl Into<String>) -> Self {
        Self {
            kind: ConfigResourceKind::Group,
            name: name.into(),
        }
    }

    /// The broker that alone can answer for it, if there is one.
    fn owner(&self) -> Result<Option<NodeId>, Error> {
        let of_broker = matches!(
            self.kind,
            ConfigResourceKind::Broker | ConfigResourceKind::BrokerLogger
        );
        if !of_broker || self.name.is_empty() {
            return Ok(None);
        }
        self.name.parse().map(Some).map_err(|_| {
            Error::new(
                ErrorKind::Config,
                format!("{self}: a broker's name is its id"),
            )
        })
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ConfigResourceKind::Topic => "topic",
            ConfigResourceKind::Broker => "broker",
            ConfigResourceKind::BrokerLogger => "broker logger",
            ConfigResourceKind::ClientMetrics => "client metrics",
            ConfigResourceKind::Group => "group",
            ConfigResourceKind::Unknown(code) => return write!(f, "resource {code} {}", self.name),
        };
        if self.name.is_empty() {
            write!(f, "every {kind}")
        } else {
            write!(f, "{kind} {}", self.name)
        }
    }
}

/// A config and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; none if it is secret or not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can only be set in the broker's file.
    pub read_only: bool,
    /// Whether it is secret.
    pub sensitive: bool,
    /// The values it would have, the strongest first: its own, then what it overrides.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it does, from brokers that tell (see [`Admin::describe_configs`]).
    pub documentation: Option<String>,
}

/// A value a config has by another source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The name there (`log.retention.ms` for a topic's `retention.ms`).
    pub name: String,
    /// The value there.
    pub value: Option<String>,
    /// Where that is.
    pub source: ConfigSource,
}

/// Where a config's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    DynamicBroker,
    /// Set on all brokers while they run.
    DynamicDefaultBroker,
    /// From the broker's file.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// A broker's log level.
    DynamicBrokerLogger,
    /// Set on a client metrics subscription.
    ClientMetrics,
    /// Set on the group.
    Group,
    /// A source this client does not know.
    Unknown(i8),
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            code => Self::Unknown(code),
        }
    }
}

impl ConfigEntry {
    /// Whether somebody set it, on whatever level.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }

    pub(crate) fn of_created(config: &CreatableTopicConfigs) -> Self {
        Self {
            name: config.name.to_string(),
            value: config.value.as_ref().map(ToString::to_string),
            source: ConfigSource::from_code(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
            synonyms: Vec::new(),
            documentation: None,
        }
    }

    fn of_described(config: &DescribeConfigsResourceResult) -> Self {
        let synonyms = config.synonyms.iter().map(|synonym| ConfigSynonym {
            name: synonym.name.to_string(),
            value: synonym.value.as_ref().map(ToString::to_string),
            source: ConfigSource::from_code(synonym.source),
        });
        Self {
            name: config.name.to_string(),
            value: config.value.as_ref().map(ToString::to_string),
            source: ConfigSource::from_code(config.config_source),
            read_only: config.read_only,
            sensitive: config.is_sensitive,
            synonyms: synonyms.collect(),
            documentation: config.documentation.as_ref().map(ToString::to_string),
        }
    }
}

/// Changes to the configs of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    /// Whose configs.
    pub resource: ConfigResource,
    /// The changes, by config name.
    pub changes: BTreeMap<String, AlterOp>,
}

impl AlterConfigs {
    /// No changes yet.
    #[must_use]
    pub fn new(resource: ConfigResource) -> Self {
        Self {
            resource,
            changes: BTreeMap::new(),
        }
    }

    /// Sets a value.
    #[must_use]
    pub fn set(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.change(name, AlterOp::Set(value.into()))
    }

    /// Goes back to the default.
    #[must_use]
    pub fn delete(self, name: impl Into<String>) -> Self {
        self.change(name, AlterOp::Delete)
    }

    /// Adds a change.
    #[must_use]
    pub fn change(mut self, name: impl Into<String>, op: AlterOp) -> Self {
        self.changes.insert(name.into(), op);
        self
    }
}

/// A change to one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterOp {
    /// Sets the value.
    Set(String),
    /// Goes back to the default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

impl AlterOp {
    fn code(&self) -> i8 {
        match self {
            Self::Set(_) => 0,
            Self::Delete => 1,
            Self::Append(_) => 2,
            Self::Subtract(_) => 3,
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Self::Set(value) | Self::Append(value) | Self::Subtract(value) => Some(value),
            Self::Delete => None,
        }
    }
}

impl Admin {
    /// Describes the configs of topics, brokers, groups: values, sources, and what they override.
    ///
    /// # Errors
    /// No broker could be made to answer.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<PerItem<ConfigResource, Vec<ConfigEntry>>, Error> {
        let mut results = PerItem::new();
        for (owner, resources) in by_owner(resources.iter(), |resource| resource, &mut results) {
            let route = owner.map_or(Route::Any, Route::Node);
            let response = self.client().call(
                route,
                Lane::Control,
                self.deadline(),
                |_| describe_request(&resources),
                |_| ErrorCode::None,
            );
            results.extend(response.await?.results.iter().map(described));
        }
        Ok(in_order(resources.iter().cloned(), results))
    }

    /// Changes configs; what is not named stays as it is. With `validate_only` nothing is changed, only
    /// checked.
    ///
    /// # Errors
    /// No controller could be made to answer.
    pub async fn incremental_alter_configs(
        &self,
        changes: &[AlterConfigs],
        validate_only: bool,
    ) -> Result<PerItem<ConfigResource, ()>, Error> {
        let mut results = PerItem::new();
        for (owner, changes) in by_owner(changes.iter(), |change| &change.resource, &mut results) {
            let route = owner.map_or(Route::Controller, Route::Node);
            let response = self.client().call(
                route,
                Lane::Control,
                self.deadline(),
                |_| alter_request(&changes, validate_only),
                |response| controller_moved(response.responses.iter().map(|r| r.error_code)),
            );
            results.extend(response.await?.responses.iter().map(|response| {
                let resource = ConfigResource {
                    kind: ConfigResourceKind::from_code(response.resource_type),
                    name: response.resource_name.to_string(),
                };
                let what = || format!("alter configs of {resource}");
                let message = response.error_message.as_ref();
                let altered = item(response.error_code, message, what, || ());
                (resource, altered)
            }));
        }
        Ok(in_order(
            changes.iter().map(|change| change.resource.clone()),
            results,
        ))
    }
}

/// Groups what goes to one broker; a resource that names no broker right becomes a result at once.
fn by_owner<'a, I, T>(
    items: impl Iterator<Item = &'a I>,
    resource: impl Fn(&I) -> &ConfigResource,
    results: &mut PerItem<ConfigResource, T>,
) -> BTreeMap<Option<NodeId>, Vec<&'a I>> {
    let mut owners: BTreeMap<Option<NodeId>, Vec<&'a I>> = BTreeMap::new();
    for item in items {
        match resource(item).owner() {
            Ok(owner) => owners.entry(owner).or_default().push(item),
            Err(error) => results.push((resource(item).clone(), Err(error))),
        }
    }
    owners
}

/// The request, alike in all its versions.
fn describe_request(resources: &[&ConfigResource]) -> DescribeConfigsRequest {
    let resources = resources.iter().map(|resource| {
        DescribeConfigsResource::default()
            .with_resource_type(resource.kind.code())
            .with_resource_name(text(&resource.name))
            .with_configuration_keys(None)
    });
    DescribeConfigsRequest::default()
        .with_resources(resources.collect())
        .with_include_synonyms(true)
}

/// The request, alike in all its versions.
fn alter_request(changes: &[&AlterConfigs], validate_only: bool) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest::default()
        .with_resources(changes.iter().map(|change| to_message(change)).collect())
        .with_validate_only(validate_only)
}

fn to_message(change: &AlterConfigs) -> AlterConfigsResource {
    let configs = change.changes.iter().map(|(name, op)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(op.code())
            .with_value(op.value().map(text))
    });
    AlterConfigsResource::default()
        .with_resource_type(change.resource.kind.code())
        .with_resource_name(text(&change.resource.name))
        .with_configs(configs.collect())
}

fn described(result: &DescribeConfigsResult) -> (ConfigResource, Result<Vec<ConfigEntry>, Error>) {
    let resource = ConfigResource {
        kind: ConfigResourceKind::from_code(result.resource_type),
        name: result.resource_name.to_string(),
    };
    let what = || format!("describe configs of {resource}");
    let entries = item(
        result.error_code,
        result.error_message.as_ref(),
        what,
        || {
            result
                .configs
                .iter()
                .map(ConfigEntry::of_described)
                .collect()
        },
    );
    (resource, entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::encodes_in_every_version;

    #[test]
    fn every_version_encodes() {
        let resource = ConfigResource::topic("orders");
        encodes_in_every_version(|_| describe_request(&[&resource, &ConfigResource::broker(1)]));
        let change = AlterConfigs::new(resource.clone())
            .set("retention.ms", "1")
            .delete("segment.ms")
            .change("cleanup.policy", AlterOp::Append("compact".to_owned()));
        encodes_in_every_version(|_| alter_request(&[&change], true));
    }

    #[test]
    fn broker_resource_goes_to_its_broker() {
        assert_eq!(ConfigResource::broker(7).owner().unwrap(), Some(7));
        assert_eq!(ConfigResource::all_brokers().owner().unwrap(), None);
        assert_eq!(ConfigResource::topic("7").owner().unwrap(), None);
        let odd = ConfigResource {
            kind: ConfigResourceKind::Broker,
            name: "seven".to_owned(),
        };
        assert_eq!(odd.owner().unwrap_err().kind(), ErrorKind::Config);
    }
}
