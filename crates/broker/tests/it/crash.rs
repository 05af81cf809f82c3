//! The broker as a process, killed in the middle of writing and started again.

use ferrokafka_wire::messages::InitProducerIdRequest;
use tokio::process::Command;
use tokio::time::timeout;

use crate::driver::PATIENCE;
use crate::process::Process;
use crate::records::{produce_request, read_all, stamped};
use crate::topics::create;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Five batches are in flight when the broker is killed after a random one of them was acknowledged.
/// The producer then sends again what it has no answer for. Set `CRASH_SEED` to replay, `CRASH_ROUNDS`
/// for more rounds.
#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_stored_twice() {
    let seed = from_environment("CRASH_SEED", 20_261_122);
    let rounds = from_environment("CRASH_ROUNDS", 6);
    println!("CRASH_SEED={seed} CRASH_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut process =
        Process::start(directory.path(), &["--config", "log.segment.bytes=4000"]).await;
    let mut driver = process.driver().await;
    driver.call(5, &create("t", 1, 1, &[])).await;
    let given = driver
        .call(
            4,
            &InitProducerIdRequest::default().with_transactional_id(None),
        )
        .await;
    let id = given.producer_id.0;
    let mut acknowledged = 0;
    for round in 0..rounds {
        let sizes: Vec<i32> = (0..40).map(|_| random.i32(1..6)).collect();
        let killed_after = random.usize(0..sizes.len());
        let mut sequences = Vec::new();
        let mut next = acknowledged;
        for size in &sizes {
            sequences.push((next, *size));
            next += size;
        }
        let mut answered = 0;
        for (at, (sequence, size)) in sequences.iter().enumerate() {
            let request = produce_request("t", 0, -1, stamped(id, 0, *sequence, *size as usize));
            driver.send(9, &request).await;
            if at >= 4 {
                if answered == killed_after {
                    break;
                }
                assert!(driver.read().await.is_some());
                answered += 1;
            }
        }
        process.kill().await;
        process = Process::start(directory.path(), &["--config", "log.segment.bytes=4000"]).await;
        driver = process.driver().await;
        let acknowledged_now = sequences[..answered]
            .iter()
            .map(|(_, size)| size)
            .sum::<i32>()
            + acknowledged;
        let kept = read_all(&mut driver, "t", 0, 0).await.len();
        assert!(
            kept >= acknowledged_now as usize,
            "round {round}: {kept} kept of {acknowledged_now} acknowledged"
        );
        for (sequence, size) in &sequences[answered..] {
            let request = produce_request("t", 0, -1, stamped(id, 0, *sequence, *size as usize));
            let answer = driver.call(9, &request).await;
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(
                (partition.error_code, partition.base_offset),
                (0, i64::from(*sequence)),
                "round {round}"
            );
        }
        acknowledged = next;
        let stored = read_all(&mut driver, "t", 0, 0).await;
        let offsets: Vec<i64> = stored.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(
            offsets,
            (0..i64::from(next)).collect::<Vec<_>>(),
            "round {round}"
        );
        for (sequence, size) in sequences {
            for n in 0..size {
                let value = stored[(sequence + n) as usize].1.as_deref();
                assert_eq!(value, Some(&*format!("{id}:0:{sequence}-{n}")));
            }
        }
    }
}

#[tokio::test]
async fn topics_settings_and_ids_survive_a_kill_and_a_clean_stop() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    let mut process =
        Process::start(directory.path(), &["--topic", "kept:3", "--nodes", "2"]).await;
    let mut driver = process.driver().await;
    driver
        .call(5, &create("made", 2, 2, &[("retention.ms", "1234")]))
        .await;
    for round in 0..3 {
        let described = driver.call(12, &crate::topics::all()).await;
        let topics: Vec<_> = described
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), topic.topic_id, topic.partitions.len()))
            .collect();
        let settings = driver
            .call(4, &crate::topics::describe_config("made", "retention.ms"))
            .await;
        assert_eq!(
            settings.results[0].configs[0].value.as_deref(),
            Some("1234")
        );
        let producer = driver
            .call(
                4,
                &InitProducerIdRequest::default().with_transactional_id(None),
            )
            .await;
        ids.push((described.cluster_id, topics));
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
        assert_eq!(ids[0].1.len(), 2);
        assert_eq!(
            producer.producer_id.0 / 1000,
            round,
            "ids are not given out twice"
        );
        if round == 0 {
            process.kill().await;
        } else {
            let stopped = std::process::Command::new("kill")
                .arg(process.child.id().unwrap().to_string())
                .status();
            assert!(stopped.unwrap().success());
            assert!(
                timeout(PATIENCE, process.child.wait())
                    .await
                    .unwrap()
                    .unwrap()
                    .success(),
                "SIGTERM stops it cleanly"
            );
        }
        process = Process::start(directory.path(), &["--topic", "kept:3", "--nodes", "2"]).await;
        driver = process.driver().await;
    }
}

#[tokio::test]
async fn a_second_broker_on_one_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Process::start(directory.path(), &[]).await;
    let second = Command::new(env!("CARGO_BIN_EXE_ferrokafka-broker"))
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(directory.path())
        .output();
    let second = timeout(PATIENCE, second).await.unwrap().unwrap();
    assert!(!second.status.success() && second.stdout.is_empty());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        message.contains("another broker is using this data directory"),
        "{message}"
    );
}

#[tokio::test]
async fn wrong_flags_and_settings_are_explained_in_a_line() {
    let cases = [
        (
            ["--config", "log.retention.mss=4"],
            "error: unknown config log.retention.mss; did you mean log.retention.ms?",
        ),
        (
            ["--config", "num.partitions=0"],
            "error: Invalid value 0 for configuration num.partitions: Value must be at least 1",
        ),
        (
            ["--topic", "orders"],
            "error: --topic takes NAME:PARTITIONS, not \"orders\"",
        ),
        (
            ["--topic", "a b:1"],
            "error: topic a b: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
    ];
    for (arguments, message) in cases {
        let run = Command::new(env!("CARGO_BIN_EXE_ferrokafka-broker"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .output();
        let output = timeout(PATIENCE, run).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), message);
    }
}
