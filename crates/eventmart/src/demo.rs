//! The days of the course as scenarios: each emits typed events, and each fact it states was measured.

mod day1;
mod day3;
mod day4;
mod ground;
mod group;
mod proxy;
mod read_back;
mod watch;

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::platform::{SERVICES, Service};
use crate::scenario::{Column, Sink, Stage};

/// A day that can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// Topics: created, described, explained; keys, retention and compaction at work.
    One,
    /// Producers: four services, order kept, faults survived.
    Three,
    /// Consumers: groups, rebalancing, redelivery, dead letters.
    Four,
}

/// How to play it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything invented comes from it.
    pub seed: u64,
    /// No pauses for the reader, and our own waits shortened.
    pub fast: bool,
    /// Whether topics and groups stay on a cluster that is shared.
    pub keep: bool,
}

/// Plays a day on the cluster. The summary is always emitted, also when the scenario breaks off.
///
/// # Errors
/// The fact that did not hold, or the failure that ended it.
///
/// # Cancellation
/// Dropping the future stops members and producers. On a shared cluster, [`clean_up`] removes what was created.
pub async fn play(
    day: Day,
    cluster: &Cluster,
    sink: Arc<dyn Sink>,
    options: Options,
) -> Result<()> {
    match day {
        Day::One => {
            let stage = open(
                cluster,
                sink,
                options,
                ("day1", "Topic architecture"),
                day1::STEPS,
            );
            act(stage, async |stage| {
                day1::play(stage, cluster, options).await
            })
            .await
        }
        Day::Three => {
            let stage = open(
                cluster,
                sink,
                options,
                ("day3", "Event producers"),
                day3::STEPS,
            );
            act(stage, async |stage| {
                day3::play(stage, cluster, options).await
            })
            .await
        }
        Day::Four => {
            let stage = open(
                cluster,
                sink,
                options,
                ("day4", "Event consumers"),
                day4::STEPS,
            );
            act(stage, async |stage| {
                day4::play(stage, cluster, options).await
            })
            .await
        }
    }
}

fn open(
    cluster: &Cluster,
    sink: Arc<dyn Sink>,
    options: Options,
    day: (&'static str, &str),
    steps: usize,
) -> Stage {
    Stage::open(
        sink,
        day,
        options.seed,
        (cluster.kind(), cluster.bootstrap()),
        steps,
        options.fast,
    )
}

async fn act(mut stage: Stage, scenario: impl AsyncFnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    let result = scenario(&mut stage).await.map_err(|error| {
        // What went wrong after a fact did not hold, a wait for instance, followed from that.
        if stage.has_false_facts() && error.kind() != ErrorKind::Fact {
            Error::fact(format!("a fact did not hold, and then: {error}")).because(error)
        } else {
            error
        }
    });
    if let Err(error) = &result {
        stage.broke_off(error);
    }
    stage.close();
    result
}

pub use ground::clean_up;

/// The table of who writes and who reads.
fn who_writes_and_reads() -> (Vec<Column>, Vec<Vec<String>>) {
    let list = |topics: &[crate::topic::Topic]| {
        let short: Vec<&str> = topics
            .iter()
            .map(|topic| topic.name().trim_start_matches("eventmart-"))
            .collect();
        if short.is_empty() {
            "–".to_owned()
        } else {
            short.join(" ")
        }
    };
    let columns = vec![
        Column::text("service"),
        Column::text("writes"),
        Column::text("reads"),
    ];
    let rows = SERVICES
        .iter()
        .map(|spec| vec![spec.name.to_owned(), list(spec.writes), list(spec.reads)])
        .collect();
    (columns, rows)
}

/// Services in the order in which they are started: those that are only written to last.
const STARTING_ORDER: [Service; 6] = [
    Service::Inventory,
    Service::Payment,
    Service::Order,
    Service::Notification,
    Service::Analytics,
    Service::Audit,
];
