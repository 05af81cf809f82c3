//! One round: write, kill, restart, until everything is acknowledged; then look.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ferrokafka_client::ClientConfig;
use ferrokafka_producer::{Delivery, Producer, ProducerConfig, ProducerRecord};
use tokio::sync::{mpsc, watch};

use crate::broker::{Broker, TOPIC};
use crate::check::{self, Report};
use crate::plan::Plan;
use crate::proxy::Proxy;

/// A round takes seconds. One that takes this long hangs.
const ROUND_TIMEOUT: Duration = Duration::from_secs(180);
/// Longer than a restart takes, shorter than a round may.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(90);

/// Where an acknowledged record was said to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub(crate) number: u64,
    pub(crate) offset: i64,
}

pub(crate) async fn run(program: &Path, plan: &Plan) -> Result<Report> {
    let folder = tempfile::Builder::new().prefix("crash-round-").tempdir()?;
    let outcome =
        tokio::time::timeout(ROUND_TIMEOUT, write_and_check(program, folder.path(), plan)).await;
    let outcome =
        outcome.unwrap_or_else(|_| bail!("the round did not end within {ROUND_TIMEOUT:?}"));
    if outcome.is_err() {
        // What the broker had on disk is what the failure is about.
        println!(
            "       the broker's folder is kept: {}",
            folder.keep().display()
        );
    }
    outcome
}

async fn write_and_check(program: &Path, folder: &Path, plan: &Plan) -> Result<Report> {
    let mut broker = Broker::start(program, folder).await?;
    let address = broker.address().to_owned();
    let (acked_count, watch_acked) = watch::channel(0);
    let proxy = Proxy::start(&address).await?;
    let writing = write(&address, proxy.port(), plan, acked_count);
    let killing = kill_at_moments(&mut broker, &proxy, plan, watch_acked);
    let (acked, ()) = tokio::try_join!(writing, killing)?;
    check::read_and_commit(&address, plan, &acked)
        .await
        .context("reading and committing before the last kill")?;
    broker.kill().await?;
    broker.restart().await?;
    check::all(&address, plan, &acked).await
}

/// Writes every record; all of them must be acknowledged, because the broker always comes back in time.
async fn write(
    address: &str,
    proxy: u16,
    plan: &Plan,
    acked_count: watch::Sender<u64>,
) -> Result<Vec<Acked>> {
    let client = ClientConfig::new(address)
        .client_id("crash-round")
        .request_timeout(Duration::from_secs(10))
        .address_map(move |_, _| ("127.0.0.1".to_owned(), proxy));
    let config = ProducerConfig::new()
        .linger(plan.linger)
        .batch_size(plan.batch_bytes)
        .compression(plan.compression)
        // A small buffer keeps the sender at the broker's pace: at every moment something is in flight.
        .max_request_size(256 * 1024)
        .buffer_memory(512 * 1024)
        .max_block(DELIVERY_TIMEOUT)
        .delivery_timeout(DELIVERY_TIMEOUT);
    let producer = Producer::connect(client, config).await?;
    let (deliveries, queue) = mpsc::unbounded_channel();
    let sending = async {
        for number in 0..plan.records {
            let record = ProducerRecord::new(TOPIC)
                .partition(Plan::partition(number))
                .value(plan.value(number));
            let delivery = producer
                .send(record)
                .await
                .with_context(|| format!("sending record {number}"))?;
            // The collector ends first only when it has failed, and its error is the one to show.
            if deliveries.send((number, delivery)).is_err() {
                break;
            }
        }
        drop(deliveries);
        Ok(())
    };
    let ((), acked) = tokio::try_join!(sending, collect(queue, acked_count))?;
    producer
        .close(Duration::from_secs(30))
        .await
        .context("closing the producer")?;
    Ok(acked)
}

async fn collect(
    mut queue: mpsc::UnboundedReceiver<(u64, Delivery)>,
    acked_count: watch::Sender<u64>,
) -> Result<Vec<Acked>> {
    let mut acked = Vec::new();
    while let Some((number, delivery)) = queue.recv().await {
        let metadata = delivery
            .await
            .with_context(|| format!("record {number} was not acknowledged"))?;
        acked.push(Acked {
            number,
            offset: metadata.offset,
        });
        acked_count.send_replace(acked.len() as u64);
    }
    Ok(acked)
}

async fn kill_at_moments(
    broker: &mut Broker,
    proxy: &Proxy,
    plan: &Plan,
    mut acked: watch::Receiver<u64>,
) -> Result<()> {
    for kill in &plan.kills {
        // The sender goes away when all is written or the writing has failed: then there is nothing to disturb.
        if acked
            .wait_for(|count| *count >= kill.after_acks)
            .await
            .is_err()
        {
            return Ok(());
        }
        if kill.hold_answers {
            proxy.hold_answers();
        }
        tokio::time::sleep(kill.shift).await;
        broker.kill().await?;
        proxy.lose_answers();
        broker.restart().await?;
    }
    Ok(())
}
