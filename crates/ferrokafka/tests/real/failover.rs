//! Three nodes, one of them killed while an idempotent producer writes.

use std::time::Duration;

use ferrokafka_admin::NewTopic;
use ferrokafka_client::ClientConfig;
use ferrokafka_producer::{Producer, ProducerConfig, ProducerRecord};

use crate::kafka::{create, in_time, start};
use crate::records::read;

const RECORDS: usize = 6_000;
const PARTITIONS: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_loses_and_repeats_nothing() {
    in_time(async {
        let mut kafka = start(3).await;
        let bootstrap = kafka.bootstrap();
        create(
            &bootstrap,
            NewTopic::new("orders", PARTITIONS, 3).config("min.insync.replicas", "2"),
        )
        .await;
        let config = ProducerConfig::new()
            .linger(Duration::from_millis(2))
            .batch_size(4_096);
        let producer = Producer::connect(ClientConfig::new(&bootstrap), config)
            .await
            .expect("the producer connects");
        let (deliveries, mut queue) = tokio::sync::mpsc::unbounded_channel();
        let (third, at_third) = tokio::sync::oneshot::channel();
        let writing = async {
            let mut third = Some(third);
            for number in 0..RECORDS {
                let partition = i32::try_from(number).expect("small") % PARTITIONS;
                let record = ProducerRecord::new("orders")
                    .partition(partition)
                    .value(format!("{number:06}"));
                deliveries
                    .send(producer.send(record).await.expect("taken"))
                    .expect("the collector runs");
                if number == RECORDS / 3 {
                    let _ = third.take().map(|third| third.send(()));
                }
                // Paced by acknowledgement, so that two thirds of the writes meet a cluster of two.
                if number % 200 == 199 {
                    producer.flush().await.expect("flush");
                }
            }
            drop(deliveries);
        };
        let killing = async {
            at_third.await.expect("a third is written");
            kafka.kill(2).await.expect("node 2 dies");
        };
        let collecting = async {
            while let Some(delivery) = queue.recv().await {
                delivery
                    .await
                    .expect("acknowledged, because two replicas are enough");
            }
        };
        tokio::join!(writing, killing, collecting);
        producer
            .close(Duration::from_secs(10))
            .await
            .expect("the producer closes");

        let records = read(&bootstrap, "orders", PARTITIONS, RECORDS).await;
        assert_eq!(records.len(), RECORDS, "nothing twice");
        for partition in 0..PARTITIONS {
            let values: Vec<_> = records
                .iter()
                .filter(|record| record.partition == partition)
                .map(|record| record.value.clone())
                .collect();
            assert_eq!(values.len(), RECORDS / PARTITIONS as usize);
            assert!(values.is_sorted(), "partition {partition} is in order");
        }
        kafka.restart(2).await.expect("node 2 comes back");
    })
    .await;
}
