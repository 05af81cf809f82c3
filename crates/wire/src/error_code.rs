//! Kafka's error codes, and what each asks of a client.
//!
//! One row per code, up to Kafka 4.3. The class is Java's own (`RetriableException`, `InvalidMetadataException`)
//! with these departures, each for a reason:
//! - `NOT_CONTROLLER`, `NOT_COORDINATOR`, `COORDINATOR_NOT_AVAILABLE`: the address must be looked up again first.
//! - `ELECTION_NOT_NEEDED`: retriable in Java by inheritance only; asking again gives the same answer.
//! - `REBOOTSTRAP_REQUIRED`: the answer to it (KIP-1102) is a refresh, from the bootstrap servers.
//! - `OUT_OF_ORDER_SEQUENCE_NUMBER`, `UNKNOWN_PRODUCER_ID`, `INVALID_PRODUCER_EPOCH`, `TRANSACTION_ABORTABLE`: inside a
//!   transaction they end the transaction, not the producer, which Java decides in its transaction manager. Outside one,
//!   the idempotent producer's own rules (KIP-360) apply.

use std::fmt;

/// What a client does about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The same request may succeed later, at the same broker.
    Retry,
    /// What the client knows of leaders, coordinators or the controller is stale: learn it anew, then retry.
    RefreshThenRetry,
    /// The transaction is lost, the producer is not. Outside a transaction the request has failed.
    AbortTransaction,
    /// Asking again changes nothing.
    Fatal,
}

macro_rules! error_codes {
    ($(($variant:ident, $code:literal, $name:literal, $class:ident, $written:literal, $message:literal),)*) => {
        /// An error code of the Kafka protocol. `Display` writes Kafka's name for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            /// No error.
            None,
            $(
                #[doc = concat!("`", $name, "`: ", $message, ".")]
                $variant,
            )*
            /// A code that this table does not know, from a newer broker.
            Unknown(i16),
        }

        impl ErrorCode {
            /// Every code of the table, `None` first; `Unknown` is left out.
            pub const ALL: &'static [ErrorCode] = &[ErrorCode::None, $(ErrorCode::$variant,)*];

            /// The error of a code from the wire.
            pub const fn from_code(code: i16) -> Self {
                match code {
                    0 => ErrorCode::None,
                    $($code => ErrorCode::$variant,)*
                    other => ErrorCode::Unknown(other),
                }
            }

            /// The number on the wire.
            pub const fn code(self) -> i16 {
                match self {
                    ErrorCode::None => 0,
                    $(ErrorCode::$variant => $code,)*
                    ErrorCode::Unknown(code) => code,
                }
            }

            /// Kafka's name, such as `NOT_LEADER_OR_FOLLOWER`; `UNKNOWN` for a code outside the table.
            pub const fn name(self) -> &'static str {
                match self {
                    ErrorCode::None => "NONE",
                    $(ErrorCode::$variant => $name,)*
                    ErrorCode::Unknown(_) => "UNKNOWN",
                }
            }

            /// One line for people, lower case, without a full stop.
            pub const fn message(self) -> &'static str {
                match self {
                    ErrorCode::None => "no error",
                    $(ErrorCode::$variant => $message,)*
                    ErrorCode::Unknown(_) => "an error code this client does not know",
                }
            }

            /// What to do about it. `None` counts as [`ErrorClass::Retry`], which nobody asks.
            pub const fn class(self) -> ErrorClass {
                match self {
                    ErrorCode::None => ErrorClass::Retry,
                    $(ErrorCode::$variant => ErrorClass::$class,)*
                    ErrorCode::Unknown(_) => ErrorClass::Fatal,
                }
            }

            /// Whether a write answered with this code may nevertheless be in the log.
            ///
            /// `NOT_LEADER_OR_FOLLOWER` is among them: a leader that is deposed while a write with `acks=all` waits
            /// for its followers answers so after the append. The group coordinator turns the same event into
            /// `NOT_COORDINATOR` and a timeout into `COORDINATOR_NOT_AVAILABLE`. An unknown code proves nothing.
            pub const fn possibly_written(self) -> bool {
                match self {
                    ErrorCode::None => true,
                    $(ErrorCode::$variant => $written,)*
                    ErrorCode::Unknown(_) => true,
                }
            }
        }
    };
}

impl ErrorCode {
    /// Whether this is `NONE`.
    pub const fn is_none(self) -> bool {
        matches!(self, ErrorCode::None)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorCode::Unknown(code) => write!(f, "UNKNOWN({code})"),
            known => f.write_str(known.name()),
        }
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        Self::from_code(code)
    }
}

error_codes! {
    (UnknownServerError, -1, "UNKNOWN_SERVER_ERROR", Fatal, true, "the broker met an unexpected error"),
    (OffsetOutOfRange, 1, "OFFSET_OUT_OF_RANGE", Fatal, false, "the offset lies outside what the partition still holds"),
    (CorruptMessage, 2, "CORRUPT_MESSAGE", Retry, false, "a record failed its checksum or is malformed"),
    (UnknownTopicOrPartition, 3, "UNKNOWN_TOPIC_OR_PARTITION", RefreshThenRetry, false, "this broker does not know the topic or partition"),
    (InvalidFetchSize, 4, "INVALID_FETCH_SIZE", Fatal, false, "the fetch size is not valid"),
    (LeaderNotAvailable, 5, "LEADER_NOT_AVAILABLE", RefreshThenRetry, false, "the partition has no leader at the moment"),
    (NotLeaderOrFollower, 6, "NOT_LEADER_OR_FOLLOWER", RefreshThenRetry, true, "this broker does not lead (or replicate) the partition"),
    (RequestTimedOut, 7, "REQUEST_TIMED_OUT", Retry, true, "the broker did not finish the request in time"),
    (BrokerNotAvailable, 8, "BROKER_NOT_AVAILABLE", Fatal, false, "the broker is not available"),
    (ReplicaNotAvailable, 9, "REPLICA_NOT_AVAILABLE", RefreshThenRetry, false, "the replica is not available"),
    (MessageTooLarge, 10, "MESSAGE_TOO_LARGE", Fatal, false, "a record or batch is larger than the broker accepts"),
    (StaleControllerEpoch, 11, "STALE_CONTROLLER_EPOCH", Fatal, false, "the controller has moved"),
    (OffsetMetadataTooLarge, 12, "OFFSET_METADATA_TOO_LARGE", Fatal, false, "the metadata of an offset commit is too long"),
    (NetworkException, 13, "NETWORK_EXCEPTION", RefreshThenRetry, true, "the connection ended before the response came"),
    (CoordinatorLoadInProgress, 14, "COORDINATOR_LOAD_IN_PROGRESS", Retry, false, "the coordinator is still loading its state"),
    (CoordinatorNotAvailable, 15, "COORDINATOR_NOT_AVAILABLE", RefreshThenRetry, true, "no coordinator is available"),
    (NotCoordinator, 16, "NOT_COORDINATOR", RefreshThenRetry, true, "this broker is not the coordinator"),
    (InvalidTopicException, 17, "INVALID_TOPIC_EXCEPTION", Fatal, false, "the topic name or operation is not valid"),
    (RecordListTooLarge, 18, "RECORD_LIST_TOO_LARGE", Fatal, false, "the batch is larger than the topic's segments"),
    (NotEnoughReplicas, 19, "NOT_ENOUGH_REPLICAS", Retry, false, "fewer replicas in sync than min.insync.replicas; nothing was written"),
    (NotEnoughReplicasAfterAppend, 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Retry, true, "written, but to fewer replicas than min.insync.replicas"),
    (InvalidRequiredAcks, 21, "INVALID_REQUIRED_ACKS", Fatal, false, "the value of acks is not valid"),
    (IllegalGeneration, 22, "ILLEGAL_GENERATION", Fatal, false, "the generation is not the group's current one"),
    (InconsistentGroupProtocol, 23, "INCONSISTENT_GROUP_PROTOCOL", Fatal, false, "no assignor or protocol type is shared with the group's other members"),
    (InvalidGroupId, 24, "INVALID_GROUP_ID", Fatal, false, "the group id is not valid"),
    (UnknownMemberId, 25, "UNKNOWN_MEMBER_ID", Fatal, false, "the coordinator does not know this member"),
    (InvalidSessionTimeout, 26, "INVALID_SESSION_TIMEOUT", Fatal, false, "the session timeout is outside the broker's bounds"),
    (RebalanceInProgress, 27, "REBALANCE_IN_PROGRESS", Fatal, false, "the group rebalances; the member must rejoin"),
    (InvalidCommitOffsetSize, 28, "INVALID_COMMIT_OFFSET_SIZE", Fatal, false, "the offset commit is too large"),
    (TopicAuthorizationFailed, 29, "TOPIC_AUTHORIZATION_FAILED", Fatal, false, "not authorized for the topic"),
    (GroupAuthorizationFailed, 30, "GROUP_AUTHORIZATION_FAILED", Fatal, false, "not authorized for the group"),
    (ClusterAuthorizationFailed, 31, "CLUSTER_AUTHORIZATION_FAILED", Fatal, false, "not authorized for the cluster"),
    (InvalidTimestamp, 32, "INVALID_TIMESTAMP", Fatal, false, "the timestamp of a record is out of the accepted range"),
    (UnsupportedSaslMechanism, 33, "UNSUPPORTED_SASL_MECHANISM", Fatal, false, "the broker does not offer this SASL mechanism"),
    (IllegalSaslState, 34, "ILLEGAL_SASL_STATE", Fatal, false, "the request does not fit the state of the SASL exchange"),
    (UnsupportedVersion, 35, "UNSUPPORTED_VERSION", Fatal, false, "the broker does not serve this version of the API"),
    (TopicAlreadyExists, 36, "TOPIC_ALREADY_EXISTS", Fatal, false, "a topic of this name exists"),
    (InvalidPartitions, 37, "INVALID_PARTITIONS", Fatal, false, "the number of partitions is not valid"),
    (InvalidReplicationFactor, 38, "INVALID_REPLICATION_FACTOR", Fatal, false, "the replication factor is below 1 or above the number of brokers"),
    (InvalidReplicaAssignment, 39, "INVALID_REPLICA_ASSIGNMENT", Fatal, false, "the replica assignment is not valid"),
    (InvalidConfig, 40, "INVALID_CONFIG", Fatal, false, "a configuration is not valid"),
    (NotController, 41, "NOT_CONTROLLER", RefreshThenRetry, false, "this broker is not the controller"),
    (InvalidRequest, 42, "INVALID_REQUEST", Fatal, false, "the broker finds the request malformed or contradictory"),
    (UnsupportedForMessageFormat, 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", Fatal, false, "the log's message format does not support the request"),
    (PolicyViolation, 44, "POLICY_VIOLATION", Fatal, false, "the request breaks a policy of the broker"),
    (OutOfOrderSequenceNumber, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", AbortTransaction, false, "a producer's sequence number does not follow its last one"),
    (DuplicateSequenceNumber, 46, "DUPLICATE_SEQUENCE_NUMBER", Fatal, true, "a batch with this sequence number was written before"),
    (InvalidProducerEpoch, 47, "INVALID_PRODUCER_EPOCH", AbortTransaction, false, "the producer epoch is not the current one"),
    (InvalidTxnState, 48, "INVALID_TXN_STATE", Fatal, false, "the transaction is not in a state that allows this"),
    (InvalidProducerIdMapping, 49, "INVALID_PRODUCER_ID_MAPPING", Fatal, false, "the producer id does not belong to the transactional id"),
    (InvalidTransactionTimeout, 50, "INVALID_TRANSACTION_TIMEOUT", Fatal, false, "the transaction timeout is above the broker's transaction.max.timeout.ms"),
    (ConcurrentTransactions, 51, "CONCURRENT_TRANSACTIONS", Retry, false, "another operation on the same transaction is still running"),
    (TransactionCoordinatorFenced, 52, "TRANSACTION_COORDINATOR_FENCED", Fatal, false, "the transaction coordinator is no longer the current one"),
    (TransactionalIdAuthorizationFailed, 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Fatal, false, "not authorized for the transactional id"),
    (SecurityDisabled, 54, "SECURITY_DISABLED", Fatal, false, "the broker has no authorizer configured"),
    (OperationNotAttempted, 55, "OPERATION_NOT_ATTEMPTED", Fatal, false, "the broker did not try this part of the request"),
    (KafkaStorageError, 56, "KAFKA_STORAGE_ERROR", RefreshThenRetry, true, "the broker cannot use the disk that holds the partition"),
    (LogDirNotFound, 57, "LOG_DIR_NOT_FOUND", Fatal, false, "the broker has no such log directory"),
    (SaslAuthenticationFailed, 58, "SASL_AUTHENTICATION_FAILED", Fatal, false, "SASL authentication failed"),
    (UnknownProducerId, 59, "UNKNOWN_PRODUCER_ID", AbortTransaction, false, "the broker holds no state for this producer id"),
    (ReassignmentInProgress, 60, "REASSIGNMENT_IN_PROGRESS", Fatal, false, "a partition reassignment is running"),
    (DelegationTokenAuthDisabled, 61, "DELEGATION_TOKEN_AUTH_DISABLED", Fatal, false, "delegation tokens are not enabled"),
    (DelegationTokenNotFound, 62, "DELEGATION_TOKEN_NOT_FOUND", Fatal, false, "the broker does not know the delegation token"),
    (DelegationTokenOwnerMismatch, 63, "DELEGATION_TOKEN_OWNER_MISMATCH", Fatal, false, "the principal is neither owner nor renewer of the token"),
    (DelegationTokenRequestNotAllowed, 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", Fatal, false, "delegation token requests are not allowed on this connection"),
    (DelegationTokenAuthorizationFailed, 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", Fatal, false, "not authorized for the delegation token"),
    (DelegationTokenExpired, 66, "DELEGATION_TOKEN_EXPIRED", Fatal, false, "the delegation token has expired"),
    (InvalidPrincipalType, 67, "INVALID_PRINCIPAL_TYPE", Fatal, false, "the principal type is not supported"),
    (NonEmptyGroup, 68, "NON_EMPTY_GROUP", Fatal, false, "the group still has members"),
    (GroupIdNotFound, 69, "GROUP_ID_NOT_FOUND", Fatal, false, "the group does not exist"),
    (FetchSessionIdNotFound, 70, "FETCH_SESSION_ID_NOT_FOUND", Retry, false, "the broker has dropped the fetch session"),
    (InvalidFetchSessionEpoch, 71, "INVALID_FETCH_SESSION_EPOCH", Retry, false, "the epoch of the fetch session is not the expected one"),
    (ListenerNotFound, 72, "LISTENER_NOT_FOUND", RefreshThenRetry, false, "the leader has no listener of the name this connection uses"),
    (TopicDeletionDisabled, 73, "TOPIC_DELETION_DISABLED", Fatal, false, "the broker does not allow topics to be deleted"),
    (FencedLeaderEpoch, 74, "FENCED_LEADER_EPOCH", RefreshThenRetry, false, "the leader epoch is older than the broker's"),
    (UnknownLeaderEpoch, 75, "UNKNOWN_LEADER_EPOCH", Retry, false, "the leader epoch is newer than the broker's"),
    (UnsupportedCompressionType, 76, "UNSUPPORTED_COMPRESSION_TYPE", Fatal, false, "the compression type is not supported"),
    (StaleBrokerEpoch, 77, "STALE_BROKER_EPOCH", Fatal, false, "the broker's epoch has changed"),
    (OffsetNotAvailable, 78, "OFFSET_NOT_AVAILABLE", Retry, false, "after an election the leader cannot answer for this offset yet"),
    (MemberIdRequired, 79, "MEMBER_ID_REQUIRED", Fatal, false, "the member must join again with the id it was given"),
    (PreferredLeaderNotAvailable, 80, "PREFERRED_LEADER_NOT_AVAILABLE", RefreshThenRetry, false, "the preferred leader is not available"),
    (GroupMaxSizeReached, 81, "GROUP_MAX_SIZE_REACHED", Fatal, false, "the group has as many members as the broker allows"),
    (FencedInstanceId, 82, "FENCED_INSTANCE_ID", Fatal, false, "another member has taken this group.instance.id"),
    (EligibleLeadersNotAvailable, 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", RefreshThenRetry, false, "no replica that may lead is available"),
    (ElectionNotNeeded, 84, "ELECTION_NOT_NEEDED", Fatal, false, "the partition needs no election"),
    (NoReassignmentInProgress, 85, "NO_REASSIGNMENT_IN_PROGRESS", Fatal, false, "no partition reassignment is running"),
    (GroupSubscribedToTopic, 86, "GROUP_SUBSCRIBED_TO_TOPIC", Fatal, false, "the group still subscribes to the topic whose offsets were to be deleted"),
    (InvalidRecord, 87, "INVALID_RECORD", Fatal, false, "the broker's validation refused a record"),
    (UnstableOffsetCommit, 88, "UNSTABLE_OFFSET_COMMIT", Retry, false, "offsets of an open transaction are pending"),
    (ThrottlingQuotaExceeded, 89, "THROTTLING_QUOTA_EXCEEDED", Retry, false, "the quota for such requests is used up"),
    (ProducerFenced, 90, "PRODUCER_FENCED", Fatal, false, "a newer producer uses the same transactional id"),
    (ResourceNotFound, 91, "RESOURCE_NOT_FOUND", Fatal, false, "the resource does not exist"),
    (DuplicateResource, 92, "DUPLICATE_RESOURCE", Fatal, false, "the request names a resource twice"),
    (UnacceptableCredential, 93, "UNACCEPTABLE_CREDENTIAL", Fatal, false, "the credential does not meet the broker's demands"),
    (InconsistentVoterSet, 94, "INCONSISTENT_VOTER_SET", Fatal, false, "sender or receiver is not one of the expected voters"),
    (InvalidUpdateVersion, 95, "INVALID_UPDATE_VERSION", Fatal, false, "the version of the update is not valid"),
    (FeatureUpdateFailed, 96, "FEATURE_UPDATE_FAILED", Fatal, false, "the features could not be updated"),
    (PrincipalDeserializationFailure, 97, "PRINCIPAL_DESERIALIZATION_FAILURE", Fatal, false, "a forwarded request carried an unreadable principal"),
    (SnapshotNotFound, 98, "SNAPSHOT_NOT_FOUND", Fatal, false, "the snapshot does not exist"),
    (PositionOutOfRange, 99, "POSITION_OUT_OF_RANGE", Fatal, false, "the position lies outside the snapshot"),
    (UnknownTopicId, 100, "UNKNOWN_TOPIC_ID", RefreshThenRetry, false, "this broker does not know the topic id"),
    (DuplicateBrokerRegistration, 101, "DUPLICATE_BROKER_REGISTRATION", Fatal, false, "the broker id is in use"),
    (BrokerIdNotRegistered, 102, "BROKER_ID_NOT_REGISTERED", Fatal, false, "the broker id is not registered"),
    (InconsistentTopicId, 103, "INCONSISTENT_TOPIC_ID", RefreshThenRetry, false, "the topic id differs from that of the log"),
    (InconsistentClusterId, 104, "INCONSISTENT_CLUSTER_ID", Fatal, false, "the cluster id differs from the broker's"),
    (TransactionalIdNotFound, 105, "TRANSACTIONAL_ID_NOT_FOUND", Fatal, false, "the transactional id does not exist"),
    (FetchSessionTopicIdError, 106, "FETCH_SESSION_TOPIC_ID_ERROR", Retry, false, "the fetch session mixes topic ids and names"),
    (IneligibleReplica, 107, "INELIGIBLE_REPLICA", Fatal, false, "the new in-sync set holds a replica that may not be in it"),
    (NewLeaderElected, 108, "NEW_LEADER_ELECTED", Fatal, false, "the partition changed, and with it its leader"),
    (OffsetMovedToTieredStorage, 109, "OFFSET_MOVED_TO_TIERED_STORAGE", Fatal, false, "the offset now lies in tiered storage"),
    (FencedMemberEpoch, 110, "FENCED_MEMBER_EPOCH", Fatal, false, "the member's epoch is fenced; it must give up its partitions and rejoin"),
    (UnreleasedInstanceId, 111, "UNRELEASED_INSTANCE_ID", Fatal, false, "the group.instance.id is still held by another member"),
    (UnsupportedAssignor, 112, "UNSUPPORTED_ASSIGNOR", Fatal, false, "the group does not support the assignor"),
    (StaleMemberEpoch, 113, "STALE_MEMBER_EPOCH", Fatal, false, "the member's epoch is behind; it must heartbeat first"),
    (MismatchedEndpointType, 114, "MISMATCHED_ENDPOINT_TYPE", Fatal, false, "the request went to an endpoint of the wrong type"),
    (UnsupportedEndpointType, 115, "UNSUPPORTED_ENDPOINT_TYPE", Fatal, false, "the endpoint type is not supported"),
    (UnknownControllerId, 116, "UNKNOWN_CONTROLLER_ID", Fatal, false, "the controller id is not known"),
    (UnknownSubscriptionId, 117, "UNKNOWN_SUBSCRIPTION_ID", Fatal, false, "the telemetry subscription is not known"),
    (TelemetryTooLarge, 118, "TELEMETRY_TOO_LARGE", Fatal, false, "the telemetry push is too large"),
    (InvalidRegistration, 119, "INVALID_REGISTRATION", Fatal, false, "the controller refuses the broker's registration"),
    (TransactionAbortable, 120, "TRANSACTION_ABORTABLE", AbortTransaction, false, "the transaction must be aborted; the producer can go on after that"),
    (InvalidRecordState, 121, "INVALID_RECORD_STATE", Fatal, false, "the record is not in a state that can be acknowledged"),
    (ShareSessionNotFound, 122, "SHARE_SESSION_NOT_FOUND", Retry, false, "the broker has dropped the share session"),
    (InvalidShareSessionEpoch, 123, "INVALID_SHARE_SESSION_EPOCH", Retry, false, "the epoch of the share session is not the expected one"),
    (FencedStateEpoch, 124, "FENCED_STATE_EPOCH", Fatal, false, "the state epoch of the share group did not match"),
    (InvalidVoterKey, 125, "INVALID_VOTER_KEY", Fatal, false, "the voter's key differs from the receiver's"),
    (DuplicateVoter, 126, "DUPLICATE_VOTER", Fatal, false, "the voter is in the set already"),
    (VoterNotFound, 127, "VOTER_NOT_FOUND", Fatal, false, "the voter is not in the set"),
    (InvalidRegularExpression, 128, "INVALID_REGULAR_EXPRESSION", Fatal, false, "the regular expression is not valid"),
    (RebootstrapRequired, 129, "REBOOTSTRAP_REQUIRED", RefreshThenRetry, false, "the client's metadata is too old; it must start from its bootstrap servers"),
    (StreamsInvalidTopology, 130, "STREAMS_INVALID_TOPOLOGY", Fatal, false, "the topology is not valid"),
    (StreamsInvalidTopologyEpoch, 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", Fatal, false, "the topology's epoch is not valid"),
    (StreamsTopologyFenced, 132, "STREAMS_TOPOLOGY_FENCED", Fatal, false, "the topology's epoch is outdated"),
    (ShareSessionLimitReached, 133, "SHARE_SESSION_LIMIT_REACHED", Retry, false, "the broker holds as many share sessions as it allows"),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_round_trip_and_no_number_is_missing() {
        for code in -1..=133 {
            let error = ErrorCode::from_code(code);
            assert_eq!(error.code(), code);
            assert!(
                !matches!(error, ErrorCode::Unknown(_)),
                "{code} is not in the table"
            );
        }
        assert_eq!(ErrorCode::ALL.len(), 135);
        assert_eq!(ErrorCode::from_code(134), ErrorCode::Unknown(134));
        assert_eq!(ErrorCode::Unknown(134).to_string(), "UNKNOWN(134)");
        assert_eq!(
            ErrorCode::NotLeaderOrFollower.to_string(),
            "NOT_LEADER_OR_FOLLOWER"
        );
    }

    #[test]
    fn classes_of_the_codes_that_decide_most() {
        assert_eq!(
            ErrorCode::NotLeaderOrFollower.class(),
            ErrorClass::RefreshThenRetry
        );
        assert_eq!(
            ErrorCode::NotCoordinator.class(),
            ErrorClass::RefreshThenRetry
        );
        assert_eq!(
            ErrorCode::CoordinatorLoadInProgress.class(),
            ErrorClass::Retry
        );
        assert_eq!(
            ErrorCode::TransactionAbortable.class(),
            ErrorClass::AbortTransaction
        );
        assert_eq!(ErrorCode::ProducerFenced.class(), ErrorClass::Fatal);
        assert!(ErrorCode::NotEnoughReplicasAfterAppend.possibly_written());
        assert!(!ErrorCode::NotEnoughReplicas.possibly_written());
        assert!(!ErrorCode::MessageTooLarge.possibly_written());
    }
}
