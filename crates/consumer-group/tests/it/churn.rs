//! Members, leaders and coordinators that come and go in a seeded order; no record may be missed.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrokafka_broker::TestBroker;
use ferrokafka_client::Client;
use ferrokafka_consumer_group::{Assignor, CommitOffsets};
use tokio::time::Instant;

use crate::support::*;

const PARTITIONS: i32 = 6;
const STEPS: usize = 25;

#[tokio::test]
async fn nothing_is_missed_whatever_moves() {
    let seed = match std::env::var("FERROKAFKA_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..1_000_000),
    };
    println!(
        "replay: FERROKAFKA_SEED={seed} cargo test -p ferrokafka-consumer-group --test it churn"
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let assignor = random
        .choice([
            Assignor::CooperativeSticky,
            Assignor::Range,
            Assignor::RoundRobin,
        ])
        .unwrap();
    println!("{assignor:?}");
    let broker = brokers(3, "t", PARTITIONS).await;
    let client = connect(&broker).await;
    let mut run = Run {
        broker,
        client,
        assignor,
        written: [0; PARTITIONS as usize],
        readers: vec![],
        seen: BTreeSet::new(),
    };
    run.join().await;
    for _ in 0..STEPS {
        run.disturb(&mut random).await;
        for _ in 0..random.usize(..6) {
            run.poll().await;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let total: usize = run.written.iter().sum();
    while run.seen.len() < total || run.lag().is_none_or(|lag| lag > 0) {
        assert!(
            Instant::now() < deadline,
            "{} of {total} read, lag {:?}",
            run.seen.len(),
            run.lag()
        );
        run.poll().await;
    }
}

struct Run {
    broker: TestBroker,
    client: Client,
    assignor: Assignor,
    written: [usize; PARTITIONS as usize],
    readers: Vec<Reader>,
    seen: BTreeSet<(i32, i64)>,
}

impl Run {
    async fn join(&mut self) {
        let config = config("g")
            .session_timeout(Duration::from_millis(600))
            .max_poll_records(7)
            .assignors(vec![self.assignor.clone()]);
        self.readers
            .push(Reader::join(&self.broker, config, "t").await);
    }

    async fn disturb(&mut self, random: &mut fastrand::Rng) {
        let partition = random.i32(0..PARTITIONS);
        match random.u32(..9) {
            0 => self
                .broker
                .move_leader("t", partition, random.i32(1..=3))
                .unwrap(),
            1 => self.broker.move_coordinator("g", random.i32(1..=3)),
            2 => self.broker.bump_leader_epoch("t", partition).unwrap(),
            3 if self.readers.len() < 4 => self.join().await,
            4 if self.readers.len() > 1 => {
                let reader = self.readers.swap_remove(random.usize(..self.readers.len()));
                reader.consumer.kill();
            }
            5 if self.readers.len() > 1 => {
                let reader = self.readers.swap_remove(random.usize(..self.readers.len()));
                // What it had not committed comes again elsewhere.
                let _ = reader.consumer.close(Duration::from_secs(5)).await;
            }
            6 => {
                let reader = &self.readers[random.usize(..self.readers.len())];
                let member = reader.consumer.group_metadata().unwrap().member_id;
                self.broker.expire_session("g", &member).await;
            }
            _ => {
                self.client.refresh();
                produce(&self.client, &tp("t", partition), 20).await;
                self.written[partition as usize] += 20;
            }
        }
    }

    /// Every member polls, and commits what it read, which may be refused.
    async fn poll(&mut self) {
        for reader in &mut self.readers {
            for record in reader.poll().await {
                self.seen.insert((record.partition, record.offset));
            }
            let _ = tokio::time::timeout(
                Duration::from_millis(300),
                reader.consumer.commit(CommitOffsets::Consumed),
            )
            .await;
        }
    }

    /// Written but not committed, as far as owners of partitions know.
    fn lag(&self) -> Option<usize> {
        let mut lag = 0;
        for reader in &self.readers {
            for tp in reader.consumer.assignment() {
                let written = self.written[tp.partition as usize];
                if written > 0 {
                    lag += usize::try_from(reader.consumer.lag(&tp)?).unwrap();
                }
            }
        }
        Some(lag)
    }
}
