//! Two runs with one seed tell the same: what may differ is left out of the normalised log, and nothing else.

use std::sync::Arc;

use eventmart_core::cluster::{Cluster, ClusterChoice};
use eventmart_core::demo::{Day, Options, play};
use eventmart_core::normalise::normalise;
use eventmart_core::scenario::{Collected, DemoEvent, Sink};
use tokio::sync::Notify;

/// Keeps what is told, and lets another run begin once this one has begun.
#[derive(Default)]
struct Listening {
    told: Collected,
    begun: Arc<Notify>,
}

impl Sink for Listening {
    fn emit(&self, event: &DemoEvent) {
        self.told.emit(event);
        if matches!(event, DemoEvent::StepStarted { .. }) {
            self.begun.notify_one();
        }
    }
}

async fn run(day: Day, seed: u64, sink: Arc<Listening>) -> Vec<DemoEvent> {
    let cluster = Cluster::start(&ClusterChoice::Embedded, seed, "test")
        .await
        .unwrap();
    let options = Options {
        seed,
        fast: true,
        keep: false,
    };
    let result = play(day, &cluster, Arc::new(Arc::clone(&sink)), options).await;
    cluster.stop().await;
    let told = sink.told.events();
    result.unwrap_or_else(|error| panic!("seed {seed}: {error}: {}\n{told:#?}", error.why()));
    told
}

/// Side by side, but not at once: in a run that begins a moment later, all times and what hangs on them differ.
async fn two_runs_tell_the_same(day: Day, seed: u64) {
    let first = Arc::new(Listening::default());
    let begun = Arc::clone(&first.begun);
    let second = async {
        begun.notified().await;
        run(day, seed, Arc::default()).await
    };
    let (one, two) = tokio::join!(run(day, seed, first), second);
    let (one, two) = (normalise(&one), normalise(&two));
    for (line, (one, two)) in one.iter().zip(&two).enumerate() {
        assert_eq!(
            one, two,
            "line {line}; replay: eventmart demo {day:?} --fast --json --seed {seed}"
        );
    }
    assert_eq!(one.len(), two.len());
    assert!(one.len() > 20, "only {} events", one.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn day1_tells_the_same_twice() {
    two_runs_tell_the_same(Day::One, 42).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn day3_tells_the_same_twice() {
    two_runs_tell_the_same(Day::Three, 42).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn day4_tells_the_same_twice() {
    two_runs_tell_the_same(Day::Four, 42).await;
}
