//! How long a broker asks us to hold back (KIP-219).

use std::any::Any;
use std::time::Duration;

use ferrokafka_wire::messages::*;
use ferrokafka_wire::protocol::Request;

macro_rules! throttle_of {
    ($key:expr, $response:expr; $($request:ident => $answer:ident),+ $(,)?) => {
        match $key {
            $(
                <$request as Request>::KEY => $response
                    .downcast_ref::<$answer>()
                    .map_or(0, |answer| answer.throttle_time_ms),
            )+
            _ => 0,
        }
    };
}

/// The throttle time of a response; zero if it has none.
pub(crate) fn throttle_time(api_key: i16, response: &dyn Any) -> Duration {
    let millis = throttle_of!(api_key, response;
        ProduceRequest => ProduceResponse,
        FetchRequest => FetchResponse,
        ListOffsetsRequest => ListOffsetsResponse,
        MetadataRequest => MetadataResponse,
        OffsetCommitRequest => OffsetCommitResponse,
        OffsetFetchRequest => OffsetFetchResponse,
        FindCoordinatorRequest => FindCoordinatorResponse,
        JoinGroupRequest => JoinGroupResponse,
        HeartbeatRequest => HeartbeatResponse,
        LeaveGroupRequest => LeaveGroupResponse,
        SyncGroupRequest => SyncGroupResponse,
        DescribeGroupsRequest => DescribeGroupsResponse,
        ListGroupsRequest => ListGroupsResponse,
        ApiVersionsRequest => ApiVersionsResponse,
        CreateTopicsRequest => CreateTopicsResponse,
        DeleteTopicsRequest => DeleteTopicsResponse,
        DeleteRecordsRequest => DeleteRecordsResponse,
        InitProducerIdRequest => InitProducerIdResponse,
        OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse,
        AddPartitionsToTxnRequest => AddPartitionsToTxnResponse,
        AddOffsetsToTxnRequest => AddOffsetsToTxnResponse,
        EndTxnRequest => EndTxnResponse,
        TxnOffsetCommitRequest => TxnOffsetCommitResponse,
        DescribeAclsRequest => DescribeAclsResponse,
        CreateAclsRequest => CreateAclsResponse,
        DeleteAclsRequest => DeleteAclsResponse,
        DescribeConfigsRequest => DescribeConfigsResponse,
        AlterConfigsRequest => AlterConfigsResponse,
        AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse,
        DescribeLogDirsRequest => DescribeLogDirsResponse,
        CreatePartitionsRequest => CreatePartitionsResponse,
        DeleteGroupsRequest => DeleteGroupsResponse,
        ElectLeadersRequest => ElectLeadersResponse,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse,
        AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse,
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse,
        OffsetDeleteRequest => OffsetDeleteResponse,
        DescribeClientQuotasRequest => DescribeClientQuotasResponse,
        AlterClientQuotasRequest => AlterClientQuotasResponse,
        DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse,
        AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse,
        UpdateFeaturesRequest => UpdateFeaturesResponse,
        DescribeClusterRequest => DescribeClusterResponse,
        DescribeProducersRequest => DescribeProducersResponse,
        DescribeTransactionsRequest => DescribeTransactionsResponse,
        ListTransactionsRequest => ListTransactionsResponse,
        ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
        ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse,
        ListConfigResourcesRequest => ListConfigResourcesResponse,
        DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse,
        ShareGroupHeartbeatRequest => ShareGroupHeartbeatResponse,
        ShareGroupDescribeRequest => ShareGroupDescribeResponse,
        ShareFetchRequest => ShareFetchResponse,
        ShareAcknowledgeRequest => ShareAcknowledgeResponse,
    );
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttle_time_is_found_and_never_negative() {
        let produce = ProduceResponse::default().with_throttle_time_ms(7);
        assert_eq!(throttle_time(0, &produce), Duration::from_millis(7));
        let fetch = FetchResponse::default().with_throttle_time_ms(-1);
        assert_eq!(throttle_time(1, &fetch), Duration::ZERO);
        assert_eq!(
            throttle_time(17, &SaslHandshakeResponse::default()),
            Duration::ZERO
        );
    }
}
