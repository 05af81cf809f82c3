//! The APIs served, one file each.
//!
//! To serve another API, write its [`Handler`](crate::dispatch::Handler) and add a line to [`apis`].

mod alter_configs;
mod api_versions;
mod coordinator_check;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod produce_legacy;
mod sync_group;

use bytes::Bytes;
use ferrokafka_wire::messages::ApiKey;

use crate::codec::{CodecError, Header};
use crate::dispatch::{Answer, Api, Context};

/// One line per API.
pub(crate) fn apis() -> Vec<Api> {
    vec![
        Api::of::<alter_configs::AlterConfigs>(),
        Api::of::<api_versions::ApiVersions>(),
        Api::of::<create_partitions::CreatePartitions>(),
        Api::of::<create_topics::CreateTopics>(),
        Api::of::<delete_groups::DeleteGroups>(),
        Api::of::<delete_records::DeleteRecords>(),
        Api::of::<delete_topics::DeleteTopics>(),
        Api::of::<describe_cluster::DescribeCluster>(),
        Api::of::<describe_configs::DescribeConfigs>(),
        Api::of::<describe_groups::DescribeGroups>(),
        Api::of::<describe_log_dirs::DescribeLogDirs>(),
        Api::of::<fetch::Fetch>(),
        Api::of::<find_coordinator::FindCoordinator>(),
        Api::of::<heartbeat::Heartbeat>(),
        Api::of::<incremental_alter_configs::IncrementalAlterConfigs>(),
        Api::of::<init_producer_id::InitProducerId>(),
        Api::of::<join_group::JoinGroup>(),
        Api::of::<leave_group::LeaveGroup>(),
        Api::of::<list_groups::ListGroups>(),
        Api::of::<list_offsets::ListOffsets>(),
        Api::of::<metadata::Metadata>(),
        Api::of::<offset_commit::OffsetCommit>(),
        Api::of::<offset_delete::OffsetDelete>(),
        Api::of::<offset_fetch::OffsetFetch>(),
        Api::of::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
        Api::of::<produce::Produce>(),
        Api::of::<sync_group::SyncGroup>(),
    ]
}

/// The two answers to versions that are not served; everything else closes the connection.
pub(crate) fn answer_unserved(cx: &Context, header: &Header, body: Bytes) -> Answer {
    match header.api {
        ApiKey::ApiVersions => api_versions::unsupported(cx).map(Some),
        ApiKey::Produce if (0..3).contains(&header.version) => {
            produce_legacy::unsupported(header.version, &body).ok_or(
                CodecError::UnsupportedVersion {
                    api: header.api,
                    version: header.version,
                },
            )
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
