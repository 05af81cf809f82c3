//! Every message the codec writes passes the walk; cut, oversized and hostile ones do not.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::{Field, Message, Type, Versions, check_request, check_response, f};
use crate::DecodeErrorKind;
use crate::varint::write_unsigned;

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

/// Calls a macro with every request that the codec has; a key that is missing here fails a test.
macro_rules! for_every_request {
    ($then:ident) => {
        $then!(
            ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
            FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
            DescribeGroupsRequest ListGroupsRequest SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest
            DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
            AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest
            TxnOffsetCommitRequest DescribeAclsRequest CreateAclsRequest DeleteAclsRequest DescribeConfigsRequest
            AlterConfigsRequest AlterReplicaLogDirsRequest DescribeLogDirsRequest SaslAuthenticateRequest
            CreatePartitionsRequest CreateDelegationTokenRequest RenewDelegationTokenRequest
            ExpireDelegationTokenRequest DescribeDelegationTokenRequest DeleteGroupsRequest ElectLeadersRequest
            IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest ListPartitionReassignmentsRequest
            OffsetDeleteRequest DescribeClientQuotasRequest AlterClientQuotasRequest
            DescribeUserScramCredentialsRequest AlterUserScramCredentialsRequest VoteRequest BeginQuorumEpochRequest
            EndQuorumEpochRequest DescribeQuorumRequest AlterPartitionRequest UpdateFeaturesRequest EnvelopeRequest
            FetchSnapshotRequest DescribeClusterRequest DescribeProducersRequest BrokerRegistrationRequest
            BrokerHeartbeatRequest UnregisterBrokerRequest DescribeTransactionsRequest ListTransactionsRequest
            AllocateProducerIdsRequest ConsumerGroupHeartbeatRequest ConsumerGroupDescribeRequest
            ControllerRegistrationRequest GetTelemetrySubscriptionsRequest PushTelemetryRequest
            AssignReplicasToDirsRequest ListConfigResourcesRequest DescribeTopicPartitionsRequest
            ShareGroupHeartbeatRequest ShareGroupDescribeRequest ShareFetchRequest ShareAcknowledgeRequest
            AddRaftVoterRequest RemoveRaftVoterRequest UpdateRaftVoterRequest InitializeShareGroupStateRequest
            ReadShareGroupStateRequest WriteShareGroupStateRequest DeleteShareGroupStateRequest
            ReadShareGroupStateSummaryRequest
            DescribeShareGroupOffsetsRequest AlterShareGroupOffsetsRequest DeleteShareGroupOffsetsRequest
        )
    };
}

#[test]
fn every_message_and_version_of_the_codec_passes() {
    macro_rules! sum { ($($request:ident)*) => { [$(($request::KEY, both::<$request>())),*] } }
    let seen = for_every_request!(sum);
    for (key, versions) in seen {
        assert!(versions > 0, "{key}: no version was checked");
    }
    let listed: BTreeSet<i16> = seen.iter().map(|(key, _)| *key).collect();
    let of_codec: BTreeSet<i16> = ApiKey::iter().map(|key| key as i16).collect();
    assert_eq!(listed, of_codec);
}

/// Writes bodies that a layout allows, chosen at random, and so what the codec must read.
struct Writer<'a> {
    rng: TestRng,
    version: i16,
    flexible: bool,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        let travels_tagged = |field: &Field| {
            field
                .tagged
                .is_some_and(|(_, tagged)| tagged.contain(version))
        };
        let here = || {
            fields
                .iter()
                .filter(|field| field.versions.contain(version))
        };
        for field in here().filter(|field| !travels_tagged(field)) {
            self.value(field, &field.ty);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<(u32, Option<&Field>)> = here()
            .filter(|field| travels_tagged(field))
            .filter_map(|field| field.tagged.map(|(tag, _)| (tag, Some(field))))
            .collect();
        tagged.retain(|_| self.rng.next_u32().is_multiple_of(2));
        if self.below(4) == 0 {
            tagged.push((9_000, None));
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        write_unsigned(self.out, tagged.len() as u32);
        for (tag, field) in tagged {
            write_unsigned(self.out, tag);
            let start = self.out.len();
            match field {
                Some(field) => self.value(field, &field.ty),
                None => self.out.extend_from_slice(b"later"),
            }
            let value = self.out.split_off(start);
            write_unsigned(self.out, value.len() as u32);
            self.out.extend(value);
        }
    }

    fn value(&mut self, field: &Field, ty: &Type) {
        let null = field.nullable.contain(self.version) && self.below(3) == 0;
        match ty {
            // 0 and 1 are what a bool can be, and harmless elsewhere.
            Type::Fixed(size) => {
                let byte = self.below(2) as u8;
                self.out.extend(std::iter::repeat_n(byte, *size));
            }
            Type::Text | Type::Blob => {
                let len = if null { None } else { Some(self.below(200)) };
                match (ty, len) {
                    (Type::Text, None) if !self.flexible => self.out.extend((-1i16).to_be_bytes()),
                    (Type::Text, Some(len)) if !self.flexible => {
                        self.out.extend((len as i16).to_be_bytes())
                    }
                    _ => self.count(len),
                }
                self.out
                    .extend(std::iter::repeat_n(b'x', len.unwrap_or(0) as usize));
            }
            Type::Array(item) => {
                let count = if null { None } else { Some(self.below(4)) };
                self.count(count);
                for _ in 0..count.unwrap_or(0) {
                    match &**item {
                        Type::Struct(fields) => self.fields(fields),
                        // As in the walk: what may be null is the array, not what stands in it.
                        other => self.value(&f("", Versions::from(0), Type::Fixed(0)), other),
                    }
                }
            }
            Type::Struct(fields) => {
                if field.nullable.contain(self.version) {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields);
                }
            }
        }
    }

    fn count(&mut self, count: Option<u32>) {
        match (self.flexible, count) {
            (true, count) => write_unsigned(self.out, count.map_or(0, |count| count + 1)),
            (false, None) => self.out.extend((-1i32).to_be_bytes()),
            (false, Some(count)) => self.out.extend((count as i32).to_be_bytes()),
        }
    }
}

/// Table and codec must see the same fields in the same places, or the walk would check what nobody reads: a body
/// written by the table is decoded, to its last byte, in every version of every message.
#[test]
fn the_codec_reads_what_the_table_describes() {
    let mut checked = 0;
    macro_rules! agree { ($($request:ident)*) => { $(
        checked += agrees::<$request>(super::table::REQUESTS, $request::KEY, check_request);
        checked += agrees::<<$request as Request>::Response>(super::table::RESPONSES, $request::KEY, check_response);
    )* } }
    for_every_request!(agree);
    assert!(checked > 500, "only {checked} versions were compared");
}

/// Changes a byte here and there.
fn damaged(body: &[u8], seed: u8, mut then: impl FnMut(&[u8])) {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[!seed; 32]);
    if body.is_empty() {
        return;
    }
    for _ in 0..20 {
        let mut copy = body.to_vec();
        for _ in 0..1 + rng.next_u32() % 2 {
            let at = rng.next_u32() as usize % copy.len();
            copy[at] =
                [0, 1, 2, 0x7f, 0x80, 0xff, rng.next_u32() as u8][rng.next_u32() as usize % 7];
        }
        then(&copy);
    }
}

fn agrees<M>(messages: &[Message], api_key: i16, check: Check) -> usize
where
    M: Decodable + kafka_protocol::protocol::Message,
{
    let message = messages
        .iter()
        .find(|message| message.api_key == api_key)
        .unwrap();
    let mut versions = 0;
    for version in (M::VERSIONS.min..=M::VERSIONS.max).filter(|v| message.valid.contain(*v)) {
        for seed in 0..40u8 {
            let mut body = Vec::new();
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
            Writer {
                rng,
                version,
                flexible: message.flexible.contain(version),
                out: &mut body,
            }
            .fields(message.fields);
            let what = format!("{} v{version} seed {seed}", message.name);
            check(api_key, version, &body).unwrap_or_else(|error| panic!("{what}: {error}"));
            let mut bytes = Bytes::copy_from_slice(&body);
            M::decode(&mut bytes, version).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            assert!(bytes.is_empty(), "{what}: {} bytes not read", bytes.len());
            damaged(&body, seed, |body| {
                // What the walk lets through the codec may refuse, but not read otherwise than the walk did.
                let mut bytes = Bytes::copy_from_slice(body);
                if check(api_key, version, body).is_ok() && M::decode(&mut bytes, version).is_ok() {
                    assert!(
                        bytes.is_empty(),
                        "{what}: {} bytes of {body:?} not read",
                        bytes.len()
                    );
                }
            });
        }
        versions += 1;
    }
    versions
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
fn a_marker_before_a_struct_is_one_or_negative() {
    // DescribeTopicPartitions v0: no topics, a limit, then the cursor, which may be null.
    let body = |marker: u8, cursor: &[u8]| [&[1, 0, 0, 0, 9, marker][..], cursor, &[0]].concat();
    let cursor = [2, b't', 0, 0, 0, 0, 0];
    for null in [0xff, 0x80] {
        assert_eq!(check_request(75, 0, &body(null, &[])), Ok(()));
    }
    assert_eq!(check_request(75, 0, &body(1, &cursor)), Ok(()));
    // The codec would take these for null and read on in the middle of the cursor.
    for other in [0, 2, 0x7f] {
        let error = check_request(75, 0, &body(other, &cursor)).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Invalid);
    }
}

#[test]
fn numbers_in_arrays_do_not_count_against_the_bound() {
    // Metadata v0: no brokers, one topic, one partition with two million replicas.
    let replicas = 2_000_000u32;
    let mut body = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1].to_vec();
    body.extend([0; 10]);
    body.extend(replicas.to_be_bytes());
    body.resize(body.len() + 4 * replicas as usize, 0);
    body.extend(0u32.to_be_bytes());
    assert_eq!(check_response(3, 0, &body), Ok(()));
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
