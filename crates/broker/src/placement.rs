//! Which nodes hold which partitions of a new topic.

use ferrokafka_wire::ErrorCode;

use crate::broker::{NewTopic, NodeId, Refusal};
use crate::config::BrokerConfig;

/// Most partitions of one topic; a hostile count must not be able to fill memory.
pub(crate) const PARTITIONS_MAX: i32 = 10_000;

/// Replicas of every partition of a new topic.
pub(crate) fn assign(
    new: &NewTopic,
    nodes: &[NodeId],
    config: &BrokerConfig,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if !new.assignments.is_empty() {
        return manual_assignment(new, nodes);
    }
    let partitions = new.partitions.unwrap_or(config.num_partitions);
    if partitions <= 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    if partitions > PARTITIONS_MAX {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            format!("This broker serves at most {PARTITIONS_MAX} partitions of a topic."),
        ));
    }
    let available = i32::try_from(nodes.len()).unwrap_or(i32::MAX);
    let wanted = match new.replication_factor {
        Some(factor) => i32::from(factor),
        None => config
            .default_replication_factor
            .unwrap_or(available.min(3)),
    };
    if wanted <= 0 {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if wanted > available {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {wanted} time(s): The target replication factor of {wanted} \
                 cannot be reached because only {available} broker(s) are registered."
            ),
        ));
    }
    // Leaders go round, starting at a place that depends on the name, so that the first
    // partitions of many small topics do not all land on node 1, and two runs agree.
    let start = usize::try_from(java_hash(&new.name) & 0x7fff_ffff).unwrap_or(0);
    let factor = usize::try_from(wanted).unwrap_or(0);
    Ok((0..usize::try_from(partitions).unwrap_or(0))
        .map(|partition| spread(nodes, start + partition, factor))
        .collect())
}

fn manual_assignment(new: &NewTopic, nodes: &[NodeId]) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if new.partitions.is_some() || new.replication_factor.is_some() {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.",
        ));
    }
    let mut factor = None;
    for (expected, (partition, replicas)) in (0..).zip(&new.assignments) {
        if *partition != expected {
            return invalid(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            );
        }
        if replicas.is_empty() {
            return invalid(
                "The manual partition assignment includes an empty replica list.".to_owned(),
            );
        }
        if let Some(unknown) = replicas.iter().find(|id| !nodes.contains(id)) {
            return invalid(format!(
                "The manual partition assignment includes broker {unknown}, but no such broker is registered."
            ));
        }
        if replicas
            .iter()
            .enumerate()
            .any(|(i, id)| replicas[..i].contains(id))
        {
            return invalid(
                "The manual partition assignment includes duplicate replicas.".to_owned(),
            );
        }
        if *factor.get_or_insert(replicas.len()) != replicas.len() {
            return invalid("The manual partition assignment includes partitions with different replica counts.".to_owned());
        }
    }
    Ok(new.assignments.values().cloned().collect())
}

/// Replicas of the partitions that bring a topic from `present` to `count`.
pub(crate) fn extend(
    name: &str,
    present: i32,
    count: i32,
    factor: usize,
    assignments: Option<Vec<Vec<NodeId>>>,
    nodes: &[NodeId],
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if count == present {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {present} partition(s)."),
        ));
    }
    if count < present {
        let message = format!(
            "The topic {name} currently has {present} partition(s); {count} would not be an increase."
        );
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    if count > PARTITIONS_MAX {
        let message = format!("This broker serves at most {PARTITIONS_MAX} partitions of a topic.");
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    let added = usize::try_from(count - present).unwrap_or(0);
    let Some(assignments) = assignments else {
        let start = usize::try_from(java_hash(name) & 0x7fff_ffff).unwrap_or(0);
        let first = usize::try_from(present).unwrap_or(0);
        return Ok((first..first + added)
            .map(|partition| spread(nodes, start + partition, factor))
            .collect());
    };
    if assignments.len() != added {
        let message = format!(
            "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    for replicas in &assignments {
        let known = replicas.iter().all(|id| nodes.contains(id));
        let distinct = replicas
            .iter()
            .enumerate()
            .all(|(i, id)| !replicas[..i].contains(id));
        if replicas.len() != factor || !known || !distinct {
            let message = format!(
                "The manual partition assignment {replicas:?} does not name {factor} different brokers."
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    Ok(assignments)
}

/// `factor` nodes in a row, going round.
fn spread(nodes: &[NodeId], start: usize, factor: usize) -> Vec<NodeId> {
    (0..factor.min(nodes.len()))
        .map(|replica| nodes[(start + replica) % nodes.len()])
        .collect()
}

/// Java's `String.hashCode`, by which Kafka places groups.
pub(crate) fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}
