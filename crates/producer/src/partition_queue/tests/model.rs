//! The queue against a model of Kafka's sequence check, with answers lost, requests delayed, leaders
//! moved and time passing at random. Whatever happens: nothing twice, nothing out of order, everything
//! acknowledged is there, nothing that was said to be not sent is.

use std::collections::BTreeMap;

use super::*;

/// A broker's view of one producer on one partition, and the log.
#[derive(Default)]
struct Broker {
    /// Epoch, and the last five batches: first sequence, records, offset.
    epoch: i16,
    recent: VecDeque<(i32, u32, i64)>,
    /// Batch ids, in log order.
    log: Vec<u64>,
}

impl Broker {
    fn write(&mut self, request: &Request) -> Result<i64, ErrorCode> {
        let (epoch, sequence) = request.numbers;
        if epoch < self.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if epoch > self.epoch {
            if sequence != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            self.epoch = epoch;
            self.recent.clear();
        }
        let known = self
            .recent
            .iter()
            .find(|(s, n, _)| (*s, *n) == (sequence, request.records));
        if let Some((_, _, offset)) = known {
            return Ok(*offset);
        }
        // A broker without any state takes whatever comes first.
        if let Some((last, records, _)) = self.recent.back()
            && sequence_after(*last, *records) != sequence
        {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        let offset = self.log.len() as i64;
        self.log.push(request.id.0);
        self.recent.push_back((sequence, request.records, offset));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        Ok(offset)
    }
}

#[derive(Clone, Copy)]
struct Request {
    id: BatchId,
    numbers: (i16, i32),
    records: u32,
}

struct World {
    rig: Rig,
    rng: fastrand::Rng,
    broker: Broker,
    /// On the present connection, in order.
    sent: VecDeque<(Request, Outgoing)>,
    /// Lost for the client, but a broker may still read them, in order.
    delayed: VecDeque<Request>,
    results: BTreeMap<u64, Arc<BatchResult>>,
    leader: i32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rig = Rig::new();
        rig.limits.delivery_timeout = 10 * SECOND;
        Self {
            rig,
            rng: fastrand::Rng::with_seed(seed),
            broker: Broker::default(),
            sent: VecDeque::new(),
            delayed: VecDeque::new(),
            results: BTreeMap::new(),
            leader: 1,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..25 => {
                let records = self.rng.usize(1..4);
                let result = self.rig.add(records);
                self.results.insert(self.rig.next_id, result);
            }
            25..55 => self.send(),
            55..75 => self.answer(),
            75..80 => self.refuse(),
            80..86 => self.cut(),
            86..92 => self.late(),
            92..94 => self.move_leader(),
            _ => {
                let time = Duration::from_millis(self.rng.u64(..3_000));
                self.rig.pass(time);
            }
        }
    }

    fn send(&mut self) {
        // What stood in an older connection was read or thrown away long before a batch expires, which
        // is when the sequence can break: see the module's rule 3.
        if self.rig.queue.broken {
            while !self.delayed.is_empty() {
                self.late();
            }
        }
        if let Some(out) = self.rig.try_take() {
            let records = self
                .rig
                .queue
                .batches
                .iter()
                .find(|b| b.id == out.id)
                .unwrap()
                .records;
            let request = Request {
                id: out.id,
                numbers: numbers(&out),
                records,
            };
            self.sent.push_back((request, out));
        }
    }

    fn answer(&mut self) {
        let Some((request, out)) = self.sent.pop_front() else {
            return;
        };
        match self.broker.write(&request) {
            Ok(offset) => {
                self.rig
                    .queue
                    .acknowledged(out.id, offset, None, &mut self.rig.effects);
            }
            Err(code) => self.rig.refuse(out, code),
        }
        self.tell();
    }

    /// Refused without a look at the sequence.
    fn refuse(&mut self) {
        if let Some((_, out)) = self.sent.pop_front() {
            let codes = [
                ErrorCode::NotEnoughReplicas,
                ErrorCode::NotLeaderOrFollower,
                ErrorCode::MessageTooLarge,
            ];
            let code = codes[self.rng.usize(..codes.len())];
            self.rig.refuse(out, code);
            self.tell();
        }
    }

    /// The connection goes, with every request on it: some written, the rest perhaps later.
    fn cut(&mut self) {
        let written = self.rng.usize(..=self.sent.len());
        for (at, (request, out)) in std::mem::take(&mut self.sent).into_iter().enumerate() {
            if at < written {
                let _ = self.broker.write(&request);
            } else {
                self.delayed.push_back(request);
            }
            self.rig.lose(out);
        }
        self.tell();
    }

    fn late(&mut self) {
        if let Some(request) = self.delayed.pop_front() {
            if self.rng.bool() {
                let _ = self.broker.write(&request);
            } else {
                // The rest of that connection's bytes goes with it.
                self.delayed.clear();
            }
        }
    }

    fn move_leader(&mut self) {
        self.leader += 1;
        self.rig.queue.set_leader(Some(self.leader), self.leader);
    }

    fn tell(&mut self) {
        for finished in self.rig.effects.finished.drain(..) {
            assert!(finished.result.complete(finished.outcome), "told twice");
        }
    }

    fn finish(mut self) {
        for _ in 0..10_000 {
            if self.rig.queue.is_empty() {
                break;
            }
            self.rig.pass(Duration::from_millis(200));
            self.send();
            self.answer();
        }
        self.tell();
        assert!(
            self.rig.queue.is_empty(),
            "everything is decided in the end"
        );
        for pair in self.broker.log.windows(2) {
            assert!(
                pair[0] < pair[1],
                "twice or out of order: {:?}",
                self.broker.log
            );
        }
        for (id, result) in &self.results {
            let written = self.broker.log.contains(id);
            match result.outcome().expect("told") {
                Outcome::Acked { base_offset, .. } => {
                    assert_eq!(self.broker.log[*base_offset as usize], *id, "batch {id}");
                }
                Outcome::Failed(error) if error.delivery() == Delivery::NotSent => {
                    assert!(!written, "batch {id} is there: {error}");
                }
                Outcome::Failed(_) => {}
            }
        }
    }
}

#[test]
fn nothing_twice_nothing_out_of_order_whatever_is_lost() {
    for seed in 0..3_000 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..200 {
                world.step();
                world.tell();
            }
            world.finish();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
