//! Tables for one partition: what goes out, under which numbers, after which answers.

use ferrokafka_client::ErrorKind;
use ferrokafka_wire::ErrorCode;

use super::*;

mod model;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        batch_bytes: 1_000,
        linger: Duration::ZERO,
        delivery_timeout: 120 * SECOND,
        max_in_flight: 5,
        idempotent: true,
        compression: Compression::None,
    }
}

/// A queue, its clock, and the identity a producer would have.
struct Rig {
    queue: PartitionQueue,
    limits: Limits,
    now: Instant,
    identity: ProducerIdentity,
    next_id: u64,
    effects: Effects,
}

impl Rig {
    fn new() -> Self {
        let mut queue = PartitionQueue::new(TopicPartition::new("t", 0));
        queue.set_leader(Some(1), 0);
        Self {
            queue,
            limits: limits(),
            now: Instant::now(),
            identity: ProducerIdentity { id: 7, epoch: 0 },
            next_id: 0,
            effects: Effects::default(),
        }
    }

    /// A rig whose leader has acknowledged one batch of one record.
    fn confirmed() -> Self {
        let mut rig = Self::new();
        rig.add(1);
        let out = rig.take();
        rig.ack(&out);
        rig.effects = Effects::default();
        rig
    }

    /// A sealed batch of `records` records.
    fn add(&mut self, records: usize) -> Arc<BatchResult> {
        self.queue.seal();
        let mut result = None;
        for _ in 0..records {
            let record = ProducerRecord::new("t").value("v");
            let appended = self
                .queue
                .append(&record, 0, 10, self.now, &self.limits, &mut self.next_id)
                .unwrap();
            result = Some(appended.result);
        }
        self.queue.seal();
        result.unwrap()
    }

    fn try_take(&mut self) -> Option<Outgoing> {
        for _ in 0..2 {
            match self
                .queue
                .take(self.now, &self.limits, Some(self.identity), false)
            {
                Taken::Send(out) => return Some(out),
                Taken::Nothing => return None,
                Taken::NeedsNewEpoch => {
                    self.identity.epoch += 1;
                    self.queue.restart(self.identity);
                }
            }
        }
        panic!("asked for a new epoch twice");
    }

    fn take(&mut self) -> Outgoing {
        self.try_take().expect("a batch to send")
    }

    fn ack(&mut self, out: &Outgoing) {
        self.queue
            .acknowledged(out.id, 100, None, &mut self.effects);
    }

    fn fail(&mut self, out: Outgoing, error: Error) {
        let backoff = Duration::from_millis(100);
        self.queue.failed(
            (out.id, out.body),
            error,
            self.now,
            backoff,
            &self.limits,
            &mut self.effects,
        );
    }

    fn refuse(&mut self, out: Outgoing, code: ErrorCode) {
        self.fail(out, Error::from_code(code, "write"));
    }

    fn lose(&mut self, out: Outgoing) {
        self.fail(out, Error::new(ErrorKind::Disconnected, "connection lost"));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.queue.expire(self.now, &self.limits, &mut self.effects);
    }

    /// The failures reported so far, oldest first.
    fn failures(&self) -> Vec<(ErrorKind, Delivery)> {
        self.effects
            .finished
            .iter()
            .filter_map(|f| match &f.outcome {
                Outcome::Failed(error) => Some((error.kind(), error.delivery())),
                Outcome::Acked { .. } => None,
            })
            .collect()
    }
}

/// Epoch and sequence.
fn numbers(out: &Outgoing) -> (i16, i32) {
    let stamp = out.stamp.expect("an idempotent batch has a stamp");
    (stamp.producer_epoch, stamp.base_sequence)
}

#[test]
fn one_batch_until_the_first_acknowledgement_then_five() {
    let mut rig = Rig::new();
    for records in [2, 3, 1, 1, 1, 1, 1] {
        rig.add(records);
    }
    let first = rig.take();
    assert_eq!(numbers(&first), (0, 0));
    assert!(rig.try_take().is_none());
    rig.ack(&first);
    let sequences: Vec<_> = std::iter::from_fn(|| rig.try_take())
        .map(|out| numbers(&out).1)
        .collect();
    assert_eq!(sequences, [2, 5, 6, 7, 8]);
}

#[test]
fn batches_behind_a_refused_one_all_come_back_and_go_out_in_order_with_their_numbers() {
    let mut rig = Rig::confirmed();
    for _ in 0..4 {
        rig.add(10);
    }
    let (a, b, c) = (rig.take(), rig.take(), rig.take());
    let (id_a, id_b, id_c) = (a.id, b.id, c.id);
    rig.refuse(a, ErrorCode::NotEnoughReplicas);
    rig.pass(SECOND);
    assert!(rig.try_take().is_none(), "b and c are still on their way");
    rig.refuse(b, ErrorCode::OutOfOrderSequenceNumber);
    assert!(rig.try_take().is_none());
    rig.refuse(c, ErrorCode::OutOfOrderSequenceNumber);
    assert!(rig.try_take().is_none(), "the backoff is not over");
    rig.pass(SECOND);
    let a = rig.take();
    assert_eq!((a.id, numbers(&a)), (id_a, (0, 1)));
    assert!(
        rig.try_take().is_none(),
        "one at a time until it is acknowledged"
    );
    rig.ack(&a);
    let (b, c, d) = (rig.take(), rig.take(), rig.take());
    assert_eq!((b.id, numbers(&b)), (id_b, (0, 11)));
    assert_eq!((c.id, numbers(&c)), (id_c, (0, 21)));
    assert_eq!(numbers(&d), (0, 31));
    assert!(rig.failures().is_empty());
}

#[test]
fn a_lost_connection_changes_no_number() {
    let mut rig = Rig::confirmed();
    rig.add(4);
    rig.add(4);
    let (a, b) = (rig.take(), rig.take());
    let before = [(a.id, numbers(&a)), (b.id, numbers(&b))];
    // Answers may come in any order.
    rig.lose(b);
    rig.lose(a);
    rig.pass(SECOND);
    let a = rig.take();
    rig.ack(&a);
    let b = rig.take();
    assert_eq!(before, [(a.id, numbers(&a)), (b.id, numbers(&b))]);
}

#[test]
fn expired_before_any_send_is_not_sent_and_costs_no_epoch() {
    let mut rig = Rig::confirmed();
    rig.queue.set_leader(None, 1);
    rig.add(1);
    rig.pass(121 * SECOND);
    assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::NotSent)]);
    rig.add(1);
    let out = rig.take();
    assert_eq!(numbers(&out), (0, 1));
}

#[test]
fn expired_without_an_outcome_is_unknown_and_the_next_batch_starts_a_new_epoch() {
    let mut rig = Rig::confirmed();
    rig.add(1);
    let a = rig.take();
    rig.lose(a);
    rig.pass(121 * SECOND);
    assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::Unknown)]);
    rig.add(1);
    rig.add(1);
    let b = rig.take();
    assert_eq!(numbers(&b), (1, 0));
    assert!(rig.try_take().is_none(), "one at a time in a new epoch");
    rig.ack(&b);
    assert_eq!(numbers(&rig.take()), (1, 1));
}

#[test]
fn refused_on_every_attempt_and_expired_is_not_sent_but_still_breaks_the_sequence() {
    let mut rig = Rig::confirmed();
    rig.add(1);
    let a = rig.take();
    rig.refuse(a, ErrorCode::NotEnoughReplicas);
    rig.pass(121 * SECOND);
    assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::NotSent)]);
    rig.add(1);
    assert_eq!(numbers(&rig.take()), (1, 0));
}

#[test]
fn a_follower_in_doubt_keeps_its_number_until_the_broker_has_spoken() {
    // What the broker says about the follower, and under which numbers the next batch goes.
    let cases = [
        (Some(ErrorCode::OutOfOrderSequenceNumber), (1, 0)),
        (None, (0, 3)),
    ];
    for (answer, next) in cases {
        let mut rig = Rig::confirmed();
        rig.add(1);
        let a = rig.take();
        rig.pass(60 * SECOND);
        rig.add(1);
        let b = rig.take();
        rig.lose(a);
        rig.lose(b);
        // The first one expires, the second is young and in doubt, the third was never sent.
        rig.add(1);
        rig.pass(61 * SECOND);
        assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::Unknown)]);
        let b = rig.take();
        assert_eq!(numbers(&b), (0, 2), "not renumbered while in doubt");
        assert!(rig.try_take().is_none(), "nothing new while it is in doubt");
        let id_b = b.id;
        match answer {
            Some(code) => rig.refuse(b, code),
            None => rig.ack(&b),
        }
        rig.pass(SECOND);
        let out = rig.take();
        assert_eq!(numbers(&out), next, "{answer:?}");
        assert_eq!(out.id == id_b, answer.is_some(), "{answer:?}");
    }
}

#[test]
fn refused_for_its_number_though_first_in_line_goes_again_in_a_new_epoch() {
    for code in [
        ErrorCode::OutOfOrderSequenceNumber,
        ErrorCode::UnknownProducerId,
        ErrorCode::InvalidProducerEpoch,
    ] {
        let mut rig = Rig::confirmed();
        rig.add(2);
        rig.add(3);
        let (a, b) = (rig.take(), rig.take());
        let (id_a, id_b) = (a.id, b.id);
        rig.refuse(a, code);
        assert!(rig.try_take().is_none());
        rig.refuse(b, code);
        rig.pass(SECOND);
        let a = rig.take();
        assert_eq!((a.id, numbers(&a)), (id_a, (1, 0)));
        rig.ack(&a);
        let b = rig.take();
        assert_eq!((b.id, numbers(&b)), (id_b, (1, 2)));
        assert!(rig.failures().is_empty());
    }
}

#[test]
fn a_batch_refused_for_good_fails_alone() {
    let mut rig = Rig::confirmed();
    rig.add(1);
    rig.add(1);
    let (a, b) = (rig.take(), rig.take());
    let id_b = b.id;
    rig.refuse(a, ErrorCode::MessageTooLarge);
    rig.refuse(b, ErrorCode::OutOfOrderSequenceNumber);
    rig.pass(SECOND);
    let again = rig.take();
    assert_eq!((again.id, numbers(&again)), (id_b, (1, 0)));
    assert_eq!(
        rig.failures(),
        [(
            ErrorKind::Broker(ErrorCode::MessageTooLarge),
            Delivery::NotSent
        )]
    );
}

#[test]
fn expired_in_flight_is_reported_at_once_and_a_late_answer_saves_the_sequence() {
    let mut rig = Rig::confirmed();
    let result = rig.add(2);
    let a = rig.take();
    rig.pass(121 * SECOND);
    assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::Unknown)]);
    assert_eq!(
        rig.effects.released, 0,
        "its bytes are still with the request"
    );
    rig.ack(&a);
    assert_eq!(rig.effects.released, 20);
    assert_eq!(rig.effects.finished.len(), 1, "reported once");
    rig.add(1);
    assert_eq!(numbers(&rig.take()), (0, 3));
    drop(result);
}

#[test]
fn a_new_leader_gets_nothing_before_the_old_one_has_answered() {
    let mut rig = Rig::confirmed();
    rig.add(1);
    rig.add(1);
    rig.add(1);
    let (a, b) = (rig.take(), rig.take());
    assert!(rig.queue.set_leader(Some(2), 1));
    assert!(rig.try_take().is_none());
    // An acknowledgement of the old leader says nothing about the new one.
    rig.ack(&a);
    assert!(rig.try_take().is_none());
    let id_b = b.id;
    rig.refuse(b, ErrorCode::NotLeaderOrFollower);
    rig.pass(SECOND);
    let b = rig.take();
    assert_eq!((b.id, numbers(&b)), (id_b, (0, 2)));
    assert!(rig.try_take().is_none(), "one at a time at a new leader");
    assert!(rig.effects.refresh);
}

#[test]
fn without_idempotence_batches_have_no_stamp_and_retry_in_place() {
    let mut rig = Rig::new();
    rig.limits.idempotent = false;
    rig.add(1);
    rig.add(1);
    let (a, b) = (rig.take(), rig.take());
    assert!(a.stamp.is_none() && b.stamp.is_none());
    let id = a.id;
    rig.refuse(a, ErrorCode::NotEnoughReplicas);
    rig.ack(&b);
    rig.pass(SECOND);
    assert_eq!(rig.take().id, id);
}

#[test]
fn nothing_goes_without_a_producer_id() {
    let mut rig = Rig::new();
    rig.add(1);
    let taken = rig.queue.take(rig.now, &rig.limits, None, false);
    assert!(matches!(taken, Taken::Nothing));
}

#[test]
fn an_open_batch_waits_for_linger_unless_full_or_pressed() {
    let mut rig = Rig::new();
    rig.limits.linger = SECOND;
    let record = ProducerRecord::new("t").value(vec![0; 400]);
    let append = |rig: &mut Rig| {
        rig.queue
            .append(&record, 0, 410, rig.now, &rig.limits, &mut rig.next_id)
            .unwrap()
    };
    assert!(append(&mut rig).wake, "a batch was opened");
    let due = rig.now + SECOND;
    assert_eq!(rig.queue.turn(rig.now, &rig.limits, false), Turn::At(due));
    assert_eq!(rig.queue.turn(rig.now, &rig.limits, true), Turn::Now);
    assert_eq!(rig.queue.turn(due, &rig.limits, false), Turn::Now);
    assert!(!append(&mut rig).wake, "nothing new for the sink");
    assert_eq!(rig.queue.turn(rig.now, &rig.limits, false), Turn::At(due));
    assert!(append(&mut rig).wake, "the first batch is full");
    assert_eq!(rig.queue.turn(rig.now, &rig.limits, false), Turn::Now);
    assert_eq!(rig.take().bytes, 61 + 2 * (400 + 9));
}

#[test]
fn closing_says_of_each_batch_whether_it_may_be_written() {
    let mut rig = Rig::confirmed();
    rig.add(1);
    rig.add(1);
    let a = rig.take();
    rig.queue
        .fail_all(&Error::new(ErrorKind::Closed, "closed"), &mut rig.effects);
    assert_eq!(
        rig.failures(),
        [
            (ErrorKind::Closed, Delivery::Unknown),
            (ErrorKind::Closed, Delivery::NotSent)
        ]
    );
    assert_eq!(rig.effects.released, 20);
    // A late answer finds nothing and does no harm.
    rig.ack(&a);
}

#[test]
fn sequence_numbers_wrap_to_zero() {
    assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
    assert_eq!(sequence_after(i32::MAX - 1, 2), 0);
    assert_eq!(sequence_after(i32::MAX, 5), 4);
}

#[test]
fn batches_go_in_order_however_the_codec_finishes() {
    let mut rig = Rig::new();
    rig.limits.compression = Compression::Gzip;
    rig.add(1);
    rig.add(1);
    let mut jobs: Vec<_> = std::iter::from_fn(|| {
        rig.queue
            .take_for_compression(rig.now, &rig.limits, false)
            .map(|(id, builder)| (id, builder.finish(Compression::Gzip).unwrap()))
    })
    .collect();
    assert_eq!(jobs.len(), 2);
    let (second, encoded) = jobs.pop().unwrap();
    rig.queue.compressed(second, Ok(encoded), &mut rig.effects);
    assert!(rig.try_take().is_none(), "the first is with the codec");
    let (first, encoded) = jobs.pop().unwrap();
    rig.queue.compressed(first, Ok(encoded), &mut rig.effects);
    let out = rig.take();
    assert_eq!(out.id, first);
    rig.ack(&out);
    assert_eq!(rig.take().id, second);
}

#[test]
fn a_batch_that_expires_with_the_codec_is_gone_when_it_comes_back() {
    let mut rig = Rig::new();
    rig.limits.compression = Compression::Gzip;
    rig.add(1);
    let (id, builder) = rig
        .queue
        .take_for_compression(rig.now, &rig.limits, false)
        .unwrap();
    rig.pass(121 * SECOND);
    assert_eq!(rig.failures(), [(ErrorKind::Timeout, Delivery::NotSent)]);
    let encoded = builder.finish(Compression::Gzip).unwrap();
    rig.queue.compressed(id, Ok(encoded), &mut rig.effects);
    assert!(rig.queue.is_empty());
    assert_eq!(rig.effects.released, 10);
}
