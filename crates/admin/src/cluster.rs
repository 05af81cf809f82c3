//! The cluster: DescribeCluster v0 to v2; Metadata from brokers before Kafka 2.8.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrokafka_client::{Broker, Error, ErrorKind, Lane, NodeId, Route};
use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{DescribeClusterRequest, DescribeClusterResponse};

use crate::admin::Admin;

/// A cluster and its brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's id.
    pub cluster_id: Option<Arc<str>>,
    /// The broker that stands for the controller.
    pub controller: Option<NodeId>,
    /// The brokers alive, by id.
    pub brokers: BTreeMap<NodeId, Broker>,
}

impl Admin {
    /// Describes the cluster as it is now.
    ///
    /// # Errors
    /// No broker could be made to answer.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        let answer = self.client().call(
            Route::Any,
            Lane::Control,
            self.deadline(),
            |_| DescribeClusterRequest::default(),
            |response| ErrorCode::from_code(response.error_code),
        );
        match answer.await {
            Ok(response) => Ok(described(&response)),
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => {
                let cluster = self.client().all_topics(self.deadline()).await?;
                Ok(ClusterDescription {
                    cluster_id: cluster.cluster_id.clone(),
                    controller: cluster.controller,
                    brokers: cluster.brokers.clone(),
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn described(response: &DescribeClusterResponse) -> ClusterDescription {
    let brokers = response.brokers.iter().filter_map(|broker| {
        let place = Broker {
            host: Arc::from(broker.host.as_str()),
            port: u16::try_from(broker.port).ok()?,
            rack: broker.rack.as_deref().map(Arc::from),
        };
        Some((broker.broker_id.0, place))
    });
    ClusterDescription {
        cluster_id: Some(Arc::from(response.cluster_id.as_str())),
        controller: Some(response.controller_id.0).filter(|id| *id >= 0),
        brokers: brokers.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_encodes() {
        crate::admin::encodes_in_every_version(|_| DescribeClusterRequest::default());
    }
}
