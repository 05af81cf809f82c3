//! Every message the codec writes passes the walk; cut, oversized and hostile ones do not.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message as _, Request};
use proptest::prelude::*;

use super::{check_request, check_response};
use crate::DecodeErrorKind;

type Check = fn(i16, i16, &[u8]) -> Result<(), crate::DecodeError>;

/// Encodes the default (whose nullable fields are set) in every version that both sides know.
fn passes_in_every_version<M>(api_key: i16, check: Check) -> usize
where
    M: Default + Encodable + kafka_protocol::protocol::Message,
{
    let mut seen = 0;
    for version in M::VERSIONS.min..=M::VERSIONS.max {
        let mut body = BytesMut::new();
        if M::default().encode(&mut body, version).is_err() {
            continue; // a default that this version has no field for
        }
        match check(api_key, version, &body) {
            Err(error) if error.kind() == DecodeErrorKind::Unsupported => continue,
            result => result.unwrap_or_else(|e| panic!("api {api_key} v{version}: {e}")),
        }
        seen += 1;
        for cut in 0..body.len() {
            assert!(
                check(api_key, version, &body[..cut]).is_err(),
                "api {api_key} v{version} cut at {cut}"
            );
        }
        body.extend_from_slice(&[0]);
        assert!(
            check(api_key, version, &body).is_err(),
            "api {api_key} v{version} with a byte too many"
        );
    }
    seen
}

fn both<R>() -> usize
where
    R: Request + Default,
    R::Response: Default,
{
    passes_in_every_version::<R>(R::KEY, check_request)
        + passes_in_every_version::<R::Response>(R::KEY, check_response)
}

#[test]
fn every_message_and_version_of_the_codec_passes() {
    macro_rules! sum { ($($request:ident)*) => { [$((stringify!($request), both::<$request>())),*] } }
    let seen = sum!(
        ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest TxnOffsetCommitRequest
        DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest AlterConfigsRequest
        AlterReplicaLogDirsRequest DescribeLogDirsRequest SaslAuthenticateRequest CreatePartitionsRequest
        DeleteGroupsRequest ElectLeadersRequest IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest
        ListPartitionReassignmentsRequest OffsetDeleteRequest DescribeClientQuotasRequest AlterClientQuotasRequest
        DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest UpdateFeaturesRequest
        DescribeClusterRequest DescribeProducersRequest DescribeTransactionsRequest ListTransactionsRequest
        ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest ListConfigResourcesRequest
        DescribeTopicPartitionsRequest
    );
    for (name, versions) in seen {
        assert!(versions > 0, "{name}: no version was checked");
    }
}

#[test]
fn a_billion_items_are_refused_before_anything_is_reserved() {
    // Metadata v1, whose first field is the array of topics.
    let error = check_request(3, 1, &1_000_000_000_i32.to_be_bytes()).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Truncated);
    // Metadata v9 has compact arrays: 0xffffffff announces 2^32 − 2 of them.
    let error = check_request(3, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]).unwrap_err();
    assert_eq!(error.kind(), DecodeErrorKind::Truncated);
}

#[test]
fn items_are_bounded_even_when_their_bytes_are_there() {
    // Two million empty topic names (two bytes each) in Metadata v1.
    let count = 2_000_000_usize;
    let mut body = i32::try_from(count).unwrap().to_be_bytes().to_vec();
    body.resize(4 + 2 * count, 0);
    assert_eq!(
        check_request(3, 1, &body).unwrap_err().kind(),
        DecodeErrorKind::TooLarge
    );
}

#[test]
fn negative_lengths_are_refused() {
    assert!(
        check_request(3, 1, &(-1_i32).to_be_bytes()).is_ok(),
        "null: all topics"
    );
    for count in [-2, i32::MIN] {
        assert_eq!(
            check_request(3, 1, &count.to_be_bytes())
                .unwrap_err()
                .kind(),
            DecodeErrorKind::Invalid
        );
    }
    let negative_name = [0, 0, 0, 1, 0xff, 0xf0];
    assert_eq!(
        check_request(3, 1, &negative_name).unwrap_err().kind(),
        DecodeErrorKind::Invalid
    );
}

#[test]
fn unknown_apis_and_versions_are_unsupported() {
    for (api_key, version) in [(-1, 0), (7, 0), (9999, 0), (3, 99), (3, -1)] {
        assert_eq!(
            check_request(api_key, version, &[]).unwrap_err().kind(),
            DecodeErrorKind::Unsupported
        );
    }
}

#[test]
fn errors_name_the_field() {
    let error = check_request(3, 1, &[0, 0, 0, 1, 0, 9, b'x']).unwrap_err();
    assert_eq!(error.to_string(), "Name: 9 bytes wanted, 1 left at byte 6");
}

proptest! {
    /// What passes the walk is decoded, or refused, without a panic.
    #[test]
    fn what_passes_never_panics_in_the_decoder(
        version in 0_i16..14,
        body in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), any::<u8>()], 0..200),
    ) {
        macro_rules! try_all { ($($request:ident)*) => { $(
            if check_request($request::KEY, version, &body).is_ok() && version <= $request::VERSIONS.max {
                let _ = $request::decode(&mut Bytes::copy_from_slice(&body), version);
            }
        )* } }
        try_all!(
            ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
            JoinGroupRequest SyncGroupRequest LeaveGroupRequest CreateTopicsRequest DescribeConfigsRequest
            IncrementalAlterConfigsRequest
        );
    }
}
