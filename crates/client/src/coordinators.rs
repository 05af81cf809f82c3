//! Which broker coordinates a group or a transactional id: FindCoordinator, v0 to v6.
//!
//! v1 adds the kind of key (transactions), v4 asks for several keys at once.

use std::collections::HashMap;
use std::sync::Arc;

use ferrokafka_wire::ErrorCode;
use ferrokafka_wire::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use ferrokafka_wire::protocol::StrBytes;
use parking_lot::Mutex;

use crate::route::{CoordinatorKind, NodeId};

/// Most coordinators remembered; an admin tool that walks over all groups must not grow without end.
const REMEMBERED_MAX: usize = 10_000;

/// The coordinators known.
#[derive(Default)]
pub(crate) struct Coordinators(Mutex<HashMap<(CoordinatorKind, Arc<str>), NodeId>>);

impl Coordinators {
    pub(crate) fn get(&self, kind: CoordinatorKind, key: &str) -> Option<NodeId> {
        self.0.lock().get(&(kind, Arc::from(key))).copied()
    }

    pub(crate) fn remember(&self, kind: CoordinatorKind, key: &str, node: NodeId) {
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert((kind, Arc::from(key)), node);
    }

    pub(crate) fn forget(&self, kind: CoordinatorKind, key: &str) {
        self.0.lock().remove(&(kind, Arc::from(key)));
    }
}

/// The request, in any of its versions.
pub(crate) fn request(version: i16, kind: CoordinatorKind, key: &str) -> FindCoordinatorRequest {
    let key = StrBytes::from_string(key.to_owned());
    // v0 knows groups only: a transactional id makes it fail to encode, which is right.
    let request = FindCoordinatorRequest::default().with_key_type(kind.key_type());
    if version >= 4 {
        request.with_coordinator_keys(vec![key])
    } else {
        request.with_key(key)
    }
}

/// Where an answer says the coordinator is.
pub(crate) struct Found {
    pub(crate) node: NodeId,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The error code of an answer about one key.
pub(crate) fn code(response: &FindCoordinatorResponse) -> ErrorCode {
    match response.coordinators.first() {
        Some(coordinator) => ErrorCode::from_code(coordinator.error_code),
        None => ErrorCode::from_code(response.error_code),
    }
}

/// What an answer without an error says; none if it names no usable address.
pub(crate) fn found(response: &FindCoordinatorResponse) -> Option<Found> {
    let (node, host, port) = match response.coordinators.first() {
        Some(coordinator) => (coordinator.node_id, &coordinator.host, coordinator.port),
        None => (response.node_id, &response.host, response.port),
    };
    let found = Found {
        node: node.0,
        host: host.to_string(),
        port: u16::try_from(port).ok().filter(|port| *port > 0)?,
    };
    (found.node >= 0 && !found.host.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_encodes() {
        crate::adapter::encodes_in_every_version(|v| request(v, CoordinatorKind::Group, "audit"));
        for version in 0..=6 {
            let request = request(version, CoordinatorKind::Transaction, "payments");
            let frame = ferrokafka_wire::frame::encode_request(version, 1, None, &request);
            assert_eq!(frame.is_ok(), version >= 1);
        }
    }
}
