//! Tables for the accumulator: what a broker gets, and when.

use std::time::Duration;

use ferrokafka_wire::compression::Compression;

use super::*;

const MS: Duration = Duration::from_millis(1);

struct Rig {
    accumulator: Accumulator,
    now: Instant,
}

impl Rig {
    /// Topic `t`: partitions 0 and 2 at node 1, partition 1 at node 2. The producer id is known.
    fn new(linger: Duration) -> Self {
        let limits = Limits {
            batch_bytes: 1_000,
            linger,
            delivery_timeout: Duration::from_secs(120),
            max_in_flight: 2,
            idempotent: true,
            compression: Compression::None,
        };
        let mut accumulator = Accumulator::new(
            limits,
            Partitioner::RoundRobin,
            Backoff::new(100 * MS, 100 * MS),
            fastrand::Rng::with_seed(1),
        );
        accumulator.set_topic(&Arc::from("t"), &[(Some(1), 0), (Some(2), 0), (Some(1), 0)]);
        accumulator.set_identity(ProducerIdentity { id: 1, epoch: 0 });
        Self {
            accumulator,
            now: Instant::now(),
        }
    }

    fn append(&mut self, partition: i32, bytes: usize) {
        let record = ProducerRecord::new("t")
            .partition(partition)
            .value(vec![0; bytes]);
        self.accumulator
            .append(&record, 0, bytes, self.now)
            .unwrap();
    }

    /// Partitions of the next request to `node`.
    fn request(&mut self, node: NodeId) -> Vec<i32> {
        let mut partitions: Vec<_> = self
            .drain(node)
            .request
            .iter()
            .map(|r| r.outgoing.topic_partition.partition)
            .collect();
        partitions.sort_unstable();
        partitions
    }

    fn drain(&mut self, node: NodeId) -> Drained {
        self.accumulator.drain(node, self.now)
    }
}

#[test]
fn one_request_carries_every_partition_of_the_broker_and_none_of_another() {
    let mut rig = Rig::new(Duration::ZERO);
    for partition in [0, 1, 2] {
        rig.append(partition, 10);
    }
    assert_eq!(rig.request(1), [0, 2]);
    assert!(rig.request(1).is_empty());
    assert_eq!(rig.request(2), [1]);
}

#[test]
fn lingering_batches_wait_together_and_go_together() {
    let mut rig = Rig::new(5 * MS);
    rig.append(0, 10);
    rig.now += 2 * MS;
    rig.append(2, 10);
    let drained = rig.drain(1);
    assert!(drained.request.is_empty());
    assert_eq!(drained.wake_at, Some(rig.now + 3 * MS));
    rig.now += 3 * MS;
    assert_eq!(rig.request(1), [0, 2]);
}

#[test]
fn a_full_batch_does_not_linger() {
    let mut rig = Rig::new(5 * MS);
    rig.append(0, 600);
    rig.append(0, 600);
    assert_eq!(rig.request(1), [0]);
}

#[test]
fn a_sender_out_of_memory_ends_all_lingering() {
    let mut rig = Rig::new(5 * MS);
    rig.append(0, 10);
    rig.accumulator.memory_waiter(true);
    assert_eq!(rig.request(1), [0]);
    rig.accumulator.memory_waiter(false);
    rig.append(2, 10);
    assert!(rig.request(1).is_empty());
}

#[test]
fn a_broker_has_so_many_requests_and_no_more() {
    let mut rig = Rig::new(Duration::ZERO);
    rig.append(0, 10);
    assert_eq!(rig.request(1), [0]);
    rig.append(2, 10);
    assert_eq!(rig.request(1), [2]);
    rig.append(2, 10);
    assert!(rig.request(1).is_empty());
    rig.accumulator.request_done(1);
    // The window of partition 2 is still closed: its first batch is not acknowledged.
    assert!(rig.request(1).is_empty());
    let mut effects = Effects::default();
    rig.accumulator
        .acknowledged(2, BatchId(2), 0, None, &mut effects);
    assert_eq!(rig.request(1), [2]);
}

#[test]
fn a_partition_moves_with_its_leader() {
    let mut rig = Rig::new(Duration::ZERO);
    rig.append(0, 10);
    rig.accumulator
        .set_topic(&Arc::from("t"), &[(Some(3), 1), (Some(2), 0), (Some(1), 0)]);
    assert!(rig.request(1).is_empty());
    assert_eq!(rig.request(3), [0]);
    assert_eq!(
        rig.accumulator.nodes().map(|(n, _)| n).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn without_a_leader_records_wait_and_expire() {
    let mut rig = Rig::new(Duration::ZERO);
    rig.accumulator.set_topic(&Arc::from("t"), &[]);
    rig.append(0, 10);
    assert!(rig.accumulator.leader_missing());
    let mut effects = Effects::default();
    let next = rig.accumulator.expire(rig.now, &mut effects);
    assert!(effects.finished.is_empty());
    rig.accumulator.expire(next, &mut effects);
    assert_eq!(effects.finished.len(), 1);
    assert_eq!(effects.released, 10);
    assert!(!rig.accumulator.leader_missing());
}

#[test]
fn a_used_up_epoch_asks_for_a_new_id() {
    let mut rig = Rig::new(Duration::ZERO);
    rig.accumulator.set_identity(ProducerIdentity {
        id: 1,
        epoch: i16::MAX,
    });
    rig.append(0, 10);
    let mut effects = Effects::default();
    let sent = rig.drain(1).request.pop().unwrap();
    let error = Error::from_code(
        ferrokafka_wire::ErrorCode::OutOfOrderSequenceNumber,
        "write",
    );
    rig.accumulator.failed(
        0,
        (sent.outgoing.id, sent.outgoing.body),
        error,
        rig.now,
        &mut effects,
    );
    rig.accumulator.request_done(1);
    rig.now += 200 * MS;
    assert!(rig.request(1).is_empty());
    assert!(rig.accumulator.needs_identity());
    rig.accumulator
        .set_identity(ProducerIdentity { id: 2, epoch: 0 });
    let sent = rig.drain(1).request.pop().unwrap();
    let stamp = sent.outgoing.stamp.unwrap();
    assert_eq!(
        (stamp.producer_id, stamp.producer_epoch, stamp.base_sequence),
        (2, 0, 0)
    );
}

#[test]
fn a_partition_the_topic_does_not_have_is_refused() {
    let mut rig = Rig::new(Duration::ZERO);
    for partition in [-1, 3] {
        let record = ProducerRecord::new("t").partition(partition);
        let refused = rig.accumulator.append(&record, 0, 10, rig.now);
        let Err(Refused::Error(error)) = refused else {
            panic!("taken");
        };
        assert_eq!(error.kind(), ErrorKind::Config);
    }
    let refused = rig
        .accumulator
        .append(&ProducerRecord::new("u"), 0, 10, rig.now);
    assert!(matches!(refused, Err(Refused::TopicUnknown)));
}
