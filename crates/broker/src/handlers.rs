//! The APIs served, one file each.
//!
//! To serve another API, write its [`Handler`](crate::dispatch::Handler) and add a line to [`apis`].

mod api_versions;
mod create_topics;
mod delete_topics;
mod find_coordinator;
mod metadata;
mod produce_legacy;

use bytes::Bytes;
use ferrokafka_wire::messages::ApiKey;

use crate::codec::{CodecError, Header};
use crate::dispatch::{Answer, Api, Context};

/// One line per API.
pub(crate) fn apis() -> Vec<Api> {
    vec![
        Api::of::<api_versions::ApiVersions>(),
        Api::of::<create_topics::CreateTopics>(),
        Api::of::<delete_topics::DeleteTopics>(),
        Api::of::<find_coordinator::FindCoordinator>(),
        Api::of::<metadata::Metadata>(),
    ]
}

/// The two answers to versions that are not served; everything else closes the connection.
pub(crate) fn answer_unserved(cx: &Context, header: &Header, body: Bytes) -> Answer {
    match header.api {
        ApiKey::ApiVersions => api_versions::unsupported(cx).map(Some),
        ApiKey::Produce if (0..3).contains(&header.version) => {
            Ok(produce_legacy::unsupported(header.version, &body))
        }
        api => Err(CodecError::UnsupportedVersion {
            api,
            version: header.version,
        }),
    }
}

/// Text as the protocol's string type.
pub(crate) fn text(value: impl Into<String>) -> ferrokafka_wire::protocol::StrBytes {
    ferrokafka_wire::protocol::StrBytes::from_string(value.into())
}
